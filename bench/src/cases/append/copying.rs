//! B1: a copy of the whole file as a temporary file. A quarter of a gigabyte; nothing is synced.

use std::fs::File;

use rustix::fs::copy_file_range;

use super::table::{Rows, Table};
use crate::Result;
use crate::args::Args;
use crate::contestants::append::untorn;
use crate::contestants::append::{Elements, grin};
use crate::measure::wall;
use crate::report::{Report, Target};
use crate::scratch::Scratch;

const SIZE: usize = 40;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let (elements, count) = (Elements::fixed(SIZE), args.number((256 << 20) / SIZE as u64));
    let len = count * SIZE as u64;
    let path = scratch.path("plain");
    let ours = untorn::filled(&path, &elements, count)?;
    let theirs = grin::open(&path, Some(SIZE))?;
    let mut table = Table::default();
    for _ in 0..args.rounds {
        let to = scratch.path("copy");
        let (took, ()) = wall(|| copy(&File::open(&path)?, &File::create_new(&to)?, len))?;
        table.push("copy_file_range", took);
        std::fs::remove_file(to)?;
        let (took, copy) = wall(|| Ok(theirs.as_temp_file()?))?;
        table.push("grin", took);
        whole(&copy, len)?;
        {
            let (took, copy) = wall(|| Ok(ours.as_temp_file()?))?;
            table.push("untorn", took);
            whole(&copy, len)?;
        }
    }
    let mut rows = Rows { case: "append-copy", what: "", unit: "ms", table: &table, report };
    rows.row("copy_file_range", "untorn", Target::AtLeast(0.9));
    rows.row("grin", "untorn", Target::None);
    rows.row("grin", "copy_file_range", Target::None);
    Ok(())
}

fn copy(from: &File, to: &File, len: u64) -> Result<()> {
    let mut left = len;
    while left > 0 {
        match copy_file_range(from, None, to, None, usize::try_from(left)?)? {
            0 => return Err("the file is too short".into()),
            copied => left -= copied as u64,
        }
    }
    Ok(())
}

fn whole(copy: &File, len: u64) -> Result<()> {
    if copy.metadata()?.len() == len { Ok(()) } else { Err("the copy is not whole".into()) }
}
