//! `chunk`: looks into a file that fills, reads from it, mends it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use untorn::chunked::{
    AtomicChunked, ChunkedOptions, FileResource, Opened, PartState, PartView, Resume,
};
use untorn::{Error, ErrorKind, OnDamage};

use super::part;
use super::store::Held;
use crate::exit::{Failure, Result, code, exit_of};
use crate::fetch::{ChunkCommand, End, Following, Shown, amount};
use crate::input;
use crate::out::Out;

/// What is read at once.
const PIECE: u64 = 1 << 20;
/// So long `cat --follow` waits for a writer to begin.
const BEGIN: Duration = Duration::from_secs(10);
/// The columns of the bar that `map` shows.
const WIDTH: usize = 72;

#[derive(Serialize)]
struct Status {
    schema: &'static str,
    state: &'static str,
    len: Option<u64>,
    trusted: u64,
    missing: Option<u64>,
    holder: Option<Held>,
    etag: Option<String>,
}

#[derive(Serialize)]
struct Bytes {
    start: u64,
    end: u64,
}

impl Bytes {
    fn of(ranges: &[Range<u64>]) -> Vec<Self> {
        ranges.iter().map(|Range { start, end }| Self { start: *start, end: *end }).collect()
    }
}

pub(crate) fn run(command: &ChunkCommand, out: &mut Out) -> Result<u8> {
    match command {
        ChunkCommand::Status(args) => status(&file_of(&args.file), out),
        ChunkCommand::Map(args) => map(&file_of(&args.file), out),
        ChunkCommand::Wait { file, range, timeout } => {
            wait(&file_of(file), range.as_ref(), timeout.map(Duration::from_secs), out)
        }
        ChunkCommand::Cat { file, follow, range } => {
            cat(&file_of(file), *follow, range.as_ref(), out)
        }
        ChunkCommand::Verify(args) => verify(&file_of(&args.file), out),
        ChunkCommand::Repair(args) => repair(&file_of(&args.file), out),
        ChunkCommand::Abandon { file, yes } => abandon(&file_of(file), *yes, out),
    }
}

/// Who names the part means the file.
fn file_of(path: &Path) -> PathBuf {
    part::target(path).unwrap_or_else(|| path.to_path_buf())
}

/// An error of the library, with what these commands can do about it.
fn told(error: &Error) -> Failure {
    let advice = match error.kind() {
        ErrorKind::Damaged => "; `untorn chunk repair` keeps what its checksums prove",
        ErrorKind::Locked => "; wait for it, or stop that process",
        ErrorKind::NewerFormat => "; use the newer `untorn` that wrote it",
        _ => "",
    };
    Failure::told(error, format!("{error}{advice}"), exit_of(error.kind()))
}

fn missing(path: &Path) -> Failure {
    let what = "there is neither the file nor a part of it; check the name";
    Failure::new(ErrorKind::NotFound, path, what)
}

fn look(path: &Path) -> Result<PartView> {
    let view = PartView::open(path).map_err(|e| told(&e))?;
    match view.state() {
        PartState::Missing => Err(missing(path)),
        _ => Ok(view),
    }
}

/// As `look`, and it must fill.
fn look_at_part(path: &Path, what: &str) -> Result<PartView> {
    let view = look(path)?;
    match view.state() {
        PartState::Filling => Ok(view),
        _ => Err(Failure::new(ErrorKind::NotFound, path, what)),
    }
}

fn total(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "range" } else { "ranges" }
}

pub(super) fn status(path: &Path, out: &mut Out) -> Result<u8> {
    let view = look(path)?;
    let filling = view.state() == PartState::Filling;
    let trusted = total(&view.ranges());
    let len = view.known_len();
    let holder = view.holder().map_err(|e| told(&e))?;
    let identity = view.identity();
    let status = Status {
        schema: "untorn.chunk.v1",
        state: if filling { "active" } else { "committed" },
        len,
        trusted,
        missing: len.map(|len| len.saturating_sub(trusted)),
        holder: holder.as_ref().filter(|holder| holder.alive != Some(false)).map(Held::of),
        etag: identity.and_then(|identity| identity.etag.clone()),
    };
    if out.json() {
        out.value(&status)?;
        return Ok(code::OK);
    }
    let name = path.display();
    if !filling {
        out.line(format_args!("{name}: whole, {}; nothing fills it", amount(trusted)))?;
        return Ok(code::OK);
    }
    out.line(format_args!("{name}: fills in a part, not whole yet"))?;
    let of = len.map_or_else(|| "a length not known yet".to_owned(), amount);
    out.line(format_args!("durable  {} of {of}", amount(trusted)))?;
    if let Some(missing) = status.missing {
        out.line(format_args!("missing  {}", amount(missing)))?;
    }
    let facts = identity
        .map(|it| [("etag", &it.etag), ("date", &it.last_modified), ("source", &it.source)]);
    for (name, fact) in facts.into_iter().flatten() {
        if let Some(fact) = fact {
            out.line(format_args!("{name:8} {}", fact.escape_debug()))?;
        }
    }
    if let Some(digest) = identity.and_then(|identity| identity.digest.as_ref()) {
        out.line(format_args!("digest   {digest}"))?;
    }
    let owner = holder.map_or_else(|| "nobody".to_owned(), |holder| Held::of(&holder).sentence());
    out.line(format_args!("owner    {owner}"))?;
    Ok(code::OK)
}

