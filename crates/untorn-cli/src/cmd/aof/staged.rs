//! A store that is built beside its place and moved there whole, so that a crash leaves no half one under its name.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use untorn::ErrorKind;
use untorn::fs::{Dir, Fs as _, OsFs, Rename, SyncSite};

use crate::exit::{Failure, Result};

/// A directory beside `to`; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct Staged {
    to: PathBuf,
    name: OsString,
    parent: Arc<dyn Dir>,
    begun: OsString,
    dir: PathBuf,
}

impl Staged {
    /// For what is to become `to`, which must not exist.
    pub(super) fn new(to: &Path, why: &str) -> Result<Self> {
        let to = std::path::absolute(to).map_err(|e| Failure::io("find", to, e))?;
        let (Some(name), Some(parent)) = (to.file_name(), to.parent()) else {
            return Err(Failure::new(ErrorKind::InvalidInput, &to, "end it with a name"));
        };
        let open = OsFs::new().open_dir(parent);
        let held = open.map_err(|e| Failure::io("open", parent, e))?;
        let mut begun = OsString::from(".");
        begun.push(name);
        begun.push(format!(".{}.{why}", std::process::id()));
        let dir = parent.join(&begun);
        fs::create_dir(&dir).map_err(|e| Failure::io("make", &dir, e))?;
        Ok(Self { name: name.to_os_string(), parent: held, begun, dir, to: to.clone() })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A copy of a file, in the directory. It is not durable yet.
    pub(super) fn copy(&self, from: &Path, name: &str) -> Result<PathBuf> {
        let to = self.dir.join(name);
        fs::copy(from, &to).map_err(|e| Failure::io("copy", from, e))?;
        Ok(to)
    }

    /// The directory itself becomes `to`.
    pub(super) fn publish_dir(self) -> Result<()> {
        let fail = |e| Failure::io("publish", &self.to, e);
        let inside = OsFs::new().open_dir(&self.dir).map_err(fail)?;
        inside.sync(SyncSite::Caller).map_err(fail)?;
        let renamed = self.parent.rename(&self.begun, &*self.parent, &self.name, Rename::NoReplace);
        renamed.and_then(|()| self.parent.sync(SyncSite::Caller)).map_err(fail)
    }

    /// A file in the directory becomes `to`, and its home the home of that. A crash between the two leaves a home without its data,
    /// which every open says.
    pub(super) fn publish_file(self, name: &OsStr) -> Result<()> {
        let fail = |e| Failure::io("publish", &self.to, e);
        let inside = OsFs::new().open_dir(&self.dir).map_err(fail)?;
        let home = |name: &OsStr| {
            let mut home = name.to_os_string();
            home.push(".untorn");
            home
        };
        let (from, to) = (home(name), home(&self.name));
        inside.rename(&from, &*self.parent, &to, Rename::NoReplace).map_err(fail)?;
        let moved = inside.rename(name, &*self.parent, &self.name, Rename::NoReplace);
        if let Err(e) = moved {
            // Back, so that there is nothing by that name; the failure is the one that is told.
            let _back = self.parent.rename(&to, &*inside, &from, Rename::NoReplace).is_ok();
            return Err(fail(e));
        }
        self.parent.sync(SyncSite::Caller).map_err(fail)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What was published is gone from here; a left-over of our own is worth no failure.
        let _removed = fs::remove_dir_all(&self.dir).is_ok();
    }
}
