//! The command line: every command, its options, its help with examples and exit codes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::cmd::{AofCommand, FoldCommand, PoolCommand};
use crate::fetch::{ChunkCommand, Fetch};

const EXITS: &str = "Exit codes of all commands:
   0 ok                      5 recovered, but records were lost
   1 failed                 10 not a file of untorn, or of a newer version
   2 wrong usage            11 another process holds it
   3 not found              12 the state forbids it (exists, does not match)
   4 damage, failed proof   74 an error of the disk or the system

stdout has data, stderr has talk. With --json both are JSON; an error is one object on stderr.";

/// The pairs are those of `PAIRS` in `cmd/convert.rs`; a test compares.
const CONVERT: &str = "Pairs of --from and --to:
  actionqueue-wal  log    the events of a write-ahead log of actionqueue-storage 0.1, version 5, each a
                          record with the bytes that postcard made of it
  actionqueue-snapshot  snapshot
                          the state in a snapshot of the same program, version 4, if its checksum holds
  grin  append            a file of elements of grin_store 5.5, or a directory with the files of a PMMR: pmmr_hash.bin,
                          pmmr_data.bin (its sizes in pmmr_size.bin, or --data-size), pmmr_leaf.bin, pmmr_prun.bin; these
                          become one group in the directory DEST, the sets elements of their own
  append  grin            the same files back, byte for byte
  pgss  fold              the append-log file of beyond-slipstream 0.8, its cursor and its entries
  slipstream-artifact  fold
                          an artifact that the same program exported, schema 1 or 2
  fold  pgss              that file, of a fold whose versions have 10 bytes at most; the fold's owner may live
  fold  slipstream-artifact
                          an artifact that the same program imports, schema 2
  pgss  slipstream-artifact
  slipstream-artifact  pgss
  file-backed  pool       the directory of file_backed's FBStore, into a path's loose set; --codec says what the objects
                          are in (its BinCodec: fixed-le). Files that are empty or all zeros, as a crash leaves them, are
                          left out, or with --accept-suspect taken; either way they are listed in DEST.report
  pool  file-backed       the same directory back, of all objects or those of a set; the path's owner may live

The source is not changed; its writer must not be running. The new store appears whole, and durable, or
not at all. A torn record at the source's end, which nobody was told of, is left out and said; damage is refused,
and so are sequences that leave numbers out, or do not begin with 1, unless --allow-gaps is given.

Example:
  untorn convert --from actionqueue-wal old.wal --to log events
  untorn convert --from actionqueue-snapshot state --to snapshot state.snap --layout blocks
  untorn convert --from grin chain/output --to append output --data-size 34
  untorn convert --from grin a.bin --to append a.dat --fixed 32
  untorn convert --from pgss edge.snap --to fold edge
  untorn convert --from file-backed old --to pool new --codec fixed-le
  untorn convert --from pool state --to file-backed out --set main

Exit codes: 0 converted; 2 no such pair, or a size or the codec is missing; 5 converted, but suspects were left out; 3 there is no source; 4 the source is damaged, or has gaps; 10 it is
something else, or of a newer version; 12 DEST exists; 74 disk full or failing.";

/// Files and logs on disk that survive kill -9, a full disk, a failing disk and a power cut.
#[derive(Debug, Parser)]
#[command(name = "untorn", version, after_long_help = EXITS, propagate_version = true)]
pub(crate) struct Cli {
    /// Print JSON; an error is one JSON object on stderr
    #[arg(long, global = true, display_order = 1000)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Prove(Prove),
    Put(Put),
    Get(Get),
    Inspect(Inspect),
    Verify(Verify),
    Recover(Recover),
    Convert(Convert),
    Fetch(Box<Fetch>),
    #[command(subcommand)]
    Chunk(ChunkCommand),
    #[command(subcommand)]
    Aof(AofCommand),
    #[command(subcommand)]
    Fold(FoldCommand),
    #[command(subcommand)]
    Pool(PoolCommand),
    Sweep(Sweep),
    Who(Who),
    Probe(Probe),
    /// Append to, read, follow and cut a log
    #[command(
        subcommand,
        after_long_help = "Examples:
  journalctl -f | untorn log append events     a line, a record; its number once it is durable
  untorn log cat events --from 100 --seq       records from 100 on, with their numbers
  untorn log tail events -f                    as they come"
    )]
    Log(LogCommand),
    /// Show, check, write and print a snapshot
    #[command(
        subcommand,
        after_long_help = "A snapshot is one value in a file, replaced as a whole, with a checksum.

