//! What an append-only file can be told.

use super::AppendOnlyFile;

/// The version of the encoding of the elements, as the program counts it. The store keeps it and refuses another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_structs, reason = "it is a number")]
pub struct ProtocolVersion(pub u32);

/// How large the elements of a file are.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "one size, several, or several that another program keeps"
)]
pub enum SizeInfo {
    /// All have this many bytes.
    FixedSize(u32),
    /// They differ, and the sizes are in this file too, as `grin_store` keeps them: read when the data is taken over, and
    /// brought up to date by [`AppendOnlyFile::close`].
    VariableSize(Box<AppendOnlyFile<SizeEntry>>),
    /// They differ; the store keeps where they end.
    Variable,
}

/// Where an element of variable size lies in the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "the fields are the format")]
pub struct SizeEntry {
    /// Offset of its first byte.
    pub offset: u64,
    /// Its length in bytes; on disk it has 16 bits.
    pub size: u32,
}

impl SizeEntry {
    /// Bytes of an entry on disk.
    pub const LEN: u16 = 10;
}

/// When the bytes that are read are compared with their checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verify {
    /// A block of 16 KiB when the first of its bytes is read through this handle; what this handle wrote itself is not read again.
    #[default]
    FirstTouch,
    /// Not at all, but by `verify`.
    Never,
}

/// What an open does with a data file that was changed while nobody had it open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnForeign {
    /// It fails, and changes nothing.
    #[default]
    Refuse,
    /// It takes the file as it is now: whole elements that were added count, those that are missing do not.
    Adopt,
}
