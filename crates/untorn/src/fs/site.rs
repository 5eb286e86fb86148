//! The names of all syncs. A sync without a reason is not made; a reason is tested by taking its sync away.

/// Why a sync is made: one variant per place in the code that syncs.
///
/// Every call of [`File::sync`](super::File::sync) and [`Dir::sync`](super::Dir::sync) passes its site. A test can take
/// one site away (`sim::Meter`, feature `sim`) and must then see a violation: the table of which test
/// catches which site is in docs/DURABILITY.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SyncSite {
    /// A sync of the caller's own program on the seam. untorn itself makes it only in [`probe`](crate::probe), to try it out.
    Caller,
    /// The temporary's content, before it takes the target's name.
    ReplaceFile,
    /// The directory, after the rename that replaced the target.
    ReplaceDir,
    /// The content of a new file, before it gets its name.
    PublishFile,
    /// The directory, after a name that must not exist before was given.
    PublishDir,
    /// The parent, after a directory was made in it.
    MakeDirParent,
    /// The copy of damaged or cut bytes, before the original changes.
    QuarantineFile,
    /// The directory of the quarantine, before the original changes.
    QuarantineDir,
    /// A frame of the log, before its records are acknowledged.
    LogFrame,
    /// The zeros of a prepared segment, before it gets its name.
    LogPrepareFile,
    /// The name of a prepared segment, before the seal that leads to it.
    LogPrepareDir,
    /// The header of a log's first segment, before META says that there is a log.
    LogBeginFile,
    /// META's temporary, before it replaces META.
    LogMetaFile,
    /// The log's directory, after META was replaced.
    LogMetaDir,
    /// What an intent wrote and zeroed, before META says that it is done.
    LogCutFile,
    /// The directory after an intent unlinked segments, before META says that it is done.
    LogCutDir,
    /// What a journal is a journal of, before there is a log in it.
    JournalFile,
    /// A snapshot's content, before it gets its name.
    SnapshotFile,
    /// The directory of the snapshots, before a new one counts.
    SnapshotDir,
    /// The directory of the snapshots after old ones were removed, before the log that they need goes.
    SnapshotRetire,
    /// A file of a staged directory, before the directory gets its name.
    ArtifactFile,
    /// The staged directory and those in it, before it gets its name.
    ArtifactDir,
    /// The parent, after a staged directory got its name in it.
    ArtifactParent,
    /// The bytes of a chunked file, before ranges of them are trusted.
    ChunkData,
    /// The directory of the target after a part was made in it, before anything in the part is trusted.
    ChunkPart,
    /// What a part is a part of, before it replaces what was said of it.
    ChunkMetaFile,
    /// The part, before anything in it is trusted.
    ChunkMetaDir,
    /// The part after its `meta` went, before anything takes the place of what that vouched for.
    ChunkForget,
    /// The bytes of a chunked file, before they take the target's name.
    ChunkCommit,
    /// The directory, after a chunked file got its name in it.
    ChunkCommitDir,
    /// The copy of bytes whose sync failed, before it takes their place.
    ChunkCopyFile,
    /// The part, after the copy took their place.
    ChunkCopyDir,
    /// The content of a file that was filled in pieces, before it counts as committed.
    ResourceFile,
    /// The directory of such a file, before it counts as committed.
    ResourceDir,
    /// What an append-only file is, before it replaces what was said of it.
    AppendMetaFile,
    /// The home of an append-only file after its `META` was written, before there is a log in it.
    AppendMetaDir,
    /// The home of a new store, before it counts.
    AppendBeginDir,
    /// The directory in which a data file was made, before its store counts.
    AppendName,
    /// Bytes of elements that no record carries, before the record that counts them.
    AppendAhead,
    /// The data, before a checkpoint lets go of the records that carry it.
    AppendData,
    /// The ends of the elements, before such a checkpoint.
    AppendEnds,
    /// The sums of the blocks, before such a checkpoint.
    AppendSums,
    /// The files that a compaction wrote, before the record that goes over to them.
    AppendNext,
    /// Their names, before that record.
    AppendNextDir,
    /// A base of a fold, before it takes the place of the one before.
    FoldBase,
    /// The fold's directory, before the log gives up what the base has.
    FoldBaseDir,
    /// A segment of a pool's path, before the record that lists objects in it.
    PoolSegment,
    /// The directory of the segments, before such a record.
    PoolSegmentDir,
    /// The file of one object, before the record that lists it.
    PoolObject,
    /// The directory in which it got its name, before that record.
    PoolObjectDir,
    /// The directories in which those directories were made, before the first record that needs them.
    PoolDir,
}

