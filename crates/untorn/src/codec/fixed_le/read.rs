//! Bytes to values.

use super::{Fault, Limits};
use crate::codec::bytes::Reader;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// The value that the bytes begin with, and how many bytes are left over.
pub(super) fn from<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<(T, usize), Fault> {
    let mut bytes = Bytes { rest: Reader::new(bytes), limits: Limits::new() };
    let value = T::deserialize(&mut bytes)?;
    Ok((value, bytes.left()))
}

const SHORT: Fault = Fault::Says("the bytes end in the middle of a value");
const NAMELESS: Fault = Fault::Says("the bytes do not say what they are; ask for a type");

struct Bytes<'de> {
    rest: Reader<'de>,
    limits: Limits,
}

impl<'de> Bytes<'de> {
    fn left(&self) -> usize {
        self.rest.rest().len()
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.rest.array().ok_or(SHORT)
    }

    fn flag(&mut self) -> Result<bool, Fault> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Fault::Says("neither 0 nor 1, where one of them must be")),
        }
    }

    /// A count, and as many bytes.
    fn counted(&mut self) -> Result<&'de [u8], Fault> {
        let count = u64::from_le_bytes(self.array()?);
        usize::try_from(count).ok().and_then(|count| self.rest.take(count)).ok_or(SHORT)
    }

    fn text(&mut self) -> Result<&'de str, Fault> {
        std::str::from_utf8(self.counted()?).map_err(|_| Fault::Says("a string is not UTF-8"))
    }

    fn char(&mut self) -> Result<char, Fault> {
        const NO_CHAR: Fault = Fault::Says("these bytes are no character");
        let first = *self.rest.rest().first().ok_or(SHORT)?;
        let len = match first {
            0..=0x7f => 1,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => return Err(NO_CHAR),
        };
        let bytes = self.rest.take(len).ok_or(SHORT)?;
        let text = std::str::from_utf8(bytes).map_err(|_| NO_CHAR)?;
        text.chars().next().ok_or(NO_CHAR)
    }

    /// How many elements are to come. Those that take bytes run out of them; how many may take none is limited.
    fn count(&mut self) -> Result<u64, Fault> {
        let count = u64::from_le_bytes(self.array()?);
        let most = (self.left() as u64).saturating_add(u64::from(self.limits.empty));
        if count > most { Err(SHORT) } else { Ok(count) }
    }

    /// What lies one deeper.
    fn inner<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.limits.enter()?;
        let value = read(self)?;
        self.limits.leave();
        Ok(value)
    }

    fn fields<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        let left = len as u64;
        self.inner(|bytes| visitor.visit_seq(Elements { bytes, left, counted: false }))
    }
}

macro_rules! read_le {
    ($($method:ident: $visit:ident $number:ty,)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
                visitor.$visit(<$number>::from_le_bytes(self.array()?))
            }
        )*
    };
}

impl<'de> Deserializer<'de> for &mut Bytes<'de> {
    type Error = Fault;

    read_le! {
        deserialize_i8: visit_i8 i8, deserialize_i16: visit_i16 i16, deserialize_i32: visit_i32 i32,
        deserialize_i64: visit_i64 i64, deserialize_i128: visit_i128 i128,
        deserialize_u8: visit_u8 u8, deserialize_u16: visit_u16 u16, deserialize_u32: visit_u32 u32,
        deserialize_u64: visit_u64 u64, deserialize_u128: visit_u128 u128,
        deserialize_f32: visit_f32 f32, deserialize_f64: visit_f64 f64,
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(NAMELESS)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(NAMELESS)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(NAMELESS)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_bool(self.flag()?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_char(self.char()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_string(self.text()?.to_owned())
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_bytes(self.counted()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_byte_buf(self.counted()?.to_vec())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.flag()? {
            self.inner(|bytes| visitor.visit_some(bytes))
        } else {
            visitor.visit_none()
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.inner(|bytes| visitor.visit_newtype_struct(bytes))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let left = self.count()?;
        self.inner(|bytes| visitor.visit_seq(Elements { bytes, left, counted: true }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.fields(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.fields(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let left = self.count()?;
        self.inner(|bytes| visitor.visit_map(Elements { bytes, left, counted: true }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.fields(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        // What lies in the variant is one deeper, not the variant.
        visitor.visit_enum(self)
    }
}

/// The elements of a sequence or map, or the fields of what has no count.
struct Elements<'a, 'de> {
    bytes: &'a mut Bytes<'de>,
    left: u64,
    /// Whether `left` came from the bytes.
    counted: bool,
}

impl<'de> Elements<'_, 'de> {
    fn next<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let before = self.bytes.left();
        let value = seed.deserialize(&mut *self.bytes)?;
        if self.counted && before == self.bytes.left() {
            self.bytes.limits.empty()?;
        }
        Ok(Some(value))
    }

    /// Never more than there are bytes for: it is what a type may take memory by.
    fn hint(&self) -> usize {
        let bytes = self.bytes.left();
        usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes)
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        self.next(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> MapAccess<'de> for Elements<'_, 'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.next(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        seed.deserialize(&mut *self.bytes)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> EnumAccess<'de> for &mut Bytes<'de> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let index = u32::from_le_bytes(self.array()?);
        let variant = seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(index))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Bytes<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        self.inner(|bytes| seed.deserialize(bytes))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.fields(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.fields(fields.len(), visitor)
    }
}
