//! A server without ranges: its one stream goes into the file. What is there already is compared in passing, not written.

use untorn::Result;
use untorn::chunked::{AtomicChunked, FileResource, ResourceExt as _};

use super::answer::changed;
use super::http::HttpSource;
use super::tell::too_large;
use super::tries::Tries;

/// What came of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Poured {
    /// Bytes that were written.
    pub(super) fetched: u64,
    /// Bytes that were there, and are the same.
    pub(super) compared: u64,
    /// Where the file ends.
    pub(super) end: u64,
}

/// Reads the stream to its end, again from where it broke off if need be.
///
/// # Errors
/// `Precondition`: what is there is not what the server sends; `TooLarge`; those of the network and of the file.
pub(super) fn pour(
    source: &HttpSource,
    file: &AtomicChunked<FileResource>,
    max_size: Option<u64>,
) -> Result<Poured> {
    let mut poured = Poured::default();
    let mut tries = Tries::default();
    let mut at = 0;
    loop {
        let from = at;
        let ended = source.in_order(from, &mut |offset, bytes| {
            at = offset.saturating_add(bytes.len() as u64);
            if let Some(max) = max_size.filter(|max| at > *max) {
                return Err(too_large(at, max));
            }
            take(file, offset, bytes, &mut poured)
        });
        match ended {
            Ok(end) => {
                poured.end = end;
                break;
            }
            Err(error) => tries.pause(source, error, at > from)?,
        }
    }
    match file.ranges().last() {
        Some(last) if last.end > poured.end => Err(changed("it is shorter now")),
        _ => Ok(poured),
    }
}

fn take(
    file: &AtomicChunked<FileResource>,
    offset: u64,
    bytes: &[u8],
    poured: &mut Poured,
) -> Result<()> {
    let mut at = offset;
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = at.saturating_add(rest.len() as u64);
        let gap = file.next_gap(at, end).unwrap_or(end..end);
        let (there, after) = split(rest, gap.start - at);
        if !there.is_empty() {
            compare(file, at, there)?;
            poured.compared += there.len() as u64;
        }
        let (missing, after) = split(after, gap.end - gap.start);
        if !missing.is_empty() {
            file.write_at(gap.start, missing)?;
            poured.fetched += missing.len() as u64;
        }
        at = gap.end;
        rest = after;
    }
    Ok(())
}

fn split(bytes: &[u8], at: u64) -> (&[u8], &[u8]) {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

fn compare(file: &AtomicChunked<FileResource>, at: u64, bytes: &[u8]) -> Result<()> {
    let mut there = vec![0; bytes.len()];
    let read = file.read_at(at, &mut there)?;
    if there.get(..read) == Some(bytes) {
        return Ok(());
    }
    let same = there.iter().zip(bytes).take_while(|(a, b)| a == b).count() as u64;
    Err(changed(&format!("byte {} is not what an earlier run got", at.saturating_add(same))))
}
