//! Elements out of stdin, and elements to stdout.

use std::path::Path;
use std::sync::mpsc::Receiver;

use serde::Serialize;
use untorn::ErrorKind;

use super::args;
use super::thousands;
use crate::exit::{Failure, Result};
use crate::input::{self, Input};
use crate::out::{Out, hex};

/// How stdin is cut into elements.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    Lines,
    /// Lines of hex.
    Hex,
    /// So many bytes each.
    Each(usize),
}

/// Hands out the elements of stdin with their numbers, from 1 on; returns false if a signal ended it.
pub(super) fn read(
    cut: Cut,
    input: &Receiver<Input>,
    mut each: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<bool> {
    let mut begun: Vec<u8> = Vec::new();
    let mut nth = 0_u64;
    let mut give = |nth: u64, bytes: &[u8]| match cut {
        Cut::Hex => {
            let what = || format!("{} is no hex", at(cut, nth));
            let bytes = unhex(bytes);
            each(nth, &bytes.ok_or_else(|| Failure::plain(ErrorKind::InvalidInput, what()))?)
        }
        _ => each(nth, bytes),
    };
    loop {
        match input.recv() {
            _ if input::stopped() => return Ok(false),
            Ok(Input::Bytes(piece)) => {
                let mut rest = &*piece;
                while let Some(end) = end_of(cut, begun.len(), rest) {
                    let (bytes, after) = rest.split_at(end);
                    nth += 1;
                    if begun.is_empty() {
                        give(nth, bytes)?;
                    } else {
                        begun.extend_from_slice(bytes);
                        give(nth, &begun)?;
                        begun.clear();
                    }
                    // The newline is no part of it.
                    let skip = usize::from(!matches!(cut, Cut::Each(_)));
                    rest = after.get(skip..).unwrap_or_default();
                    if input::stopped() {
                        return Ok(false);
                    }
                }
                begun.extend_from_slice(rest);
            }
            Ok(Input::End) if begun.is_empty() => return Ok(true),
            Ok(Input::End) => {
                if let Cut::Each(size) = cut {
                    let what = format!(
                        "stdin ends with {} bytes of an element of {}",
                        thousands(begun.len() as u64),
                        thousands(size as u64)
                    );
                    return Err(Failure::plain(ErrorKind::InvalidInput, what));
                }
                give(nth + 1, &begun)?;
                return Ok(true);
            }
            Ok(Input::Failed(e)) => return Err(Failure::io("read", Path::new("stdin"), e)),
            Ok(Input::Stop) | Err(_) => return Ok(false),
        }
    }
}

/// Which element of stdin it is, in words.
pub(super) fn at(cut: Cut, nth: u64) -> String {
    let what = if matches!(cut, Cut::Each(_)) { "element" } else { "line" };
    format!("{what} {} of stdin", thousands(nth))
}

/// Where an element ends of which `begun` bytes came before.
fn end_of(cut: Cut, begun: usize, rest: &[u8]) -> Option<usize> {
    match cut {
        Cut::Each(size) => size.checked_sub(begun).filter(|end| *end <= rest.len()),
        Cut::Lines | Cut::Hex => rest.iter().position(|&byte| byte == b'\n'),
    }
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = text.trim_ascii().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8; 2]| {
        let [high, low] = *pair;
        u8::try_from(digit(high)? * 16 + digit(low)?).ok()
    };
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

#[derive(Serialize)]
struct Shown<'a> {
    position: u64,
    #[serde(flatten)]
    text: Text<'a>,
}

/// Bytes as JSON can say them.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Text<'a> {
    Utf8(&'a str),
    Hex(String),
}

impl<'a> Text<'a> {
    pub(super) fn of(bytes: &'a [u8], as_hex: bool) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if !as_hex => Self::Utf8(text),
            _ => Self::Hex(hex(bytes)),
        }
    }
}

/// Prints an element.
pub(super) fn print(position: u64, bytes: &[u8], form: &args::Form, out: &mut Out) -> Result<()> {
    if out.json() {
        return out.value(&Shown { position, text: Text::of(bytes, form.hex || form.raw) });
    }
    if form.pos {
        out.bytes(format!("{position}\t").as_bytes())?;
    }
    if form.hex {
        out.bytes(hex(bytes).as_bytes())?;
    } else {
        out.bytes(bytes)?;
    }
    if form.raw { Ok(()) } else { out.bytes(b"\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    /// However stdin comes in pieces, the elements are the same.
    fn all(cut: Cut, pieces: &[&[u8]]) -> std::result::Result<Vec<Vec<u8>>, String> {
        let (send, receive) = sync_channel(100);
        for piece in pieces {
            send.send(Input::Bytes(piece.to_vec())).unwrap();
        }
        send.send(Input::End).unwrap();
        let mut all = Vec::new();
        let whole = read(cut, &receive, |_, bytes| {
            all.push(bytes.to_vec());
            Ok(())
        });
        whole.map(|_| all).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn lines_and_pieces() {
        let text = b"one\n\nthree\nfour";
        let expected = vec![b"one".to_vec(), Vec::new(), b"three".to_vec(), b"four".to_vec()];
        for at in 0..text.len() {
            let (a, b) = text.split_at(at);
            assert_eq!(all(Cut::Lines, &[a, b]).unwrap(), expected, "{at}");
        }
        assert_eq!(all(Cut::Lines, &[]).unwrap(), Vec::<Vec<u8>>::new());
        for at in 0..6 {
            let (a, b) = b"aabbcc".split_at(at);
            assert_eq!(all(Cut::Each(2), &[a, b]).unwrap(), [b"aa", b"bb", b"cc"], "{at}");
        }
        assert!(
            all(Cut::Each(4), &[b"aabbcc"]).unwrap_err().contains("2 bytes of an element of 4")
        );
        assert_eq!(all(Cut::Hex, &[b"00fF\n\n"]).unwrap(), [vec![0, 255], Vec::new()]);
        for wrong in [&b"0"[..], b"0g", b"0 00"] {
            assert!(all(Cut::Hex, &[wrong]).unwrap_err().contains("line 1"), "{wrong:?}");
        }
    }
}
