//! Any bytes are given to every codec. What one decodes must encode, and decode to the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use untorn::codec::{Codec, Json, Postcard, Raw};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    number: i64,
    wide: u128,
    letter: char,
    text: String,
    bytes: Vec<u8>,
    words: Vec<String>,
    map: BTreeMap<String, Vec<Option<u16>>>,
    choice: Choice,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Choice {
    None,
    One(u32),
    Many { a: (u8, i16), b: Result<u64, String> },
}

fuzz_target!(|bytes: &[u8]| {
    round_trips::<Everything>(bytes);
    round_trips::<Vec<u64>>(bytes);
    round_trips::<BTreeMap<String, String>>(bytes);
    let raw: Vec<u8> = Raw.decode(bytes).unwrap();
    assert_eq!(raw, bytes);
});

fn round_trips<T: Debug + PartialEq + Serialize + DeserializeOwned>(bytes: &[u8]) {
    round_trip::<T, _>(&Json, bytes);
    round_trip::<T, _>(&Postcard, bytes);
}

fn round_trip<T: Debug + PartialEq, C: Codec<T>>(codec: &C, bytes: &[u8]) {
    let Ok(value) = codec.decode(bytes) else { return };
    let mut again = Vec::new();
    codec.encode(&value, &mut again).expect("what was decoded encodes");
    assert_eq!(codec.decode(&again).expect("what was encoded decodes"), value);
    // Numbers may be written longer than need be, so that only the second time the bytes agree.
    let mut third = Vec::new();
    codec.encode(&value, &mut third).unwrap();
    assert_eq!(third, again);
}
