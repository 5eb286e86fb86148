//! What every system call passes first.

use std::fmt::Debug;
use std::io;

/// The system calls by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Open,
    Stat,
    MakeDir,
    ReadLink,
    List,
    Rename,
    RenameNoReplace,
    Link,
    Unlink,
    Canonicalize,
    SetFlags,
    Read,
    Write,
    SetLen,
    SyncData,
    SyncAll,
    Allocate,
    Punch,
    Reflink,
    Map,
    Lock,
    SetMode,
    SetOwner,
    ListXattr,
    GetXattr,
    SetXattr,
    Entropy,
}

/// Decides before each system call whether it is made, and for how many bytes.
pub(crate) trait Gate: Debug + Send + Sync {
    /// How many of `len` bytes the call may transfer, or the error it answers without having been made. `len` is 0 for
    /// calls that transfer no bytes.
    fn pass(&self, call: Call, len: usize) -> io::Result<usize>;
}
