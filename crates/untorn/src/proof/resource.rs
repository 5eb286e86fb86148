//! A file that is filled in pieces, under its own name, under the explorer.

use std::fmt;

use super::shape::{Entry, candidates, issue};
use super::{Part, Task};
use crate::chunked::{FileOptions, FileResource, ResourceExt as _};
use crate::sim::{After, Explorer, Fail, Report, Run, Violation};

const NAME: &str = "/data/filled";
const LEN: usize = 1300;

/// Whether the file was committed, and of which bytes it is then.
#[derive(Clone, Debug, Default, PartialEq)]
struct Content(Option<u8>);

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

type Ledger = Entry<Content>;

struct World {
    file: FileResource,
}

impl World {
    fn write(&self, at: usize) -> Result<(), Fail> {
        if self.file.len().is_some() {
            return Ok(());
        }
        let piece = vec![b'a'; LEN / 2];
        Ok(self.file.write_at(at as u64, &piece)?)
    }

    /// What was acknowledged is there; before, the file may be anything, or not be there at all.
    fn commit(&self, run: &Run<Ledger>) -> Result<(), Fail> {
        if self.file.next_gap(0, LEN as u64).is_some() {
            return Ok(());
        }
        let entry = issue(run, "commit", &Content(Some(b'a')));
        self.file.commit(Some(LEN as u64))?;
        run.ack(entry);
        Ok(())
    }
}

fn check(after: &After<Ledger>) -> Result<(), Fail> {
    let (states, _) = candidates(after);
    // As long as the commit is not the only thing that may be, nothing is promised.
    if states.is_empty() || states.iter().any(|state| state.0.is_none()) {
        return Ok(());
    }
    let found = after.sim().read(NAME).map_err(|e| Fail::new(format!("committed, but {e}")))?;
    let whole = found.len() == LEN && found.iter().all(|&byte| byte == b'a');
    if whole {
        Ok(())
    } else {
        Err(Fail::new(format!("committed, and {} bytes of it", found.len())))
    }
}

fn fill(task: Task<'_>) -> Result<Report, Box<Violation>> {
    let explorer: Explorer<Ledger, World> = task.explorer(check);
    explorer
        .start("empty", |run| {
            let entry = issue(run, "empty", &Content::default());
            run.ack(entry);
            let options = FileOptions::new().fs(run.fs());
            Ok(World { file: FileResource::open_with(NAME, options)? })
        })
        .op("first half", |_, world: &mut World| world.write(0))
        .op("second half", |_, world| world.write(LEN / 2))
        .op("commit", |run, world| world.commit(run))
        .prepare(|sim| drop(sim.make_dirs("/data")))
        .sequences(3)
        .states_per_point(64, 8)
        .try_explore()
        .map_err(Box::new)
}

pub(super) fn parts() -> [Part; 1] {
    [Part {
        name: "resource_all_sequences",
        what: "a file filled in pieces, power cuts",
        run: fill,
    }]
}
