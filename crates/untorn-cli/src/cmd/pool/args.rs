//! The command line of `untorn pool`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// List, check, clean and read the objects that a pool has persisted
#[derive(Debug, Subcommand)]
#[command(
    after_long_help = "A pool keeps more objects than memory holds. What it persists to a directory, a path, survives; what it
spills to a scratch root is gone with its process. Commands that only read take no lock and work beside
a living owner. A key has 32 hex digits, and may be shortened while it is unique.

Examples:
  untorn pool ls state
  untorn pool get state 0198c1a4 > tile
  untorn pool verify state && echo sound
  untorn pool export state out --set main
  untorn pool gc /var/tmp/scratch --yes"
)]
pub(crate) enum PoolCommand {
    Ls(PoolLs),
    /// Say how much a path holds, in how many files, and what of it is garbage
    #[command(
        after_long_help = "`raw` is what the codec made, `stored` what is left of that when it is compressed. Garbage is what no set
lists any more, and a compaction gives back. Reads the manifest, and no object.

Example:
  untorn pool stats state --json | jq .objects

Exit codes: 0 told; 3 there is nothing; 4 the manifest is damaged; 10 no path of a pool, or of a newer version."
    )]
    Stats(PoolDir),
    /// List the named sets of a path: objects, bytes of what the checkpoint said of it, number of the checkpoint, name
    #[command(
        after_long_help = "A set is what a checkpoint named, whole; the next checkpoint by its name replaces it as one. What was only
persisted is in the loose set, which has no name and is not listed.

Example:
  untorn pool sets state

Exit codes: 0 listed, also if there are none; 3 there is nothing; 4 the manifest is damaged; 10 no path of a pool."
    )]
    Sets(PoolDir),
    /// Read every object of a path and check it, and change none
    #[command(
        after_long_help = "Reads every object that the manifest lists, wherever it lies. `untorn verify` does the same. Objects that
a living owner moves or deletes meanwhile are no damage.

Example:
  untorn pool verify state && echo sound

Exit codes: 0 sound; 3 there is nothing; 4 damage, with key, file and offset; 10 no path of a pool, or of a newer version."
    )]
    Verify(PoolDir),
    Gc(PoolGc),
    Get(PoolGet),
    Export(PoolExport),
}

#[derive(Debug, Args)]
pub(crate) struct PoolDir {
    /// The directory that objects are persisted to
    pub(crate) path: PathBuf,
}

/// List the objects of a path: key, bytes as the codec made them, sets
#[derive(Debug, Args)]
#[command(
    after_long_help = "In the order of their keys, which is mostly that in which they were made; with --set in the order of the
set. `-` is the loose set, of what was persisted without a name. With --json a line for each object.

Examples:
  untorn pool ls state
  untorn pool ls state --set main --json | jq -r .key

Exit codes: 0 listed, also if there are none; 3 there is nothing, or no such set; 4 the manifest is damaged; 10 no path
of a pool."
)]
pub(crate) struct PoolLs {
    /// The directory that objects are persisted to
    pub(crate) path: PathBuf,
    /// Only the objects of this set
    #[arg(long, value_name = "NAME")]
    pub(crate) set: Option<String>,
}

/// List what crashes left, and with --yes remove it: files that nothing lists, scratch of dead owners
#[derive(Debug, Args)]
#[command(
    after_long_help = "DIR is a path, or the scratch root of pools, or both. Of a path it finds segments and files of objects that the
manifest does not list; beside a living owner what he has not committed yet is among them. Of a scratch
root it finds what owners left who live no more. Files of others are named, and stay.

Examples:
  untorn pool gc state                   # says what would be removed
  untorn pool gc /var/tmp/scratch --yes

Exit codes: 0 told or removed, also if there is nothing to do; 3 there is nothing; 4 the manifest is damaged; 10 neither a path
nor a scratch root; 11 --yes, and another process owns the path; 74 the system refused."
)]
pub(crate) struct PoolGc {
    /// A path or a scratch root
    pub(crate) dir: PathBuf,
    /// Do it, not only say it
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Print the bytes of an object, verified and decompressed
#[derive(Debug, Args)]
#[command(
    after_long_help = "The bytes are as the pool's codec made them: of `json` JSON, of `raw` the value itself. With --json it is
one object with the bytes in base64.

Examples:
  untorn pool get state 0198c1a40b7e7c3f9d0e5a6b7c8d9e0f > tile
  untorn pool get state 0198c1a4 | jq .

Exit codes: 0 printed; 2 no key, or not unique; 3 there is no such object, or nothing; 4 it is damaged; 10 no path of a pool."
)]
pub(crate) struct PoolGet {
    /// The directory that objects are persisted to
    pub(crate) path: PathBuf,
    /// The key, or as much of it as is unique
    pub(crate) key: String,
}

/// Write each object of a path or of a set as a file that has its key for a name
#[derive(Debug, Args)]
#[command(
    after_long_help = "The bytes of a file are what `untorn pool get` prints. DEST is there whole and durable, or not at all. For the
directory of `file_backed` see `untorn convert`.

Examples:
  untorn pool export state out
  untorn pool export state out --set main

Exit codes: 0 written and durable; 1 a living owner deletes objects faster than they can be read; 3 there is nothing, or no
such set; 4 an object is damaged; 10 no path of a pool; 12 DEST exists; 74 disk full or failing."
)]
pub(crate) struct PoolExport {
    /// The directory that objects are persisted to
    pub(crate) path: PathBuf,
    /// The new directory; it must not exist
    pub(crate) dest: PathBuf,
    /// Only the objects of this set
    #[arg(long, value_name = "NAME")]
    pub(crate) set: Option<String>,
}
