//! The command: ask, look what is there, claim, fill, commit.
//!
//! A part that is kept is never thrown away unasked: if it is of another version than the server has, the command ends
//! with 12 and changes nothing.

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use untorn::chunked::{
    AtomicChunked, Cancel, CheckpointPolicy, ChunkedOptions, Claim, CommitOptions, CommitReport,
    Digest, FileResource, FillOptions, Identity, IfExists, Opened, PartState, PartView,
    RangeSource as _, ResourceExt as _, Resume, fill,
};
use untorn::{Error, ErrorKind, Holder};

use super::agent::Patience;
use super::args::Fetch;
use super::bar::Shown;
use super::follow::{End, Following, Stamp, stamp};
use super::http::{HttpOptions, HttpSource};
use super::passing;
use super::sum::{Hasher, shown};
use super::tell::{amount, bare, difference, failure, proof, seconds, too_large};
use super::tries::{BACKOFF, RETRIES, Tries};
use super::{screen, to_stdout};
use crate::exit::{Failure, Result, code};
use crate::input;
use crate::out::{Out, hex};

type Part = AtomicChunked<FileResource>;

/// What `--json` prints.
#[derive(Default, Serialize)]
struct Done<'a> {
    schema: &'static str,
    path: Option<&'a Path>,
    len: u64,
    resumed: u64,
    compared: u64,
    fetched: u64,
    seconds: f64,
    digest: Option<String>,
    etag: Option<String>,
    last_modified: Option<String>,
    replaced: bool,
    syncs: u32,
    /// Whether another process fetched it.
    waited: bool,
}

/// What one run works with.
struct Run<'a> {
    args: &'a Fetch,
    source: Arc<HttpSource>,
    cancel: Cancel,
    identity: Identity,
    started: Instant,
}

/// Whose turn it is to fill the file.
enum Turn {
    Ours(Box<Part>),
    /// Another process has filled it.
    Done(u64),
}

/// What the filling did.
#[derive(Default)]
struct Came {
    fetched: u64,
    compared: u64,
    /// Known only now, of a file whose length the server did not say.
    end: Option<u64>,
}

pub(crate) fn run(args: &Fetch, out: &mut Out) -> Result<u8> {
    if args.file == Path::new("-") {
        return to_stdout::run(args, out);
    }
    check_target(args)?;
    let source = Arc::new(source(args)?);
    let cancel = Cancel::new();
    let for_signals = (Arc::clone(&source), cancel.clone());
    input::watch_signals(move || {
        for_signals.1.cancel();
        for_signals.0.cancel();
    })?;
    let identity = identity(&source, args, out)?;
    if begins_later(args) && source.is_sequential().is_ok_and(|sequential| !sequential) {
        source.expect_at(None);
    }
    let mut run = Run { args, source, cancel, identity, started: Instant::now() };
    if let Some((len, max)) = run.identity.len.zip(args.max_size).filter(|(len, max)| len > max) {
        return Err(run.failed(&too_large(len, max), ""));
    }
    if !run.identity.is_known_again() {
        out.note(format_args!(
            "note: the server sends neither an ETag nor a date with a length, so that an interrupted \
             run starts over; --sum would prove that it is the same file"
        ));
    }
    if args.restart {
        run.drop_kept()?;
    }
    match run.claim(out)? {
        Turn::Ours(part) => run.fetch(*part, out),
        Turn::Done(len) => run.checked(len, out),
    }
}

/// What can be refused without asking anybody.
fn check_target(args: &Fetch) -> Result<()> {
    let path = &*args.file;
    let Ok(stat) = fs::metadata(path) else { return Ok(()) };
    if stat.is_dir() {
        let what = "it is a directory; give the name of the file in it, too";
        return Err(Failure::new(ErrorKind::Precondition, path, what));
    }
    if args.no_clobber {
        let what = "it exists, and --no-clobber leaves it as it is; nothing was fetched";
        return Err(Failure::new(ErrorKind::AlreadyExists, path, what));
    }
    Ok(())
}

/// Whether an earlier run kept the first bytes. Then the body of the first answer is of no use: it ends at once, and not when
/// the part is open.
fn begins_later(args: &Fetch) -> bool {
    PartView::open(&args.file).is_ok_and(|view| {
        let first = view.ranges().first().is_some_and(|range| range.start == 0);
        first && view.state() == PartState::Filling && !args.restart
    })
}

pub(super) fn source(args: &Fetch) -> Result<HttpSource> {
    let options = HttpOptions {
        headers: args.headers.clone(),
        connections: usize::from(args.jobs),
        limit_rate: args.limit_rate,
        patience: Patience::default(),
    };
    HttpSource::new(&args.url, &options).map_err(|e| {
        Failure::plain(e.kind(), format!("the URL or a header is refused: {}", bare(&e)))
    })
}

