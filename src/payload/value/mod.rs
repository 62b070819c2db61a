//! Arguments without a type of their own.

use std::{cell::Cell, collections::BTreeMap, fmt, thread::LocalKey};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::Number;

use super::{attachment, encode_reply};
use crate::payload::error::DecodeError;

/// An argument of any kind: a JSON value, or an attachment in the place of one.
///
/// It is for arguments whose type is known only at run time, in both directions, and works wherever
/// serde types do: alone, in tuples, in fields of structs.
///
/// ```
/// use actix_socketio::{Args, Event, Socket, Value};
/// use bytes::Bytes;
///
/// fn pass_on(event: &Event, to: &Socket) -> Result<(), Box<dyn std::error::Error>> {
///     let Args(mut list): Args = event.args()?;
///     if let Some(Value::Bytes(photo)) = list.first() {
///         println!("a photo of {} bytes", photo.len());
///     }
///     list.push(Value::from("by way of us"));
///     list.push(Value::from(Bytes::from_static(b"\x89PNG")));
///     list.push(Value::from(serde_json::json!({ "hops": 1 })));
///     to.emit(event.name(), Args(list))?;
///     Ok(())
/// }
/// ```
///
/// Integers from `i64::MIN` to `u64::MAX` are kept exactly; others, and numbers with a fraction or
/// an exponent, become the nearest `f64`. A number beyond its range (`1e400`) is an error when it is
/// read; [`Payload::to_json`](crate::Payload::to_json) has the text of each number. Servers in
/// JavaScript have `f64` only. NaN and infinity become null, as they do there.
///
/// An object has its keys in alphabetical order; of equal keys, the last one counts.
/// Nesting beyond 127 levels is an error when it is read. Behind `#[serde(flatten)]` and its like, a value
/// is the placeholder of an attachment instead; see [`payload`](crate::payload).
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// `null`. Alone, it is one argument.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    String(String),
    /// An array. Alone, it is one argument; [`Args`] is several.
    Array(Vec<Self>),
    /// An object.
    Object(BTreeMap<String, Self>),
    /// An attachment. One that came shares the memory of its message, see
    /// [`Payload::detach`](crate::Payload::detach).
    Bytes(Bytes),
}

/// A list whose elements are the arguments, one each. (A `Vec` is one argument, which is an array.)
///
/// When read, it takes all arguments, however many there are. Inside another type it is an array.
///
/// ```
/// use actix_socketio::{Args, Socket};
///
/// async fn add(socket: &Socket, numbers: Vec<f64>) -> Result<(), actix_socketio::AckError> {
///     // sum(1, 2, 3), and whatever the answer is
///     let Args(answer): Args = socket.emit_with_ack("sum", Args(numbers)).await?;
///     println!("{answer:?}");
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "$socketio::Args")]
pub struct Args<T = Value>(
    /// The arguments.
    pub Vec<T>,
);

/// The serialiser and the deserialiser of arguments recognise the types by these names.
pub(super) const ARGS: &str = "$socketio::Args";
pub(super) const VALUE: &str = "$socketio::Value";

impl Value {
    /// The value that serde makes of any serialisable type.
    ///
    /// # Errors
    ///
    /// It cannot be serialised.
    pub fn of(value: impl Serialize) -> Result<Self, DecodeError> {
        let payload = encode_reply(&(value,)).map_err(DecodeError::from_serde)?;
        payload.decode()
    }

    /// Decodes the value into a type of the application. See [`Payload::decode`](crate::Payload::decode).
    ///
    /// # Errors
    ///
    /// The value has another shape.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        let payload = encode_reply(&(self,)).map_err(DecodeError::from_serde)?;
        let (value,) = payload.decode()?;
        Ok(value)
    }

    /// The text, if this is a text.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The value of this key, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        if let Self::Object(object) = self { object.get(key) } else { None }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            // A unit would be no argument at all.
            Self::Null => serializer.serialize_none(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(list) => list.serialize(serializer),
            Self::Object(object) => object.serialize(serializer),
            Self::Bytes(data) => attachment::serialize(data, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(VALUE, Whole)
    }
}

thread_local! {
    /// Serde cannot pass on a [`Bytes`] without a copy, and one attachment may stand in any
    /// number of places. So a value that was made here is passed on here; there is one only during
    /// [`hand_over`].
    static HANDED: Cell<Option<Value>> = const { Cell::new(None) };
}

