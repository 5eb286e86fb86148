//! The chunked file's part of the process that is killed: one file, filled by all threads in any order, again and again.
//!
//! It says what it does in lines of [`child`](mod@super::child): `LETTER WRITER GENERATION NUMBER`. A note stands before the call
//! or after it; a capital acknowledges.
//!
//! | letter | what |
//! |---|---|
//! | `o` `n` | opens this generation; has opened it |
//! | `w` `d` | writes a piece; has written it. The number has the piece in its lower half, and in its upper one which write of this life it is |
//! | `c` `C` | makes a checkpoint; it is acknowledged |
//! | `f` `F` | commits; it is acknowledged |
//! | `r` | makes the committed file active again |
//! | `x` `X` | abandons the part; it is acknowledged |

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use untorn::chunked::{
    AtomicChunked, CheckpointPolicy, ChunkedOptions, FileResource, Identity, PartView,
    ResourceExt as _,
};
use untorn::{Error, ErrorKind};

use super::child::{WRITERS, on_threads, say};
use super::content::{self, Key, PIECES, PIECES_LEN, Rng, piece_range};
use crate::args::ProveChild;
use crate::exit::{Failure, Result};

/// Small, so that checkpoints are many.
const WINDOW: u64 = 384 << 10;
/// Bytes per checksum: those of two pieces.
const CHUNK: u64 = 64 << 10;

pub(super) type File = AtomicChunked<FileResource>;

pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("chunked").join("file")
}

/// What both owners, the one that is killed and the one that looks afterwards, open the file with.
pub(super) fn open(path: &Path, generation: u64) -> Result<File, Error> {
    let identity = Identity::new().len(PIECES_LEN).etag(format!("\"{generation}\""));
    let options = ChunkedOptions::new()
        .identity(identity)
        .checkpoint(CheckpointPolicy::Bytes(WINDOW))
        .chunk_size(CHUNK);
    AtomicChunked::open_with(path.to_path_buf(), options, |path, _| FileResource::open(path))
}

/// The generation that is being filled, as far as anything of it is trusted.
pub(super) fn generation(view: &PartView) -> Option<u64> {
    view.identity()?.etag.as_deref()?.trim_matches('"').parse().ok()
}

/// A number that no other life gives to a generation.
pub(super) fn new_generation(round: u32, count: u32) -> u64 {
    u64::from(round) << 32 | u64::from(count)
}

pub(super) fn run(args: &ProveChild) -> Result<()> {
    let path = path(&args.dir);
    let mut left = generation(&PartView::open(&path)?);
    let mut life = Life {
        args,
        rng: Rng::new(args.seed ^ (u64::from(args.round) << 32)),
        generations: 0,
        fills: 0,
        writes: AtomicU32::new(0),
    };
    loop {
        let same = left.take().filter(|_| life.rng.below(6) > 0);
        let generation = same.unwrap_or_else(|| life.next_generation());
        told('o', 0, generation, 0)?;
        let file = open(&path, generation)?;
        told('n', 0, generation, 0)?;
        // The first life is looked at from outside while it is the owner, so it stays the owner.
        if args.round == 0 {
            loop {
                life.fill(&file, generation, PIECES)?;
            }
        }
        left = life.live(file, generation)?;
    }
}

fn told(kind: char, writer: u32, generation: u64, number: u64) -> Result<()> {
    if say(kind, writer, generation, number) {
        return Ok(());
    }
    Err(Failure::plain(ErrorKind::Cancelled, "nobody listens any more"))
}

struct Life<'a> {
    args: &'a ProveChild,
    rng: Rng,
    generations: u32,
    fills: u64,
    writes: AtomicU32,
}

impl Life<'_> {
    fn next_generation(&mut self) -> u64 {
        self.generations += 1;
        new_generation(self.args.round, self.generations)
    }

    /// From the open to an end; which generation is left to go on with.
    fn live(&mut self, file: File, generation: u64) -> Result<Option<u64>> {
        let some = u32::try_from(self.rng.below(u64::from(PIECES))).unwrap_or(0);
        match self.rng.below(8) {
            0 => {
                self.fill(&file, generation, some)?;
                told('x', 0, generation, 0)?;
                file.abandon()?;
                told('X', 0, generation, 0)?;
                return Ok(None);
            }
            1 => {
                self.fill(&file, generation, some)?;
                told('c', 0, generation, 0)?;
                file.suspend()?;
                told('C', 0, generation, 0)?;
                return Ok(Some(generation));
            }
            // Dropped without a word.
            2 => {
                self.fill(&file, generation, some)?;
                return Ok(Some(generation));
            }
            _ => self.publish(&file, generation)?,
        }
        // The old bytes again, in a part of their own, and some of them written over.
        while self.rng.below(3) == 0 {
            told('r', 0, generation, 0)?;
            file.reactivate()?;
            self.publish(&file, generation)?;
        }
        Ok(None)
    }

    fn publish(&mut self, file: &File, generation: u64) -> Result<()> {
        self.fill(file, generation, PIECES)?;
        told('f', 0, generation, 0)?;
        file.commit(None)?;
        told('F', 0, generation, 0)
    }

    /// All threads fill their pieces below `end`, each in an order of its own, write over some of them, and make checkpoints.
    fn fill(&mut self, file: &File, generation: u64, end: u32) -> Result<()> {
        self.fills += 1;
        let seed = self.rng.next() ^ self.fills;
        let life = &*self;
        on_threads(|writer| {
            let mut rng = Rng::new(seed ^ u64::from(writer));
            let mut mine: Vec<u32> = (writer..end).step_by(WRITERS as usize).collect();
            while !mine.is_empty() {
                let at = usize::try_from(rng.below(mine.len() as u64)).unwrap_or(0);
                let piece = mine.swap_remove(at);
                if !file.contains_range(piece_range(piece)) || rng.below(8) == 0 {
                    life.write(file, generation, (writer, piece), rng.below(4) == 0)?;
                }
                if rng.below(24) == 0 {
                    told('c', writer, generation, 0)?;
                    file.checkpoint()?;
                    told('C', writer, generation, 0)?;
                }
            }
            Ok(())
        })
    }

    fn write(
        &self,
        file: &File,
        generation: u64,
        (writer, piece): (u32, u32),
        halves: bool,
    ) -> Result<()> {
        let write = self.writes.fetch_add(1, Ordering::Relaxed);
        let round = self.args.round;
        let key = Key { round, writer, counter: generation, part: piece, parts: write };
        let bytes = content::piece(self.args.seed, key);
        let number = u64::from(write) << 32 | u64::from(piece);
        let start = piece_range(piece).start;
        told('w', writer, generation, number)?;
        // In two, the second one first; a checkpoint may come between them.
        let middle = usize::try_from(content::half(piece).end - start).unwrap_or(0);
        match bytes.split_at_checked(middle) {
            Some((first, second)) if halves => {
                file.write_at(start + first.len() as u64, second)?;
                file.write_at(start, first)?;
            }
            _ => file.write_at(start, &bytes)?,
        }
        told('d', writer, generation, number)
    }
}
