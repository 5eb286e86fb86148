//! Opening: O1, a file that was closed; O2, one whose writer died.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;

use super::table::{Rows, Table};
use crate::Result;
use crate::args::Args;
use crate::contestants::append::untorn;
use crate::contestants::append::{Elements, grin, sizes_of, write_plain};
use crate::measure::wall;
use crate::report::{Report, Target};
use crate::scratch::Scratch;

/// O1: variable size, a million elements and ten million, of 8 to 24 bytes. All files are in memory.
pub fn closed(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let elements = Elements::between(8, 24);
    for (count, what) in [(1_000_000, "1 million"), (10_000_000, "10 million")] {
        let count = args.number(count);
        let plain = scratch.path("plain");
        write_plain(&plain, &elements, count)?;
        let path = scratch.path("untorn");
        untorn::filled(&path, &elements, count)?.close()?;
        let mut table = Table::default();
        for _ in 0..args.rounds {
            let (took, _file) = wall(|| grin::open(&plain, None))?;
            table.push("grin", took);
            {
                let (took, file) = wall(|| untorn::open(&path, None))?;
                if file.len() != count {
                    return Err("elements are missing".into());
                }
                table.push("untorn", took);
                file.close()?;
            }
        }
        let mut rows = Rows { case: "append-open", what, unit: "ms", table: &table, report };
        rows.limit("untorn", 0.5, "0.5 ms", Target::AtMost(1.0));
        rows.row("grin", "untorn", Target::None);
        rows.limit("grin", 0.5, "0.5 ms", Target::None);
    }
    Ok(())
}

/// O2: nearly 64 MiB of commits since the last checkpoint, and no close; and grin_store when its size file is lost, which says
/// nothing of its commits, for a million elements.
pub fn killed(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let log = args.number(64 << 20) as usize;
    let plain = scratch.path("plain");
    write_plain(&plain, &Elements::between(40, 40), args.number(1_000_000))?;
    let mut table = Table::default();
    for _ in 0..args.rounds.min(3) {
        table.push("raw: read, write, sync", raw(scratch, log)?);
        // There is no size file yet, and it makes one.
        let (took, _file) = wall(|| grin::open(&plain, None))?;
        table.push("grin, sizes lost", took);
        fs::remove_file(sizes_of(&plain))?;
        {
            let (elements, path) = (Elements::fixed(40), scratch.path("untorn"));
            let mut file = untorn::open(&path, Some(40))?;
            let mut written = 0;
            let mut n = 0;
            // Not so near that a checkpoint comes between.
            while written + (1 << 20) < log {
                file.append_batch((n..n + 1500).map(|n| elements.get(n)))?;
                file.flush()?;
                n += 1500;
                written += 1500 * 40;
            }
            // As the death of the process, it closes nothing.
            drop(file);
            let (took, file) = wall(|| untorn::open(&path, Some(40)))?;
            if file.len() != n {
                return Err("elements are missing".into());
            }
            table.push("untorn", took);
            file.close()?;
        }
    }
    let mut rows = Rows { case: "append-reopen", what: "", unit: "ms", table: &table, report };
    rows.row("untorn", "raw: read, write, sync", Target::AtMost(1.5));
    rows.row("grin, sizes lost", "raw: read, write, sync", Target::None);
    Ok(())
}

/// Reads so many bytes, writes them to another file and syncs it; milliseconds.
fn raw(scratch: &Scratch, len: usize) -> Result<f64> {
    let (from, to) = (scratch.path("from"), scratch.path("to"));
    let file = File::create_new(&from)?;
    file.write_all_at(&crate::raw::pattern(len), 0)?;
    file.sync_all()?;
    let (took, ()) = wall(|| {
        let mut bytes = Vec::with_capacity(len);
        File::open(&from)?.read_to_end(&mut bytes)?;
        let file = File::create_new(&to)?;
        file.write_all_at(&bytes, 0)?;
        Ok(file.sync_data()?)
    })?;
    fs::remove_file(from)?;
    fs::remove_file(to)?;
    Ok(took)
}
