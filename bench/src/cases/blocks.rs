//! A snapshot in the Blocks layout, in Postcard: beside the longer one of the codec alone and the raw write or read alone.

use std::hint::black_box;
use std::io;
use std::path::Path;

use untorn::codec::Postcard;
use untorn::snapshot::{
    Layout, SnapshotFsLoader, SnapshotFsWriter, SnapshotLoader, SnapshotOptions, SnapshotWriter,
};

use crate::args::Args;
use crate::measure::{cpu, wall};
use crate::raw::write_synced;
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;
use crate::state::{Accounts, accounts};
use crate::{Result, alloc};

const MIB: f64 = (1 << 20) as f64;

#[derive(Default)]
struct Rounds {
    write: Pair,
    write_sum: Pair,
    write_memory: Pair,
    load: Pair,
    load_sum: Pair,
    load_memory: Pair,
}

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let size = |state: &Accounts| postcard::to_stdvec(state).map_or(0, |bytes| bytes.len());
    let state = accounts(args.mib << 20, size);
    let (path, plain) = (scratch.path("untorn"), scratch.path("raw"));
    let mut rounds = Rounds::default();
    for round in 0..args.rounds {
        rounds.round(&state, &path, &plain, round % 2 == 0)?;
    }
    let row = |report: &mut Report, what: &str, unit: &str, pair, target| {
        let what = format!("{} MiB of Postcard: {what}", args.mib);
        report.row("blocks", &what, unit, pair, target);
    };
    let limit = Target::AtMost(1.3);
    row(report, "write / max(codec, raw)", "ms", &rounds.write, limit);
    row(report, "write / codec + raw", "ms", &rounds.write_sum, Target::None);
    row(report, "MiB above state / 16", "MiB", &rounds.write_memory, Target::AtMost(1.0));
    row(report, "load / max(codec, raw)", "ms of CPU", &rounds.load, limit);
    row(report, "load / codec + raw", "ms of CPU", &rounds.load_sum, Target::None);
    row(report, "load: MiB extra / 16", "MiB", &rounds.load_memory, Target::AtMost(1.0));
    Ok(())
}

fn options() -> SnapshotOptions<Accounts, Postcard> {
    SnapshotOptions::with_codec(Postcard).layout(Layout::Blocks)
}

fn write(state: &Accounts, path: &Path) -> Result<()> {
    let mut writer = SnapshotFsWriter::with(path, options())?;
    writer.write(state)?;
    Ok(writer.close()?)
}

fn load(path: &Path) -> Result<Accounts> {
    let loaded = SnapshotFsLoader::with(path, options()).load()?;
    loaded.ok_or_else(|| "there is no snapshot".into())
}

impl Rounds {
    fn round(
        &mut self,
        state: &Accounts,
        path: &Path,
        plain: &Path,
        raw_first: bool,
    ) -> Result<()> {
        let to_sink = || Ok(postcard::to_io(black_box(state), io::sink()).map(|_sink| ())?);
        let (codec, ()) = wall(to_sink)?;
        let bytes = postcard::to_stdvec(state)?;
        let measure_raw = || write_synced(plain, &bytes);
        let measure_ours = || alloc::peak(|| wall(|| write(state, path)));
        let (raw, (written, memory)) = if raw_first {
            let raw = measure_raw()?;
            (raw, measure_ours())
        } else {
            let ours = measure_ours();
            (measure_raw()?, ours)
        };
        let (ours, ()) = written?;
        self.write.push(ours, codec.max(raw));
        self.write_sum.push(ours, codec + raw);
        self.write_memory.push(memory as f64 / MIB, 16.0);
        let (codec, value) = cpu(|| Ok(postcard::from_bytes::<Accounts>(&bytes)?))?;
        drop((value, bytes));
        let (raw, bytes) = cpu(|| Ok(std::fs::read(path)?))?;
        drop(bytes);
        let (loaded, memory) = alloc::peak(|| cpu(|| load(path)));
        let (ours, loaded) = loaded?;
        if loaded != *state {
            return Err("another state was loaded than was written".into());
        }
        self.load.push(ours, codec.max(raw));
        self.load_sum.push(ours, codec + raw);
        let ((), value) = alloc::peak(|| drop(black_box(loaded.clone())));
        self.load_memory.push(memory.saturating_sub(value) as f64 / MIB, 16.0);
        Ok(())
    }
}
