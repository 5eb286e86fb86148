//! Plays a file while it is downloaded: a reader goes through it with a cursor, and what he waits for is fetched first. Half way it
//! is suspended; the next life goes on, and transfers nothing twice.
//!
//! ```text
//! cargo run --example stream_while_downloading
//! ```

use std::io::{Read as _, Seek as _, SeekFrom};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use untorn::chunked::{
    AtomicChunked, Cancel, ChunkedOptions, FileResource, FillOptions, Identity, RangeSource,
    ResourceExt as _, fill,
};
use untorn::{ErrorKind, Result};

type File = AtomicChunked<FileResource>;

const LEN: u64 = 4 << 20;
const PIECE: u64 = 128 << 10;
const LATENCY: Duration = Duration::from_millis(60);

/// A server far away: each answer takes its time.
#[derive(Default)]
struct Server {
    asked: Mutex<Vec<Range<u64>>>,
}

impl Server {
    fn bytes(range: Range<u64>) -> Vec<u8> {
        range.map(|at| (at / 5).to_le_bytes()[0]).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Range<u64>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it was asked for since the last look, in pieces.
    fn asked(&self) -> Vec<u64> {
        let asked = std::mem::take(&mut *self.lock());
        asked.into_iter().map(|range| range.start / PIECE).collect()
    }
}

impl RangeSource for Server {
    fn identity(&self) -> Result<Identity> {
        Ok(Identity::new().len(LEN).etag("\"film-1\""))
    }

    fn fetch(
        &self,
        range: Range<u64>,
        sink: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.lock().push(range.clone());
        thread::sleep(LATENCY);
        sink(range.start, &Self::bytes(range.clone()))
    }
}

fn open(path: &Path, server: &Server) -> Result<File> {
    let options = ChunkedOptions::new().identity(server.identity()?);
    File::open_with(path.to_path_buf(), options, |path, _| FileResource::open(path))
}

fn filling() -> FillOptions {
    FillOptions::new().parallel(NonZeroUsize::MIN.saturating_add(3)).piece(PIECE)
}

/// Reads `len` bytes from `at` on while others fill the file; how long it took.
fn play(file: &File, at: u64, len: usize) -> std::io::Result<Duration> {
    let started = Instant::now();
    let mut cursor = file.cursor();
    cursor.seek(SeekFrom::Start(at))?;
    let mut scene = vec![0; len];
    cursor.read_exact(&mut scene)?;
    assert_eq!(scene, Server::bytes(at..at + len as u64));
    Ok(started.elapsed())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("film.mkv");
    let server = Server::default();

    println!("first life: the viewer begins, and jumps to the end at once");
    let file = open(&path, &server)?;
    let cancel = Cancel::new();
    thread::scope(|scope| {
        let filled = scope.spawn(|| fill(&file, &server, &filling().cancel(cancel.clone())));
        let begin = play(&file, 0, 300_000)?;
        let credits = play(&file, LEN - 200_000, 200_000)?;
        println!(
            "  the first 300 kB after {begin:.0?}, the last 200 kB {credits:.0?} after the jump"
        );
        cancel.cancel();
        match filled.join().map_err(|_| std::io::Error::other("the filling panicked"))? {
            Err(e) if e.kind() == ErrorKind::Cancelled => Ok(()),
            other => other.map(drop).map_err(std::io::Error::from),
        }
    })?;
    println!("  pieces in the order in which they were asked for: {:?}", server.asked());
    println!("  published so far: {}", path.exists());
    file.suspend()?;

    println!("second life: it goes on");
    let file = open(&path, &server)?;
    println!("  {:?}", file.opened());
    let report = thread::scope(|scope| {
        let filled = scope.spawn(|| fill(&file, &server, &filling()));
        let mut whole = Vec::new();
        file.cursor().read_to_end(&mut whole)?;
        assert_eq!(whole, Server::bytes(0..LEN));
        filled
            .join()
            .map_err(|_| std::io::Error::other("the filling panicked"))?
            .map_err(std::io::Error::from)
    })?;
    println!("  fetched {} kB of {} kB", report.fetched / 1000, LEN / 1000);
    file.commit(None)?;
    println!("  published, whole and durable: {} bytes", std::fs::metadata(&path)?.len());
    Ok(())
}
