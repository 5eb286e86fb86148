//! A local copy of a remote key-value stream: answers while the source is away, and goes on where it was after a crash.
//!
//! `cargo run --example edge_cache -- DIR` (or without DIR, in a temporary directory). The source is in this process; a real one is a
//! server, or a file of NDJSON.

use std::path::PathBuf;
use std::time::Duration;

use untorn::aio::fold::{Follower, MemoryStream};
use untorn::fold::{AppendLogSnapshot, DEFAULT_COMPACT_THRESHOLD, FoldReader, SnapshotStore};

/// What requests are answered from: any number of threads, which never wait for the follower.
fn upstream(routes: &FoldReader, host: &str) -> untorn::Result<String> {
    let found = routes.get_with(&format!("route/{host}"), |entry| {
        String::from_utf8_lossy(entry.value).into_owned()
    })?;
    Ok(found.unwrap_or_else(|| "404".to_owned()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kept = std::env::args_os().nth(1).map(PathBuf::from);
    let temporary = tempfile::tempdir()?;
    let path = kept.unwrap_or_else(|| temporary.path().join("routes"));

    let source = MemoryStream::new("routes");
    source.put("route/a.example", "10.0.0.1:80");
    source.put("route/b.example", "10.0.0.2:80");

    let (cursor, fold) = AppendLogSnapshot::open(&path, DEFAULT_COMPACT_THRESHOLD)?;
    println!("opened at {cursor}, {} routes", fold.snapshot().count("route/")?);
    let routes = fold.reader();
    let follower = Follower::builder(fold, source.source()).spawn();
    follower.ready().await?;
    println!("a.example is at {}", upstream(&routes, "a.example")?);

    let before = routes.snapshot();
    source.put("route/a.example", "10.0.0.9:80");
    source.delete("route/b.example");
    follower.wait_for(&source.head(), Duration::from_secs(10)).await?;
    for change in before.diff(&routes.snapshot()) {
        let change = change?;
        let now = change.new.map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
        println!("{} is now {}", change.key, now.as_deref().unwrap_or("gone"));
    }

    // The program ends, the source goes on, the program begins again: it asks for what follows its cursor.
    let end = follower.stop().await;
    end.result?;
    end.store.close()?;
    source.put("route/c.example", "10.0.0.3:80");
    let (cursor, fold) = AppendLogSnapshot::open(&path, DEFAULT_COMPACT_THRESHOLD)?;
    println!("opened again at {cursor}");
    let routes = fold.reader();
    let follower = Follower::builder(fold, source.source()).spawn();
    follower.wait_for(&source.head(), Duration::from_secs(10)).await?;
    println!("c.example is at {}", upstream(&routes, "c.example")?);
    let end = follower.stop().await;
    end.result?;
    println!("at {}, durable", end.store.durable_cursor());
    Ok(())
}
