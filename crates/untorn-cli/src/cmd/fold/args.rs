//! The command line of `untorn fold`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

/// Work on a fold: a local copy of a key-value stream, with the cursor to go on at
#[derive(Debug, Subcommand)]
#[command(
    after_long_help = "A fold has the latest value of each key, and in the same commit the position in the stream up to
which it has them. Updates come as lines of JSON; `rev` is where in the stream a line is, a number
(`rev_hex`: any bytes), and the version of its key:

  {\"op\":\"put\",\"key\":\"route/api\",\"value\":\"10.0.0.1:8080\",\"rev\":1}
  {\"op\":\"put\",\"key\":\"cert/api\",\"value_b64\":\"MIIBCgKCAQEA/wA=\",\"rev\":5}
  {\"op\":\"delete\",\"key\":\"route/blog\",\"rev\":13}
  {\"op\":\"purge\",\"key\":\"cert/shop\",\"rev\":16}
  {\"op\":\"progress\",\"rev\":24}

20 such lines are in crates/untorn-cli/tests/data/routes.ndjson. Commands that only read take no lock
and work beside a living owner.

Examples:
  untorn fold apply edge < routes.ndjson
  untorn fold range edge route/
  untorn fold follow edge --from feed.ndjson
  untorn fold export edge /backup/edge.1"
)]
pub(crate) enum FoldCommand {
    /// Say how many keys a fold has, how large it is and how far
    #[command(
        after_long_help = "Reads every entry. `live` is the bytes of keys, values and versions.

Example:
  untorn fold stats edge --json | jq .keys

Exit codes: 0 told; 3 there is nothing; 4 damage; 10 not a fold, or of a newer version."
    )]
    Stats(FoldDir),
    Get(FoldGet),
    Range(FoldRange),
    /// Print how far a fold has the stream: a number, or bytes in hex, or `none`
    #[command(
        after_long_help = "What comes behind it is what the fold does not have: a stream that is resumed there misses nothing and
repeats nothing. With --json it is `cursor_hex`, as manifests have it, `rev` or `rev_hex`.

Example:
  untorn fold cursor edge

Exit codes: 0 printed; 3 there is nothing; 4 damage; 10 not a fold."
    )]
    Cursor(FoldDir),
    /// Apply lines of JSON from stdin, durably, and print how many and the cursor
    #[command(
        after_long_help = "DIR becomes a fold if it does not exist or is empty. Up to 1000 lines are one commit, durable with its
cursor before the next one begins; kill it and feed the same lines again: those that the fold had are
dropped. Ctrl-C and SIGTERM stop reading; what was read is committed. What the lines are: `untorn
fold --help`.

Example:
  untorn fold apply edge < crates/untorn-cli/tests/data/routes.ndjson

Exit codes: 0 all is applied; 1 a line cannot be used, or the last one is torn, or it was interrupted (what
precedes is applied); 4 the fold is damaged; 10 DIR is something else; 11 another process holds it; 74
disk full or failing (what was applied is safe)."
    )]
    Apply(FoldDir),
    Follow(FoldFollow),
    Watch(FoldWatch),
    Export(FoldExport),
    /// Make a fold of an artifact
    #[command(
        after_long_help = "Every file is compared with the manifest while it is copied; the copy is opened, and has the manifest's
cursor, before it gets its name: DIR is there whole and durable, or not at all.

Example:
  untorn fold import /backup/edge.1 edge

Exit codes: 0 imported and durable; 3 there is no artifact; 4 a file is not what the manifest says; 10 it is
no artifact of a fold, or of a newer version; 12 DIR exists; 74 disk full or failing."
    )]
    Import {
        /// The artifact
        artifact: PathBuf,
        /// The new fold; missing, or an empty directory
        dir: PathBuf,
    },
    /// Merge everything that was applied into the base
    #[command(
        after_long_help = "An owner does it by itself when there is enough. After it the fold opens at once, and has no garbage.

Example:
  untorn fold compact edge