/// Gives a value that was made of JSON and attachments to the visitor of a [`Value`].
pub(super) fn hand_over<'de, V: Visitor<'de>, E: de::Error>(
    value: Value,
    visitor: V,
) -> Result<V::Value, E> {
    with_handed(&HANDED, value, || visitor.visit_unit())
}

/// Does something while a value can be taken from this place. If it is not taken, or `act` panics, it is gone afterwards.
pub(super) fn with_handed<T, R>(
    place: &'static LocalKey<Cell<Option<T>>>,
    value: T,
    act: impl FnOnce() -> R,
) -> R {
    struct Clear<T: 'static>(&'static LocalKey<Cell<Option<T>>>);

    impl<T> Drop for Clear<T> {
        fn drop(&mut self) {
            self.0.take();
        }
    }

    place.set(Some(value));
    let _clear = Clear(place);
    act()
}

/// Takes the value that is handed over, or makes one from any format.
struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(HANDED.take().unwrap_or_default())
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(Build { attachments: &[] })
    }
}

/// Makes a value.
#[derive(Clone, Copy)]
pub(super) struct Build<'a> {
    pub(super) attachments: &'a [Bytes],
}

impl Build<'_> {
    /// The attachment for which this object is the placeholder.
    fn attachment(self, object: &BTreeMap<String, Value>) -> Option<Value> {
        let Some(Value::Number(number)) = object.get("num") else { return None };
        let number = usize::try_from(number.as_u64()?).ok()?;
        self.attachments.get(number).cloned().map(Value::Bytes)
    }
}

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_bytes<E: de::Error>(self, data: &[u8]) -> Result<Value, E> {
        Ok(Bytes::copy_from_slice(data).into())
    }

    fn visit_byte_buf<E: de::Error>(self, data: Vec<u8>) -> Result<Value, E> {
        Ok(Bytes::from(data).into())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Value, S::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Value, M::Error> {
        let mut object = BTreeMap::new();
        let mut is_placeholder = false;
        while let Some(Key { text, is_plain }) = map.next_key()? {
            let value = map.next_value_seed(self)?;
            if is_plain && text == "_placeholder" {
                is_placeholder = value == Value::Bool(true);
            }
            object.insert(text, value);
        }
        let attachment = if is_placeholder { self.attachment(&object) } else { None };
        Ok(attachment.unwrap_or(Value::Object(object)))
    }
}

/// The key of an object. A key that is written with escapes is never that of a placeholder: that is how
/// a key is written that is known to be data.
struct Key {
    text: String,
    is_plain: bool,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Key, E> {
                Ok(Key { text: text.to_owned(), is_plain: true })
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Key, E> {
                Ok(Key { text: text.to_owned(), is_plain: false })
            }
        }

        deserializer.deserialize_str(Keys)
    }
}

macro_rules! from {
    ($($kind:ty => $variant:ident;)*) => {
        $(impl From<$kind> for Value {
            fn from(value: $kind) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

from! {
    bool => Bool;
    i8 => Number;
    i16 => Number;
    i32 => Number;
    i64 => Number;
    u8 => Number;
    u16 => Number;
    u32 => Number;
    u64 => Number;
    &str => String;
    String => String;
    Bytes => Bytes;
    Vec<Self> => Array;
    BTreeMap<String, Self> => Object;
}

/// NaN and infinity are null.
impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Number::from_f64(value).map_or(Self::Null, Self::Number)
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Self {
        f64::from(value).into()
    }
}

impl From<()> for Value {
    fn from((): ()) -> Self {
        Self::Null
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// An array.
///
/// There is no conversion from a `Vec<u8>`, which could be meant as an array of numbers or as an attachment:
///
/// ```
/// use actix_socketio::Value;
/// use bytes::Bytes;
///
/// let numbers: Value = vec![1, 2, 3].into_iter().collect();
/// let attachment = Value::from(Bytes::from(vec![1, 2, 3]));
/// ```
///
/// ```compile_fail,E0277
/// let unclear = actix_socketio::Value::from(vec![1_u8, 2, 3]);
/// ```
impl<T: Into<Self>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::Array(values.into_iter().map(Into::into).collect())
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => Self::Number(number),
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Array(list) => list.into_iter().collect(),
            serde_json::Value::Object(object) => {
                Self::Object(object.into_iter().map(|(key, value)| (key, value.into())).collect())
            }
        }
    }
}

impl<T> From<Vec<T>> for Args<T> {
    fn from(list: Vec<T>) -> Self {
        Self(list)
    }
}

impl<T> FromIterator<T> for Args<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<T> IntoIterator for Args<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests;
