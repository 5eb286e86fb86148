//! Readers that never wait: two threads read a file of hashes as fast as they can, while a third flushes and rewinds it.
//!
//! ```text
//! cargo run --release --example never_blocked
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use untorn::append::AppendOnlyFile;

/// An element that can be told to be whole: its number, four times.
fn element(n: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    for part in bytes.chunks_exact_mut(8) {
        part.copy_from_slice(&n.to_le_bytes());
    }
    bytes
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("never-blocked-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let mut file = AppendOnlyFile::<Vec<u8>>::options().fixed(32).open(dir.join("hashes"))?;
    let over = AtomicBool::new(false);
    let (reads, longest) = (AtomicU64::new(0), AtomicU64::new(0));
    let commits = thread::scope(|scope| -> Result<u64, untorn::Error> {
        for _ in 0..2 {
            let reader = file.reader()?;
            let (over, reads, longest) = (&over, &reads, &longest);
            scope.spawn(move || -> Result<(), untorn::Error> {
                while !over.load(Relaxed) {
                    let started = Instant::now();
                    // What it shows stays, also if the writer rewinds below it now.
                    let state = reader.snapshot()?;
                    for at in state.len().saturating_sub(64)..state.len() {
                        let bytes = state.get(at)?;
                        assert_eq!(bytes, element(at), "a reader sees whole elements only");
                        reads.fetch_add(1, Relaxed);
                    }
                    longest.fetch_max(
                        u64::try_from(started.elapsed().as_micros()).unwrap_or(0),
                        Relaxed,
                    );
                }
                Ok(())
            });
        }
        let started = Instant::now();
        let mut commits = 0;
        while started.elapsed() < Duration::from_secs(2) {
            let len = file.len();
            file.rewind(len.saturating_sub(len % 97))?;
            for n in file.size_unsync_in_elmts()?..len + 100 {
                file.append(&element(n))?;
            }
            file.flush()?;
            commits += 1;
        }
        over.store(true, Relaxed);
        Ok(commits)
    })?;
    println!("{commits} durable commits, each with a rewind");
    println!(
        "{} reads beside them, the longest 64 took {} us",
        reads.into_inner(),
        longest.into_inner()
    );
    file.close()?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
