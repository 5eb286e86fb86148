//! `log inspect`: segments and the frames in them, told from where the records lie.

use std::path::Path;

use serde::Serialize;
use untorn::log::{Log, LogOptions, SegmentInfo, Upto};
use untorn::{ErrorKind, OnDamage};

use crate::exit::{Failure, Result, code};
use crate::out::{Out, count, size};

#[derive(Serialize)]
struct Frame {
    offset: u64,
    first_seq: u64,
    records: u64,
    payload_bytes: u64,
    crc: String,
}

#[derive(Serialize)]
struct Segment {
    number: u64,
    path: std::path::PathBuf,
    first_seq: u64,
    bytes: u64,
    frames: Vec<Frame>,
}

impl Segment {
    fn of(info: SegmentInfo) -> Self {
        let SegmentInfo { path, number, first_seq, len, .. } = info;
        Self { number, path, first_seq, bytes: len, frames: Vec::new() }
    }
}

pub(crate) fn show(dir: &Path, out: &mut Out) -> Result<u8> {
    let (reader, damage) = match Log::open_read_only(dir, LogOptions::new()) {
        Ok(reader) => (reader, None),
        Err(e) if e.kind() == ErrorKind::Damaged => {
            let options = LogOptions::new().on_damage(OnDamage::Truncate);
            (Log::open_read_only(dir, options)?, Some(e))
        }
        Err(e) => return Err(e.into()),
    };
    let mut segments: Vec<Segment> = reader.segments()?.into_iter().map(Segment::of).collect();
    let mut scan = reader.read(reader.first_seq(), Upto::Written)?;
    while let Some(record) = scan.next()? {
        let found = segments.iter_mut().rev().find(|s| s.number == record.pos.segment);
        let Some(segment) = found else { continue };
        let bytes = record.bytes.len() as u64;
        match segment.frames.last_mut().filter(|frame| frame.offset == record.pos.frame) {
            Some(frame) => {
                frame.records += 1;
                frame.payload_bytes += bytes;
            }
            None => segment.frames.push(Frame {
                offset: record.pos.frame,
                first_seq: record.seq,
                records: 1,
                payload_bytes: bytes,
                crc: format!("{:08x}", record.pos.frame_crc),
            }),
        }
    }
    for segment in &segments {
        if out.json() {
            out.value(segment)?;
            continue;
        }
        let (path, bytes) = (segment.path.display(), size(segment.bytes));
        let frames = count(segment.frames.len() as u64);
        out.line(format_args!(
            "{path}  from record {}  {bytes}  {frames} frames",
            segment.first_seq
        ))?;
        for frame in &segment.frames {
            let last = frame.first_seq + frame.records - 1;
            let Frame { offset, first_seq, payload_bytes, crc, .. } = frame;
            out.line(format_args!(
                "  at {offset:<10} records {first_seq}..={last}  {payload_bytes} bytes  crc {crc}"
            ))?;
        }
    }
    damage.map_or(Ok(code::OK), |error| Err(Failure::from(error)))
}
