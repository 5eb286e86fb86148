//! `convert` from and to the files of `grin_store`: a directory of a PMMR, or one file of elements.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use untorn::append::{AppendGroup, FileSpec, GroupSnapshot, RecoveryReport, Snapshot};
use untorn::{AtomicFile, ErrorKind};

use super::found::must_find;
use super::reading::look;
use super::staged::Staged;
use super::writer::{self, How, Kind, open_group, open_store};
use super::{elements, healed};
use crate::args::Convert;
use crate::exit::{Failure, Result, code};
use crate::out::{Out, size};

/// The name of the group in a directory that was converted.
const GROUP: &str = "pmmr";
const SIZES: &str = "pmmr_size.bin";
const HASH_BYTES: u32 = 32;
/// The files of a PMMR, in the order in which the group has them.
const FILES: [&str; 4] = ["hash", "data", "leaf", "prun"];

fn file_name(member: &str) -> String {
    format!("pmmr_{member}.bin")
}

/// Whether a file of a PMMR is rewritten as a whole each time: a set, one element to us.
fn is_set(member: &str) -> bool {
    member == "leaf" || member == "prun"
}

#[derive(Serialize)]
struct Converted {
    files: Vec<Part>,
    cut_bytes: u64,
    zero_tail: u64,
    /// Files of the source that are none of a PMMR.
    left: Vec<String>,
}

#[derive(Serialize)]
struct Part {
    name: String,
    elements: u64,
    bytes: u64,
}

impl Converted {
    fn say(&self, dest: &Path, report: Option<&RecoveryReport>, out: &mut Out) -> Result<()> {
        if out.json() {
            return out.value(self);
        }
        let bytes = self.files.iter().map(|part| part.bytes).sum();
        let (count, dest) = (self.files.len(), dest.display());
        let plural = if count == 1 { "" } else { "s" };
        out.line(format_args!("{dest}: {count} file{plural}, {}", size(bytes)))?;
        for Part { name, elements: count, bytes } in &self.files {
            let count = elements(*count);
            out.line(format_args!("  {name}  {count}, {}", size(*bytes)))?;
        }
        let not = report.filter(|report| report.cut_bytes > 0 || report.zero_tail > 0);
        if let Some(mut report) = not.cloned() {
            report.adopted = 0;
            if let Some(text) = healed(&report) {
                out.note(format_args!("note: {dest}: {text}"));
            }
        }
        for name in &self.left {
            out.note(format_args!("note: {name} was left alone"));
        }
        Ok(())
    }
}

pub(in crate::cmd) fn grin_to_append(args: &Convert, out: &mut Out) -> Result<u8> {
    let source = &*args.source;
    let stat = fs::metadata(source).map_err(|e| Failure::io("open", source, e))?;
    // Its home beside it would be taken for a store that is there.
    if super::found::home_of(&args.dest).is_some_and(|home| home.symlink_metadata().is_ok()) {
        let what = "there is a store by that name; give the new one another";
        return Err(Failure::new(ErrorKind::AlreadyExists, &args.dest, what));
    }
    if stat.is_dir() { directory(args, out) } else { file(args, out) }
}

fn usage(path: &Path, what: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::InvalidInput, path, what)
}

/// One file of elements.
fn file(args: &Convert, out: &mut Out) -> Result<u8> {
    let source = &*args.source;
    if args.data_size.is_some() {
        return Err(usage(
            source,
            "--data-size is of a directory; say --fixed N or --size-file FILE",
        ));
    }
    if args.fixed.is_none() && args.size_file.is_none() {
        return Err(usage(source, "say how large its elements are: --fixed N or --size-file FILE"));
    }
    let name = "data";
    let staged = Staged::new(&args.dest, "convert")?;
    let data = staged.copy(source, name)?;
    // The close writes the file of sizes anew: that is done to a copy.
    let size_file = args.size_file.as_ref().map(|sizes| staged.copy(sizes, "sizes")).transpose()?;
    let kind = Kind::raw(args.fixed.unwrap_or(0), 0);
    let new = writer::open(&data, &kind, &How { create: true, size_file, ..How::default() })?;
    let report = new.recovery()?;
    let name_of = args.dest.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (count, bytes) = (new.len(), fs::metadata(&data).map_or(0, |stat| stat.len()));
    new.close()?;
    staged.publish_file(OsStr::new(name))?;
    let (cut_bytes, zero_tail) = (report.cut_bytes, report.zero_tail);
    let files = vec![Part { name: name_of, elements: count, bytes }];
    Converted { files, cut_bytes, zero_tail, left: Vec::new() }.say(
        &args.dest,
        Some(&report),
        out,
    )?;
    Ok(code::OK)
}

