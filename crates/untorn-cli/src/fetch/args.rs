//! The command line of `untorn fetch` and `untorn chunk`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use untorn::chunked::Expected;

use super::sum;

/// Fetch a file over HTTP: in parallel, resumable, verified, and published whole
#[derive(Debug, Args)]
#[command(
    after_long_help = "The file grows in FILE.part; FILE itself shows what it showed before until all bytes are there, verified
and durable. After Ctrl-C, kill -9 or a power cut run the same command again: what was made durable is not fetched a
second time. If the remote file changed meanwhile, nothing is mixed: the command ends with 12, and --restart
starts over.

What tells whether it changed is the server's ETag, its date with the length, or --sum. If there is none of them,
it says once that it cannot resume.

While it fills, others may read: `untorn chunk cat --follow FILE`.

Examples:
  untorn fetch https://h/model.gguf model.gguf -j4 --sum sha256:9f2c..
  untorn fetch https://h/film.mkv film.mkv --checkpoint 4M & untorn chunk cat --follow film.mkv | mpv -
  untorn fetch https://h/backup.tar - --sum blake3:64d1.. | tar x

Exit codes: 0 FILE is whole and durable; 3 there is no such file on the server, or no such directory here; 4 the
digest does not match; 10 FILE.part is not ours; 11 another process fills it (--wait waits for it); 12 the remote
file changed, or FILE exists (--no-clobber) or is a directory; 74 the network or the disk; 1 refused, or
interrupted: what came in is kept."
)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub(crate) struct Fetch {
    /// Where it is: https:// or http://, also with user:password@
    pub(crate) url: String,
    /// Where it goes; `-` is stdout, in order
    pub(crate) file: PathBuf,
    /// How many connections
    #[arg(short, long, default_value_t = 4, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: u16,
    /// The digest it must have: blake3:HEX or sha256:HEX
    #[arg(long, value_name = "ALGO:HEX", value_parser = sum::parse)]
    pub(crate) sum: Option<Expected>,
    /// A header to send, such as 'Authorization: Bearer ..'
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
    /// Refuse a file of more bytes
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) max_size: Option<u64>,
    /// Leave a FILE that exists as it is
    #[arg(long)]
    pub(crate) no_clobber: bool,
    /// Bytes per second, of all connections together
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) limit_rate: Option<u64>,
    /// Give FILE the date that the server says
    #[arg(long)]
    pub(crate) remote_time: bool,
    /// Permission bits of the new file, in octal
    #[arg(long, value_name = "OCTAL", value_parser = crate::args::octal)]
    pub(crate) mode: Option<u32>,
    /// Make durable what came in each time that it is so much
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = bytes)]
    pub(crate) checkpoint: u64,
    /// Drop what an earlier run kept
    #[arg(long)]
    pub(crate) restart: bool,
    /// If another process fills it, wait until that is done
    #[arg(long, conflicts_with = "restart")]
    pub(crate) wait: bool,
}

/// Look into a file that fills, read from it, mend it
#[derive(Debug, Subcommand)]
#[command(
    after_long_help = "FILE is the name that the finished file has or will have, not that of FILE.part.

Examples:
  untorn chunk status model.gguf --json | jq .missing
  untorn chunk cat --follow film.mkv | mpv -
  untorn chunk verify model.gguf || untorn chunk repair model.gguf"
)]
pub(crate) enum ChunkCommand {
    /// Say how much of a file is there, and who fills it
    #[command(
        after_long_help = "Counts what is durable; what came in since the last checkpoint is not counted.

Example:
  untorn chunk status model.gguf

Exit codes: 0 told; 3 there is nothing; 4 its map is damaged; 10 FILE.part is not ours, or of a newer version."
    )]
    Status(ChunkFile),
    /// Print the ranges that are there, first byte and end of each
    #[command(
        after_long_help = "Ends are exclusive: 0..10 are ten bytes. With --json each range is an object.

Example:
  untorn chunk map model.gguf

Exit codes: as of `untorn chunk status`."
    )]
    Map(ChunkFile),
    /// Wait until bytes of a file are there, or all of it
    #[command(
        after_long_help = "Waits for what is durable. Ends early when nobody fills it any more.

Examples:
  untorn chunk wait model.gguf && ./serve model.gguf
  untorn chunk wait model.gguf --range 0..1M

Exit codes: 0 they are there; 3 there is nothing; 12 its writer is gone, or the range lies behind the end;
1 interrupted, or --timeout is over."
    )]
    Wait {
        /// The file
        file: PathBuf,
        /// Only these bytes, the end exclusive
        #[arg(long, value_name = "A..B", value_parser = byte_range)]
        range: Option<std::ops::Range<u64>>,
        /// Wait at most so long
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
    },
    /// Print the bytes of a file, also while it fills
    #[command(
        after_long_help = "Stops at the first missing byte; with --follow it waits there, goes on to the end, and ends with 0 only when the file
is committed. It shows what is durable: a fetch with a small --checkpoint shows it sooner. With --follow a fetch may
begin up to 10 s later.

Examples:
  untorn chunk cat --follow film.mkv | mpv -
  untorn chunk cat model.gguf --range 0..64 | xxd

Exit codes: 0 printed; 3 there is nothing; 12 bytes are missing, and with --follow nobody brings them; 4 damage;
74 a read failed; 1 interrupted."
    )]
    Cat {
        /// The file
        file: PathBuf,
        /// Wait for bytes that are missing
        #[arg(short, long)]
        follow: bool,
        /// Only these bytes, the end exclusive
        #[arg(long, value_name = "A..B", value_parser = byte_range)]
        range: Option<std::ops::Range<u64>>,
    },
    /// Check the bytes that are there against their checksums, and change none
    #[command(
        after_long_help = "A finished file has no checksums of ours: give `untorn fetch` a --sum.

