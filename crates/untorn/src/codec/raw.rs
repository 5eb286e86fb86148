//! Bytes as they are.

use super::Codec;
use crate::{Error, Result};
use std::io;

/// Bytes as they are: `Vec<u8>` and `Box<[u8]>`.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no fields and gets none")]
pub struct Raw;

impl Codec<Vec<u8>> for Raw {
    const NAME: &'static str = "raw";

    fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(value);
        Ok(())
    }

    fn encode_to(&self, value: &Vec<u8>, out: &mut dyn io::Write) -> Result<()> {
        out.write_all(value).map_err(|cause| Error::stream("encode", cause))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        Ok(bytes.to_vec())
    }
}

impl Codec<Box<[u8]>> for Raw {
    const NAME: &'static str = "raw";

    fn encode(&self, value: &Box<[u8]>, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(value);
        Ok(())
    }

    fn encode_to(&self, value: &Box<[u8]>, out: &mut dyn io::Write) -> Result<()> {
        out.write_all(value).map_err(|cause| Error::stream("encode", cause))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Box<[u8]>> {
        Ok(bytes.into())
    }
}