fn map(path: &Path, out: &mut Out) -> Result<u8> {
    let view = look(path)?;
    let ranges = view.ranges();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let shown =
        Shown { name: &name, total: view.known_len(), present: &ranges, in_flight: &[], rate: 0.0 };
    out.note(format_args!("{}", shown.picture(WIDTH)));
    for range in Bytes::of(&ranges) {
        if out.json() {
            out.value(&range)?;
        } else {
            out.line(format_args!("{}..{}", range.start, range.end))?;
        }
    }
    Ok(code::OK)
}

/// What a wait for bytes came to.
enum Waited {
    There,
    Gone,
}

/// Waits until `there` says so, or nobody fills the file any more, or `until` has come.
fn wait_for(
    following: &mut Following,
    until: Option<Instant>,
    there: impl Fn(&PartView) -> bool,
) -> Result<Waited> {
    let path = following.view.canonical_path().to_path_buf();
    let mut gone = matches!(following.end().map_err(|e| told(&e))?, Some(End::GivenUp));
    loop {
        if there(&following.view) {
            return Ok(Waited::There);
        }
        if gone {
            return Ok(Waited::Gone);
        }
        if input::stopped() {
            return Err(Failure::new(ErrorKind::Cancelled, &path, "interrupted; it still fills"));
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            let what = "the time of --timeout is over, and it still fills";
            return Err(Failure::new(ErrorKind::TimedOut, &path, what));
        }
        gone = matches!(following.step().map_err(|e| told(&e))?, Some(End::GivenUp));
    }
}

fn following(view: PartView) -> Following {
    // A file that was whole at the first look counts as committed.
    let before = match view.state() {
        PartState::Filling => crate::fetch::stamp(view.canonical_path()),
        _ => None,
    };
    Following::new(view, before)
}

fn gave_up(path: &Path, what: &str) -> Failure {
    let what = format!("{what}, and nobody fills it any more; run its `untorn fetch` again");
    Failure::new(ErrorKind::Precondition, path, what)
}

fn wait(
    path: &Path,
    range: Option<&Range<u64>>,
    timeout: Option<Duration>,
    out: &mut Out,
) -> Result<u8> {
    let mut following = following(look(path)?);
    input::watch_signals(|| ())?;
    let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let whole = |view: &PartView| matches!(view.state(), PartState::Committed { .. });
    let behind =
        |view: &PartView, range: &Range<u64>| view.known_len().filter(|len| range.start >= *len);
    let waited = wait_for(&mut following, until, |view| match range {
        None => whole(view),
        Some(range) => {
            let end = view.known_len().unwrap_or(u64::MAX).min(range.end);
            behind(view, range).is_some() || view.next_gap(range.start, end).is_none()
        }
    })?;
    if let Some(range) = range
        && let Some(len) = behind(&following.view, range)
    {
        let what = format!("it ends at {len}, before the range begins");
        return Err(Failure::new(ErrorKind::OutOfRange, path, what));
    }
    match waited {
        Waited::There => {
            out.flush()?;
            Ok(code::OK)
        }
        Waited::Gone => Err(gave_up(path, "it is not there")),
    }
}

/// With `--follow` the writer may begin a moment later than the reader.
fn look_or_wait(path: &Path, follow: bool) -> Result<PartView> {
    let until = Instant::now() + BEGIN;
    loop {
        let mut view = PartView::open(path).map_err(|e| told(&e))?;
        if view.state() != PartState::Missing {
            return Ok(view);
        }
        if !follow || input::stopped() || Instant::now() >= until {
            return Err(missing(path));
        }
        // Looks often, and returns when a first byte is there, or after a moment.
        view.wait_range(0..1, Some(Duration::from_millis(200))).map_err(|e| told(&e))?;
    }
}

