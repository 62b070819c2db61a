//! Arguments out: serde to JSON text, bytes to attachments.

use std::{fmt, io};

use bytes::Bytes;
use serde::{
    Serialize,
    ser::{self, Impossible},
};
use serde_json::{
    Error,
    ser::{CompactFormatter, Formatter, Serializer},
};

use super::{
    Name, Payload,
    attachment::taken,
    placeholder::{AMBIGUOUS, count_placeholders},
    value::ARGS,
};

/// The size of a short event. Allocators keep blocks of less than 128 bytes, with their bookkeeping,
/// in a fast list.
const SHORT: usize = 120;

/// `["name",…]`
pub(crate) fn encode_event<T: Serialize + ?Sized>(
    name: &str,
    arguments: &T,
) -> Result<Payload, Error> {
    let mut text = Vec::with_capacity(SHORT);
    text.push(b'[');
    name.serialize(&mut Serializer::new(&mut text))?;
    let (json, first, attachments) = encode(text, arguments)?;
    let name = Name::first_in(&json, name);
    Ok(Payload::event(json, name, first, attachments))
}

/// `[…]`
pub(crate) fn encode_reply<T: Serialize + ?Sized>(arguments: &T) -> Result<Payload, Error> {
    let (json, _, attachments) = encode(Vec::new(), arguments)?;
    Ok(Payload::answer(json, attachments))
}

/// Appends the arguments to `text`, which is empty or an array that begins with a name. Returns the text,
/// where the first argument is in it, and the attachments.
fn encode<T: Serialize + ?Sized>(
    mut text: Vec<u8>,
    arguments: &T,
) -> Result<(String, usize, Vec<Bytes>), Error> {
    let mut attachments = Vec::new();
    let form = Form::of(arguments);
    let begun = text.len();
    if form != Form::Several {
        let separator = if begun == 0 { Some(b'[') } else { (form == Form::One).then_some(b',') };
        text.extend(separator);
    }
    let mut first = text.len();
    if form != Form::Nothing {
        let extract = Extract { attachments: &mut attachments };
        arguments.serialize(&mut Serializer::with_formatter(&mut text, extract))?;
    }
    if form == Form::Several {
        // serde_json wrote `[a,b]`, which becomes the rest after the name: `["name"` `,a,b]`.
        first = begun.saturating_add(1);
        if begun > 0 {
            if text.get(first) == Some(&b']') {
                text.remove(begun);
                first = begun;
            } else if let Some(bracket) = text.get_mut(begun) {
                *bracket = b',';
            }
        }
    } else {
        text.push(b']');
    }
    let json = String::from_utf8(text).map_err(ser::Error::custom)?;
    if !attachments.is_empty() && count_placeholders(&json) != attachments.len() {
        return Err(ser::Error::custom(AMBIGUOUS));
    }
    Ok((json, first, attachments))
}

/// Compact JSON, with attachments in place of bytes.
struct Extract<'a> {
    attachments: &'a mut Vec<Bytes>,
}

impl Formatter for Extract<'_> {
    fn write_byte_array<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        value: &[u8],
    ) -> io::Result<()> {
        write!(writer, r#"{{"_placeholder":true,"num":{}}}"#, self.attachments.len())?;
        self.attachments.push(taken(value));
        Ok(())
    }

    // serde_json's default for everything else is the compact form; named so that it stays so.
    fn write_null<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        CompactFormatter.write_null(writer)
    }
}

/// How a value becomes arguments. serde knows, so this asks it: the value is "serialised" into this,
/// and the first call that it makes is the answer, returned as the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Nothing,
    One,
    Several,
}

impl Form {
    fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        match value.serialize(Probe) {
            Ok(form) | Err(form) => form,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Form {}

impl ser::Error for Form {
    // A value that fails here fails again, with its own error, when it is really serialised.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::One
    }
}

struct Probe;

macro_rules! one_argument {
    ($($method:ident($($kind:ty),*);)*) => {
        $(fn $method(self, $(_: $kind),*) -> Result<Form, Form> {
            Ok(Form::One)
        })*
    };
}

impl ser::Serializer for Probe {
    type Ok = Form;
    type Error = Form;
    type SerializeSeq = Impossible<Form, Form>;
    type SerializeTuple = Impossible<Form, Form>;
    type SerializeTupleStruct = Impossible<Form, Form>;
    type SerializeTupleVariant = Impossible<Form, Form>;
    type SerializeMap = Impossible<Form, Form>;
    type SerializeStruct = Impossible<Form, Form>;
    type SerializeStructVariant = Impossible<Form, Form>;

    one_argument! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_unit(self) -> Result<Form, Form> {
        Ok(Form::Nothing)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Form, Form> {
        Ok(Form::Nothing)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Form, Form> {
        Ok(Form::One)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Form, Form> {
        if name == ARGS { Ok(Form::Several) } else { value.serialize(self) }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Form, Form> {
        Ok(Form::One)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Form> {
        Err(Form::One)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Form> {
        Err(Form::Several)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Form> {
        Err(Form::Several)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Form> {
        Err(Form::One)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Form> {
        Err(Form::One)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Form> {
        Err(Form::One)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Form> {
        Err(Form::One)
    }
}
