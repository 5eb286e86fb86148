//! Rule F4: what a name may be.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

/// Refuses what is not one plain component.
pub(crate) fn check_name(name: &OsStr) -> io::Result<()> {
    let bytes = name.as_bytes();
    let plain =
        !matches!(bytes, b"" | b"." | b"..") && !bytes.iter().any(|b| matches!(b, b'/' | 0));
    if plain {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("the name \"{}\" is not one plain component of a path", bytes.escape_ascii()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_components_pass() {
        for name in ["a", "...", ".a", "a b", "\\", "a\n"] {
            assert!(check_name(OsStr::new(name)).is_ok(), "{name:?}");
        }
        for name in ["", ".", "..", "/", "a/b", "a/", "/a", "a\0b"] {
            let error = check_name(OsStr::new(name)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }
}
