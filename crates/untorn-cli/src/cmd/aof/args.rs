//! The command line of `untorn aof`.

use std::ops::Range;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Work on an append-only file of elements: append, read, rewind, prune, follow
#[derive(Debug, Subcommand)]
#[command(
    after_long_help = "FILE is the data file, which has the elements and nothing else; what belongs to it is in
FILE.untorn. Positions are numbers from 0 on, ranges A..B leave B out. A file of a group can be
looked at by its own name; what writes opens the group, which is for its program to do.

Examples:
  untorn aof append events.dat --variable < lines.txt
  untorn aof cat events.dat 17..19 --hex
  untorn aof tail -f events.dat
  untorn aof show events.dat"
)]
pub(crate) enum AofCommand {
    Create(AofCreate),
    Append(AofAppend),
    /// Keep the first elements, and take those behind them away
    #[command(after_long_help = "One commit: all of those elements are gone, or none.

Example:
  untorn aof rewind events.dat 51000

Exit codes: 0 done and durable; 3 there is no such file; 4 damage; 11 another process holds it; 12
it has fewer elements, those before POS were dropped, or it belongs to a group.")]
    Rewind(AofAt),
    /// Drop the elements before a position, and give their space back; positions stay
    #[command(
        after_long_help = "Needs no copy: whole blocks of 16 KiB become a hole in the file. Where the file system has no
holes, they are dropped and their space stays; `untorn aof compact` gives it back.

Example:
  untorn aof drop-head samples.dat 2000

Exit codes: as of `untorn aof rewind`."
    )]
    DropHead(AofAt),
    Compact(AofCompact),
    /// Print the note of the last commit that had one
    #[command(
        after_long_help = "A program leaves there what belongs to its commit, such as the hash of a block. Nothing is printed
if there is none. With --json it is `utf8`, or `hex` where it is no UTF-8.

Example:
  untorn aof note chain

Exit codes: 0 printed; 3 there is no such file; 4 damage; 11 another process holds it."
    )]
    Note(AofFile),
    /// Say how large a file and what belongs to it are
    #[command(
        after_long_help = "`data` is the length of the file, `on disk` what it takes there: less, where a head was dropped.

Example:
  untorn aof stats samples.dat --json | jq .on_disk

Exit codes: 0 told; 3 there is no such file; 4 damage."
    )]
    Stats(AofFile),
    /// Say what a file is, in a line
    #[command(
        after_long_help = "Of a group a line for each of its files. Works beside a living owner. It is `open` while a process
holds it; else `clean` if it was closed in order, or `not closed`: the next open heals it. Of more
than 64 MiB, where that takes long to find out, it is `free`; `untorn recover --dry-run` says it.

Example:
  untorn aof show events.dat

Exit codes: 0 shown; 3 there is no such file; 4 damage; 10 it is of a newer version."
    )]
    Show(AofFile),
    Cat(AofCat),
    Tail(AofTail),
    /// Check every byte of a file, and change none
    #[command(
        after_long_help = "Names the blocks of 16 KiB that do not match their checksums, and the elements in them. What a
crash left behind the last commit is no damage: nobody was told that it was written. `untorn
verify` does the same.

Example:
  untorn aof verify events.dat && echo sound

Exit codes: 0 sound; 3 there is no such file; 4 damage, with offset and elements; 10 it is of a
newer version."
    )]
    Verify(AofFile),
    /// Write the sizes of the elements as `grin_store` keeps them
    #[command(
        name = "export-sizes",
        after_long_help = "TO is replaced whole, and durable when the command returns. Ten bytes an element: where it begins
and how long it is.

Example:
  untorn aof export-sizes pmmr_data.bin pmmr_size.bin

