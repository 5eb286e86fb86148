//! A PGSS file: read into an image, made a fold of, and written from one, beside that crate's own loading and the raw reading of its bytes.

use std::fs;
use std::sync::Arc;

use untorn::fold::{KvEntry, VersionToken, WatchCursor, pgss};
use untorn::fs::OsFs;

use super::FULL;
use super::load::{Order, put};
use crate::Result;
use crate::args::Args;
use crate::measure::wall;
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let path = scratch.path("pgss");
    let entries = (0..args.keys).map(|n| {
        let op = put(n, n + 1);
        Ok(KvEntry { key: op.key, value: op.value, version: VersionToken::from_u64(op.version) })
    });
    let cursor = WatchCursor::from_u64(args.keys);
    pgss::write_entries(entries, &cursor, &path, Arc::new(OsFs::new()))?;
    // The program that it comes from writes it in the order in which updates came.
    let scattered = scratch.path("scattered");
    shuffle(args.keys, &fs::read(&path)?, &scattered)?;
    let [mut bound, mut raw, mut sorted, mut writing, mut converting] =
        [(); 5].map(|()| Pair::default());
    #[cfg(feature = "fold-rivals")]
    let mut theirs = Pair::default();
    for _ in 0..args.rounds {
        let (read_raw, sum) = wall(|| Ok(crc32fast::hash(&fs::read(&scattered)?)))?;
        std::hint::black_box(sum);
        let (read, image) = wall(|| Ok(pgss::read(&scattered)?))?;
        expect(image.len() as u64 == args.keys)?;
        let (read_sorted, image_sorted) = wall(|| Ok(pgss::read(&path)?))?;
        expect(image_sorted.len() == image.len())?;
        drop(image_sorted);
        let fold = scratch.path("fold");
        let again = pgss::read(&scattered)?;
        let (convert, converted) =
            wall(|| Ok(pgss::convert(again, &fold, Arc::new(OsFs::new()))?))?;
        expect(converted == args.keys)?;
        fs::remove_dir_all(&fold)?;
        bound.push(read + convert, 1000.0 * args.keys as f64 / FULL as f64);
        converting.push(convert, read);
        raw.push(read, read_raw);
        sorted.push(read_sorted, read);
        #[cfg(feature = "fold-rivals")]
        {
            let (loaded, snapshot) = wall(|| Ok(slipstream::snapshot::load(&scattered)?))?;
            expect(snapshot.is_some_and(|snapshot| snapshot.entries.len() == image.len()))?;
            theirs.push(read, loaded);
        }
        let copy = scratch.path("copy");
        let (write, written) = wall(|| {
            let entries = image.into_entries().map(Ok);
            Ok(pgss::write_entries(entries, &cursor, &copy, Arc::new(OsFs::new()))?)
        })?;
        expect(written == args.keys)?;
        let bytes = fs::read(&copy)?;
        fs::remove_file(&copy)?;
        let (write_raw, ()) = wall(|| {
            fs::write(&copy, &bytes)?;
            Ok(fs::File::open(&copy)?.sync_all()?)
        })?;
        fs::remove_file(&copy)?;
        writing.push(write, write_raw);
    }
    let full = args.keys >= FULL;
    let target = if full { Target::AtMost(1.0) } else { Target::None };
    let case = "fold-pgss";
    report.row(case, "read and convert to a fold / 1 us for a key", "ms", &bound, target);
    report.row(case, "read / read and CRC-32", "ms", &raw, Target::None);
    #[cfg(feature = "fold-rivals")]
    report.row(case, "read / slipstream log", "ms", &theirs, Target::None);
    report.row(case, "convert to a fold / read", "ms", &converting, Target::None);
    report.row(case, "read in order of keys / in none", "ms", &sorted, Target::None);
    report.row(case, "write and sync / raw", "ms", &writing, Target::None);
    Ok(())
}

/// The same records, which all have one length, in an order without order; the cursor stays the last.
fn shuffle(keys: u64, sorted: &[u8], to: &std::path::Path) -> Result<()> {
    const HEADER: usize = 6;
    const RECORD: usize = 12 + 32 + 100 + 8;
    let (header, records) = sorted.split_at(HEADER);
    let mut out = header.to_vec();
    let order = Order::new(keys, 7);
    for n in 0..keys {
        let start = usize::try_from(order.at(n))? * RECORD;
        out.extend_from_slice(records.get(start..start + RECORD).ok_or("a record is missing")?);
    }
    out.extend_from_slice(records.get(usize::try_from(keys)? * RECORD..).unwrap_or_default());
    Ok(fs::write(to, out)?)
}

fn expect(holds: bool) -> Result<()> {
    if holds { Ok(()) } else { Err("another number of entries was read or written".into()) }
}