Examples:
  echo '{\"volume\": 7}' | untorn snap put settings.snap
  untorn snap get settings.snap | jq .volume
  untorn snap verify settings.snap && echo sound"
    )]
    Snap(SnapCommand),
    /// Read, follow, verify and import a journal
    #[command(
        subcommand,
        after_long_help = "A journal is the events of a program in a log, and snapshots of the state that they make. To export one, or
to make a checkpoint, takes the program whose state it is: these are functions of the library, not commands.

Examples:
  untorn journal stats app                     what it is, how large, and who owns it
  untorn journal tail app -f --json            events as they come
  untorn journal verify app && echo sound"
    )]
    Journal(JournalCommand),
    /// Measure what this disk can do
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Print the completions for a shell
    #[command(after_long_help = "Example:
  untorn completions bash > ~/.local/share/bash-completion/completions/untorn")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write all pages into a directory
    #[command(after_long_help = "Examples:
  untorn man | man -l -
  untorn man ~/.local/share/man/man1")]
    Man {
        /// Where to write one page for each command
        dir: Option<PathBuf>,
    },
    #[command(name = "prove-child", hide = true)]
    ProveChild(ProveChild),
}

/// Replace a file by stdin: whole or not at all, durable when the command returns
#[derive(Debug, Args)]
#[command(
    after_long_help = "The content goes to a temporary beside FILE, is synced, and takes FILE's name; the directory is
synced after that. Whatever happens before leaves FILE as it was; so does Ctrl-C. Mode and owner of an
existing FILE are kept.

--if-match is a check before the replacement, not a lock: of two writers that check at the same moment
the last one wins.

Examples:
  jq .volume=7 settings.json | untorn put settings.json
  untorn put --if-absent --mode 600 id < /proc/sys/kernel/random/uuid
  untorn put --if-match $(b3sum --no-names a.txt) a.txt < b.txt

Exit codes: 0 replaced and durable; 3 the directory does not exist; 12 FILE exists (--if-absent),
does not match (--if-match), or is no regular file; 74 disk full or failing; 1 interrupted."
)]
pub(crate) struct Put {
    /// The file to write
    pub(crate) file: PathBuf,
    /// Only if there is nothing by that name
    #[arg(long, conflicts_with = "if_match")]
    pub(crate) if_absent: bool,
    /// Only if BLAKE3 of the present content is this, in hex
    #[arg(long, value_name = "HEX", value_parser = blake3_hex)]
    pub(crate) if_match: Option<String>,
    /// Permission bits of the new file, in octal
    #[arg(long, value_name = "OCTAL", value_parser = octal)]
    pub(crate) mode: Option<u32>,
    /// Refuse FILE if it is a symbolic link, instead of replacing what it leads to
    #[arg(long)]
    pub(crate) no_follow: bool,
}

/// Print a file
#[derive(Debug, Args)]
#[command(
    after_long_help = "A `put` meanwhile does not disturb it: it prints the old content or the new one, never a mix.

Example:
  untorn get settings.json | jq .volume

Exit codes: 0 printed; 3 there is no such file; 12 it is a directory; 74 a read failed."
)]
pub(crate) struct Get {
    /// The file to read
    pub(crate) file: PathBuf,
}

/// Say what a file or directory is, and in what state
#[derive(Debug, Args)]
#[command(
    after_long_help = "Tells a log, its parts, a journal, a fold, a snapshot, an append-only file, objects of a pool and its scratch, an artifact, a
quarantine and what is unfinished from a plain file or directory. Reads only, also while an owner works on it.

Example:
  untorn inspect events

Exit codes: 0 told; 3 there is nothing; 4 it is damaged (what can be told is printed);
10 it was written by a newer version."
)]
pub(crate) struct Inspect {
    /// What to look at
    pub(crate) path: PathBuf,
}

/// Check every byte of a store, and change none
#[derive(Debug, Args)]
#[command(
    after_long_help = "A torn tail, as a crash leaves it, is no damage: nobody was told that it was written, and the next
