//! Commands that work on any store: `verify`, `who`, `probe`; and `log truncate`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use untorn::log::{Log, LogOptions};
use untorn::{ErrorKind, Holder, artifact};

use crate::args::Truncate;
use crate::exit::{Failure, Result, code};
use crate::out::{Out, count, size};

#[derive(Serialize)]
pub(super) struct Torn {
    path: PathBuf,
    offset: u64,
    bytes: u64,
    suspect: bool,
}

impl Torn {
    pub(super) fn of(report: &untorn::log::VerifyReport) -> Option<Self> {
        let (path, offset, bytes, suspect) = report.torn.clone()?;
        Some(Self { path, offset, bytes, suspect })
    }

    pub(super) fn sentence(&self) -> String {
        let looks = if self.suspect { ", which does not look like a plain torn write" } else { "" };
        let (path, bytes) = (self.path.display(), size(self.bytes));
        format!(
            "a torn tail in {path} at offset {}: {bytes} that were never acknowledged{looks}; the next owner heals it",
            self.offset
        )
    }
}

#[derive(Serialize)]
struct Verified {
    what: &'static str,
    first_seq: u64,
    last_seq: u64,
    records: u64,
    bytes: u64,
    closed: bool,
    torn: Option<Torn>,
}

pub(crate) fn verify(path: &Path, out: &mut Out) -> Result<u8> {
    if let Some(store) = super::aof::find_within(path)? {
        return super::aof::verify(&store, out);
    }
    if super::snap::looks_like_one(path) {
        return super::snap::verify(path, super::snap::VERSION, out);
    }
    if let Some(target) = super::part::target(path) {
        return super::chunk::verify(&target, out);
    }
    refuse_file(path, "it is a plain file, which has nothing in it to verify it by")?;
    if is_artifact(path) {
        return verify_artifact(path, out);
    }
    if super::journal::is_journal(path) {
        return super::journal::verify(path, out);
    }
    if super::fold::is_fold(path) {
        return super::fold::verify(path, out);
    }
    if super::pool::is_path(path) {
        return super::pool::verify(path, out);
    }
    super::pool::refuse_scratch(path)?;
    let reader = Log::open_read_only(path, LogOptions::new())?;
    let report = reader.report();
    let verified = Verified {
        what: "log",
        first_seq: report.first_seq,
        last_seq: report.last_seq,
        records: report.records,
        bytes: report.bytes,
        closed: report.closed,
        torn: Torn::of(&report),
    };
    if out.json() {
        out.value(&verified)?;
        return Ok(code::OK);
    }
    let (records, bytes) = (count(verified.records), size(verified.bytes));
    out.line(format_args!("{}: sound; {records} records in {bytes}", path.display()))?;
    if let Some(torn) = &verified.torn {
        out.note(format_args!("note: {}", torn.sentence()));
    }
    Ok(code::OK)
}

/// Whether a directory says of itself that it is an artifact.
pub(super) fn is_artifact(path: &Path) -> bool {
    path.join(artifact::MANIFEST).symlink_metadata().is_ok()
}

fn verify_artifact(path: &Path, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Verified<'a> {
        what: &'static str,
        backend: &'a str,
        backend_version: &'a str,
        cursor_hex: &'a str,
        files: usize,
        bytes: u64,
    }
    let manifest = artifact::verify(path)?;
    let verified = Verified {
        what: "artifact",
        backend: &manifest.backend,
        backend_version: &manifest.backend_version,
        cursor_hex: &manifest.cursor_hex,
        files: manifest.files.len(),
        bytes: manifest.total_bytes(),
    };
    if out.json() {
        out.value(&verified)?;
        return Ok(code::OK);
    }
    let Verified { backend, files, bytes, .. } = verified;
    let bytes = size(bytes);
    out.line(format_args!(
        "{}: sound; an artifact of {backend}, {files} files of {bytes}",
        path.display()
    ))?;
    Ok(code::OK)
}

/// A file is no store; what is missing is for the caller's own open to say.
fn refuse_file(path: &Path, what: &str) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(stat) if !stat.is_dir() => Err(Failure::new(ErrorKind::NotOurs, path, what)),
        _ => Ok(()),
    }
}

/// Who holds a store, as far as it can be told.
#[derive(Serialize)]
pub(super) struct Held {
    pid: u32,
    host: String,
    since: u64,
    holds: Option<bool>,
}

impl Held {
    pub(super) fn of(holder: &Holder) -> Self {
        let Holder { pid, host, since, alive, .. } = holder;
        Self { pid: *pid, host: host.clone(), since: *since, holds: *alive }
    }

