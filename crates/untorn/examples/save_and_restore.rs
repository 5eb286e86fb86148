//! A document of many nodes, saved as one set and found again after a restart; run it twice, or kill it in between.
//!
//! ```text
//! cargo run --example save_and_restore -- /tmp/document
//! ```

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use untorn::codec::Json;
use untorn::pool::{BackingStore, DirPath, DirStore, Fb, MemoryBudget, Pool};

#[derive(Serialize, Deserialize)]
struct Node {
    title: String,
    visits: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from);
    let dir = dir.unwrap_or_else(|| std::env::temp_dir().join("untorn-example-document"));
    let store = Arc::new(BackingStore::open(DirStore::new(dir.join("scratch"))?));
    let options = Pool::options().budget(MemoryBudget::bytes(1 << 20)).type_name("node");
    let pool: Arc<Pool<Node>> = Arc::new(options.build(&store, Json)?);
    let saved = store.blocking_track_path(DirPath::new(dir.join("saved")))?;

    // The handles of the set, in its order; nothing is read before it is needed.
    let mut nodes = pool.blocking_register_set(&saved, "document")?;
    if nodes.is_empty() {
        println!("a new document in {}", dir.display());
        for number in 0..1000 {
            let node = Node { title: format!("node {number}"), visits: 0 };
            nodes.push(pool.blocking_insert(node)?);
        }
    }
    for node in nodes.iter_mut().step_by(100) {
        node.blocking_load_mut()?.visits += 1;
    }
    // One commit: after a crash there is this document, or the one before. Only what was changed is written.
    let all: Vec<&Fb<Node>> = nodes.iter().collect();
    let checkpoint = Fb::blocking_checkpoint(&all, &saved, "document", b"")?;
    let first = nodes[0].blocking_load()?;
    println!("checkpoint {}: {} was visited {} times", checkpoint.0, first.title, first.visits);
    Ok(())
}