owner heals it. Damage is what was acknowledged and does not verify. An artifact is verified by its manifest,
a journal as `untorn journal verify` does, a fold as `untorn fold verify` does, an append-only file as
`untorn aof verify` does, objects of a pool as `untorn pool verify` does.

Example:
  untorn verify events && echo sound

Exit codes: 0 all verifies, perhaps but a torn tail; 3 there is nothing; 4 damage, with file, offset and,
of a log, records; 10 it is nothing that could be verified."
)]
pub(crate) struct Verify {
    /// The store's directory, a snapshot, or an append-only file
    pub(crate) path: PathBuf,
}

/// Heal a store after a crash, or decide what to do about damage
#[derive(Debug, Args)]
#[command(
    after_long_help = "A torn tail is healed at once; every owner's open does the same. Of damage it says what would be
lost, and does nothing without --yes. A copy of what is cut is kept in the store's `quarantine`.

--truncate keeps what precedes the damage. --salvage writes every record that can be proven to be good,
around the damage, into a new log with new numbers, and leaves the old one as it is.

Of a journal, damage that a snapshot covers costs nothing: it is not read, and not cut. Damage above the
newest snapshot that verifies is cut only if --accept-loss names the events that would be lost. A journal is not
salvaged, since no state can be made of events with a hole between them.

Of an append-only file --truncate keeps the elements before the first damaged block, --salvage writes all that are good into a
new file, with new positions, and --adopt takes a data file that a foreign program made longer or shorter.

A fold is repaired in its place. --truncate keeps what precedes damage to its log, --salvage all that is
provably good, also of a damaged base: then the cursor is `none`, and the source must be listed again.

Of objects of a pool --truncate goes back to the last commit before damage to the manifest. An object that is damaged
itself stays so: it is named.

Examples:
  untorn recover events                                  heal, or say what is wrong
  untorn recover events.dat --dry-run                    only say it
  untorn recover events --truncate --yes
  untorn recover events --salvage events.new --yes
  untorn recover edge --salvage --yes                    a fold
  untorn recover app --truncate --yes --accept-loss 51200..53000

Exit codes: 0 sound or healed; 4 damage, and nothing was changed; 5 done, but records were lost;
10 no store; 11 its owner lives; 12 OUT exists, --accept-loss names something else than what
would be lost, or it cannot be done to a journal."
)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub(crate) struct Recover {
    /// The directory of the log, journal, fold or pool, or the append-only file
    pub(crate) path: PathBuf,
    /// Cut the log where the damage begins
    #[arg(long, conflicts_with = "salvage")]
    pub(crate) truncate: bool,
    /// Write what is provably good into a new log; of a fold, keep that in its place
    #[arg(long, value_name = "OUT", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "not given, given alone, given with a name")]
    pub(crate) salvage: Option<Option<PathBuf>>,
    /// Take the data file of an append-only file as a foreign program left it
    #[arg(long, conflicts_with_all = ["truncate", "salvage"])]
    pub(crate) adopt: bool,
    /// Do it, not only say it
    #[arg(long)]
    pub(crate) yes: bool,
    /// Only say what would be done, also of what a crash left
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// The events of a journal that may be lost, first and last
    #[arg(long, value_name = "A..B", value_parser = seq_range, requires = "truncate")]
    pub(crate) accept_loss: Option<(u64, u64)>,
}

/// Turn a file of another program into a store
#[derive(Debug, Args)]
#[command(after_long_help = CONVERT)]
pub(crate) struct Convert {
    /// What the source is
    #[arg(long, value_name = "FORMAT")]
    pub(crate) from: String,
    /// The source
    pub(crate) source: PathBuf,
    /// What to make of it
    #[arg(long, value_name = "STORE")]
    pub(crate) to: String,
    /// The new store; it must not exist
    pub(crate) dest: PathBuf,
    /// Accept that sequences leave numbers out; the new store numbers its records without gaps
    #[arg(long)]
    pub(crate) allow_gaps: bool,
    /// How a snapshot lies in its file: `frame`, as it did, or `blocks`
    #[arg(long, value_name = "NAME", value_parser = ["frame", "blocks"])]
    pub(crate) layout: Option<String>,
    /// All elements of a file have N bytes
    #[arg(long, value_name = "N", conflicts_with = "size_file",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) fixed: Option<u32>,
    /// Where the sizes of a file's elements are, or with --to grin go to
    #[arg(long, value_name = "FILE")]
    pub(crate) size_file: Option<PathBuf>,
    /// All elements of a directory's data have N bytes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) data_size: Option<u32>,
    /// What the objects of --from file-backed are in
    #[arg(long, value_name = "NAME", value_parser = ["fixed-le", "raw", "json", "postcard"])]
    pub(crate) codec: Option<String>,
    /// Take objects that are empty or all zeros, too
    #[arg(long)]
    pub(crate) accept_suspect: bool,
    /// Only the objects of this set of a pool
    #[arg(long, value_name = "NAME")]
    pub(crate) set: Option<String>,
}

