//! A working set ten times what memory may hold: blurs a picture of 64 MiB, tile by tile, with 6 MiB for tiles.
//!
//! ```text
//! cargo run --release --example larger_than_memory
//! ```

use std::error::Error;
use std::sync::Arc;

use untorn::codec::Raw;
use untorn::pool::{BackingStore, DirStore, Fb, MemoryBudget, Pool};

/// Tiles are square, of bytes, and so is the picture, of tiles.
const TILE: usize = 256;
const TILES: usize = 32;
const BUDGET: usize = 6 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let scratch = std::env::temp_dir().join("untorn-example-tiles");
    let store = Arc::new(BackingStore::open(DirStore::new(scratch)?));
    let options = Pool::options().budget(MemoryBudget::bytes(BUDGET));
    let pool: Arc<Pool<Vec<u8>>> = Arc::new(options.build(&store, Raw)?);

    // Whoever brings a tile waits until there is room for it: the memory is bounded, and nothing is lost.
    let mut picture: Vec<Fb<Vec<u8>>> = Vec::new();
    for nth in 0..TILES * TILES {
        let tile = vec![u8::try_from(nth % 251)?; TILE * TILE];
        picture.push(pool.blocking_insert(tile)?);
    }

    // Each tile becomes the mean of its own bytes and those of its neighbour to the right.
    for nth in 0..picture.len() {
        let neighbour = match (nth + 1) % TILES {
            0 => None,
            _ => Some(picture[nth + 1].blocking_load_owned()?),
        };
        let mut tile = picture[nth].blocking_load_mut()?;
        if let Some(neighbour) = neighbour {
            for (byte, other) in tile.iter_mut().zip(neighbour.iter()) {
                *byte = byte.midpoint(*other);
            }
        }
    }

    let mut sum = 0_u64;
    for tile in &picture {
        sum += tile.blocking_load()?.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    }
    let stats = pool.stats();
    let mib = |bytes: u64| bytes >> 20;
    println!("{} tiles, mean {:.2}", stats.objects, mean(sum, stats.objects));
    println!("at most {} of {} MiB in memory", mib(stats.peak), mib(stats.limit));
    println!("{} tiles written in {} writes, {} read", stats.spills, stats.writes, stats.loads);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "it is for a person to read")]
fn mean(sum: u64, tiles: u64) -> f64 {
    sum as f64 / (tiles as f64 * (TILE * TILE) as f64)
}
