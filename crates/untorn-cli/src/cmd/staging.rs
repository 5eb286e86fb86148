//! A directory that a command makes: built beside its place and renamed into it whole, so that a crash leaves no half one.

use std::ffi::OsString;
use std::path::Path;

use untorn::ErrorKind;
use untorn::fs::{Fs as _, OsFs, Rename, SyncSite};

use crate::exit::{Failure, Result};

/// Has `write` make a directory, and gives it the name `to`, which nothing may have; `ending` tells what a crash left of it.
pub(super) fn made_whole<T>(
    to: &Path,
    ending: &str,
    write: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    let (Some(name), parent) = (to.file_name(), to.parent().unwrap_or(Path::new(""))) else {
        return Err(Failure::new(ErrorKind::InvalidInput, to, "end it with a directory's name"));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let dir = OsFs::new().open_dir(parent).map_err(|e| Failure::io("open", parent, e))?;
    let mut begun = OsString::from(".");
    begun.push(name);
    begun.push(format!(".{}.{ending}", std::process::id()));
    let staged = parent.join(&begun);
    let published = write(&staged).and_then(|made| {
        let renamed = dir.rename(&begun, &*dir, name, Rename::NoReplace);
        renamed
            .and_then(|()| dir.sync(SyncSite::Caller))
            .map_err(|e| Failure::io("publish", to, e))?;
        Ok(made)
    });
    if published.is_err() {
        // The failure is told; a left-over of our own is worth no second one.
        let _removed = std::fs::remove_dir_all(&staged).is_ok();
    }
    published
}