/// Remove the temporaries that dead writers left in a directory
#[derive(Debug, Args)]
#[command(
    after_long_help = "Only temporaries of untorn whose writer is dead; those of the living and files of others stay.
So do parts that a fetch could go on with: they are listed, and removed only if --older-than says so. In the scratch
root of pools what dead owners spilled goes, too.

Examples:
  untorn sweep /etc/myapp
  untorn sweep --older-than 30d models

Exit codes: 0 swept, or nothing to do; 3 no such directory; 74 the system refused."
)]
pub(crate) struct Sweep {
    /// The directory, what is below it is not touched; or an append-only file
    pub(crate) dir: PathBuf,
    /// Also parts that could be gone on with, if their last owner claimed them so long ago, such as 12h, 30d
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub(crate) older_than: Option<Duration>,
}

/// Say which process holds a store
#[derive(Debug, Args)]
#[command(
    after_long_help = "Looks without taking the lock, so that it never gets in an owner's way.

Example:
  untorn who events

Exit codes: 0 told, also if it is nobody; 3 there is nothing; 10 it is a plain file, which nobody holds."
)]
pub(crate) struct Who {
    /// The store's directory, or an append-only file
    pub(crate) path: PathBuf,
}

/// Say what the file system of a directory grants
#[derive(Debug, Args)]
#[command(after_long_help = "Tries it out with a few small files, and leaves nothing behind.

Example:
  untorn probe /mnt/data

Exit codes: 0 told; 3 no such directory; 74 nothing can be written there.")]
pub(crate) struct Probe {
    /// The directory
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    Append(Append),
    Cat(Cat),
    Tail(Tail),
    /// Show the segments of a log and the frames in them
    #[command(after_long_help = "A frame is what was written and synced at once.

Exit codes: 0 shown; 3 there is nothing; 4 damage (what precedes it is shown); 10 not a log.")]
    Inspect {
        /// The log's directory
        dir: PathBuf,
    },
    Truncate(Truncate),
}

/// Append each line of stdin as a record, and print its number once it is durable
#[derive(Debug, Args)]
#[command(
    after_long_help = "A number on stdout is a promise: the record survives a power cut. Many lines share one sync, so a
fast input is not slowed down to one sync a line; a slow one gets each number at once. Ctrl-C and
SIGTERM stop reading, wait for what was read, print its numbers, and close the log.

The log is created if DIR does not exist or is empty. Records are the lines' bytes without the newline.

Examples:
  seq 1000000 | untorn log append numbers | tail -1
  tail -F app.log | untorn log append --buffered copy

Exit codes: 0 all is appended; 4 the log is damaged; 10 DIR is something else; 11 another process holds
the log; 12 it belongs to another kind of store; 74 disk full or failing (what has a number is safe)."
)]
pub(crate) struct Append {
    /// The log's directory
    pub(crate) dir: PathBuf,
    /// All lines are one batch: there all or not at all; numbers come after the last line
    #[arg(long)]
    pub(crate) batch: bool,
    /// A number means only that the record survives the death of the process; sync at the end
    #[arg(long)]
    pub(crate) buffered: bool,
}

/// Print the records of a log, each with a newline
#[derive(Debug, Args)]
#[command(
    after_long_help = "Works beside a living owner. Then it ends at the last record that the log itself vouches for, which may
be some milliseconds behind; --written goes on to the last one written. If there is no owner,
every whole record is printed: the next open vouches for it.

With --json each record is an object with `seq` and `utf8`, or `hex` where it is no UTF-8.

Examples:
  untorn log cat events --from 100 --to 200
  untorn log cat events --json | jq -r .utf8

