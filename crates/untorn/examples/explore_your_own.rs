//! A save routine without a directory sync, as many programs have it, and how the explorer finds that out.
//!
//! ```text
//! cargo run --example explore_your_own --features sim
//! ```

use std::io;
use std::path::Path;

use untorn::fs::{Fs, How, Rename, SyncSite::Caller, SyncWhat};
use untorn::sim::{After, Explorer, Fail, Report, Violation};

/// Writes a temporary, syncs it, renames it. Is that enough?
fn save(fs: &dyn Fs, text: &str, sync_the_directory: bool) -> io::Result<()> {
    let dir = fs.open_dir(Path::new("/"))?;
    let temporary = dir.open("note.tmp".as_ref(), How::Create(0o644))?;
    temporary.set_len(0)?;
    temporary.write_at(text.as_bytes(), 0)?;
    temporary.sync(SyncWhat::All, Caller)?;
    dir.rename("note.tmp".as_ref(), &*dir, "note".as_ref(), Rename::Replace)?;
    if sync_the_directory {
        dir.sync(Caller)?;
    }
    Ok(())
}

/// The note is the last one that was promised, or the one that was being saved.
fn check(after: &After<&'static str>) -> Result<(), Fail> {
    let found = after.sim().read("/note").unwrap_or_default();
    let found = String::from_utf8_lossy(&found);
    let promised = after.acked().last().copied().unwrap_or("");
    let begun = after.issued().last().copied().unwrap_or("");
    if found == promised || found == begun {
        return Ok(());
    }
    Err(Fail::new(format!("found {found:?}, promised {promised:?}")))
}

fn explore(sync_the_directory: bool) -> Result<Report, Violation> {
    Explorer::new("save")
        .workload(move |run| {
            for text in ["one", "two", "three"] {
                run.issue(text);
                save(&*run.fs(), text, sync_the_directory)?;
                run.ack(text);
            }
            Ok(())
        })
        .check(check)
        .try_explore()
}

fn main() {
    for sync_the_directory in [false, true] {
        println!("--- syncs the directory: {sync_the_directory}");
        match explore(sync_the_directory) {
            Ok(report) => println!("{report}"),
            Err(violation) => println!("{violation}"),
        }
    }
}
