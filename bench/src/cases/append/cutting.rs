//! Taking elements away: W1, the last ones; U1, every second; U2, the first half.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use memmap2::Mmap;
use rustix::fs::{FallocateFlags, fallocate};

use super::table::{Rows, Table};
use crate::Result;
use crate::args::Args;
use crate::cases::chunk::settled;
use crate::contestants::append::untorn::{self, Untorn};
use crate::contestants::append::{Appender, Elements, Grin, grin, write_plain};
use crate::measure::{Turn, alone, interleave, wall};
use crate::report::{Report, Target};
use crate::scratch::Scratch;

const SIZE: usize = 40;
/// 160 MB.
const COUNT: u64 = 4_000_000;
const FEW: u64 = 10;

/// W1: ten of four million elements are taken back, ten others appended, and flushed; beside a flush of ten.
pub fn tail(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let (elements, count) = (Elements::fixed(SIZE), args.number(COUNT));
    let path = scratch.path("grin");
    write_plain(&path, &elements, count)?;
    let theirs = Grin::open(&path, &elements)?;
    let theirs = std::cell::RefCell::new(theirs);
    let ours = {
        let mut ours = Untorn::open(&scratch.path("untorn"), &elements)?;
        ours.append(0..count)?;
        ours.flush()?;
        std::cell::RefCell::new(ours)
    };
    let mut table = Table::default();
    for _ in 0..args.rounds {
        let mut field: Vec<(&str, Turn<'_>)> = vec![
            (
                "grin, plain",
                Box::new(|time| {
                    alone(time, 1, || {
                        theirs.borrow_mut().append(0..FEW)?;
                        theirs.borrow_mut().flush()
                    })
                }),
            ),
            (
                "grin, rewind",
                Box::new(|time| {
                    alone(time, 1, || {
                        let mut theirs = theirs.borrow_mut();
                        let len = theirs.file.size()? / SIZE as u64;
                        theirs.file.rewind(len - FEW);
                        theirs.append(0..FEW)?;
                        theirs.flush()
                    })
                }),
            ),
            (
                "untorn, plain",
                Box::new(|time| {
                    alone(time, 1, || {
                        ours.borrow_mut().append(0..FEW)?;
                        ours.borrow_mut().flush()
                    })
                }),
            ),
            (
                "untorn, rewind",
                Box::new(|time| {
                    alone(time, 1, || {
                        let mut ours = ours.borrow_mut();
                        let len = ours.file.len();
                        ours.file.rewind(len - FEW)?;
                        ours.append(0..FEW)?;
                        ours.flush()
                    })
                }),
            ),
            (
                "untorn, rewind under a snapshot",
                Box::new(|time| {
                    alone(time, 1, || {
                        let mut ours = ours.borrow_mut();
                        let snapshot = ours.file.reader()?.snapshot()?;
                        let len = ours.file.len();
                        ours.file.rewind(len - FEW)?;
                        ours.append(0..FEW)?;
                        ours.flush()?;
                        drop(snapshot);
                        Ok(())
                    })
                }),
            ),
        ];
        let (names, mut turns): (Vec<_>, Vec<_>) = field.drain(..).unzip();
        let laps = interleave(4, args.time(60), &mut turns)?;
        for (name, lap) in names.into_iter().zip(&laps) {
            table.push(name, 1e3 / lap.rate());
        }
    }
    let mut rows = Rows { case: "append-rewind", what: "", unit: "ms", table: &table, report };
    rows.row("untorn, rewind", "untorn, plain", Target::AtMost(1.2));
    rows.row("untorn, rewind under a snapshot", "untorn, plain", Target::AtMost(1.5));
    rows.row("grin, rewind", "untorn, rewind", Target::None);
    rows.row("grin, rewind", "grin, plain", Target::None);
    Ok(())
}

/// U1: every second of 200,000 elements, and of four million: there without grin_store, whose time grows with the square.
pub fn compact(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let elements = Elements::fixed(SIZE);
    for (count, what, with_grin) in [(200_000, "200000", true), (COUNT, "4 million", false)] {
        let count = args.number(count);
        let mut table = Table::default();
        for _ in 0..args.rounds.min(5) {
            let dir = scratch.path("compact");
            fs::create_dir(&dir)?;
            let plain = dir.join("plain");
            write_plain(&plain, &elements, count)?;
            let mut ours = untorn::filled(&dir.join("untorn"), &elements, count)?;
            settled(&dir)?;
            table.push("raw copy", wall(|| copy_every_second(&plain, &dir.join("copy")))?.0);
            table.push("untorn", wall(|| Ok(ours.compact((0..count).step_by(2))?))?.0);
            if with_grin {
                let mut theirs = grin::open(&plain, Some(SIZE))?;
                let dead: Vec<u64> = (0..count).step_by(2).collect();
                let (took, ()) = wall(|| {
                    theirs.write_tmp_pruned(&dead)?;
                    Ok(theirs.replace_with_tmp()?)
                })?;
                table.push("grin", took);
            }
            ours.close()?;
            fs::remove_dir_all(&dir)?;
        }
        let mut rows = Rows { case: "append-compact", what, unit: "ms", table: &table, report };
        rows.row("grin", "untorn", Target::AtLeast(100.0));
        let target = if with_grin { Target::None } else { Target::AtMost(1.3) };
        rows.row("untorn", "raw copy", target);
        rows.row("grin", "raw copy", Target::None);
    }
    Ok(())
}

/// The elements at odd positions into a new file, synced and renamed.
fn copy_every_second(from: &Path, to: &Path) -> Result<()> {
    // SAFETY: nobody writes to the file.
    let map = unsafe { Mmap::map(&File::open(from)?)? };
    let mut file = BufWriter::with_capacity(1 << 20, File::create_new(to)?);
    for element in map.chunks_exact(SIZE).skip(1).step_by(2) {
        file.write_all(element)?;
    }
    file.flush()?;
    file.get_ref().sync_data()?;
    fs::rename(to, to.with_extension("done"))?;
    Ok(File::open(to.parent().ok_or("a file without a directory")?)?.sync_all()?)
}

/// U2: the first half of 160 MB.
pub fn head(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let (elements, count) = (Elements::fixed(SIZE), args.number(COUNT));
    let mut table = Table::default();
    for _ in 0..args.rounds.min(5) {
        let dir = scratch.path("head");
        fs::create_dir(&dir)?;
        let plain = dir.join("plain");
        write_plain(&plain, &elements, count)?;
        let mut ours = untorn::filled(&dir.join("untorn"), &elements, count)?;
        settled(&dir)?;
        let (took, ()) = wall(|| {
            let file = File::options().write(true).open(&plain)?;
            let len = count * SIZE as u64 / 2 / 4096 * 4096;
            fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, len)?;
            Ok(file.sync_data()?)
        })?;
        table.push("raw hole", took);
        {
            table.push("untorn", wall(|| Ok(ours.drop_head(count / 2)?))?.0);
            ours.close()?;
        }
        fs::remove_dir_all(&dir)?;
    }
    let mut rows = Rows { case: "append-head", what: "", unit: "ms", table: &table, report };
    rows.row("untorn", "raw hole", Target::AtMost(1.3));
    Ok(())
}