Exit codes: 0 written; 1 an element is longer than that file can say (65 535 bytes); 2 the
elements are of one size; 3 there is no such file; 4 damage; 11 another process holds it; 12 its
head was dropped, or it belongs to a group."
    )]
    ExportSizes {
        /// The data file, with elements of variable size
        file: PathBuf,
        /// The file to write
        to: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AofFile {
    /// The data file, or the home of a group
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct AofAt {
    /// The data file
    pub(crate) file: PathBuf,
    /// So many elements, from the first one that ever was
    pub(crate) pos: u64,
}

/// How large the elements of a new file are.
#[derive(Debug, Args)]
pub(crate) struct Sizes {
    /// All elements have N bytes
    #[arg(long, value_name = "N", conflicts_with = "variable",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) fixed: Option<u32>,
    /// Elements differ in size
    #[arg(long)]
    pub(crate) variable: bool,
}

/// Make an append-only file, or take a plain file of elements over as one
#[derive(Debug, Args)]
#[command(
    disable_version_flag = true,
    after_long_help = "If FILE has bytes already, they are taken as elements and stay where they are: of fixed size as
they lie, of variable size as --size-file says. Part of an element at the end is cut, with a copy.

Examples:
  untorn aof create hashes.bin --fixed 32
  untorn aof create pmmr_data.bin --variable --size-file pmmr_size.bin

Exit codes: 0 made and durable; 3 no such directory; 4 the file of sizes does not go with the
data; 12 it is one already; 74 disk full or failing."
)]
pub(crate) struct AofCreate {
    /// The data file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) sizes: Sizes,
    /// The version of the elements' encoding, which programs that open it must name
    #[arg(long, value_name = "V", default_value_t = 0)]
    pub(crate) version: u32,
    /// Where `grin_store` has the sizes of the elements; it is read, and not changed
    #[arg(long, value_name = "FILE", requires = "variable")]
    pub(crate) size_file: Option<PathBuf>,
}

/// Append the lines of stdin as elements
#[derive(Debug, Args)]
#[command(
    after_long_help = "All of stdin is one commit: there whole or not at all. With --batch each N elements are one, and
its line on stdout is a promise: those elements survive a power cut. What is larger than 64 MiB,
or a million elements, is more than one commit in any case. Ctrl-C and SIGTERM drop what has no
line yet.

FILE is made if it does not exist, and then --fixed or --variable must be given.

Examples:
  untorn aof append events.dat --variable < lines.txt
  sha256sum * | cut -c-64 | untorn aof append hashes.bin --fixed 32 --hex
  untorn aof append samples.dat --raw --batch 1000 < samples.bin

Exit codes: 0 all is appended and durable; 2 an element has the wrong size, or is no hex; 3 there
is no such file, and it was not said what to make; 4 damage; 11 another process holds it; 12 it
has elements of another size, or belongs to a group; 74 disk full or failing; 1 interrupted."
)]
pub(crate) struct AofAppend {
    /// The data file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) sizes: Sizes,
    /// Lines are hex
    #[arg(long, conflicts_with = "raw")]
    pub(crate) hex: bool,
    /// No lines: elements of fixed size, one after the other
    #[arg(long)]
    pub(crate) raw: bool,
    /// So many elements are a commit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) batch: Option<u64>,
    /// A note for each commit, as `untorn aof note` prints it
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

/// Drop elements anywhere in a file; positions shift
#[derive(Debug, Args)]
#[command(
    after_long_help = "LIST has a position or a range A..B on each line, in rising order; `-` is stdin. What is kept is
copied, and the copy takes the file's name: after a crash it is the old file or the new one.

Examples:
  untorn aof compact events.dat --from dead.txt --dry-run
  echo 0..1000 | untorn aof compact events.dat --from -

Exit codes: 0 done and durable; 2 LIST has something else, or does not rise; 3 there is no such
file; 4 damage, and nothing was changed; 11 another process holds it; 12 a position is behind the
end or was dropped, or it belongs to a group; 74 disk full or failing."
)]
pub(crate) struct AofCompact {
    /// The data file
    pub(crate) file: PathBuf,
    /// The positions of the elements to drop
    #[arg(long, value_name = "LIST")]
    pub(crate) from: PathBuf,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How elements are printed.
#[derive(Debug, Args)]
pub(crate) struct Form {
    /// In hex
    #[arg(long, conflicts_with = "raw")]
    pub(crate) hex: bool,
    /// The bytes alone, with no newline behind an element
    #[arg(long)]
    pub(crate) raw: bool,
    /// Print the position and a tab before each
    #[arg(long, conflicts_with = "raw")]
    pub(crate) pos: bool,
}

/// Print elements, each with a newline
#[derive(Debug, Args)]
#[command(
    after_long_help = "Works beside a living owner, and shows one of its states. With --json each element is an object
with `position` and `utf8`, or `hex` where it is no UTF-8.

Examples:
  untorn aof cat events.dat 17..19 --hex
  untorn aof cat events.dat 100.. --pos
  untorn aof cat hashes.bin --raw > copy

Exit codes: 0 printed; 3 there is no such file; 4 damage, with offset and elements; 12 RANGE ends
behind the last element, or begins before the first that is kept."
)]
pub(crate) struct AofCat {
    /// The data file
    pub(crate) file: PathBuf,
    /// A position, or a range such as 17..19, 17.., ..19
    #[arg(value_name = "RANGE", value_parser = positions)]
    pub(crate) range: Option<Positions>,
    #[command(flatten)]
    pub(crate) form: Form,
}