Example:
  untorn chunk verify model.gguf && echo sound

Exit codes: 0 sound; 3 there is nothing; 4 damage, with its ranges; 10 not ours, or of a newer version."
    )]
    Verify(ChunkFile),
    /// Forget the bytes that do not match their checksums, so that they are fetched again
    #[command(
        after_long_help = "Takes the file as its writer does; the next `untorn fetch` gets what is missing then.

Example:
  untorn chunk repair model.gguf && untorn fetch https://h/model.gguf model.gguf

Exit codes: 0 nothing was damaged; 5 it was, and is forgotten; 3 there is nothing; 11 another process fills it."
    )]
    Repair(ChunkFile),
    /// Drop what came in of a file that was never finished
    #[command(after_long_help = "FILE itself stays as it is.

Says first what would be lost, and does nothing without --yes.

Examples:
  untorn chunk abandon model.gguf
  untorn chunk abandon model.gguf --yes

Exit codes: 0 dropped, or told what would be; 3 there is nothing; 10 FILE.part is not ours; 11 another process
fills it.")]
    Abandon {
        /// The file
        file: PathBuf,
        /// Do it, not only say it
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ChunkFile {
    /// The file
    pub(crate) file: PathBuf,
}

/// `NAME: VALUE`.
fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() && !name.contains(char::is_whitespace) => {
            Ok((name.to_owned(), value.trim().to_owned()))
        }
        // It is not repeated: it may be a secret.
        _ => Err("not a header such as 'Accept: text/plain'".to_owned()),
    }
}

/// A count of bytes: digits, and K, M, G or T for powers of 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "not a count of bytes such as 4096, 64K, 10M, 2G".to_owned();
    let text = text.strip_suffix("iB").unwrap_or(text);
    let shift = match text.as_bytes().last() {
        Some(b'K' | b'k') => 10,
        Some(b'M' | b'm') => 20,
        Some(b'G' | b'g') => 30,
        Some(b'T' | b't') => 40,
        _ => 0,
    };
    let digits = if shift == 0 { text } else { text.get(..text.len() - 1).unwrap_or_default() };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    count.checked_mul(1 << shift).filter(|count| *count > 0).ok_or_else(wrong)
}

/// `A..B`, the end exclusive; sizes may be written as for `--max-size`.
fn byte_range(text: &str) -> Result<std::ops::Range<u64>, String> {
    let number = |text: &str| if text == "0" { Ok(0) } else { bytes(text) };
    let ends = text.split_once("..").map(|(a, b)| (number(a), number(b)));
    match ends {
        Some((Ok(start), Ok(end))) if start < end => Ok(start..end),
        _ => Err("not a range of bytes such as 0..1M".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Parser};

    #[derive(Debug, Parser)]
    #[command(no_binary_name = true)]
    enum Cli {
        Fetch(Box<Fetch>),
        #[command(subcommand)]
        Chunk(ChunkCommand),
    }

    fn fetch(args: &[&str]) -> Result<Box<Fetch>, clap::Error> {
        let args = ["fetch", "http://h/f", "f"].iter().chain(args);
        match Cli::try_parse_from(args)? {
            Cli::Fetch(fetch) => Ok(fetch),
            Cli::Chunk(_) => unreachable!(),
        }
    }

    #[test]
    fn what_fetch_takes() {
        Cli::command().debug_assert();
        let plain = fetch(&[]).unwrap();
        assert_eq!((plain.jobs, plain.checkpoint, plain.sum), (4, 64 << 20, None));
        let digits = "9f".repeat(32);
        let sum = format!("sha256:{digits}");
        let all = fetch(&[
            "-j16",
            "--sum",
            &sum,
            "--header",
            "A: b: c",
            "--header",
            "D:",
            "--max-size",
            "2G",
            "--limit-rate",
            "500K",
            "--mode",
            "640",
            "--checkpoint",
            "1MiB",
            "--wait",
        ]);
        let all = all.unwrap();
        assert_eq!((all.jobs, all.mode, all.checkpoint), (16, Some(0o640), 1 << 20));
        assert_eq!((all.max_size, all.limit_rate), (Some(2 << 30), Some(512_000)));
        let pairs = [("A", "b: c"), ("D", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(all.headers, pairs);
        assert_eq!(all.sum.unwrap().sum, [0x9f; 32]);
        for wrong in [
            &["-j0"][..],
            &["-j65"],
            &["--sum", "md5:00"],
            &["--header", "secret"],
            &["--max-size", "many"],
            &["--max-size", "0"],
            &["--max-size", "K"],
            &["--max-size", "+5"],
            &["--max-size", "99999999999T"],
            &["--mode", "999"],
            &["--wait", "--restart"],
        ] {
            assert!(fetch(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_chunk_takes() {
        let chunk = |args: &[&str]| Cli::try_parse_from([&["chunk"], args].concat());
        for name in ["status", "map", "verify", "repair", "abandon", "wait", "cat"] {
            assert!(chunk(&[name, "f"]).is_ok(), "{name}");
            assert!(chunk(&[name]).is_err(), "{name}");
        }
        let cat = chunk(&["cat", "-f", "f", "--range", "0..1K"]).unwrap();
        let Cli::Chunk(ChunkCommand::Cat { follow, range, .. }) = cat else { unreachable!() };
        assert_eq!((follow, range), (true, Some(0..1024)));
        for range in ["", "1", "..", "5..5", "6..5", "0..", "..5", "a..b", "0..0", "0...5", "-1..5"]
        {
            assert!(chunk(&["wait", "f", "--range", range]).is_err(), "{range}");
        }
    }
}
