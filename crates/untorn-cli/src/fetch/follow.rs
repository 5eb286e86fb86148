//! Looks on while another process fills a file, and tells a commit from a writer that gave up.
//!
//! When a part goes away, a file may stand there that stood there before. Only another inode is a commit. A writer that is
//! gone may have committed a moment before: what stands there after it was seen to be gone decides.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use untorn::Result;
use untorn::chunked::{PartState, PartView};

/// How often to look.
const PAUSE: Duration = Duration::from_millis(50);
/// A part without a lock is being made, or its maker died in the middle: after so many looks it is the latter.
const LOOKS: u32 = 100;

/// Which file stands there.
pub(crate) type Stamp = Option<(u64, u64)>;

/// The file that stands at a path now, symbolic links followed.
pub(crate) fn stamp(path: &Path) -> Stamp {
    fs::metadata(path).ok().map(|stat| (stat.dev(), stat.ino()))
}

/// How a filling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The file is whole, and has this length.
    Committed(u64),
    /// Nobody fills it, and it is not whole.
    GivenUp,
    /// Whether somebody fills it cannot be told without trying to.
    Unknown,
}

/// A file that another process fills.
#[derive(Debug)]
pub(crate) struct Following {
    pub(crate) view: PartView,
    before: Stamp,
    without_lock: u32,
}

impl Following {
    /// `before`: what stood there when the filling was known not to be over.
    pub(crate) const fn new(view: PartView, before: Stamp) -> Self {
        Self { view, before, without_lock: 0 }
    }

    /// Waits a little and looks again.
    ///
    /// # Errors
    /// Those of the look.
    pub(crate) fn step(&mut self) -> Result<Option<End>> {
        thread::sleep(PAUSE);
        self.view.refresh()?;
        self.end()
    }

    /// What the last look showed; `None` while somebody fills it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn end(&mut self) -> Result<Option<End>> {
        if self.view.state() != PartState::Filling {
            return Ok(Some(self.settled()));
        }
        let Some(holder) = self.view.holder()? else {
            self.without_lock += 1;
            return Ok((self.without_lock > LOOKS).then_some(End::GivenUp));
        };
        self.without_lock = 0;
        match holder.alive {
            Some(true) => Ok(None),
            Some(false) => {
                // He may have committed between the look and this question: what stands there now is his last word.
                self.view.refresh()?;
                Ok(Some(self.settled()))
            }
            None => Ok(Some(End::Unknown)),
        }
    }

    fn settled(&self) -> End {
        match self.view.state() {
            PartState::Committed { len } if stamp(self.view.canonical_path()) != self.before => {
                End::Committed(len)
            }
            _ => End::GivenUp,
        }
    }
}
