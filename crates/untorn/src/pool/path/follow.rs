//! A path beside its owner: a state of the manifest, read without a lock. Nothing is changed.
//!
//! What the owner moves meanwhile is found by looking again; what he deletes is not there any more.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use super::core::{Core, Seg, State, Writer};
use super::open::{MANIFEST, log_options, look, replay};
use super::options::{DirPathOptions, OpenReport};
use super::table::{Entry, Place, Table};
use crate::commit::Poison;
use crate::fs::Dir;
use crate::log::{self, Log};
use crate::{Error, ErrorKind, Result};

impl Core {
    /// As [`open`](Core::open), for reading alone.
    pub(super) fn read_only(
        path: &Path,
        options: &DirPathOptions,
    ) -> Result<(Arc<Self>, OpenReport)> {
        let dir = options.fs.open_dir(path).map_err(|e| Error::system("open path", path, e))?;
        let Some(peek) = look(&*dir)? else {
            let what = "there is no path of a pool in this directory";
            return Err(Error::new(ErrorKind::NotFound, "open path", path, what));
        };
        let core = Self {
            path: path.to_path_buf(),
            dir,
            options: options.clone(),
            store_id: peek.store_id,
            poison: Poison::default(),
            read_only: true,
            owner: Mutex::new(None),
            writer: Mutex::new(Writer::default()),
            state: Mutex::new(State::default()),
            segments: OnceLock::new(),
            objects: OnceLock::new(),
        };
        core.refresh()?;
        let report = {
            let state = core.state();
            let (objects, sets) = (state.table.objects.len() as u64, state.table.sets.len() as u64);
            OpenReport { objects, sets, ..OpenReport::default() }
        };
        Ok((Arc::new(core), report))
    }

    /// Looks at the manifest anew. Registrations stay, also of what is deleted, whose bytes may be gone.
    pub(super) fn refresh(&self) -> Result<()> {
        let mut table = read_table(&*self.dir, &self.options)?;
        let mut state = self.state();
        for (key, before) in state.table.objects.iter().filter(|(_, entry)| entry.holds > 0) {
            let entry = table.objects.entry(*key).or_insert(Entry::new(before.object));
            entry.holds = before.holds;
        }
        let places = table.objects.values().map(|entry| entry.object.place);
        let numbers = places.filter_map(|place| match place {
            Place::Segment { number, .. } => Some(number),
            Place::Own => None,
        });
        let mut segments = std::mem::take(&mut state.segments);
        // Files that are open stay so.
        state.segments = numbers.map(|number| (number, segments.remove(&number))).fold(
            std::collections::BTreeMap::new(),
            |mut all, (number, seg)| {
                let slot: &mut Seg = all.entry(number).or_default();
                if let Some(seg) = seg {
                    *slot = seg;
                }
                all
            },
        );
        state.table = table;
        Ok(())
    }
}

/// What the manifest says now.
pub(super) fn read_table(dir: &dyn Dir, options: &DirPathOptions) -> Result<Table> {
    let manifest = dir.path().join(MANIFEST);
    let reader = Log::open_read_only(&manifest, log_options(options))?;
    let mut table = Table::default();
    log::read_state(&reader, &mut |piece| replay(&mut table, piece, &manifest))?;
    Ok(table)
}