Exit codes: 0 printed; 3 there is nothing; 4 damage; 10 not a log; 12 --from lies below the oldest record."
)]
pub(crate) struct Cat {
    /// The log's directory
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) range: Range,
}

/// What to print, and how.
#[derive(Debug, Args)]
pub(crate) struct Range {
    /// The first number
    #[arg(long, value_name = "SEQ")]
    pub(crate) from: Option<u64>,
    /// The last number
    #[arg(long, value_name = "SEQ")]
    pub(crate) to: Option<u64>,
    /// Print the number and a tab before each
    #[arg(long)]
    pub(crate) seq: bool,
    /// Also what nothing vouches for yet: a power cut may take it back
    #[arg(long)]
    pub(crate) written: bool,
}

/// Print the last records of a log, and those to come
#[derive(Debug, Args)]
#[command(after_long_help = "What --written adds is explained at `untorn log cat`.

Examples:
  untorn log tail events -n 3
  untorn log tail events -f --seq

Exit codes: as of `untorn log cat`; Ctrl-C ends -f with 0.")]
pub(crate) struct Tail {
    /// The log's directory
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) last: Last,
}

/// How much of the end to print, and how.
#[derive(Debug, Args)]
pub(crate) struct Last {
    /// Go on as more come
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many
    #[arg(short, long, default_value_t = 10, value_name = "N")]
    pub(crate) number: u64,
    /// Begin with this number, instead of the last few
    #[arg(long, value_name = "SEQ", conflicts_with = "number")]
    pub(crate) from: Option<u64>,
    /// Print the number and a tab before each
    #[arg(long)]
    pub(crate) seq: bool,
    /// Also what nothing vouches for yet: a power cut may take it back
    #[arg(long)]
    pub(crate) written: bool,
}

/// Drop records at the front or at the back of a log
#[derive(Debug, Args)]
#[command(
    after_long_help = "--front drops whole segments, so that records below SEQ may stay; it prints the first one that does.
--back drops every record above SEQ for good; their numbers are given again.

Examples:
  untorn log truncate events --front 5000
  untorn log truncate events --back 4711

Exit codes: 0 done and durable; 4 damage; 11 another process holds it; 12 it belongs to a store, which
alone may cut it, or SEQ lies below the front."
)]
pub(crate) struct Truncate {
    /// The log's directory
    pub(crate) dir: PathBuf,
    /// Keep the records from SEQ on
    #[arg(long, value_name = "SEQ", conflicts_with = "back", required_unless_present = "back")]
    pub(crate) front: Option<u64>,
    /// Keep the records up to SEQ; 0 keeps none
    #[arg(long, value_name = "SEQ")]
    pub(crate) back: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapCommand {
    /// Show what the headers of a snapshot say
    #[command(after_long_help = "The payload is not read; `untorn snap verify` does.

Example:
  untorn snap show settings.snap

Exit codes: 0 shown; 3 there is nothing; 4 the headers are damaged; 10 no snapshot, or of another version;
12 it is a directory.")]
    Show(SnapFile),
    /// Check every byte of a snapshot
    #[command(
        after_long_help = "Nothing is decoded: whether its program understands it is not looked at.

Example:
  untorn snap verify settings.snap && echo sound

Exit codes: 0 sound; 3 there is nothing; 4 damage, with its offset; 10 no snapshot, or of another version;
12 it is a directory."
    )]
    Verify(SnapFile),
    Put(SnapPut),
    Get(SnapGet),
}

#[derive(Debug, Args)]
pub(crate) struct SnapFile {
    /// The snapshot
    pub(crate) file: PathBuf,
    /// The version that a frame must have
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) frame_version: u32,
}

/// Replace a snapshot by JSON from stdin: whole or not at all, durable when the command returns
#[derive(Debug, Args)]
#[command(
    after_long_help = "stdin must be one JSON value. It is stored without blanks, as a program with untorn writes it; the order
of its keys stays. Ctrl-C leaves FILE as it was.

Examples:
  echo '{\"volume\": 7}' | untorn snap put settings.snap
  untorn snap get a.snap | jq .volume=8 | untorn snap put a.snap