    pub(super) fn sentence(&self) -> String {
        let Self { pid, host, .. } = self;
        let ago = ago(self.since);
        match self.holds {
            Some(true) => format!("held by process {pid} on {host}, for {ago}"),
            Some(false) => format!("held by nobody; last by process {pid} on {host}, {ago} ago"),
            None => {
                format!("last taken by process {pid} on {host}, {ago} ago; it may hold it still")
            }
        }
    }
}

pub(super) fn ago(since: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = now.map_or(0, |now| now.as_secs().saturating_sub(since));
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

pub(crate) fn who(path: &Path, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Who {
        holder: Option<Held>,
    }
    let store = super::aof::find_within(path)?;
    if store.is_none() {
        refuse_file(path, "it is a plain file; only a store is held")?;
    }
    if !super::pool::is_path(path) && super::pool::is_scratch(path) {
        return super::pool::Spilled::of(path).tell(out);
    }
    let home = store.as_ref().map_or(path, |store| &store.home);
    let holder = untorn::holder(home)?.map(|holder| Held::of(&holder));
    if out.json() {
        out.value(&Who { holder })?;
        return Ok(code::OK);
    }
    let text =
        holder.map_or_else(|| "nobody ever opened it for writing".to_owned(), |h| h.sentence());
    out.line(format_args!("{text}"))?;
    Ok(code::OK)
}

pub(crate) fn probe(dir: &Path, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Granted {
        file_system: String,
        locks: Option<bool>,
        dir_sync: Option<bool>,
        rename_noreplace: Option<bool>,
        reflink: Option<bool>,
        fallocate: Option<bool>,
        copy_on_write: Option<bool>,
        network: Option<bool>,
        tmpfs: Option<bool>,
    }
    let probe = untorn::probe(dir)?;
    if out.json() {
        out.value(&Granted {
            file_system: probe.file_system,
            locks: probe.locks,
            dir_sync: probe.dir_sync,
            rename_noreplace: probe.rename_noreplace,
            reflink: probe.reflink,
            fallocate: probe.fallocate,
            copy_on_write: probe.copy_on_write,
            network: probe.network,
            tmpfs: probe.tmpfs,
        })?;
        return Ok(code::OK);
    }
    out.line(format_args!("file system        {}", probe.file_system))?;
    for (name, granted, good, meaning) in [
        ("locks", probe.locks, true, "without them no store can be opened for writing"),
        ("directory sync", probe.dir_sync, true, "without it nothing is durable"),
        ("rename noreplace", probe.rename_noreplace, true, "else it is done in two steps"),
        ("reflink", probe.reflink, true, "else files are copied"),
        ("fallocate", probe.fallocate, true, "else zeros are written"),
        (
            "copy on write",
            probe.copy_on_write,
            false,
            "reserved space is no promise: full may show late",
        ),
        ("network", probe.network, false, "on another machine, with its own idea of a sync"),
        ("memory only", probe.tmpfs, false, "nothing survives a power cut, whatever is synced"),
    ] {
        let word = granted.map_or("unknown", |yes| if yes { "yes" } else { "no" });
        let meaning = if granted == Some(good) { "" } else { meaning };
        out.line(format_args!("{}", format!("{name:18} {word:8} {meaning}").trim_end()))?;
    }
    Ok(code::OK)
}

pub(crate) fn truncate(args: &Truncate, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Cut {
        first_seq: u64,
        next_seq: u64,
    }
    must_be_a_log(&args.dir)?;
    let (log, _report) = Log::open(&args.dir, LogOptions::new())?;
    let cut = match (args.front, args.back) {
        (Some(seq), _) => log.truncate_front(seq).map(drop),
        (None, back) => log.truncate_back(back.unwrap_or(u64::MAX)),
    };
    let (first_seq, next_seq) = (log.first_seq(), log.next_seq());
    cut?;
    log.close()?;
    if out.json() {
        out.value(&Cut { first_seq, next_seq })?;
    } else if next_seq > first_seq {
        out.line(format_args!("records {first_seq} to {} are kept", next_seq - 1))?;
    } else {
        out.line(format_args!("no record is kept; the next one is {next_seq}"))?;
    }
    Ok(code::OK)
}

/// Opening for writing creates a log; commands other than `append` must not.
pub(super) fn must_be_a_log(dir: &Path) -> Result<()> {
    match std::fs::read_dir(dir).map(|mut names| names.next().is_none()) {
        Ok(true) => Err(Failure::new(
            ErrorKind::NotFound,
            dir,
            "the directory is empty; there is no log in it",
        )),
        Ok(false) => Ok(()),
        Err(e) => Err(Failure::io("open", dir, e)),
    }
}
