//! The two ways to read the bytes of a file.

/// How bytes are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadMode {
    /// From a map, but on a network file system, where another machine may shorten the file.
    #[default]
    Auto,
    /// From a map. If the disk cannot read a page, or a foreign program shortens the file, the process gets SIGBUS.
    Map,
    /// By a call for each read; what goes wrong is an error.
    Pread,
}
