//! What every codec must do: give back what it was given, and answer any other bytes with an error in little memory.

use crate::alloc::largest_during;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use untorn::codec::{Codec, Raw};
use untorn::{ErrorKind, Outcome};

/// Checks a codec on these values and on bytes near theirs.
///
/// The bytes of each value must not be the beginning of another value's bytes, as those of a number in JSON are.
#[track_caller]
fn conforms<T: Debug + PartialEq, C: Codec<T>>(codec: &C, values: &[T]) {
    assert!((1..=16).contains(&C::NAME.len()) && C::NAME.is_ascii());
    for value in values {
        let mut bytes = b"before".to_vec();
        codec.encode(value, &mut bytes).unwrap();
        let bytes = bytes.strip_prefix(b"before").expect("it appends");
        assert_eq!(&codec.decode(bytes).unwrap(), value);
        let mut streamed = Vec::new();
        codec.encode_to(value, &mut streamed).unwrap();
        assert_eq!(streamed, bytes, "both ways of writing agree");
        for cut in 0..bytes.len() {
            refuses(codec, &bytes[..cut]);
        }
        refuses(codec, &[bytes, b"1"].concat());
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            survives(codec, &bytes);
        }
        fails_with_the_writer(codec, value);
    }
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for len in (0..64).cycle().take(5000) {
        let mut bytes = vec![0; len];
        for byte in &mut bytes {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            *byte = random.to_le_bytes()[3];
        }
        survives(codec, &bytes);
    }
}

#[track_caller]
fn refuses<T: Debug, C: Codec<T>>(codec: &C, bytes: &[u8]) {
    let error = codec.decode(bytes).expect_err("it is refused");
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::Codec, Outcome::Unchanged));
    assert!(error.to_string().contains(C::NAME), "{error}");
}

/// Any answer will do, as long as there is one and it took little memory.
#[track_caller]
fn survives<T, C: Codec<T>>(codec: &C, bytes: &[u8]) {
    let largest = largest_during(|| drop(codec.decode(bytes)));
    assert!(largest <= 2 << 20, "{largest} bytes of memory for {} bytes", bytes.len());
}