/// What the server says of the file; asked for again if it does not answer.
pub(super) fn identity(source: &HttpSource, args: &Fetch, out: &Out) -> Result<Identity> {
    let mut tries = Tries::default();
    let mut told = false;
    loop {
        match source.identity() {
            Ok(mut identity) => {
                identity.digest.clone_from(&args.sum);
                return Ok(identity);
            }
            Err(error) => {
                if tries.passes(&error) && !told {
                    told = true;
                    out.note(format_args!("{}: {}; trying again", source.shown(), bare(&error)));
                }
                tries.pause(source, error, false).map_err(|e| failure(&e, &source.shown(), ""))?;
            }
        }
    }
}

impl Run<'_> {
    fn path(&self) -> &Path {
        &self.args.file
    }

    fn failed(&self, error: &Error, kept: &str) -> Failure {
        failure(error, &self.source.shown(), kept)
    }

    fn refused(&self, kind: ErrorKind, what: impl Into<String>) -> Failure {
        Failure::new(kind, self.path(), what)
    }

    /// `--restart`: what an earlier run kept goes, durably.
    fn drop_kept(&self) -> Result<()> {
        let filling = PartView::open(self.path()).map(|view| view.state() == PartState::Filling);
        match filling {
            // Damage is one of the reasons to start over.
            Ok(true) => {}
            Err(e) if e.kind() == ErrorKind::Damaged => {}
            Ok(false) => return Ok(()),
            Err(e) => return Err(self.failed(&e, "")),
        }
        let options = ChunkedOptions::new().resume(Resume::Never).create_dirs(false);
        Part::open_with(self.path().to_path_buf(), options, |path, _| FileResource::open(path))
            .and_then(Part::abandon)
            .map_err(|e| self.failed(&e, ""))
    }

    /// Claims the part, perhaps after another process let go of it.
    fn claim(&mut self, out: &mut Out) -> Result<Turn> {
        let mut told = false;
        loop {
            self.must_be_same()?;
            let before = stamp(self.path());
            let factory = |path: &Path, _| FileResource::open(path);
            let claim = Part::claim(self.path().to_path_buf(), self.options(), factory);
            let view = match claim.map_err(|e| self.failed(&e, ""))? {
                Claim::Writer(part) => return Ok(Turn::Ours(Box::new(part))),
                Claim::Busy(view) => view,
                _ => {
                    let what = "it exists, and --no-clobber leaves it as it is";
                    return Err(self.refused(ErrorKind::AlreadyExists, what));
                }
            };
            let holder = view.holder().ok().flatten();
            if !self.args.wait {
                let who = who(holder.as_ref());
                let what = format!("{who} fills it; --wait waits until that is done");
                return Err(self.refused(ErrorKind::Locked, what));
            }
            if !told {
                told = true;
                out.note(format_args!("waiting: {} fills it", who(holder.as_ref())));
            }
            if let End::Committed(len) = self.follow(Following::new(view, before), before, out)? {
                return Ok(Turn::Done(len));
            }
        }
    }

    /// What an earlier run kept must be of the file that the server has now. Changes nothing.
    fn must_be_same(&mut self) -> Result<()> {
        let view = match PartView::open(self.path()) {
            Ok(view) => view,
            Err(e) if e.kind() == ErrorKind::Damaged => {
                let what = format!(
                    "{e}; `untorn chunk repair` keeps what its checksums prove, --restart starts over"
                );
                return Err(Failure::told(&e, what, code::DAMAGE));
            }
            Err(e) => return Err(self.failed(&e, "")),
        };
        let kept: u64 = view.ranges().iter().map(|range| range.end - range.start).sum();
        let busy = view.holder().ok().flatten().is_some_and(|holder| holder.alive == Some(true));
        let Some(of) = view.identity().filter(|_| kept > 0 && !busy) else { return Ok(()) };
        if of.is_same(&self.identity) {
            // A sum that was asked for once is checked, whoever finishes the file.
            let known = of.digest.clone().filter(|sum| Hasher::of(&sum.algo).is_some());
            self.identity.digest = self.identity.digest.take().or(known);
            return Ok(());
        }
        let (kept, why) = (amount(kept), difference(of, &self.identity));
        let what = format!(
            "{why}; {kept} of the earlier one are kept, --restart drops them and starts over"
        );
        Err(self.refused(ErrorKind::Precondition, what))
    }

    fn options(&self) -> ChunkedOptions {
        let Fetch { mode, no_clobber, checkpoint, .. } = self.args;
        let mut options = ChunkedOptions::new()
            .identity(self.identity.clone())
            .checkpoint(CheckpointPolicy::Bytes(*checkpoint))
            .create_dirs(false);
        options.mode = *mode;
        options.max_len = options.max_len.max(self.identity.len.unwrap_or(0));
        if *no_clobber {
            options = options.if_exists(IfExists::NoClobber);
        }
        if let Some(hasher) = self.identity.digest.as_ref().and_then(|sum| Hasher::of(&sum.algo)) {
            let algo = self.identity.digest.as_ref().map(|sum| sum.algo.clone());
            options =
                options.hasher(algo.unwrap_or_default(), move || Box::new(Summing(hasher.clone())));
        }
        options
    }

    /// Waits until the other process is done.
    fn follow(&self, mut following: Following, before: Stamp, out: &Out) -> Result<End> {
        let name = self.name();
        let mut unknown = 0_u32;
        let end = loop {
            if let Some(of) = following.view.identity()
                && !of.agrees(&self.identity)
            {
                let why = difference(of, &self.identity);
                let what = format!("what is being fetched there is not this file: {why}");
                return Err(self.refused(ErrorKind::Precondition, what));
            }
            if self.cancel.is_cancelled() {
                out.note(format_args!("interrupted; {name} is still being filled"));
                return Err(Failure::Quiet(code::FAILED));
            }
            match following.step().map_err(|e| self.failed(&e, ""))? {
                Some(End::Unknown) if unknown < 20 => unknown += 1,
                Some(end) => break end,
                None => {}
            }
        };
        // The claim of the next round tells a file that was always there from a new one.
        Ok(if stamp(self.path()) == before { End::GivenUp } else { end })
    }

    /// Another process has committed it: it must be what was asked for.
    fn checked(&self, len: u64, out: &mut Out) -> Result<u8> {
        if let Some(wrong) = self.identity.len.filter(|expected| *expected != len) {
            let what =
                format!("another process has put a file of {len} bytes there, not of {wrong}");
            return Err(self.refused(ErrorKind::Precondition, what));
        }
        if let Some(expected) = &self.identity.digest {
            let found = digest_of(self.path(), &expected.algo)
                .map_err(|e| Failure::io("read", self.path(), e))?;
            if found != expected.sum {
                let (algo, expected) = (&expected.algo, shown(expected));
                let what = format!("its digest is {algo}:{}, not {expected}", hex(&found));
                let what = format!("{what}; another process put it there");
                return Err(self.refused(ErrorKind::Damaged, what));
            }
        }
        let digest = self.identity.digest.as_ref();
        let sum = digest.map_or(String::new(), |sum| format!("; {} ok", sum.algo));
        if out.json() {
            let done = Done { len, waited: true, digest: digest.map(shown), ..self.done() };
            out.value(&done)?;
        }
        let name = self.path().display();
        out.note(format_args!("another process committed {name} ({}){sum}", amount(len)));
        Ok(code::OK)
    }

    fn done(&self) -> Done<'_> {
        Done {
            schema: "untorn.fetch.v1",
            path: Some(self.path()),
            seconds: self.started.elapsed().as_secs_f64(),
            etag: self.identity.etag.clone(),
            last_modified: self.identity.last_modified.clone(),
            ..Done::default()
        }
    }

    fn name(&self) -> String {
        self.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn fetch(&self, part: Part, out: &mut Out) -> Result<u8> {
        let came = match self.filled(&part, out) {
            Ok(came) => came,
            Err(error) => return Err(self.give_up(part, &error, out)),
        };
        let elapsed = self.started.elapsed();
        let mut options = CommitOptions::new();
        options.final_len = came.end;
        let report = match part.commit_with(options) {
            Ok(report) => report,
            Err(error) => return Err(self.give_up(part, &error, out)),
        };
        if self.args.remote_time {
            self.set_time(out);
        }
        self.tell(&part.opened(), &came, &report, elapsed, out)
    }

    /// Gets every byte that is missing.
    fn filled(&self, part: &Part, out: &Out) -> untorn::Result<Came> {
        let name = self.name();
        let line = |width: usize, rate: f64| {
            let (present, in_flight) = (part.ranges(), self.source.in_flight());
            let total = self.identity.len;
            let shown =
                Shown { name: &name, total, present: &present, in_flight: &in_flight, rate };
            shown.line(width)
        };
        screen::during(
            !out.json(),
            || self.source.received(),
            line,
            || {
                if self.source.is_sequential()? {
                    let poured = passing::pour(&self.source, part, self.args.max_size)?;
                    let end = self.identity.len.is_none().then_some(poured.end);
                    return Ok(Came { fetched: poured.fetched, compared: poured.compared, end });
                }
                let len = part.expected_len().unwrap_or(u64::MAX);
                self.source.expect_at(part.next_gap(0, len).map(|gap| gap.start));
                let jobs =
                    NonZeroUsize::new(usize::from(self.args.jobs)).unwrap_or(NonZeroUsize::MIN);
                let options = FillOptions::new()
                    .parallel(jobs)
                    .retries(RETRIES)
                    .backoff(BACKOFF)
                    .cancel(self.cancel.clone());
                let report = fill(part, &*self.source, &options)?;
                Ok(Came { fetched: report.fetched, ..Came::default() })
            },
        )
    }

    /// Keeps what came in, if it can be known again, and says so.
    fn give_up(&self, part: Part, error: &Error, out: &Out) -> Failure {
        // What cannot be made durable any more is kept as of the last checkpoint.
        let kept = part.checkpoint().ok().filter(|kept| *kept > 0);
        let _suspended = part.suspend().is_ok();
        let kept = kept.map(|kept| format!("{} kept in {}", amount(kept), part_name(self.path())));
        if error.kind() == ErrorKind::Cancelled {
            let what = match &kept {
                Some(kept) => format!("suspended: {kept}; run the same command to continue"),
                None => "interrupted: nothing is kept, for there is nothing by which it could be known again"
                    .to_owned(),
            };
            if out.json() {
                return Failure::plain(ErrorKind::Cancelled, what);
            }
            out.note(format_args!("{what}"));
            return Failure::Quiet(code::FAILED);
        }
        let again = match error.kind() {
            ErrorKind::Precondition | ErrorKind::Damaged => "",
            _ => "; run the same command to continue",
        };
        self.failed(error, &kept.map_or(String::new(), |kept| format!("{kept}{again}")))
    }

    /// Only a date: that it could not be set is no failure of the fetch.
    fn set_time(&self, out: &Out) {
        let Ok(Some(time)) = self.source.changed_at() else {
            out.note(format_args!("note: the server does not say when the file was changed"));
            return;
        };
        if let Err(e) = File::open(self.path()).and_then(|file| file.set_modified(time)) {
            out.note(format_args!("note: {}: cannot set its date: {e}", self.path().display()));
        }
    }

    fn tell(
        &self,
        opened: &Opened,
        came: &Came,
        report: &CommitReport,
        elapsed: Duration,
        out: &mut Out,
    ) -> Result<u8> {
        let resumed = match opened {
            Opened::Resumed { trusted, .. } => *trusted,
            _ => 0,
        };
        if out.json() {
            out.value(&Done {
                len: report.len,
                resumed,
                compared: came.compared,
                fetched: came.fetched,
                digest: report.digest.as_ref().map(shown),
                replaced: report.replaced,
                syncs: report.syncs,
                ..self.done()
            })?;
            return Ok(code::OK);
        }
        let mut facts = Vec::new();
        if resumed > 0 {
            facts.push(format!("resumed {} ({})", amount(resumed), proof(&self.identity)));
        }
        if came.compared > 0 {
            facts.push(format!("compared {} in passing", amount(came.compared)));
        }
        facts.push(format!("fetched {} in {}", amount(came.fetched), seconds(elapsed)));
        if let Some(digest) = &report.digest {
            facts.push(format!("{} ok", digest.algo));
        }
        let (path, len) = (self.path().display(), amount(report.len));
        facts.push(format!("committed {path} ({len}, {} syncs)", report.syncs));
        out.note(format_args!("{}", facts.join("; ")));
        for path in &report.leftovers {
            out.note(format_args!(
                "note: {} could not be removed; `untorn sweep` does",
                path.display()
            ));
        }
        Ok(code::OK)
    }
}

/// As a person looks for it; the name of a part of a very long name is another one.
fn part_name(path: &Path) -> String {
    format!("{}.part", path.display())
}

fn who(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another process".to_owned(), Holder::to_string)
}

/// A hasher of the command line, as the store knows them.
struct Summing(Hasher);

impl Digest for Summing {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&mut self) -> Vec<u8> {
        self.0.clone().finish()
    }
}

fn digest_of(path: &Path, algo: &str) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let unknown = || std::io::Error::other(format!("no digest {algo} is known"));
    let mut hasher = Hasher::of(algo).ok_or_else(unknown)?;
    let mut file = File::open(path)?;
    let mut piece = vec![0; 256 << 10];
    loop {
        let len = file.read(&mut piece)?;
        match piece.get(..len) {
            Some(read) if len > 0 => hasher.update(read),
            _ => return Ok(hasher.finish()),
        }
    }
}
