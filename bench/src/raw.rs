//! The raw limit: `pwrite` and `fdatasync` into a file that is filled with zeros and synced; a streaming read with a checksum.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Result;

/// As much as a log's segment.
const LEN: u64 = 16 << 20;
/// Zeros are written and synced in parts of this size, as the log does it.
const PART: usize = 256 << 10;

/// A file that blocks are written to, one behind the other, and from the start again when it is full.
#[derive(Debug)]
pub struct Raw {
    file: File,
    block: Vec<u8>,
    at: u64,
}

impl Raw {
    pub fn new(path: PathBuf, block: usize) -> Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        zero_fill(&file, LEN)?;
        file.sync_all()?;
        // The log's first frame stands behind its segment's header.
        Ok(Self { file, block: pattern(block), at: 64 })
    }

    /// Writes the next block.
    pub fn write(&mut self) -> Result<()> {
        if self.at + self.block.len() as u64 > LEN {
            self.at = 64;
        }
        self.file.write_all_at(&self.block, self.at)?;
        self.at += self.block.len() as u64;
        Ok(())
    }

    /// Writes the next block and syncs it.
    pub fn commit(&mut self) -> Result<()> {
        self.write()?;
        self.file.sync_data()?;
        Ok(())
    }
}

/// How long it takes to fill a new file with zeros, synced in parts.
pub fn zeroing(path: PathBuf, len: u64) -> Result<Duration> {
    let file = File::options().write(true).create_new(true).open(&path)?;
    let started = Instant::now();
    zero_fill(&file, len)?;
    let took = started.elapsed();
    drop(file);
    std::fs::remove_file(path)?;
    Ok(took)
}

fn zero_fill(file: &File, len: u64) -> Result<()> {
    let zeros = vec![0; PART];
    let mut at = 0;
    while at < len {
        file.write_all_at(&zeros, at)?;
        file.sync_data()?;
        at += PART as u64;
    }
    Ok(())
}

/// Reads files in pieces of 1 MiB and checksums every byte.
pub fn checksum(files: &[PathBuf]) -> Result<u32> {
    let mut buffer = vec![0; 1 << 20];
    let mut hasher = crc32fast::Hasher::new();
    for path in files {
        let mut file = File::open(path)?;
        loop {
            let got = file.read(&mut buffer)?;
            if got == 0 {
                break;
            }
            hasher.update(&buffer[..got]);
        }
    }
    Ok(hasher.finalize())
}

/// The length of a frame of the log: its header, and each record with its length before it, padded to 8.
pub const fn frame_len(records: usize, record: usize) -> usize {
    48 + (records * (record + 4)).next_multiple_of(8)
}

/// Bytes that are neither zero nor all the same.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((i * 31 + 7) % 251).unwrap_or(1)).collect()
}

/// Bytes that this process has read by system calls so far, where the system tells.
pub fn bytes_read() -> Option<u64> {
    let io = std::fs::read_to_string(Path::new("/proc/self/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("rchar: "))?.parse().ok()
}

/// Writes the bytes to a new file, syncs it, and puts it in the place of what stands at `path`, so that both sides let go of an
/// old file; milliseconds.
pub fn write_synced(path: &Path, bytes: &[u8]) -> Result<f64> {
    let started = Instant::now();
    let new = path.with_extension("new");
    let file = File::options().write(true).create_new(true).open(&new)?;
    let mut at = 0;
    for piece in bytes.chunks(1 << 20) {
        file.write_all_at(piece, at)?;
        at += piece.len() as u64;
    }
    file.sync_all()?;
    std::fs::rename(new, path)?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}