fn fails_with_the_writer<T, C: Codec<T>>(codec: &C, value: &T) {
    struct Full(Option<untorn::Error>);

    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(match self.0.take() {
                Some(error) => error.into(),
                None => io::ErrorKind::StorageFull.into(),
            })
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let error = codec.encode_to(value, &mut Full(None)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    // An error of ours comes through the writer as it is.
    let ours = untorn::codec::refused("inner", "because");
    let error = codec.encode_to(value, &mut Full(Some(ours))).unwrap_err();
    assert!(error.to_string().contains("inner"), "{error}");
}

#[test]
fn raw_keeps_any_bytes() {
    for bytes in [&b""[..], b"x", &[0; 1000]] {
        let mut out = b"before".to_vec();
        Raw.encode(&bytes.to_vec(), &mut out).unwrap();
        let decoded: Vec<u8> = Raw.decode(&out[6..]).unwrap();
        assert_eq!(decoded, bytes);
        let boxed: Box<[u8]> = Raw.decode(&out[6..]).unwrap();
        let mut streamed = Vec::new();
        Raw.encode_to(&boxed, &mut streamed).unwrap();
        assert_eq!(streamed, bytes);
    }
    fails_with_the_writer(&Raw, &b"x".to_vec());
}

#[cfg(any(feature = "json", feature = "postcard"))]
mod with_serde {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub(super) struct Account {
        name: String,
        balance: i64,
        tags: Vec<String>,
        rates: BTreeMap<String, f64>,
        parent: Option<Box<Self>>,
        state: State,
    }

    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    pub(super) enum State {
        #[default]
        Open,
        Frozen(u32),
        Closed {
            by: String,
            keys: (u8, char),
        },
    }

    /// Nests as deep as one likes.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Nest(pub(super) Vec<Self>);

    pub(super) fn accounts() -> Vec<Account> {
        let full = Account {
            name: "a \"quoted\" \u{1f980} name\n".into(),
            balance: i64::MIN,
            tags: vec![String::new(), "x".repeat(300)],
            rates: BTreeMap::from([("e".into(), 0.1 + 0.2), (String::new(), -0.0)]),
            parent: None,
            state: State::Closed { by: "me".into(), keys: (255, '\u{10ffff}') },
        };
        let frozen = Account { state: State::Frozen(7), ..Account::default() };
        let child = Account { parent: Some(Box::new(full.clone())), ..full.clone() };
        vec![Account::default(), full, frozen, child]
    }

    pub(super) fn nested(depth: usize) -> Nest {
        (0..depth).fold(Nest(Vec::new()), |inner, _| Nest(vec![inner]))
    }
}

#[cfg(feature = "json")]
mod json {
    use super::with_serde::{Nest, accounts, nested};
    use super::*;
    use untorn::codec::Json;

    #[test]
    fn conforms() {
        super::conforms(&Json, &accounts());
        super::conforms(&Json, &[vec![0_u64, u64::MAX], vec![]]);
        super::conforms(&Json, &[String::new(), "\0\u{7f}\u{2028}".to_owned()]);
    }

    #[test]
    fn is_compact() {
        let mut out = Vec::new();
        let value = BTreeMap::from([("a", vec![1, 2]), ("b", vec![])]);
        let value: BTreeMap<String, Vec<u8>> =
            value.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Json.encode(&value, &mut out).unwrap();
        assert_eq!(out, br#"{"a":[1,2],"b":[]}"#);
    }

    /// A state that was written and could not be read back would be lost.
    #[test]
    fn what_is_too_deep_to_read_is_not_written() {
        let mut written = 0;
        for depth in 0..300 {
            let value = nested(depth);
            let mut out = b"before".to_vec();
            match Json.encode(&value, &mut out) {
                Ok(()) => {
                    assert_eq!(Codec::<Nest>::decode(&Json, &out[6..]).unwrap(), value);
                    written += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Codec);
                    assert!(error.to_string().contains("deeper than 127"), "{error}");
                    assert_eq!(out, b"before");
                }
            }
        }
        assert_eq!(written, 127);
    }

    #[test]
    fn depth_is_bounded() {
        let bomb = "[".repeat(1 << 20);
        refuses::<Nest, _>(&Json, bomb.as_bytes());
        let bomb = format!("{}{}", "[".repeat(128), "]".repeat(128));
        refuses::<Nest, _>(&Json, bomb.as_bytes());
    }

    #[test]
    fn what_has_no_form_is_refused() {
        let value = BTreeMap::from([(vec![1_u8], 1_u8)]);
        let mut out = b"before".to_vec();
        let error = Json.encode(&value, &mut out).unwrap_err();
        assert_eq!((error.kind(), &out[..]), (ErrorKind::Codec, &b"before"[..]));
        refuses::<String, _>(&Json, b"\"\xff\"");
        refuses::<u8, _>(&Json, b"256");
        refuses::<u8, _>(&Json, b"1 2");
    }
}

#[cfg(feature = "postcard")]
mod postcard {
    use super::with_serde::{Account, Nest, accounts};
    use super::*;
    use untorn::codec::Postcard;

    #[test]
    fn conforms() {
        super::conforms(&Postcard, &accounts());
        super::conforms(&Postcard, &[0_u64, 127, 128, u64::MAX]);
        super::conforms(&Postcard, &[f64::INFINITY, f64::MIN_POSITIVE]);
    }

    /// An 8-byte file with a huge length made a store ask for 17 TB and abort. It must be an error, in little memory.
    #[test]
    fn lengths_take_no_memory_before_the_bytes_are_there() {
        for huge in [1_u64 << 20, 1 << 32, 1 << 44, u64::MAX] {
            let mut bytes = Vec::new();
            Postcard.encode(&huge, &mut bytes).unwrap();
            bytes.extend([1; 16]);
            let check = |decode: &dyn Fn(&[u8]) -> bool| {
                let largest = largest_during(|| assert!(!decode(&bytes), "it is refused"));
                assert!(largest <= 2 << 20, "{largest} bytes of memory");
            };
            check(&|bytes| Codec::<Vec<u8>>::decode(&Postcard, bytes).is_ok());
            check(&|bytes| Codec::<Vec<u64>>::decode(&Postcard, bytes).is_ok());
            check(&|bytes| Codec::<Vec<Account>>::decode(&Postcard, bytes).is_ok());
            check(&|bytes| Codec::<Vec<Vec<u64>>>::decode(&Postcard, bytes).is_ok());
            check(&|bytes| Codec::<String>::decode(&Postcard, bytes).is_ok());
            check(&|bytes| Codec::<BTreeMap<u64, String>>::decode(&Postcard, bytes).is_ok());
            check(&|bytes| Codec::<Account>::decode(&Postcard, bytes).is_ok());
        }
    }

    #[test]
    fn what_has_no_form_is_refused() {
        /// A sequence that does not say how long it is.
        #[derive(serde::Deserialize)]
        struct Endless;

        impl serde::Serialize for Endless {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::ser::SerializeSeq::end(serializer.serialize_seq(None)?)
            }
        }

        let mut out = b"before".to_vec();
        let error = Postcard.encode(&(7_u8, Endless), &mut out).unwrap_err();
        assert_eq!((error.kind(), &out[..]), (ErrorKind::Codec, &b"before"[..]));
        let error = Postcard.encode_to(&(7_u8, Endless), &mut out).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Codec, "the writer is not to blame");
    }

    #[test]
    fn bytes_left_over_are_refused() {
        refuses::<u8, _>(&Postcard, &[1, 2]);
        refuses::<Option<u8>, _>(&Postcard, &[0, 0]);
        refuses::<bool, _>(&Postcard, &[2]);
        refuses::<String, _>(&Postcard, &[1, 0xff]);
        refuses::<Nest, _>(&Postcard, &[2, 0]);
    }
}