Exit codes: 0 replaced and durable; 2 stdin is no JSON; 3 the directory does not exist; 12 FILE is no
regular file; 74 disk full or failing; 1 too large for the layout, or interrupted."
)]
pub(crate) struct SnapPut {
    /// The snapshot
    pub(crate) file: PathBuf,
    /// How it lies in the file: `frame` takes 4 GiB, `blocks` any size and says the codec
    #[arg(long, value_name = "NAME", default_value = "frame", value_parser = ["frame", "blocks"])]
    pub(crate) layout: String,
    /// The version to write into a frame
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) frame_version: u32,
    /// Permission bits of the new file, in octal
    #[arg(long, value_name = "OCTAL", value_parser = octal)]
    pub(crate) mode: Option<u32>,
}

/// Print the value in a snapshot, if it is JSON
#[derive(Debug, Args)]
#[command(after_long_help = "Every byte is verified before the first one is printed.

Examples:
  untorn snap get settings.snap | jq .
  untorn snap get --raw state.snap > payload

Exit codes: 0 printed; 3 there is nothing; 4 damage; 10 no snapshot, or of another version; 12 it is not
JSON (--raw prints it), or a directory.")]
pub(crate) struct SnapGet {
    /// The snapshot
    pub(crate) file: PathBuf,
    /// Print the bytes of the payload, whatever wrote them, and no newline
    #[arg(long)]
    pub(crate) raw: bool,
    /// The version that a frame must have
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) frame_version: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Print the events of a journal, each with a newline
    #[command(
        after_long_help = "What stands in the log: events that a checkpoint dropped are in no file any more. JSON and raw bytes are
printed as they are, events in other codecs in hex. With --json each event is an object with `seq`, `version` and
`event`, or `utf8` or `hex` where it is no JSON. How it works beside a living owner, and what --written adds, is
explained at `untorn log cat`.

If a snapshot covers damage to the log, events above that snapshot are printed with --from.

Examples:
  untorn journal cat app --from 100 --to 200
  untorn journal cat app --json | jq -c 'select(.event.user == \"ann\")'

Exit codes: 0 printed; 3 there is nothing; 4 damage; 10 not a journal; 12 --from lies below the oldest event."
    )]
    Cat {
        /// The journal's directory
        dir: PathBuf,
        #[command(flatten)]
        range: Range,
    },
    /// Print the last events of a journal, and those to come
    #[command(after_long_help = "Events are printed as `untorn journal cat` does.

Examples:
  untorn journal tail app -n 3
  untorn journal tail app -f --from 88210 --json

Exit codes: as of `untorn journal cat`; Ctrl-C ends -f with 0.")]
    Tail {
        /// The journal's directory
        dir: PathBuf,
        #[command(flatten)]
        last: Last,
    },
    /// Check every byte of a journal, and change none
    #[command(
        after_long_help = "Needs no program: nothing is decoded. Says of each snapshot and of the log whether it is sound, and
whether its program finds the exact state when it opens the journal: damage to the log that a snapshot covers, and a
damaged snapshot beside an older one, cost nothing. A torn tail, as a crash leaves it, is no damage.

Example:
  untorn journal verify app && echo sound

Exit codes: 0 all is sound; 3 there is nothing; 4 damage, with file and offset; 10 not a journal, or of a
newer version."
    )]
    Verify {
        /// The journal's directory
        dir: PathBuf,
    },
    /// Say what a journal is of, how large it is, and who owns it
    #[command(after_long_help = "Reads headers, and the log above the newest snapshot.

Example:
  untorn journal stats app --json | jq .last_seq

Exit codes: 0 told; 3 there is nothing; 4 it is damaged (what can be told is printed); 10 not a journal, or of
a newer version.")]
    Stats {
        /// The journal's directory
        dir: PathBuf,
    },
    /// Make a journal of an artifact that a program exported
    #[command(
        after_long_help = "Every file is compared with the manifest while it is copied, and the copy verified as a journal, before it gets
its name: DIR is there whole and durable, or not at all. The artifact stays as it is.

Example:
  untorn journal import backup/monday app

