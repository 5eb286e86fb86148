//! Many small files: each committed by itself, and 64 at a time.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use untorn::chunked::{ChunkedOptions, CommitOptions, ResourceExt, commit_many};

use super::timing::settled;
use crate::Result;
use crate::args::Args;
use crate::contestants::fill::{
    AtomicWriteFile, Filler, Job, Kithara, Raw, Untorn, begin_raw, finish_raw, open_untorn,
};
use crate::measure::wall;
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;

const FILES: u64 = 1000;
const SIZE: usize = 64 << 10;
const GROUP: usize = 64;
const THREADS: usize = 8;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let job = Job::in_order(SIZE as u64, SIZE);
    let each: [&dyn Filler; 5] =
        [&Raw::Plain, &Untorn::WithoutMap, &Kithara::AsIs, &AtomicWriteFile, &Untorn::WithLen];
    let ways = each.len() + 3;
    let groups = args.number(FILES).div_ceil(GROUP as u64);
    let mut pairs = [(); 8].map(|()| Pair::default());
    for round in 0..args.rounds {
        let dirs: Vec<_> = (0..ways).map(|_| scratch.path("many")).collect();
        dirs.iter().try_for_each(fs::create_dir)?;
        settled(&dirs[0])?;
        let mut times = vec![0.0; ways];
        // Group by group, so that all of them see the same disk.
        for group in 0..groups {
            for turn in 0..ways {
                // Every other time backwards, so that nobody always comes after the same one.
                let turn = if group % 2 == 0 { turn } else { ways - 1 - turn };
                let way = (turn + round + group as usize) % ways;
                let path = |n: usize| dirs[way].join(format!("{group}-{n}"));
                let (took, ()) = wall(|| match each.get(way) {
                    Some(filler) => (0..GROUP).try_for_each(|n| filler.fill(&path(n), &job)),
                    None if way == each.len() => together(&job, &dirs[way], group),
                    None => together_raw(&job, &dirs[way], group, way > each.len() + 1),
                })?;
                times[way] += took;
            }
        }
        for dir in dirs {
            fs::remove_dir_all(dir)?;
        }
        let files = (groups * GROUP as u64) as f64;
        let per_file: Vec<f64> = times.iter().map(|time| time / files).collect();
        let [raw, ours, kithara, awf, with_len, many, raw_many, raw_threads] = per_file[..] else {
            return Err("there are eight ways".into());
        };
        pairs[0].push(ours, raw);
        pairs[1].push(with_len, raw);
        pairs[2].push(ours, many);
        pairs[3].push(many, raw_many);
        pairs[4].push(raw, raw_many);
        pairs[5].push(ours, kithara);
        pairs[6].push(ours, awf);
        pairs[7].push(many, raw_threads);
    }
    let rows = [
        ("commit of each / raw: create .. sync directory", Target::AtMost(1.15)),
        ("commit of each, length known / the same", Target::AtMost(1.15)),
        ("commit of each / commit_many of 64", Target::AtLeast(2.0)),
        ("commit_many of 64 / raw: 65 syncs for 64", Target::None),
        ("raw: each / 65 syncs for 64", Target::None),
        ("commit of each / kithara (no directory sync)", Target::None),
        ("commit of each / atomic-write-file", Target::None),
        ("commit_many of 64 / raw: 65 syncs, by 8 threads", Target::None),
    ];
    for ((what, target), pair) in rows.into_iter().zip(&pairs) {
        report.row("chunk-many", what, "ms per file", pair, target);
    }
    Ok(())
}

fn together(job: &Job, dir: &Path, group: u64) -> Result<()> {
    let mut files = Vec::new();
    for n in 0..GROUP {
        let file = open_untorn(&dir.join(format!("{group}-{n}")), ChunkedOptions::new())?;
        job.each(|offset, piece| Ok(file.write_at(offset, piece)?))?;
        files.push(file);
    }
    let all = files.iter().map(|file| (file, CommitOptions::new())).collect();
    commit_many(all).into_iter().try_for_each(|done| done.map(drop))?;
    Ok(())
}

/// The same by hand. Syncs that are asked for at the same time may share what the disk has to do.
fn together_raw(job: &Job, dir: &Path, group: u64, at_once: bool) -> Result<()> {
    let mut files = Vec::new();
    for n in 0..GROUP {
        let path = dir.join(format!("{group}-{n}"));
        let (new, file) = begin_raw(&path)?;
        job.each(|offset, piece| Ok(file.write_all_at(piece, offset)?))?;
        files.push((new, file, path));
    }
    let sync = |files: &[(_, File, _)]| files.iter().try_for_each(|(_, file, _)| file.sync_data());
    let share = if at_once { GROUP / THREADS } else { GROUP };
    std::thread::scope(|scope| -> Result<()> {
        let shares = files.chunks(share).map(|share| scope.spawn(move || sync(share)));
        for thread in shares.collect::<Vec<_>>() {
            thread.join().map_err(|_| "a sync panicked")??;
        }
        Ok(())
    })?;
    files.iter().try_for_each(|(new, _, path)| finish_raw(new, path))?;
    Ok(File::open(dir)?.sync_all()?)
}
