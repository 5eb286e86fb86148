//! Keys, values and versions, and what a source says of them.

use super::VersionToken;

/// Bytes of a key at most.
pub const KEY_MAX: usize = 65_535;

/// An entry: the latest value of a key, and the version that the source gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "sources make them")]
pub struct KvEntry {
    /// Up to 65,535 bytes.
    pub key: String,
    /// May be empty, which is a value as any other.
    pub value: Vec<u8>,
    /// As the source counts.
    pub version: VersionToken,
}

/// An entry, borrowed from where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is the entry, borrowed")]
pub struct EntryRef<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its value.
    pub value: &'a [u8],
    /// Its version; empty if the source gave none.
    pub version: &'a [u8],
}

impl EntryRef<'_> {
    /// An owned copy.
    pub fn to_entry(self) -> KvEntry {
        KvEntry {
            key: self.key.to_owned(),
            value: self.value.to_vec(),
            version: VersionToken::of(self.version),
        }
    }
}

/// What a source says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KvUpdate {
    /// It has this value now.
    Put(KvEntry),
    /// It has none any more.
    Delete {
        /// The key.
        key: String,
        /// The version of the deletion.
        version: VersionToken,
    },
    /// It has none any more, and its history is gone at the source.
    Purge {
        /// The key.
        key: String,
        /// The version of the deletion.
        version: VersionToken,
    },
}

impl KvUpdate {
    /// A put.
    pub fn put(key: impl Into<String>, value: impl Into<Vec<u8>>, version: VersionToken) -> Self {
        Self::Put(KvEntry { key: key.into(), value: value.into(), version })
    }

    /// A deletion.
    pub fn delete(key: impl Into<String>, version: VersionToken) -> Self {
        Self::Delete { key: key.into(), version }
    }

    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } | Self::Purge { key, .. } => key,
        }
    }

    /// The version that the key has from here on.
    pub const fn version(&self) -> &VersionToken {
        match self {
            Self::Put(entry) => &entry.version,
            Self::Delete { version, .. } | Self::Purge { version, .. } => version,
        }
    }

    /// The value, if it has one.
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Put(entry) => Some(&entry.value),
            Self::Delete { .. } | Self::Purge { .. } => None,
        }
    }
}

/// Who a source is: a bucket that is made again under its name is another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "sources make them")]
pub struct Lineage {
    /// What kind of source, such as `nats`; 1 to 64 bytes.
    pub kind: String,
    /// What tells it from others of its kind, such as a name and the time of its creation; up to 1024 bytes.
    pub id: Vec<u8>,
}
