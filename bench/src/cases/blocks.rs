//! A snapshot in the Blocks layout, in Postcard: beside the longer one of the codec alone and the raw write or read alone.

use std::hint::black_box;
use std::io;
use std::path::Path;

use untorn::codec::Postcard;
use untorn::snapshot::{
    Layout, SnapshotFsLoader, SnapshotFsWriter, SnapshotLoader, SnapshotOptions, SnapshotWriter,
};

use crate::args::Args;
use crate::measure::{cpu, in_turn, wall};
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
    for _ in 0..args.rounds {
        rounds.round(&state, &path, &plain)?;
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
    fn round(&mut self, state: &Accounts, path: &Path, plain: &Path) -> Result<()> {
        let bytes = postcard::to_stdvec(state)?;
        let limit = || {
            let to_sink = || Ok(postcard::to_io(black_box(state), io::sink()).map(|_sink| ())?);
            Ok([wall(to_sink)?.0, write_synced(plain, &bytes)?])
        };
        let ours = || {
            let (written, memory) = alloc::peak(|| wall(|| write(state, path)));
            Ok([written?.0, memory as f64 / MIB])
        };
        let ([codec, raw], [ours, memory]) = in_turn(limit, ours)?;
        self.write.push(ours, codec.max(raw));
        self.write_sum.push(ours, codec + raw);
        self.write_memory.push(memory, 16.0);
        let limit = || {
            let (codec, value) = cpu(|| Ok(postcard::from_bytes::<Accounts>(&bytes)?))?;
            drop(value);
            let (raw, bytes) = cpu(|| Ok(std::fs::read(path)?))?;
            drop(bytes);
            Ok([codec, raw])
        };
        let ours = || {
            let (loaded, memory) = alloc::extra(|| cpu(|| load(path)));
            let (took, loaded) = loaded?;
            if loaded != *state {
                return Err("another state was loaded than was written".into());
            }
            Ok([took, memory as f64 / MIB])
        };
        let ([codec, raw], [ours, memory]) = in_turn(limit, ours)?;
        self.load.push(ours, codec.max(raw));
        self.load_sum.push(ours, codec + raw);
        self.load_memory.push(memory, 16.0);
        Ok(())
    }
}
