//! `convert` between paths of pools and directories of `file_backed`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Serialize;
use untorn::ErrorKind;
use untorn::pool::{
    DirPath, FileBackedOptions, ImportReport, Suspicion, codec_id, export_file_backed,
    import_file_backed,
};

use super::super::staging::made_whole;
use super::{keys, overtaken, steadily};
use crate::args::Convert;
use crate::exit::{Failure, Result, code};
use crate::out::{Out, many, size};

/// So many suspects are told on stderr.
const TOLD: usize = 20;

#[derive(Serialize)]
struct Imported<'a> {
    path: &'a Path,
    objects: u64,
    bytes: u64,
    suspects: Vec<Suspect>,
    /// Whether they were taken all the same.
    taken: bool,
    /// Names that are not those of objects.
    others: u64,
    report: Option<&'a Path>,
}

#[derive(Serialize)]
struct Suspect {
    key: String,
    why: &'static str,
}

impl Suspect {
    fn all(report: &ImportReport) -> Vec<Self> {
        let of = |(key, suspicion): &(uuid::Uuid, Suspicion)| {
            let why = match suspicion {
                Suspicion::Empty => "empty",
                Suspicion::Zeros => "all zero",
                _ => "refused",
            };
            Self { key: key.simple().to_string(), why }
        };
        report.suspect.iter().map(of).collect()
    }
}

pub(in crate::cmd) fn from_file_backed(args: &Convert, out: &mut Out) -> Result<u8> {
    let Some(codec) = &args.codec else {
        let what = "--codec says what the objects are in, such as fixed-le; the files do not";
        return Err(Failure::plain(ErrorKind::InvalidInput, what));
    };
    // Without a slash at its end.
    let dest: PathBuf = args.dest.components().collect();
    let report_path = report_path(&dest);
    if report_path.symlink_metadata().is_ok() {
        let what = "it exists, and what is suspect would be listed there; rename it";
        return Err(Failure::new(ErrorKind::AlreadyExists, &report_path, what));
    }
    let bar = out.counter();
    let imported = made_whole(&dest, "convert", |staged| {
        let path = DirPath::new(staged);
        let mut told = |objects| bar.set_position(objects);
        let options =
            FileBackedOptions::new().accept_suspect(args.accept_suspect).progress(&mut told);
        Ok(import_file_backed(&args.source, &path, codec_id(codec), options)?)
    });
    bar.finish_and_clear();
    let imported = imported?;
    let suspects = Suspect::all(&imported);
    let listed = !suspects.is_empty() || imported.others > 0;
    if listed {
        untorn::create_new(&report_path, list(&suspects, &imported).as_bytes())?;
    }
    let lost = !suspects.is_empty() && !args.accept_suspect;
    let exit = if lost { code::LOSSY } else { code::OK };
    let imported = Imported {
        path: &dest,
        objects: imported.imported,
        bytes: imported.bytes,
        suspects,
        taken: args.accept_suspect,
        others: imported.others,
        report: listed.then_some(&*report_path),
    };
    if out.json() {
        out.value(&imported)?;
    } else {
        imported.print(&args.source, out)?;
    }
    Ok(exit)
}

fn report_path(dest: &Path) -> PathBuf {
    let mut name: OsString = dest.as_os_str().to_owned();
    name.push(".report");
    PathBuf::from(name)
}

/// A line for each suspect, and for each of the names that were left.
fn list(suspects: &[Suspect], imported: &ImportReport) -> String {
    let mut lines: Vec<String> =
        suspects.iter().map(|suspect| format!("{}\t{}", suspect.key, suspect.why)).collect();
    lines.extend(imported.left.iter().map(|path| {
        let path = path.to_string_lossy();
        format!("{}\tleft: not the name of an object", path.escape_debug())
    }));
    let more = imported.others.saturating_sub(imported.left.len() as u64);
    lines.extend((more > 0).then(|| format!("and {}", many(more, "other name"))));
    // So that the last line ends, too.
    lines.push(String::new());
    lines.join("\n")
}

impl Imported<'_> {
    fn print(&self, source: &Path, out: &mut Out) -> Result<()> {
        for Suspect { key, why } in self.suspects.iter().take(TOLD) {
            let done = if self.taken { "taken" } else { "left out" };
            out.note(format_args!("suspect: {key} is {why}; {done}"));
        }
        if self.suspects.len() > TOLD {
            out.note(format_args!("suspect: {} more", self.suspects.len() - TOLD));
        }
        let listed = self.report.map_or_else(String::new, |report| {
            let done = if self.taken || self.suspects.is_empty() { "" } else { " and left out" };
            let others = if self.others == 0 {
                String::new()
            } else {
                format!(", {}", many(self.others, "other name"))
            };
            let suspects = self.suspects.len();
            format!("; {suspects} suspect{done}{others}: listed in {}", report.display())
        });
        out.line(format_args!(
            "{}: {}, {}{listed}; nothing in {} changed",
            self.path.display(),
            many(self.objects, "object"),
            size(self.bytes),
            source.display()
        ))
    }
}

pub(in crate::cmd) fn to_file_backed(args: &Convert, out: &mut Out) -> Result<u8> {
    #[derive(Serialize)]
    struct Exported<'a> {
        path: &'a Path,
        objects: u64,
        bytes: u64,
    }
    let bar = out.counter();
    let exported = steadily(&args.source, |path| {
        // That there is no such set is told before anything is made.
        keys(path, args.set.as_deref())?;
        let mut told = |objects| bar.set_position(objects);
        let options = FileBackedOptions::new().progress(&mut told);
        let exported = export_file_backed(path, args.set.as_deref(), &args.dest, options);
        exported.map_err(|e| {
            let deleted = e.kind() == ErrorKind::NotFound && e.path() == Some(path.path());
            if deleted { overtaken(path.path()) } else { e.into() }
        })
    });
    bar.finish_and_clear();
    let report = exported?;
    if out.json() {
        let (objects, bytes) = (report.objects, report.bytes);
        out.value(&Exported { path: &args.dest, objects, bytes })?;
    } else {
        let (objects, bytes) = (many(report.objects, "object"), size(report.bytes));
        out.line(format_args!("{}: {objects}, {bytes}", args.dest.display()))?;
    }
    Ok(code::OK)
}