Exit codes: 0 done and durable; 3 there is nothing; 4 damage; 10 not a fold; 11 another process holds
it; 74 disk full or failing (the fold is as before)."
    )]
    Compact(FoldDir),
    /// Print a digest of all entries, and the cursor
    #[command(
        after_long_help = "BLAKE3 of keys, versions and values in order. Two folds with the same digest have the same entries,
however they came to them.

Example:
  untorn fold digest edge

Exit codes: 0 printed; 3 there is nothing; 4 damage; 10 not a fold."
    )]
    Digest(FoldDir),
    Diff(FoldDiff),
    /// Check every byte of a fold, and change none
    #[command(
        after_long_help = "Reads the log through, and every block and value of the base. `untorn verify` does the same. A torn
tail, as a crash leaves it, is no damage.

Example:
  untorn fold verify edge && echo sound

Exit codes: 0 sound; 3 there is nothing; 4 damage, with file and offset, the last good cursor and what is
intact behind; 10 not a fold, or of a newer version."
    )]
    Verify(FoldDir),
    /// Keep of a damaged fold all that is provably good, as `untorn recover --salvage` does
    #[command(after_long_help = "\
The original is copied to the fold's quarantine first. Behind damage in the log every commit is kept that
verifies, and the cursor is the last one before it; of a damaged base the keys that cannot be read are named,
and the cursor is none: have the source listed again.

Examples:
  untorn fold salvage edge           # says what would be kept
  untorn fold salvage edge --yes

Exit codes: 0 there is nothing to do; 3 there is nothing; 4 damage, and --yes was not given; 5 done, with a loss;
10 not a fold; 11 another process has it open.")]
    Salvage {
        /// The fold's directory
        dir: PathBuf,
        /// Do it, not only say it
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FoldDir {
    /// The fold's directory
    pub(crate) dir: PathBuf,
}

/// Print the value of a key, and a newline
#[derive(Debug, Args)]
#[command(
    disable_version_flag = true,
    after_long_help = "With --json it is the line that puts it.

Examples:
  untorn fold get edge route/api
  untorn fold get edge cert/api --raw > cert.der

Exit codes: 0 printed; 3 there is no such key, or no fold; 4 damage; 10 not a fold."
)]
pub(crate) struct FoldGet {
    /// The fold's directory
    pub(crate) dir: PathBuf,
    /// The key
    pub(crate) key: String,
    /// Print its version and a tab before it
    #[arg(long, conflicts_with = "raw")]
    pub(crate) version: bool,
    /// Print the bytes of the value, and no newline
    #[arg(long)]
    pub(crate) raw: bool,
}

/// Print the entries whose keys begin with a prefix, each key with a tab and its value
#[derive(Debug, Args)]
#[command(
    after_long_help = "In ascending order of the bytes of their keys, as of one commit. Values are printed as they are;
--ndjson, or --json, prints the lines that put them, whatever is in them. They are in the order of keys,
not of the stream: a copy that was made of some of them is not up to any cursor.

Examples:
  untorn fold range edge route/ --keys
  untorn fold range edge --limit 100 --after route/docs
  untorn fold range edge --count

Exit codes: 0 printed, also if there are none; 3 there is nothing; 4 damage; 10 not a fold."
)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub(crate) struct FoldRange {
    /// The fold's directory
    pub(crate) dir: PathBuf,
    /// What the keys begin with
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    /// So many at most
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Only what comes after this key
    #[arg(long, value_name = "KEY")]
    pub(crate) after: Option<String>,
    /// Only the keys
    #[arg(long)]
    pub(crate) keys: bool,
    /// From the last to the first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Print lines of JSON
    #[arg(long)]
    pub(crate) ndjson: bool,
    /// Print only how many
    #[arg(long, conflicts_with_all = ["limit", "after", "keys", "reverse", "ndjson"])]
    pub(crate) count: bool,
}

/// Keep a fold up to date with a file of lines that grows, or with stdin
#[derive(Debug, Args)]
#[command(
    after_long_help = "Goes on behind the fold's cursor. A file is followed as it grows; a last line without an end waits for it.
