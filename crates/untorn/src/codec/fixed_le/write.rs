//! Values to bytes.

use super::{Fault, Limits};
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use std::io;

/// Writes the bytes of `value`.
pub(super) fn to<T: Serialize>(value: &T, out: impl io::Write) -> Result<(), Fault> {
    value.serialize(&mut Writer { out, written: 0, limits: Limits::new() })
}

struct Writer<W> {
    out: W,
    /// Rises with each byte; only whether it rose is asked.
    written: usize,
    limits: Limits,
}

impl<W: io::Write> Writer<W> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.written = self.written.wrapping_add(bytes.len());
        self.out.write_all(bytes).map_err(Fault::Stream)
    }

    fn put_count(&mut self, count: usize) -> Result<(), Fault> {
        self.put(&(count as u64).to_le_bytes())
    }

    /// What lies one deeper.
    fn inner<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.limits.enter()?;
        value.serialize(&mut *self)?;
        self.limits.leave();
        Ok(())
    }

    fn compound(&mut self, left: Option<usize>) -> Result<Compound<'_, W>, Fault> {
        self.limits.enter()?;
        Ok(Compound { writer: self, left })
    }
}

macro_rules! put_le {
    ($($method:ident: $number:ty,)*) => {
        $(
            #[inline]
            fn $method(self, value: $number) -> Result<(), Fault> {
                self.put(&value.to_le_bytes())
            }
        )*
    };
}

impl<'a, W: io::Write> Serializer for &'a mut Writer<W> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Compound<'a, W>;
    type SerializeTuple = Compound<'a, W>;
    type SerializeTupleStruct = Compound<'a, W>;
    type SerializeTupleVariant = Compound<'a, W>;
    type SerializeMap = Compound<'a, W>;
    type SerializeStruct = Compound<'a, W>;
    type SerializeStructVariant = Compound<'a, W>;

    put_le! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
        serialize_f32: f32, serialize_f64: f64,
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<(), Fault> {
        self.put(&[u8::from(value)])
    }

    fn serialize_char(self, value: char) -> Result<(), Fault> {
        self.put(value.encode_utf8(&mut [0; 4]).as_bytes())
    }

    fn serialize_str(self, value: &str) -> Result<(), Fault> {
        self.serialize_bytes(value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Fault> {
        self.put_count(value.len())?;
        self.put(value)
    }

    fn serialize_none(self) -> Result<(), Fault> {
        self.put(&[0])
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        self.put(&[1])?;
        self.inner(value)
    }

    fn serialize_unit(self) -> Result<(), Fault> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Fault> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
    ) -> Result<(), Fault> {
        self.serialize_u32(index)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.inner(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.serialize_u32(index)?;
        self.inner(value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'a, W>, Fault> {
        let len = len.ok_or(Fault::Says("a sequence does not say how long it is"))?;
        self.put_count(len)?;
        self.compound(Some(len))
    }

    fn serialize_tuple(self, _: usize) -> Result<Compound<'a, W>, Fault> {
        self.compound(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Compound<'a, W>, Fault> {
        self.compound(None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Compound<'a, W>, Fault> {
        self.serialize_u32(index)?;
        self.compound(None)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Compound<'a, W>, Fault> {
        let len = len.ok_or(Fault::Says("a map does not say how long it is"))?;
        self.put_count(len)?;
        self.compound(Some(len))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Compound<'a, W>, Fault> {
        self.compound(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Compound<'a, W>, Fault> {
        self.serialize_u32(index)?;
        self.compound(None)
    }
}

/// A value of several, one deeper than what it is in.
struct Compound<'a, W> {
    writer: &'a mut Writer<W>,
    /// Elements that the count says are to come; `None` where there is no count.
    left: Option<usize>,
}

const MISCOUNTED: Fault = Fault::Says("a sequence or map is not as long as it says");

impl<W: io::Write> Compound<'_, W> {
    fn field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        value.serialize(&mut *self.writer)
    }

    /// One element of those that were counted.
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        let before = self.writer.written;
        self.field(value)?;
        self.took(before)
    }

    fn took(&mut self, before: usize) -> Result<(), Fault> {
        self.left = Some(self.left.and_then(|left| left.checked_sub(1)).ok_or(MISCOUNTED)?);
        if before == self.writer.written {
            self.writer.limits.empty()?;
        }
        Ok(())
    }

    const fn close(self) -> Result<(), Fault> {
        self.writer.limits.leave();
        match self.left {
            None | Some(0) => Ok(()),
            Some(_) => Err(MISCOUNTED),
        }
    }
}

impl<W: io::Write> SerializeSeq for Compound<'_, W> {
    type Ok = ();
    type Error = Fault;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.element(value)
    }

    fn end(self) -> Result<(), Fault> {
        self.close()
    }
}

impl<W: io::Write> SerializeMap for Compound<'_, W> {
    type Ok = ();
    type Error = Fault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        self.element(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.field(value)
    }

    fn end(self) -> Result<(), Fault> {
        self.close()
    }
}

macro_rules! fields {
    ($($of:ident: $method:ident($($name:ty)?),)*) => {
        $(
            impl<W: io::Write> $of for Compound<'_, W> {
                type Ok = ();
                type Error = Fault;

                fn $method<T: Serialize + ?Sized>(
                    &mut self,
                    $(_: $name,)?
                    value: &T,
                ) -> Result<(), Fault> {
                    self.field(value)
                }

                fn end(self) -> Result<(), Fault> {
                    self.close()
                }
            }
        )*
    };
}

fields! {
    SerializeTuple: serialize_element(),
    SerializeTupleStruct: serialize_field(),
    SerializeTupleVariant: serialize_field(),
    SerializeStruct: serialize_field(&'static str),
    SerializeStructVariant: serialize_field(&'static str),
}
