//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::Result;
use crate::cases::NAMES;

const USAGE: &str = "\
usage: untorn-bench [CASE]... [--dir DIR] [--rounds N] [--quick] [--awake] [--json]
                    [--seconds N] [--mib N] [--log-mib N] [--keys N]

  CASE        single, threads, window, buffered, replay, rolls, open, update, endure, frame, blocks, recovery, reopen,
              fresh; chunk-order, chunk-random, chunk-4k, chunk-read, chunk-active, chunk-calls, chunk-wake, chunk-waiters,
              chunk-many, chunk-open; append-fixed, append-varied, append-single, append-group, append-memory, append-read,
              append-typed, append-lookup, append-touch, append-beside, append-crowd, append-open, append-reopen,
              append-rewind, append-compact, append-head, append-copy; fold-load, fold-synced, fold-pgss; all by default. chunk, append and
              fold are all that begin so
  --dir DIR   where the files go, and are removed from; the current directory by default
  --rounds N  interleaved rounds of each case; 7 by default, 3 with --quick
  --quick     less of everything: to see that it runs, not to quote
  --awake     keeps the processors from idling meanwhile (needs chrt): see README.md
  --json      one object instead of the table
  --seconds N how long endure lasts; 20 by default, 5 with --quick
  --mib N     how large a snapshot frame, blocks and reopen write; 100 by default, 10 with --quick
  --log-mib N how long a log reopen opens; 256 by default, 25 with --quick
  --keys N    how many keys a fold has; 1000000 by default, 20000 with --quick";

/// What to run, and how much of it.
#[derive(Debug)]
pub struct Args {
    pub cases: Vec<String>,
    pub dir: PathBuf,
    pub rounds: usize,
    pub quick: bool,
    pub awake: bool,
    pub json: bool,
    pub seconds: u64,
    /// Of a snapshot.
    pub mib: usize,
    /// Of a log.
    pub log_mib: usize,
    /// Of a fold.
    pub keys: u64,
}

impl Args {
    /// `None` if only the usage was asked for, which is printed.
    pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Option<Self>> {
        let mut parsed = Self {
            cases: Vec::new(),
            dir: PathBuf::from("."),
            rounds: 0,
            quick: false,
            awake: false,
            json: false,
            seconds: 0,
            mib: 0,
            log_mib: 0,
            keys: 0,
        };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--dir" => parsed.dir = PathBuf::from(value()?),
                "--rounds" => parsed.rounds = value()?.parse()?,
                "--seconds" => parsed.seconds = value()?.parse()?,
                "--mib" => parsed.mib = value()?.parse()?,
                "--log-mib" => parsed.log_mib = value()?.parse()?,
                "--keys" => parsed.keys = value()?.parse()?,
                "--quick" => parsed.quick = true,
                "--awake" => parsed.awake = true,
                "--json" => parsed.json = true,
                "--help" | "-h" => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                case if NAMES.contains(&case) => parsed.cases.push(arg),
                "chunk" | "append" | "fold" => {
                    let group = format!("{arg}-");
                    let all = NAMES.iter().filter(|name| name.starts_with(&group));
                    parsed.cases.extend(all.map(|&name| name.to_owned()));
                }
                _ => return Err(format!("there is no {arg}\n{USAGE}").into()),
            }
        }
        if parsed.cases.is_empty() {
            parsed.cases = NAMES.iter().map(|&name| name.to_owned()).collect();
        }
        if parsed.rounds == 0 {
            parsed.rounds = if parsed.quick { 3 } else { 7 };
        }
        let quick = parsed.quick;
        let or = |given, full, less| match given {
            0 if quick => less,
            0 => full,
            given => given,
        };
        parsed.seconds = or(parsed.seconds as usize, 20, 5) as u64;
        parsed.mib = or(parsed.mib, 100, 10);
        parsed.log_mib = or(parsed.log_mib, 256, 25);
        parsed.keys = or(parsed.keys as usize, 1_000_000, 20_000) as u64;
        Ok(Some(parsed))
    }

    /// A time that `--quick` shortens.
    pub fn time(&self, millis: u64) -> Duration {
        Duration::from_millis(if self.quick { (millis / 4).max(10) } else { millis })
    }

    /// A number that `--quick` makes smaller.
    pub fn number(&self, full: u64) -> u64 {
        if self.quick { full / 10 } else { full }
    }
}