Ctrl-C, SIGTERM and the end of stdin end it after a last sync, with 0. The fold remembers the name of
its source, which is the path, or `stdin`, or what --name says: another one is refused, and so is a file that
ends before the cursor. What the lines are: `untorn fold --help`.

--repair says what to do if the source does not have what follows the cursor any more: `relist` compares with all
that it has now, in one commit; `auto` does so where that is known to be the truth; `fail` ends.

Examples:
  untorn fold follow edge --from feed.ndjson --prefix route/ --prefix cert/
  produce | untorn fold follow edge --from -

Exit codes: 0 ended in order; 1 a line cannot be used, or the last one of stdin is torn; 3 there is no FILE; 4 the fold is
damaged; 10 DIR is something else; 11 another process holds it; 12 another source, or an older state of it; 74
disk full or failing."
)]
pub(crate) struct FoldFollow {
    /// The fold's directory
    pub(crate) dir: PathBuf,
    /// The file to follow; - for stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// Only keys that begin with this; may be given several times
    #[arg(long = "prefix", value_name = "P")]
    pub(crate) prefixes: Vec<String>,
    /// What to do about a gap
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = ["auto", "fail", "relist"])]
    pub(crate) repair: String,
    /// The name under which the source is known again
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// Print changes of a fold that another process owns, as lines of JSON
#[derive(Debug, Args)]
#[command(
    after_long_help = "Looks again and again, and prints what is different: of a key that changed twice between two looks the
last value. After each look with changes comes a line `progress` with the cursor.

Examples:
  untorn fold watch edge route/
  untorn fold watch edge --all --timeout 60

Exit codes: 0 ended by Ctrl-C or --timeout; 3 there is nothing; 4 damage; 10 not a fold."
)]
pub(crate) struct FoldWatch {
    /// The fold's directory
    pub(crate) dir: PathBuf,
    /// What the keys begin with
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    /// Begin with what is there
    #[arg(long)]
    pub(crate) all: bool,
    /// End after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// Milliseconds between two looks
    #[arg(long, value_name = "MS", default_value_t = 200,
          value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) interval: u64,
}

impl FoldWatch {
    pub(super) const fn pause(&self) -> Duration {
        Duration::from_millis(self.interval)
    }
}

/// Write a fold as an artifact: files and a manifest with their digests
#[derive(Debug, Args)]
#[command(
    after_long_help = "It is one state, whatever is applied meanwhile. DEST is there whole and durable, or not at all.

Examples:
  untorn fold export edge /backup/edge.1
  untorn fold export edge routes --scope route/ --digest

Exit codes: 0 written and durable; 3 there is nothing; 4 damage; 10 not a fold; 12 DEST exists; 74 disk
full or failing."
)]
pub(crate) struct FoldExport {
    /// The fold's directory
    pub(crate) dir: PathBuf,
    /// The artifact; missing, or an empty directory
    pub(crate) dest: PathBuf,
    /// Only keys that begin with this; may be given several times
    #[arg(long = "scope", value_name = "P")]
    pub(crate) scope: Vec<String>,
    /// Put a digest of the entries into the manifest, which an import compares
    #[arg(long)]
    pub(crate) digest: bool,
}

/// Say which keys differ between two folds
#[derive(Debug, Args)]
#[command(
    after_long_help = "A line for each key: `+` only B has it, `-` only A has it, `~` both, with different values or versions.
--ndjson, or --json, prints the lines that make A the same as B, and B's cursor.

Example:
  untorn fold diff edge.old edge --exit-code > /dev/null || echo they differ

Exit codes: 0 compared; 3 there is nothing; 4 damage; 10 not a fold; 12 they differ (--exit-code)."
)]
pub(crate) struct FoldDiff {
    /// A fold
    pub(crate) a: PathBuf,
    /// Another
    pub(crate) b: PathBuf,
    /// Print lines of JSON
    #[arg(long)]
    pub(crate) ndjson: bool,
    /// End with 12 if any key differs
    #[arg(long)]
    pub(crate) exit_code: bool,
}
