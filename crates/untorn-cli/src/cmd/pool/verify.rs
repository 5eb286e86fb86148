//! `pool verify`, and how damage is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use untorn::ErrorKind;
use untorn::fs::OsFs;
use untorn::pool::{PathDamage, PathReport, verify_path};

use crate::exit::{Failure, Result, code};
use crate::out::{Out, many, size};

#[derive(Serialize)]
struct Verified<'a> {
    what: &'static str,
    path: &'a Path,
    sound: bool,
    objects: u64,
    bytes: u64,
    sets: u64,
    segments: u64,
    files: u64,
    damage: Vec<Damage>,
}

#[derive(Serialize)]
struct Damage {
    /// Of no object, if it is the manifest's.
    key: Option<String>,
    path: PathBuf,
    offset: Option<u64>,
    message: String,
}

impl Damage {
    fn of(damage: &PathDamage) -> Self {
        let PathDamage { key, path, offset, what, .. } = damage.clone();
        let key = key.map(|key| key.simple().to_string());
        Self { key, path, offset, message: what }
    }

    fn sentence(&self) -> String {
        let key = self.key.as_ref().map_or_else(String::new, |key| format!("object {key} in "));
        let at = self.offset.map_or_else(String::new, |offset| format!(" at {offset}"));
        format!("{key}{}{at}: {}", self.path.display(), self.message)
    }
}

/// Reads all of a path; a bar on a terminal tells how far it is.
pub(super) fn check(path: &Path, out: &Out) -> Result<PathReport> {
    let bar = out.bar();
    let report = verify_path(path, Arc::new(OsFs::new()), |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    Ok(report?)
}

/// The first damage, and how much more there is.
pub(super) fn told(report: &PathReport) -> Option<String> {
    let first = Damage::of(report.damage.first()?).sentence();
    let more = report.damage.len() as u64 - 1;
    let more =
        if more == 0 { String::new() } else { format!("; and {} more", many(more, "place")) };
    Some(format!("{first}{more}"))
}

/// Whether the manifest is damaged, not only objects.
pub(super) fn of_manifest(report: &PathReport) -> bool {
    report.damage.iter().any(|damage| damage.key.is_none())
}

/// What can be done about it.
pub(super) fn help(path: &Path, report: &PathReport) -> String {
    let shown = path.display();
    if of_manifest(report) {
        return format!(
            "untorn recover {shown} --truncate --yes   goes back to the last commit before the damage to the manifest; a copy \
             of what is cut is kept in {}",
            path.join("manifest").join("quarantine").display()
        );
    }
    "what a checksum refutes cannot be healed: restore the file from a copy, or have the program persist these objects anew"
        .to_owned()
}

pub(in crate::cmd) fn verify(path: &Path, out: &mut Out) -> Result<u8> {
    let report = check(path, out)?;
    let damage: Vec<Damage> = report.damage.iter().map(Damage::of).collect();
    let words = told(&report);
    if out.json() {
        out.value(&Verified {
            what: "pool",
            path,
            sound: report.is_sound(),
            objects: report.objects,
            bytes: report.bytes,
            sets: report.sets,
            segments: report.segments,
            files: report.own_files,
            damage,
        })?;
        return match words {
            None => Ok(code::OK),
            Some(words) => Err(Failure::new(ErrorKind::Damaged, path, words)),
        };
    }
    if words.is_none() {
        out.line(format_args!(
            "{}: sound; {} in {}, {}",
            path.display(),
            many(report.objects, "object"),
            many(report.sets, "set"),
            size(report.bytes)
        ))?;
        return Ok(code::OK);
    }
    for damage in &damage {
        out.line(format_args!("damaged: {}", damage.sentence()))?;
    }
    out.note(format_args!("help: {}", help(path, &report)));
    Err(Failure::Quiet(code::DAMAGE))
}
