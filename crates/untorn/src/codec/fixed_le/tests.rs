use super::*;
use crate::ErrorKind;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

fn bytes_of<T: Serialize + DeserializeOwned>(value: &T) -> Vec<u8> {
    let mut out = vec![7];
    FixedLe.encode(value, &mut out).unwrap();
    let mut streamed = Vec::new();
    FixedLe.encode_to(value, &mut streamed).unwrap();
    assert_eq!(out[1..], streamed[..]);
    streamed
}

fn read<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    FixedLe.decode(bytes)
}

/// The bytes are these, and come back; no cut of them does, and what is left over is refused.
fn is<T>(value: &T, bytes: &[u8])
where
    T: Serialize + DeserializeOwned + PartialEq + fmt::Debug,
{
    assert_eq!(bytes_of(value), bytes, "{value:?}");
    comes_back(value);
}

fn comes_back<T>(value: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + fmt::Debug,
{
    let mut bytes = bytes_of(value);
    assert_eq!(read::<T>(&bytes).unwrap(), *value);
    for cut in 0..bytes.len() {
        assert_eq!(read::<T>(&bytes[..cut]).unwrap_err().kind(), ErrorKind::Codec);
    }
    bytes.push(0);
    let error = read::<T>(&bytes).unwrap_err();
    assert!(error.to_string().contains("1 bytes are left over"), "{error}");
    let lenient: T = FixedLe::lenient().decode(&bytes).unwrap();
    assert_eq!(lenient, *value);
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Wrapped(u16);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    None,
    One(u8),
    Two(u8, u16),
    Named { a: u8, b: Option<Box<Self>> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    small: (i8, i16, i32, i64, i128),
    large: (u8, u16, u32, u64, u128),
    float: (f32, f64),
    letters: Vec<char>,
    text: String,
    maybe: Vec<Option<u8>>,
    map: BTreeMap<String, Vec<Kind>>,
    hashed: HashMap<u8, Wrapped>,
    array: [u16; 3],
    unit: (),
    nothing: Unit,
}

/// Bytes that are serialized as such.
#[derive(Debug, PartialEq, Eq)]
struct AsBytes(Vec<u8>);

impl Serialize for AsBytes {
    fn serialize<S: ser::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for AsBytes {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Take;
        impl de::Visitor<'_> for Take {
            type Value = AsBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<AsBytes, E> {
                Ok(AsBytes(bytes))
            }
        }
        from.deserialize_byte_buf(Take)
    }
}

#[test]
fn the_table_is_what_is_written() {
    is(&0x0102_u16, &[2, 1]);
    is(&-2_i8, &[0xfe]);
    is(&-2_i32, &[0xfe, 0xff, 0xff, 0xff]);
    is(&1_usize, &[1, 0, 0, 0, 0, 0, 0, 0]);
    is(&-1_isize, &[0xff; 8]);
    is(&(1_u128 << 120), &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    is(&-1_i128, &[0xff; 16]);
    is(&true, &[1]);
    is(&false, &[0]);
    is(&1.0_f32, &[0, 0, 0x80, 0x3f]);
    is(&-2.0_f64, &[0, 0, 0, 0, 0, 0, 0, 0xc0]);
    is(&'a', b"a");
    is(&'\u{e9}', &[0xc3, 0xa9]);
    is(&'\u{20ac}', &[0xe2, 0x82, 0xac]);
    is(&'\u{1f600}', &[0xf0, 0x9f, 0x98, 0x80]);
    is(&"ab".to_owned(), &[2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b']);
    is(&AsBytes(vec![9, 8]), &[2, 0, 0, 0, 0, 0, 0, 0, 9, 8]);
    is(&vec![9_u8, 8], &[2, 0, 0, 0, 0, 0, 0, 0, 9, 8]);
    is(&vec![1_u16, 2], &[2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0]);
    is(&BTreeMap::from([(1_u8, 2_u8)]), &[1, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    is(&None::<u16>, &[0]);
    is(&Some(5_u16), &[1, 5, 0]);
    is(&Kind::None, &[0, 0, 0, 0]);
    is(&Kind::One(7), &[1, 0, 0, 0, 7]);
    is(&Kind::Two(7, 8), &[2, 0, 0, 0, 7, 8, 0]);
    is(&Kind::Named { a: 7, b: None }, &[3, 0, 0, 0, 7, 0]);
    is(&Wrapped(3), &[3, 0]);
    is(&(1_u8, 2_u16), &[1, 2, 0]);
    is(&[1_u8, 2, 3], &[1, 2, 3]);
    is(&(), &[]);
    is(&Unit, &[]);
}

#[test]
fn a_corpus_of_types_comes_back() {
    let deep = Kind::Named { a: 1, b: Some(Box::new(Kind::Two(2, 3))) };
    comes_back(&Everything {
        flag: true,
        small: (i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN),
        large: (u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX),
        float: (f32::MIN_POSITIVE, f64::INFINITY),
        letters: vec!['\0', 'z', '\u{7ff}', '\u{ffff}', char::MAX],
        text: "a string".to_owned(),
        maybe: vec![None, Some(1)],
        map: BTreeMap::from([(String::new(), vec![]), ("k".to_owned(), vec![deep, Kind::None])]),
        hashed: HashMap::from([(1, Wrapped(2))]),
        array: [1, 2, 3],
        unit: (),
        nothing: Unit,
    });
    comes_back(&vec![vec![Some(1_u8)], vec![], vec![None]]);
    comes_back(&vec![(), (), ()]);
    comes_back(&Vec::<Unit>::new());
    let nan = read::<f64>(&bytes_of(&f64::NAN)).unwrap();
    assert!(nan.is_nan());
}

#[test]
fn what_no_value_has_is_refused() {
    assert!(read::<bool>(&[2]).is_err());
    assert!(read::<Option<u8>>(&[2, 0]).is_err());
    assert!(read::<Kind>(&[4, 0, 0, 0]).is_err());
    for bytes in
        [&[0x80][..], &[0xc3, 0x28], &[0xed, 0xa0, 0x80], &[0xff], &[0xf5, 0x80, 0x80, 0x80]]
    {
        assert!(read::<char>(bytes).is_err(), "{bytes:?}");
    }
    assert!(read::<String>(&[1, 0, 0, 0, 0, 0, 0, 0, 0xff]).is_err());
}

/// A count of anything between the bytes that are there and all that 64 bits can say.
#[test]
fn counts_that_lie_take_neither_memory_nor_time() {
    for count in [9_u64, 1 << 20, 1 << 44, u64::MAX] {
        let mut bytes = count.to_le_bytes().to_vec();
        bytes.extend([1; 8]);
        assert!(read::<String>(&bytes).is_err());
        assert!(read::<AsBytes>(&bytes).is_err());
        assert!(read::<Vec<u8>>(&bytes).is_err());
        assert!(read::<Vec<[u64; 32]>>(&bytes).is_err());
        assert!(read::<Vec<Vec<Vec<u8>>>>(&bytes).is_err());
        assert!(read::<HashMap<u8, String>>(&bytes).is_err());
        assert!(read::<BTreeMap<(), u8>>(&bytes).is_err());
        if count > u64::from(EMPTY_MAX) + 8 {
            assert!(read::<Vec<()>>(&bytes).is_err());
        }
    }
    let nested = [1_u64 << 15, 1 << 15].map(u64::to_le_bytes).concat();
    assert!(read::<Vec<Vec<Unit>>>(&nested).is_err());
}

#[test]
fn elements_without_bytes_are_limited_in_writing_as_in_reading() {
    let most = EMPTY_MAX as usize;
    let bytes = bytes_of(&vec![(); most]);
    assert_eq!(read::<Vec<()>>(&bytes).unwrap().len(), most);
    let mut out = vec![7];
    assert!(FixedLe.encode(&vec![(); most + 1], &mut out).is_err());
    assert_eq!(out, [7]);
    let more = (most as u64 + 1).to_le_bytes();
    assert!(read::<Vec<()>>(&more).is_err());
    // Of elements that have bytes there may be more.
    comes_back_long(&vec![1_u8; most + 1]);
}

fn comes_back_long(value: &Vec<u8>) {
    assert_eq!(read::<Vec<u8>>(&bytes_of(value)).unwrap(), *value);
}

#[derive(Debug, Serialize, Deserialize)]
struct Link(Option<Box<Self>>);

#[test]
fn depth_is_limited_in_writing_as_in_reading() {
    let chain = |links: usize| (1..links).fold(Link(None), |link, _| Link(Some(Box::new(link))));
    let most = (DEPTH_MAX / 2) as usize;
    let bytes = bytes_of(&chain(most));
    assert_eq!(bytes.len(), most);
    assert!(read::<Link>(&bytes).is_ok());
    assert!(FixedLe.encode(&chain(most + 1), &mut Vec::new()).is_err());
    assert!(read::<Link>(&vec![1; 100_000]).is_err());
    // Depth is given back: so many beside each other are not deep.
    let flat: Vec<Option<u8>> = vec![Some(1); 2000];
    assert_eq!(read::<Vec<Option<u8>>>(&bytes_of(&flat)).unwrap(), flat);
}

#[derive(Debug, Serialize, Deserialize)]
enum Nest {
    End,
    New(Box<Self>),
    Pair(Box<Self>, u8),
    Named { of: Box<Self> },
    Seq(Vec<Self>),
    Tuple(Box<(Self, u8)>),
    Map(BTreeMap<u8, Self>),
}

#[test]
fn the_deepest_that_is_written_is_read() {
    let wraps: [fn(Nest) -> Nest; 6] = [
        |nest| Nest::New(Box::new(nest)),
        |nest| Nest::Pair(Box::new(nest), 1),
        |nest| Nest::Named { of: Box::new(nest) },
        |nest| Nest::Seq(vec![nest]),
        |nest| Nest::Tuple(Box::new((nest, 1))),
        |nest| Nest::Map(BTreeMap::from([(1, nest)])),
    ];
    for wrap in wraps {
        let (mut nest, mut bytes) = (Nest::End, Vec::new());
        let mut deepest = 0;
        while FixedLe.encode(&nest, &mut bytes).is_ok() {
            drop(read::<Nest>(&bytes).unwrap());
            deepest += 1;
            bytes.clear();
            nest = wrap(nest);
        }
        assert!(deepest > 200, "{deepest}");
    }
}

/// A sequence that has no length, and one that says a wrong one.
struct Odd(Option<usize>);

impl Serialize for Odd {
    fn serialize<S: ser::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use ser::SerializeSeq;
        let mut seq = to.serialize_seq(self.0)?;
        seq.serialize_element(&1_u8)?;
        seq.serialize_element(&2_u8)?;
        seq.end()
    }
}

#[test]
fn sequences_that_miscount_are_refused() {
    let encoded = |odd: Odd| write::to(&odd, &mut Vec::new());
    assert!(encoded(Odd(Some(2))).is_ok());
    for odd in [Odd(None), Odd(Some(1)), Odd(Some(3)), Odd(Some(0))] {
        assert!(encoded(odd).is_err());
    }
}

#[test]
fn no_bytes_at_all_make_it_panic() {
    let good = bytes_of(&BTreeMap::from([("k".to_owned(), vec![Kind::Two(1, 2), Kind::None])]));
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        drop(read::<BTreeMap<String, Vec<Kind>>>(&bad));
        drop(read::<Everything>(&bad));
    }
}
