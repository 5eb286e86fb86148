//! Keeps the processors from idling while a run lasts. On some virtual machines a sync that completes while its
//! processor sleeps is noticed at the next timer tick only, 4 ms later; then all syncs look alike and ratios say little.

use std::process::{Child, Command, Stdio};

use crate::Result;

/// A loop of the lowest scheduling class for each processor: it yields to everything else at once.
#[derive(Debug)]
pub struct Awake(Vec<Child>);

impl Awake {
    pub fn start() -> Result<Self> {
        let mut awake = Self(Vec::new());
        // It ends by itself if this process is killed.
        let turn = "while kill -0 \"$0\" 2>/dev/null; do :; done";
        for _ in 0..std::thread::available_parallelism()?.get() {
            let child = Command::new("chrt")
                .args(["-i", "0", "sh", "-c", turn])
                .arg(std::process::id().to_string())
                .stdin(Stdio::null())
                .spawn()
                .map_err(|e| format!("--awake needs chrt (util-linux): {e}"))?;
            awake.0.push(child);
        }
        Ok(awake)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