impl SyncSite {
    /// All sites that untorn itself uses, in the order of the enum.
    pub const ALL: [Self; 50] = [
        Self::ReplaceFile,
        Self::ReplaceDir,
        Self::PublishFile,
        Self::PublishDir,
        Self::MakeDirParent,
        Self::QuarantineFile,
        Self::QuarantineDir,
        Self::LogFrame,
        Self::LogPrepareFile,
        Self::LogPrepareDir,
        Self::LogBeginFile,
        Self::LogMetaFile,
        Self::LogMetaDir,
        Self::LogCutFile,
        Self::LogCutDir,
        Self::JournalFile,
        Self::SnapshotFile,
        Self::SnapshotDir,
        Self::SnapshotRetire,
        Self::ArtifactFile,
        Self::ArtifactDir,
        Self::ArtifactParent,
        Self::ChunkData,
        Self::ChunkPart,
        Self::ChunkMetaFile,
        Self::ChunkMetaDir,
        Self::ChunkForget,
        Self::ChunkCommit,
        Self::ChunkCommitDir,
        Self::ChunkCopyFile,
        Self::ChunkCopyDir,
        Self::ResourceFile,
        Self::ResourceDir,
        Self::AppendMetaFile,
        Self::AppendMetaDir,
        Self::AppendBeginDir,
        Self::AppendName,
        Self::AppendAhead,
        Self::AppendData,
        Self::AppendEnds,
        Self::AppendSums,
        Self::AppendNext,
        Self::AppendNextDir,
        Self::FoldBase,
        Self::FoldBaseDir,
        Self::PoolSegment,
        Self::PoolSegmentDir,
        Self::PoolObject,
        Self::PoolObjectDir,
        Self::PoolDir,
    ];

    /// The site's name in lower case with dashes, as the command line prints and takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::ReplaceFile => "replace-file",
            Self::ReplaceDir => "replace-dir",
            Self::PublishFile => "publish-file",
            Self::PublishDir => "publish-dir",
            Self::MakeDirParent => "make-dir-parent",
            Self::QuarantineFile => "quarantine-file",
            Self::QuarantineDir => "quarantine-dir",
            Self::LogFrame => "log-frame",
            Self::LogPrepareFile => "log-prepare-file",
            Self::LogPrepareDir => "log-prepare-dir",
            Self::LogBeginFile => "log-begin-file",
            Self::LogMetaFile => "log-meta-file",
            Self::LogMetaDir => "log-meta-dir",
            Self::LogCutFile => "log-cut-file",
            Self::LogCutDir => "log-cut-dir",
            Self::JournalFile => "journal-file",
            Self::SnapshotFile => "snapshot-file",
            Self::SnapshotDir => "snapshot-dir",
            Self::SnapshotRetire => "snapshot-retire",
            Self::ArtifactFile => "artifact-file",
            Self::ArtifactDir => "artifact-dir",
            Self::ArtifactParent => "artifact-parent",
            Self::ChunkData => "chunk-data",
            Self::ChunkPart => "chunk-part",
            Self::ChunkMetaFile => "chunk-meta-file",
            Self::ChunkMetaDir => "chunk-meta-dir",
            Self::ChunkForget => "chunk-forget",
            Self::ChunkCommit => "chunk-commit",
            Self::ChunkCommitDir => "chunk-commit-dir",
            Self::ChunkCopyFile => "chunk-copy-file",
            Self::ChunkCopyDir => "chunk-copy-dir",
            Self::ResourceFile => "resource-file",
            Self::ResourceDir => "resource-dir",
            Self::AppendMetaFile => "append-meta-file",
            Self::AppendMetaDir => "append-meta-dir",
            Self::AppendBeginDir => "append-begin-dir",
            Self::AppendName => "append-name",
            Self::AppendAhead => "append-ahead",
            Self::AppendData => "append-data",
            Self::AppendEnds => "append-ends",
            Self::AppendSums => "append-sums",
            Self::AppendNext => "append-next",
            Self::AppendNextDir => "append-next-dir",
            Self::FoldBase => "fold-base",
            Self::FoldBaseDir => "fold-base-dir",
            Self::PoolSegment => "pool-segment",
            Self::PoolSegmentDir => "pool-segment-dir",
            Self::PoolObject => "pool-object",
            Self::PoolObjectDir => "pool-object-dir",
            Self::PoolDir => "pool-dir",
        }
    }

    /// The site with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|site| site.name() == name)
    }
}