/// Print the last elements, and those to come
#[derive(Debug, Args)]
#[command(
    after_long_help = "-f prints elements as they become durable. If the owner takes some back, it says so on stderr,
with --json as an object with `rewound_to` between the elements.

Examples:
  untorn aof tail events.dat -n 3
  untorn aof tail -f samples.dat --hex --pos

Exit codes: as of `untorn aof cat`; Ctrl-C ends -f with 0."
)]
pub(crate) struct AofTail {
    /// The data file
    pub(crate) file: PathBuf,
    /// Go on as more come
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many
    #[arg(short, long, visible_alias = "from-end", default_value_t = 10, value_name = "N")]
    pub(crate) number: u64,
    /// Begin with this position, instead of the last few
    #[arg(long, value_name = "POS", conflicts_with = "number")]
    pub(crate) from: Option<u64>,
    #[command(flatten)]
    pub(crate) form: Form,
}

/// A range whose ends may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Positions {
    pub(crate) start: Option<u64>,
    pub(crate) end: Option<u64>,
}

fn positions(text: &str) -> Result<Positions, String> {
    let wrong = || "not a position or a range such as 17, 17..19, 17.. or ..19".to_owned();
    let number = |text: &str| match text {
        "" => Ok(None),
        text => text.parse::<u64>().map(Some).map_err(|_| wrong()),
    };
    let Some((start, end)) = text.split_once("..") else {
        let start = number(text)?.ok_or_else(wrong)?;
        return Ok(Positions { start: Some(start), end: start.checked_add(1) });
    };
    let range = Positions { start: number(start)?, end: number(end)? };
    let rises = range.end.is_none_or(|end| range.start.unwrap_or(0) <= end);
    if rises { Ok(range) } else { Err(wrong()) }
}

/// A line of a list of positions: one, or a range.
pub(super) fn listed(line: &str) -> Option<Range<u64>> {
    let Some((start, end)) = line.split_once("..") else {
        let start: u64 = line.parse().ok()?;
        return Some(start..start.checked_add(1)?);
    };
    let range = start.parse().ok()?..end.parse().ok()?;
    (range.start <= range.end).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let range = |start, end| Ok(Positions { start, end });
        assert_eq!(positions("17"), range(Some(17), Some(18)));
        assert_eq!(positions("17..19"), range(Some(17), Some(19)));
        assert_eq!(positions("17.."), range(Some(17), None));
        assert_eq!(positions("..19"), range(None, Some(19)));
        assert_eq!(positions(".."), range(None, None));
        for wrong in ["", "a", "5..4", "1..2..3", "-1", "1..=2", "1.5"] {
            assert!(positions(wrong).is_err(), "{wrong}");
        }
        assert_eq!((listed("7"), listed("7..9")), (Some(7..8), Some(7..9)));
        for wrong in ["", "..", "7..", "9..7", " 7", "18446744073709551615"] {
            assert_eq!(listed(wrong), None, "{wrong}");
        }
    }
}