Exit codes: 0 imported and durable; 3 there is no artifact; 4 a file is not what the manifest says; 10 it is
no artifact of a journal, or of a newer version; 12 DIR exists; 74 disk full or failing."
    )]
    Import {
        /// The artifact
        artifact: PathBuf,
        /// The new journal; missing, or an empty directory
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Time the syncs of a disk, and what sharing them gains
    #[command(
        after_long_help = "Writes 4 KiB and syncs, again and again: into a file that was filled with zeros before, as the log does,
and into one that grows. Then 1 to 64 threads append to a log, each waiting for its record.
Everything is made in a fresh directory in DIR and removed afterwards.

Example:
  untorn bench disk /mnt/data --seconds 20

Exit codes: 0 measured; 3 no such directory; 74 the disk failed or is full; 1 interrupted."
    )]
    Disk {
        /// A directory on the disk
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// How long, about
        #[arg(long, default_value_t = 10, value_name = "N",
              value_parser = clap::value_parser!(u64).range(1..=3600))]
        seconds: u64,
    },
}

/// Show that the stores hold on this disk: kill them, crash them, compare them with the raw disk
#[derive(Debug, Args)]
#[command(after_long_help = "For each store three things:
  kills       a child process writes and reports what was acknowledged; it gets SIGKILL at a random
              moment; the store is reopened and every acknowledged record and file is compared
  explorer    the store runs on a simulated disk; every state that a power cut may leave is
              recovered and checked, and faults are injected into its calls
  throughput  acknowledged writes beside the raw system calls that write and sync the same bytes

--kills and --states count for each store. Without any of --kills, --states and --seconds it takes less
than a minute. With --seconds the kills stop when the time is over. If something fails, the directory is kept
and the evidence in it is named.

Examples:
  untorn prove
  untorn prove /mnt/data --kills 1000 --report proof.html
  untorn prove --store log --seed 42 --json

Exit codes: 0 nothing failed; 4 something was lost, torn or violated; 74 the disk failed; 1 interrupted.")]
pub(crate) struct Prove {
    /// Where to work: a fresh directory in it is used, and removed if nothing failed
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Only this store: log, file, snapshot, journal, chunked, append, fold, pool
    #[arg(long = "store", value_name = "NAME", value_parser = ["log", "file", "snapshot", "journal", "chunked", "append", "fold", "pool"])]
    pub(crate) stores: Vec<String>,
    /// How many SIGKILLs
    #[arg(long, value_name = "N")]
    pub(crate) kills: Option<u64>,
    /// How many crash states
    #[arg(long, value_name = "N")]
    pub(crate) states: Option<u64>,
    /// Stop killing after so many seconds
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<u64>,
    /// Repeat a run's random choices
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// Less of everything: ten seconds at most
    #[arg(long)]
    pub(crate) quick: bool,
    /// Write a page to look at
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
    /// Leave out one sync, which must be found out: exit 4. `list` prints the sites
    #[arg(long, value_name = "SITE", hide_short_help = true, hide = true)]
    pub(crate) without_sync: Option<String>,
}

/// The process that `prove` kills
#[derive(Debug, Args)]
pub(crate) struct ProveChild {
    #[arg(long)]
    pub(crate) store: String,
    #[arg(long)]
    pub(crate) dir: PathBuf,
    #[arg(long)]
    pub(crate) seed: u64,
    #[arg(long)]
    pub(crate) round: u32,
}

/// `A..B`, both of them meant.
fn seq_range(text: &str) -> Result<(u64, u64), String> {
    let ends =
        text.split_once("..").map(|(a, b)| (a.parse(), b.strip_prefix('=').unwrap_or(b).parse()));
    match ends {
        Some((Ok(first), Ok(last))) if first <= last => Ok((first, last)),
        _ => Err("not a range of numbers such as 51200..53000".to_owned()),
    }
}

/// `12h` or `30d`.
fn age(text: &str) -> Result<Duration, String> {
    let unit = |end: char, seconds: u64| text.strip_suffix(end).map(|digits| (digits, seconds));
    let parsed = unit('h', 3600).or_else(|| unit('d', 86_400)).and_then(|(digits, seconds)| {
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| all)?.checked_mul(seconds)
    });
    parsed.map(Duration::from_secs).ok_or_else(|| "not a time such as 12h or 30d".to_owned())
}

pub(crate) fn octal(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => Err("not an octal mode such as 640".to_owned()),
    }
}

fn blake3_hex(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(text);
    }
    Err("not a BLAKE3 digest of 64 hex digits, as `untorn inspect FILE` and b3sum print".to_owned())
}