/// A directory of a PMMR, as a group.
fn directory(args: &Convert, out: &mut Out) -> Result<u8> {
    let source = std::path::absolute(&args.source);
    let source = source.map_err(|e| Failure::io("find", &args.source, e))?;
    if args.fixed.is_some() || args.size_file.is_some() {
        let what = "--fixed and --size-file are of one file; a directory has its sizes in pmmr_size.bin, or takes --data-size N";
        return Err(usage(&args.source, what));
    }
    let there = |name: &str| source.join(name).is_file();
    let members: Vec<_> = FILES.into_iter().filter(|member| there(&file_name(member))).collect();
    if members.is_empty() {
        let what = "there is no file of a PMMR in it, such as pmmr_hash.bin";
        return Err(Failure::new(ErrorKind::NotOurs, &args.source, what));
    }
    let data = match (members.contains(&"data"), there(SIZES), args.data_size) {
        (false, _, None) => FileSpec::variable(),
        (false, _, Some(_)) => {
            return Err(usage(&args.source, "it has no pmmr_data.bin; leave --data-size out"));
        }
        (true, true, None) => FileSpec::variable().size_file(source.join(SIZES)),
        (true, false, Some(fixed)) => FileSpec::fixed(fixed),
        (true, true, Some(_)) => {
            return Err(usage(
                &args.source,
                "it has pmmr_size.bin: its elements differ in size; leave --data-size out",
            ));
        }
        (true, false, None) => {
            return Err(usage(
                &args.source,
                "pmmr_data.bin has no pmmr_size.bin beside it: say --data-size N",
            ));
        }
    };
    let left = left(&source, &members)?;
    let dest = std::path::absolute(&args.dest);
    let dest = dest.map_err(|e| Failure::io("find", &args.dest, e))?;
    let staged = Staged::new(&dest, "convert")?;
    for member in members.iter().filter(|member| !is_set(member)) {
        staged.copy(&source.join(file_name(member)), &file_name(member))?;
    }
    // What the group writes down are names beside its home, which hold wherever the directory is.
    std::env::set_current_dir(staged.dir()).map_err(|e| Failure::io("enter", staged.dir(), e))?;
    let mut options = AppendGroup::options(GROUP);
    for member in &members {
        let spec = match *member {
            "hash" => FileSpec::fixed(HASH_BYTES),
            "data" => data.clone(),
            _ => FileSpec::variable(),
        };
        options = options.file(member, file_name(member), spec);
    }
    let mut group = options.open()?;
    for member in members.iter().filter(|member| is_set(member)) {
        let path = source.join(file_name(member));
        let set = fs::read(&path).map_err(|e| Failure::io("read", &path, e))?;
        group.file::<Vec<u8>>(member)?.append(&set)?;
    }
    group.flush()?;
    let report = group.recovery().clone();
    let files = members.iter().map(|member| {
        let name = file_name(member);
        let bytes = fs::metadata(&name).map_or(0, |stat| stat.len());
        Ok(Part { elements: group.file::<Vec<u8>>(member)?.len(), name, bytes })
    });
    let files = files.collect::<Result<_>>()?;
    group.close()?;
    staged.publish_dir()?;
    let (cut_bytes, zero_tail) = (report.cut_bytes, report.zero_tail);
    Converted { files, cut_bytes, zero_tail, left }.say(&args.dest, Some(&report), out)?;
    Ok(code::OK)
}

/// The names in a directory that are not those of a PMMR.
fn left(source: &Path, members: &[&str]) -> Result<Vec<String>> {
    let mut known: BTreeSet<String> = members.iter().map(|member| file_name(member)).collect();
    if members.contains(&"data") {
        known.insert(SIZES.to_owned());
    }
    let names = fs::read_dir(source).map_err(|e| Failure::io("list", source, e))?;
    let names = names.filter_map(std::result::Result::ok);
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let left: BTreeSet<String> = names.filter(|name| !known.contains(name)).collect();
    Ok(left.into_iter().collect())
}

