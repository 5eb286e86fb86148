//! The one writer of a file, whatever codec its elements have: these commands work with bytes.

use std::path::{Path, PathBuf};

use untorn::append::{
    AppendGroup, AppendOnlyFile, Commit, FileSpec, MemberIdentity, OnForeign, OpenOptions,
    ProtocolVersion, PruneReport, RecoveryReport,
};
use untorn::codec::{Codec, Raw};
use untorn::{ErrorKind, OnDamage, Result as LibraryResult};

use super::found::Store;
use crate::exit::{Failure, Result};

/// What the elements of a file are.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    /// Bytes of each; 0 if they differ.
    pub(super) fixed: u32,
    pub(super) codec: String,
    pub(super) version: u32,
}

impl Kind {
    pub(super) fn of(member: &MemberIdentity) -> Self {
        let MemberIdentity { fixed, codec, version, .. } = member;
        Self { fixed: *fixed, codec: codec.clone(), version: version.0 }
    }

    pub(super) fn raw(fixed: u32, version: u32) -> Self {
        Self { fixed, codec: "raw".to_owned(), version }
    }

    pub(super) fn sizes(&self) -> String {
        if self.fixed == 0 { "variable".to_owned() } else { format!("fixed {} B", self.fixed) }
    }
}

/// How a file is opened.
#[derive(Clone, Debug, Default)]
pub(super) struct How {
    pub(super) create: bool,
    pub(super) on_damage: OnDamage,
    pub(super) on_foreign: OnForeign,
    pub(super) size_file: Option<PathBuf>,
}

/// The methods that need no codec.
pub(super) trait Writer {
    fn append(&mut self, bytes: &[u8]) -> LibraryResult<u64>;
    fn rewind(&mut self, position: u64) -> LibraryResult<()>;
    fn flush(&mut self) -> LibraryResult<Commit>;
    fn annotate(&mut self, note: &[u8]) -> LibraryResult<()>;
    fn note(&self) -> LibraryResult<Vec<u8>>;
    fn drop_head(&mut self, first: u64) -> LibraryResult<PruneReport>;
    fn compact(&mut self, dead: &[u64]) -> LibraryResult<PruneReport>;
    fn would_compact(&self, dead: &[u64]) -> LibraryResult<PruneReport>;
    fn export_sizes(&self, to: &Path) -> LibraryResult<()>;
    fn recovery(&self) -> LibraryResult<RecoveryReport>;
    fn first(&self) -> u64;
    fn len(&self) -> u64;
    fn close(self: Box<Self>) -> LibraryResult<()>;
}

impl<C: 'static> Writer for AppendOnlyFile<Vec<u8>, C> {
    fn append(&mut self, bytes: &[u8]) -> LibraryResult<u64> {
        self.append(bytes)
    }

    fn rewind(&mut self, position: u64) -> LibraryResult<()> {
        self.rewind(position)
    }

    fn flush(&mut self) -> LibraryResult<Commit> {
        self.flush()
    }

    fn annotate(&mut self, note: &[u8]) -> LibraryResult<()> {
        self.annotate(note)
    }

    fn note(&self) -> LibraryResult<Vec<u8>> {
        self.note().map(<[u8]>::to_vec)
    }

    fn drop_head(&mut self, first: u64) -> LibraryResult<PruneReport> {
        self.drop_head(first)
    }

    fn compact(&mut self, dead: &[u64]) -> LibraryResult<PruneReport> {
        self.compact(dead.iter().copied())
    }

    fn would_compact(&self, dead: &[u64]) -> LibraryResult<PruneReport> {
        self.would_compact(dead)
    }

    fn export_sizes(&self, to: &Path) -> LibraryResult<()> {
        self.export_size_file(to)
    }

    fn recovery(&self) -> LibraryResult<RecoveryReport> {
        self.recovery().cloned()
    }

    fn first(&self) -> u64 {
        self.first()
    }

    fn len(&self) -> u64 {
        self.len()
    }

    fn close(self: Box<Self>) -> LibraryResult<()> {
        (*self).close()
    }
}

/// A codec that only lends its name: bytes go in and out as they are.
macro_rules! named {
    ($type:ident, $name:literal) => {
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $type;

        impl Codec<Vec<u8>> for $type {
            const NAME: &'static str = $name;

            fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> LibraryResult<()> {
                out.extend_from_slice(value);
                Ok(())
            }

            fn decode(&self, bytes: &[u8]) -> LibraryResult<Vec<u8>> {
                Ok(bytes.to_vec())
            }
        }
    };
}

named!(AsJson, "json");
named!(AsPostcard, "postcard");

/// A codec of its own is known to the file's program alone.
fn unknown(path: &Path, codec: &str) -> Failure {
    let codec = codec.escape_debug();
    let what = format!(
        "its codec is `{codec}`, which only its own program has; the data file can be read by any program"
    );
    Failure::new(ErrorKind::Unsupported, path, what)
}

pub(super) fn open(path: &Path, kind: &Kind, how: &How) -> Result<Box<dyn Writer>> {
    let options = OpenOptions::new()
        .version(ProtocolVersion(kind.version))
        .create(how.create)
        .on_damage(how.on_damage)
        .on_foreign(how.on_foreign);
    let options = if kind.fixed == 0 { options.variable() } else { options.fixed(kind.fixed) };
    let options = match &how.size_file {
        Some(file) => options.size_file(file),
        None => options,
    };
    Ok(match &*kind.codec {
        "raw" => Box::new(options.codec(Raw).open(path)?),
        "json" => Box::new(options.codec(AsJson).open(path)?),
        "postcard" => Box::new(options.codec(AsPostcard).open(path)?),
        other => return Err(unknown(path, other)),
    })
}

/// The writer of a file that is there, alone or not.
pub(super) fn open_store(store: &Store, how: &How) -> Result<Box<dyn Writer>> {
    let path = store.path.display();
    if store.identity.is_group {
        let what = match store.named() {
            Some(_) => {
                format!(
                    "it belongs to the group {path}, whose files change together; its program does that"
                )
            }
            None => {
                "it is a group; its files change together, and its program does that".to_owned()
            }
        };
        return Err(Failure::new(ErrorKind::Precondition, &store.asked, what));
    }
    open(&store.path, &Kind::of(store.member()?), how)
}

pub(super) fn open_group(
    path: &Path,
    members: &[MemberIdentity],
    how: &How,
) -> Result<AppendGroup> {
    let mut options = AppendGroup::options(path)
        .create(how.create)
        .on_damage(how.on_damage)
        .on_foreign(how.on_foreign);
    for member in members {
        let kind = Kind::of(member);
        let spec = if kind.fixed == 0 { FileSpec::variable() } else { FileSpec::fixed(kind.fixed) };
        let spec = match &*kind.codec {
            "raw" => spec,
            "json" => spec.codec::<Vec<u8>, AsJson>(),
            "postcard" => spec.codec::<Vec<u8>, AsPostcard>(),
            other => return Err(unknown(&member.path, other)),
        };
        let spec = spec.version(ProtocolVersion(kind.version));
        options = options.file(&member.name, &member.path, spec);
    }
    Ok(options.open()?)
}