fn cat(path: &Path, follow: bool, range: Option<&Range<u64>>, out: &mut Out) -> Result<u8> {
    if follow {
        input::watch_signals(|| ())?;
    }
    let mut following = following(look_or_wait(path, follow)?);
    let mut at = range.map_or(0, |range| range.start);
    let end = range.map_or(u64::MAX, |range| range.end);
    let mut piece = Vec::new();
    loop {
        let view = &mut following.view;
        let stop = view.known_len().unwrap_or(u64::MAX).min(end);
        if at >= stop {
            break;
        }
        let want = at.saturating_add(PIECE).min(stop);
        let until = view.next_gap(at, want).map_or(want, |gap| gap.start);
        if until > at {
            piece.resize(usize::try_from(until - at).unwrap_or(0), 0);
            match view.read_at(at, &mut piece) {
                Ok(0) => break,
                Ok(read) => {
                    out.bytes(piece.get(..read).unwrap_or_default())?;
                    at += read as u64;
                }
                // They were taken back between the look and the read: the next look says what is there.
                Err(e) if e.kind() == ErrorKind::Incomplete => {}
                Err(e) => return Err(told(&e)),
            }
            if input::stopped() {
                return Err(Failure::Quiet(code::FAILED));
            }
            continue;
        }
        out.flush()?;
        let what = format!("byte {at} is not there yet");
        if !follow {
            let what = format!("{what}; --follow waits for it");
            return Err(Failure::new(ErrorKind::Precondition, path, what));
        }
        let there = |view: &PartView| {
            view.known_len().is_some_and(|len| at >= len)
                || view.next_gap(at, at.saturating_add(1)).is_none()
        };
        if matches!(wait_for(&mut following, None, there)?, Waited::Gone) {
            return Err(gave_up(path, &what));
        }
    }
    out.flush()?;
    if follow && range.is_none() {
        // All bytes were printed; whether they are the right ones is known when it is committed.
        let whole = |view: &PartView| matches!(view.state(), PartState::Committed { .. });
        if matches!(wait_for(&mut following, None, whole)?, Waited::Gone) {
            return Err(gave_up(path, "its last byte is there, but it was not committed"));
        }
    }
    Ok(code::OK)
}

pub(super) fn verify(path: &Path, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Verified {
        what: &'static str,
        trusted: u64,
        damaged: Vec<Bytes>,
    }
    let what = "it is whole, and has no checksums of ours; compare it with a digest";
    let report = look_at_part(path, what)?.verify().map_err(|e| told(&e))?;
    let damaged = &report.damaged;
    if out.json() {
        let damaged = Bytes::of(damaged);
        out.value(&Verified { what: "chunks", trusted: report.trusted, damaged })?;
    }
    let name = path.display();
    if damaged.is_empty() {
        if !out.json() {
            let bytes = amount(report.trusted);
            out.line(format_args!("{name}: sound; {bytes} match their checksums"))?;
        }
        return Ok(code::OK);
    }
    if !out.json() {
        for range in Bytes::of(damaged) {
            out.line(format_args!("damaged {}..{}", range.start, range.end))?;
        }
    }
    let (bytes, count) = (amount(total(damaged)), damaged.len());
    let what = format!(
        "{bytes} in {count} {} do not match their checksums; `untorn chunk repair` has them fetched again",
        plural(count)
    );
    Err(Failure::new(ErrorKind::Damaged, path, what))
}

fn repair(path: &Path, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Repaired {
        trusted: u64,
        dropped: u64,
    }
    let what = "it is whole; only a part of a file can be repaired";
    match look_at_part(path, what) {
        // A list of ranges that is damaged is what is to be repaired.
        Ok(_) => {}
        Err(failure) if failure.exit() == code::DAMAGE => {}
        Err(failure) => return Err(failure),
    }
    let options = ChunkedOptions::new()
        .resume(Resume::Always)
        .verify_on_resume(true)
        .on_damage(OnDamage::Salvage)
        .create_dirs(false);
    let open = |path: &Path, _| FileResource::open(path);
    let part = AtomicChunked::open_with(path.to_path_buf(), options, open).map_err(|e| told(&e))?;
    let (trusted, dropped) = match part.opened() {
        Opened::Resumed { trusted, dropped } => (trusted, dropped),
        _ => (0, 0),
    };
    part.suspend().map_err(|e| told(&e))?;
    if out.json() {
        out.value(&Repaired { trusted, dropped })?;
    } else {
        let (name, kept) = (path.display(), amount(trusted));
        match dropped {
            0 => out.line(format_args!("{name}: sound; {kept} match their checksums"))?,
            _ => out.line(format_args!(
                "{name}: {} were damaged and are forgotten, {kept} are kept; fetch it again",
                amount(dropped)
            ))?,
        }
    }
    Ok(if dropped > 0 { code::LOSSY } else { code::OK })
}

fn abandon(path: &Path, yes: bool, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Abandoned {
        action: &'static str,
        done: bool,
        trusted: Option<u64>,
    }
    let trusted = match look_at_part(path, "there is no part of it; it is whole") {
        Ok(view) => Some(total(&view.ranges())),
        Err(failure) if failure.exit() == code::DAMAGE => None,
        Err(failure) => return Err(failure),
    };
    if yes {
        let options = ChunkedOptions::new().resume(Resume::Never).create_dirs(false);
        let open = |path: &Path, _| FileResource::open(path);
        AtomicChunked::open_with(path.to_path_buf(), options, open)
            .and_then(AtomicChunked::abandon)
            .map_err(|e| told(&e))?;
    }
    if out.json() {
        out.value(&Abandoned { action: "abandon", done: yes, trusted })?;
        return Ok(code::OK);
    }
    let bytes = trusted.map_or_else(|| "what nobody can tell".to_owned(), amount);
    let did = if yes { "dropped" } else { "would drop" };
    out.line(format_args!("{did} {bytes} of {}", path.display()))?;
    if !yes {
        out.note(format_args!("nothing was changed; say --yes to do it"));
    }
    Ok(code::OK)
}