pub(in crate::cmd) fn append_to_grin(args: &Convert, out: &mut Out) -> Result<u8> {
    if args.fixed.is_some() || args.data_size.is_some() {
        return Err(usage(
            &args.source,
            "--fixed and --data-size are of --to append; the store knows its sizes",
        ));
    }
    let store = must_find(&args.source)?;
    super::show::refuse_missing(&store)?;
    let done = if store.identity.is_group {
        if args.size_file.is_some() {
            return Err(usage(
                &args.source,
                "--size-file is of one file; a directory has pmmr_size.bin",
            ));
        }
        let staged = Staged::new(&args.dest, "convert")?;
        let done = group_to(&store, &staged)?;
        staged.publish_dir()?;
        done
    } else {
        let kind = Kind::of(store.member()?);
        let file = open_store(&store, &How::default())?;
        if kind.fixed == 0 && args.size_file.is_none() {
            return Err(usage(
                &args.source,
                "its elements differ in size: say --size-file FILE, to write the sizes to",
            ));
        }
        // The lock is held: what is looked at stays.
        let view = look(&store, 0)?;
        let (count, bytes) = (view.len(), write(&args.dest, &view, kind.fixed)?);
        if let Some(sizes) = &args.size_file {
            file.export_sizes(sizes)?;
        }
        file.close()?;
        let name = args.dest.file_name().unwrap_or_default().to_string_lossy().into_owned();
        vec![Part { name, elements: count, bytes }]
    };
    Converted { files: done, cut_bytes: 0, zero_tail: 0, left: Vec::new() }
        .say(&args.dest, None, out)?;
    Ok(code::OK)
}

fn group_to(store: &super::found::Store, staged: &Staged) -> Result<Vec<Part>> {
    let mut group = open_group(&store.path, &store.identity.members, &How::default())?;
    let state: GroupSnapshot = group.snapshot();
    let mut done = Vec::new();
    for member in &store.identity.members {
        let name = &*member.name;
        if !FILES.contains(&name) {
            let what = format!("its file `{}` is none of a PMMR", name.escape_debug());
            return Err(Failure::new(ErrorKind::NotOurs, &store.asked, what));
        }
        let view = state.file::<Vec<u8>>(name)?;
        let to = staged.dir().join(file_name(name));
        let bytes = if is_set(name) {
            // The last of its states, if it ever had one.
            let Some(last) = view.len().checked_sub(1) else { continue };
            let set = view.get_cow(last)?;
            untorn::replace(&to, &set)?;
            set.len() as u64
        } else {
            write(&to, &view, member.fixed)?
        };
        done.push(Part { name: file_name(name), elements: view.len(), bytes });
        if name == "data" && member.fixed == 0 {
            let to = staged.dir().join(SIZES);
            group.file::<Vec<u8>>(name)?.export_size_file(&to)?;
            let bytes = fs::metadata(&to).map_or(0, |stat| stat.len());
            done.push(Part { name: SIZES.to_owned(), elements: view.len(), bytes });
        }
    }
    drop(state);
    group.close()?;
    Ok(done)
}

/// Writes the elements to a new file, durably; a head that was dropped is zeros there. Returns its length.
fn write(to: &Path, view: &Snapshot<Vec<u8>>, fixed: u32) -> Result<u64> {
    struct Counted<'a>(&'a mut AtomicFile, u64);

    impl std::io::Write for Counted<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let len = self.0.write(bytes)?;
            self.1 += len as u64;
            Ok(len)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            self.0.flush()
        }
    }

    let path: PathBuf = to.to_path_buf();
    let mut file = AtomicFile::create(&path)?;
    let mut counted = Counted(&mut file, 0);
    let mut head = view.first() * u64::from(fixed);
    let zeros = vec![0; 1 << 16];
    while head > 0 {
        let len = usize::try_from(head).unwrap_or(usize::MAX).min(zeros.len());
        let piece = zeros.get(..len).unwrap_or_default();
        counted.write_all(piece).map_err(|e| Failure::io("write", to, e))?;
        head -= len as u64;
    }
    if view.first() < view.len() {
        view.write_to(&mut counted, ..)?;
    }
    let bytes = counted.1;
    file.commit()?;
    Ok(bytes)
}
