//! An event log with an index: events of any size in one file, and in another where each kind of event happened, in one commit.
//!
//! ```text
//! cargo run --example indexed_events -- /tmp/events
//! ```
//! Type lines such as `login anna`; each is an event, its first word the kind. `? login` lists the events of a kind, `- 3` takes back the last
//! three. Kill it, start it again: events and index agree.

use std::io::BufRead as _;
use std::path::PathBuf;

use untorn::append::{AppendGroup, FileSpec};

/// An entry of the index: the kind's checksum, and the event's position. It has a fixed size, so that it is read in place.
const ENTRY: usize = 16;

fn kind_of(event: &[u8]) -> u64 {
    let word = event.split(|byte| *byte == b' ').next().unwrap_or_default();
    // FNV: any function of the word will do that does not change.
    word.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn append(group: &mut AppendGroup, event: &[u8]) -> Result<u64, untorn::Error> {
    let position = group.file::<Vec<u8>>("events")?.append(event)?;
    let entry = [kind_of(event).to_le_bytes(), position.to_le_bytes()].concat();
    group.file::<Vec<u8>>("index")?.append(&entry)?;
    group.flush()?;
    Ok(position)
}

fn take_back(group: &mut AppendGroup, count: u64) -> Result<u64, untorn::Error> {
    let mut left = 0;
    for name in ["events", "index"] {
        let mut file = group.file::<Vec<u8>>(name)?;
        left = file.len().saturating_sub(count).max(file.first());
        file.rewind(left)?;
    }
    group.flush()?;
    Ok(left)
}

fn find(group: &AppendGroup, kind: &[u8]) -> Result<(), untorn::Error> {
    // Both files as of one commit, whatever is appended meanwhile.
    let state = group.snapshot();
    let (events, index) = (state.file::<Vec<u8>>("events")?, state.file::<Vec<u8>>("index")?);
    let wanted = kind_of(kind);
    for entry in index.as_chunks::<ENTRY>()? {
        let [kind, position] = [0, 8].map(|at| {
            let field = entry.get(at..at + 8).and_then(|field| field.try_into().ok());
            field.map_or(0, u64::from_le_bytes)
        });
        if kind == wanted {
            println!("{position:>6} {}", String::from_utf8_lossy(events.get(position)?));
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir: PathBuf = std::env::args_os().nth(1).ok_or("usage: indexed_events DIR")?.into();
    std::fs::create_dir_all(&dir)?;
    let mut group = AppendGroup::options(dir.join("events"))
        .file("events", dir.join("events.dat"), FileSpec::variable())
        .file("index", dir.join("events.idx"), FileSpec::fixed(16))
        .open()?;
    println!("{} events", group.file::<Vec<u8>>("events")?.len());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("?", kind)) => find(&group, kind.as_bytes())?,
            Some(("-", count)) => println!("{} left", take_back(&mut group, count.parse()?)?),
            _ => println!("durable: {}", append(&mut group, line.as_bytes())?),
        }
    }
    group.close()?;
    Ok(())
}
