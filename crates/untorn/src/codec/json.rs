//! JSON, written without spaces.
//!
//! # Invariants
//! - I1 What is encoded can be decoded: the depth at which `serde_json` stops reading is also where we stop writing.

use super::{Codec, Json, in_pieces};
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::Formatter;
use std::io;

/// One less than the depth that `serde_json` refuses to read.
const DEPTH_MAX: u32 = 127;

const NAME: &str = "json";

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    const NAME: &'static str = NAME;

    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        let before = out.len();
        let encoded = write(value, &mut *out);
        if encoded.is_err() {
            out.truncate(before);
        }
        encoded
    }

    fn encode_to(&self, value: &T, out: &mut dyn io::Write) -> Result<()> {
        in_pieces(out, |out| write(value, out))
    }

    fn decode(&self, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|cause| Error::codec("decode", NAME, cause))
    }
}

fn write<T: Serialize>(value: &T, out: impl io::Write) -> Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(out, Shallow { depth: 0 });
    value.serialize(&mut serializer).map_err(|cause| {
        if !cause.is_io() {
            return Error::codec("encode", NAME, cause);
        }
        match io::Error::from(cause).downcast::<TooDeep>() {
            Ok(cause) => Error::codec("encode", NAME, cause),
            Err(cause) => Error::stream("encode", cause),
        }
    })
}

/// Writes like the compact formatter of `serde_json`, to a certain depth.
struct Shallow {
    depth: u32,
}

impl Shallow {
    fn enter(&mut self) -> io::Result<()> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH_MAX { Err(io::Error::other(TooDeep)) } else { Ok(()) }
    }

    const fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}

impl Formatter for Shallow {
    fn begin_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.enter()?;
        out.write_all(b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.leave();
        out.write_all(b"]")
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.enter()?;
        out.write_all(b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.leave();
        out.write_all(b"}")
    }
}

#[derive(Debug)]
struct TooDeep;

impl std::fmt::Display for TooDeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it nests deeper than {DEPTH_MAX} and could not be read back")
    }
}

impl std::error::Error for TooDeep {}
