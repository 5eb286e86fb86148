//! `aof create` and `aof append`.

use std::path::Path;

use serde::Serialize;
use untorn::ErrorKind;
use untorn::append::Commit;

use super::args::{AofAppend, AofCreate};
use super::elements::{self, Cut};
use super::found;
use super::staged::Staged;
use super::writer::{self, How, Kind, Writer};
use super::{commits, tell, thousands};
use crate::exit::{Failure, Result, code};
use crate::input;
use crate::out::Out;

/// What is appended and not committed yet at most, in bytes and in elements.
const BYTES: u64 = 64 << 20;
const ELEMENTS: u64 = 1_000_000;

pub(super) fn create(args: &AofCreate, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Created {
        fixed: Option<u32>,
        version: u32,
        elements: u64,
        cut_bytes: u64,
    }
    let path = &*args.file;
    if found::find(path)?.is_some() {
        let what = "it is an append-only file already; `untorn aof show` says of what";
        return Err(Failure::new(ErrorKind::AlreadyExists, path, what));
    }
    if args.sizes.fixed.is_some() && args.size_file.is_some() {
        let what = "--size-file is for elements that differ in size: leave --fixed out";
        return Err(Failure::new(ErrorKind::InvalidInput, path, what));
    }
    if args.sizes.fixed.is_none() && !args.sizes.variable {
        let what = "say --fixed N or --variable";
        return Err(Failure::new(ErrorKind::InvalidInput, path, what));
    }
    let kind = Kind::raw(args.sizes.fixed.unwrap_or(0), args.version);
    // A close writes the file of sizes anew: that is done to a copy.
    let staged = args.size_file.as_ref().map(|sizes| {
        let staged = Staged::new(path, "sizes")?;
        staged.copy(sizes, "sizes").map(|copy| (staged, copy))
    });
    let staged = staged.transpose()?;
    let size_file = staged.as_ref().map(|(_, copy)| copy.clone());
    let file = writer::open(path, &kind, &How { create: true, size_file, ..How::default() })?;
    let report = file.recovery()?;
    tell(path, &report, out);
    let elements = file.len();
    file.close()?;
    if out.json() {
        let (fixed, cut_bytes) = (args.sizes.fixed, report.cut_bytes);
        out.value(&Created { fixed, version: args.version, elements, cut_bytes })?;
    } else {
        let (path, sizes) = (path.display(), kind.sizes());
        out.line(format_args!("{path}: made, {sizes}, {}", super::elements(elements)))?;
    }
    Ok(code::OK)
}

pub(super) fn append(args: &AofAppend, out: &mut Out) -> Result<u8> {
    let path = &*args.file;
    let (mut file, kind) = open(args)?;
    tell(path, &file.recovery()?, out);
    let cut = match (args.raw, kind.fixed) {
        (true, 0) => {
            let what =
                "--raw takes elements of fixed size; these differ in size, use lines or --hex";
            return Err(Failure::new(ErrorKind::InvalidInput, path, what));
        }
        (true, fixed) => Cut::Each(fixed as usize),
        (false, _) if args.hex => Cut::Hex,
        (false, _) => Cut::Lines,
    };
    let input = input::open()?;
    let mut batch = Batch { of: args.batch.unwrap_or(ELEMENTS), ..Batch::default() };
    let note = args.note.as_deref();
    let read = elements::read(cut, &input, |nth, bytes| {
        file.append(bytes).map_err(|e| Failure::from(e).after(&elements::at(cut, nth)))?;
        batch.elements += 1;
        batch.bytes += bytes.len() as u64;
        if batch.elements >= batch.of || batch.bytes >= BYTES {
            batch.commit(&mut *file, note, out)?;
        }
        Ok(())
    });
    // What was committed stays; what is pending goes with the handle.
    let whole = read.map_err(|failure| failure.after(&batch.kept(path)))?;
    if !whole {
        file.close()?;
        let what = format!("{}: interrupted", batch.kept(path));
        return Err(Failure::plain(ErrorKind::Cancelled, what));
    }
    if batch.elements > 0 {
        batch.commit(&mut *file, note, out)?;
    }
    file.close()?;
    if batch.commits == 0 {
        out.note(format_args!("stdin had no elements; nothing was appended"));
    }
    Ok(code::OK)
}

/// Opens what is there, or makes what the options say.
fn open(args: &AofAppend) -> Result<(Box<dyn Writer>, Kind)> {
    let path = &*args.file;
    let asked = match (args.sizes.fixed, args.sizes.variable) {
        (Some(fixed), _) => Some(fixed),
        (None, true) => Some(0),
        (None, false) => None,
    };
    if let Some(store) = found::find(path)? {
        let kind = Kind::of(store.member()?);
        if asked.is_some_and(|asked| asked != kind.fixed) {
            let what = format!("its elements are {}; leave the option out", kind.sizes());
            return Err(Failure::new(ErrorKind::Precondition, path, what));
        }
        if kind.codec != "raw" {
            let what = format!(
                "its elements are values in the codec `{}`; only its program appends to it",
                kind.codec.escape_debug()
            );
            return Err(Failure::new(ErrorKind::Precondition, path, what));
        }
        return Ok((writer::open_store(&store, &How::default())?, kind));
    }
    let Some(fixed) = asked else {
        let what = "there is no append-only file; --fixed N or --variable makes one";
        return Err(Failure::new(ErrorKind::NotFound, path, what));
    };
    let kind = Kind::raw(fixed, 0);
    Ok((writer::open(path, &kind, &How { create: true, ..How::default() })?, kind))
}

/// What is not committed yet, and what is.
#[derive(Default)]
struct Batch {
    of: u64,
    elements: u64,
    bytes: u64,
    commits: u64,
    done: u64,
}

impl Batch {
    fn commit(&mut self, file: &mut dyn Writer, note: Option<&str>, out: &mut Out) -> Result<()> {
        #[derive(Serialize)]
        struct Appended {
            first: u64,
            elements: u64,
            bytes: u64,
            commit: u64,
            syncs: u32,
        }
        if let Some(note) = note {
            file.annotate(note.as_bytes())?;
        }
        let first = file.len();
        let Commit { seq: commit, syncs, .. } = file.flush()?;
        let (elements, bytes) = (self.elements, self.bytes);
        self.commits += 1;
        self.done += elements;
        (self.elements, self.bytes) = (0, 0);
        let shown = if out.json() {
            out.value(&Appended { first, elements, bytes, commit, syncs })
        } else {
            let plural = if syncs == 1 { "" } else { "s" };
            out.line(format_args!(
                "appended {} at {}, commit {}, {syncs} sync{plural}",
                super::elements(elements),
                thousands(first),
                thousands(commit)
            ))
        };
        // Nobody hears the promises any more: that is no success.
        shown.and_then(|()| out.flush()).map_err(|failure| match failure {
            Failure::Quiet(_) => Failure::Quiet(code::FAILED),
            told @ Failure::Told(_) => told,
        })
    }

    /// What holds when it ends early.
    fn kept(&self, path: &Path) -> String {
        let path = path.display();
        match self.commits {
            0 => format!("{path}: nothing was appended"),
            n => format!(
                "{path}: {} were appended in {}, the rest was not",
                super::elements(self.done),
                commits(n)
            ),
        }
    }
}
