//! What a path tells and gives out without a backing store.

use uuid::Uuid;

use super::core::{Core, PathStats};
use super::options::OpenReport;
use super::table::Place;
use super::{DirPath, Error, Result};
use crate::pool::batch::Meta;
use crate::pool::compress;
use crate::pool::segment::segment_name;

impl DirPath {
    /// Takes the path into use without a store: it can be listed and read, and one that is owned swept and named by checkpoints.
    ///
    /// # Durability
    /// As [`sanitize_path`](crate::pool::BackingStoreT::sanitize_path), which does the same; one that is read only is not changed.
    ///
    /// # Cost
    /// Reads the manifest; of one that is owned also the names in `seg`, and the syncs of [`Log::open`](crate::log::Log::open).
    ///
    /// # Errors
    /// `NotOurs`, `NewerFormat`, `Damaged`, `Io`; `Locked` if it is owned by another; `NotFound` of one that is read only and missing.
    ///
    /// # Example
    /// ```
    /// use untorn::pool::{DirPath, FileBackedOptions, SetPath, codec_id, import_file_backed};
    /// # let dir = tempfile::tempdir()?;
    /// # let (old, state) = (dir.path().join("old"), dir.path().join("state"));
    /// # std::fs::create_dir_all(old.join("01"))?;
    /// # std::fs::write(old.join("01/0198c1a40b7e7c3f9d0e5a6b7c8d9e0f"), b"bytes")?;
    /// # import_file_backed(&old, &DirPath::new(&state), codec_id("raw"), FileBackedOptions::new())?;
    /// let path = DirPath::read_only(&state);
    /// path.track()?;
    /// for (key, info) in path.objects() {
    ///     let (_, bytes) = path.read(key)?;
    ///     assert_eq!(bytes.len() as u64, info.meta.raw_len);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn track(&self) -> Result<OpenReport> {
        self.open()?;
        Ok(self.open_report().unwrap_or_default())
    }

    /// The bytes of an object as its codec made them, verified and decompressed.
    ///
    /// # Cost
    /// One read, and one look at the manifest if its owner has moved it meanwhile.
    ///
    /// # Errors
    /// `Precondition` if the path is not in use; `NotFound` if it does not have the key; `Damaged` with file and offset;
    /// `Unsupported` if it is compressed in a way that this build has not; `Io`.
    pub fn read(&self, key: Uuid) -> Result<(Meta, Vec<u8>)> {
        let core = self.core()?;
        let (mut buf, mut raw) = (Vec::new(), Vec::new());
        let object = core.get(key, &mut buf)?;
        let (meta, stored) = (object.meta, object.bytes);
        compress::expand(meta.compression, stored, meta.raw_len, &mut raw)
            .map_err(|e| e.during("read object").with_path(self.path()))?;
        Ok((meta, raw))
    }

    /// How much it holds, and how much of that nothing wants.
    ///
    /// # Cost
    /// None; of one that is read only a look at each segment.
    ///
    /// # Errors
    /// `Precondition` if the path is not in use; `Io`.
    pub fn stats(&self) -> Result<PathStats> {
        let core = self.core()?;
        if core.read_only {
            core.measure()?;
        }
        Ok(core.stats())
    }
}

impl Core {
    /// Counts the segments of a path that is only looked at: its owner knows them, who looks does not.
    fn measure(&self) -> Result<()> {
        let numbers: Vec<u64> = self.state().segments.keys().copied().collect();
        let mut lens = Vec::new();
        if !numbers.is_empty() {
            let dir = self.segment_dir()?;
            for number in numbers {
                let name = segment_name(number);
                match dir.stat(&name) {
                    Ok(stat) => lens.push((number, stat.len)),
                    // It was moved elsewhere, or is lost, which `verify` tells.
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => lens.push((number, 0)),
                    Err(e) => return Err(Error::system("look at", &dir.path().join(&name), e)),
                }
            }
        }
        let mut state = self.state();
        let placed = state.table.objects.values().filter_map(|entry| match entry.object.place {
            Place::Segment { number, .. } => Some((number, entry.object.framed())),
            Place::Own => None,
        });
        let placed: Vec<(u64, u64)> = placed.collect();
        for (number, len) in lens {
            if let Some(seg) = state.segments.get_mut(&number) {
                (seg.len, seg.live) = (len, 0);
            }
        }
        for (number, framed) in placed {
            if let Some(seg) = state.segments.get_mut(&number) {
                seg.live = seg.live.saturating_add(framed);
            }
        }
        Ok(())
    }
}
