//! What kind of disk is simulated: the choices that the crash model leaves open.

/// The properties of a simulated disk.
///
/// The default is the strict and portable one: sectors tear at 512 bytes, names are journalled in order, a new name is
/// not made durable by syncing the file, and a failed sync leaves the new bytes in the cache and the old ones on disk.
///
/// ```
/// use untorn::sim::{DiskModel, Names};
/// let mut model = DiskModel::default();
/// model.unit = 4096;
/// model.names = Names::Subset;
/// assert_eq!(model.to_string(), "unit 4096, names subset");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DiskModel {
    /// Bytes that reach the disk together: 512 (a sector) or 4096 (a page). Other values count as 512 or 4096,
    /// whichever is nearer below.
    pub unit: u32,
    /// Which sets of unsynced name changes may survive.
    pub names: Names,
    /// What stands where the size was kept and the bytes were not.
    pub unwritten: Unwritten,
    /// What is left after a sync that failed.
    pub failed_sync: FailedSync,
    /// Whether syncing a file also makes the names durable that lead to it (ext4, xfs, btrfs; not POSIX).
    pub file_sync_keeps_name: bool,
    /// Whether name changes that a failed directory sync covered can never be made durable by a later sync of that
    /// directory, unless the name is changed again. Off by default.
    pub failed_dir_sync_sticks: bool,
    /// Whether a sync that returns Ok has done anything.
    pub syncs: Syncs,
}

/// Which sets of unsynced name changes a power cut may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Names {
    /// A prefix of all of them, in the order of issue (a journal).
    Ordered,
    /// Any subset in which the changes of each name form a prefix.
    Subset,
}

/// What a file reads where its size was kept and its bytes were not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unwritten {
    /// Zeros.
    Zeros,
    /// Random bytes, set by the seed.
    Garbage,
}

/// What is left after a sync that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailedSync {
    /// Reads show the new bytes, the disk holds any of the versions, and a later sync does not write them again.
    KeepNew,
    /// Reads show the old bytes at once.
    RevertOld,
    /// Every later call fails: EROFS where it would change something, else EIO.
    FsDead,
}

/// Whether a sync that returns Ok has done anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Syncs {
    /// It has.
    Honoured,
    /// It has not: a disk that lies about its cache.
    Lost,
}

impl Default for DiskModel {
    fn default() -> Self {
        Self {
            unit: 512,
            names: Names::Ordered,
            unwritten: Unwritten::Zeros,
            failed_sync: FailedSync::KeepNew,
            file_sync_keeps_name: false,
            failed_dir_sync_sticks: false,
            syncs: Syncs::Honoured,
        }
    }
}

impl DiskModel {
    /// The four that every store is tested with: units of 512 and of 4096 bytes, names in order and any subset.
    pub fn standard() -> Vec<Self> {
        let mut models = Vec::new();
        for names in [Names::Ordered, Names::Subset] {
            for unit in [512, 4096] {
                models.push(Self { unit, names, ..Self::default() });
            }
        }
        models
    }

    pub(super) const fn whole_pages(&self) -> bool {
        self.unit >= 4096
    }
}

impl std::fmt::Display for DiskModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = match self.names {
            Names::Ordered => "ordered",
            Names::Subset => "subset",
        };
        write!(f, "unit {}, names {names}", if self.whole_pages() { 4096 } else { 512 })?;
        if self.unwritten == Unwritten::Garbage {
            f.write_str(", garbage in gaps")?;
        }
        match self.failed_sync {
            FailedSync::KeepNew => {}
            FailedSync::RevertOld => f.write_str(", failed syncs revert")?,
            FailedSync::FsDead => f.write_str(", failed syncs kill the file system")?,
        }
        if self.file_sync_keeps_name {
            f.write_str(", file syncs keep names")?;
        }
        if self.failed_dir_sync_sticks {
            f.write_str(", failed directory syncs stick")?;
        }
        if self.syncs == Syncs::Lost {
            f.write_str(", syncs lost")?;
        }
        Ok(())
    }
}
