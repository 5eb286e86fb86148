//! R5: the first read of each block after an open, with its checksum, and the second. A quarter of a gigabyte.

use std::fs::File;
use std::hint::black_box;

use memmap2::Mmap;

use super::table::{Rows, Table};
use crate::Result;
use crate::args::Args;
use crate::contestants::append::{Elements, write_plain};
use crate::contestants::append::{taste, untorn};
use crate::measure::cpu;
use crate::report::{Report, Target};
use crate::scratch::Scratch;

const SIZE: usize = 40;
const BLOCK: usize = 16 << 10;
/// Elements from one that is read to the next: no block is left out.
const STEP: usize = BLOCK / SIZE;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let (elements, count) = (Elements::fixed(SIZE), args.number((256 << 20) / SIZE as u64));
    let len = (count * SIZE as u64) as f64;
    let plain = scratch.path("plain");
    write_plain(&plain, &elements, count)?;
    let path = {
        let path = scratch.path("untorn");
        untorn::filled(&path, &elements, count)?.close()?;
        path
    };
    let mut table = Table::default();
    for _ in 0..args.rounds {
        // SAFETY: nobody writes to the file.
        let map = unsafe { Mmap::map(&File::open(&plain)?)? };
        let (took, ()) = cpu(|| {
            map.chunks(BLOCK).for_each(|block| {
                black_box(crc32fast::hash(block));
            });
            Ok(())
        })?;
        table.push("CRC-32 over a new map", len / took / 1e6);
        // As far apart as below: an element of every block.
        let (took, ()) = cpu(|| {
            for n in (0..count as usize).step_by(STEP) {
                black_box(taste(&map[n * SIZE..][..SIZE]));
            }
            Ok(())
        })?;
        table.push("the map again", len / took / 1e6);
        {
            let file = untorn::open(&path, Some(SIZE))?;
            let snapshot = file.reader()?.snapshot()?;
            for name in ["first touch", "second touch"] {
                let (took, ()) = cpu(|| {
                    for n in (0..count).step_by(STEP) {
                        black_box(taste(snapshot.get(n)?));
                    }
                    Ok(())
                })?;
                table.push(name, len / took / 1e6);
            }
            drop(snapshot);
            file.close()?;
        }
    }
    let mut rows = Rows { case: "append-touch", what: "", unit: "GB/s", table: &table, report };
    rows.limit("first touch", 3.0, "3 GB/s", Target::AtLeast(1.0));
    rows.row("first touch", "CRC-32 over a new map", Target::None);
    rows.row("second touch", "the map again", Target::AtLeast(0.8));
    rows.limit("CRC-32 over a new map", 3.0, "3 GB/s", Target::None);
    Ok(())
}
