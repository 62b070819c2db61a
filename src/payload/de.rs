//! Arguments in: JSON text and attachments to serde.

use std::{cell::Cell, fmt, marker::PhantomData};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, EnumAccess, Error as _, IgnoredAny, IntoDeserializer,
        MapAccess, SeqAccess, VariantAccess, Visitor, value::SeqAccessDeserializer,
    },
    forward_to_deserialize_any,
};
use serde_json::{Error, de::StrRead};

use super::{
    Payload,
    attachment::{self, ATTACHMENT},
    value::{ARGS, Build, VALUE, hand_over},
};

pub(super) fn decode<T: DeserializeOwned>(payload: &Payload) -> Result<T, Error> {
    let list = payload.attachments();
    let sum = list.iter().fold(0, |sum, data| data.len().saturating_add(sum));
    T::deserialize(Arguments(payload, Attachments { list, left: &Cell::new(sum) }))
}

/// The attachments, and how many bytes of them may be copied yet: as many as there are. A text can name
/// the same one a million times.
#[derive(Clone, Copy)]
struct Attachments<'a> {
    list: &'a [Bytes],
    left: &'a Cell<usize>,
}

impl Attachments<'_> {
    fn is_empty(self) -> bool {
        self.list.is_empty()
    }

    /// A copy of this one.
    fn copy<E: serde::de::Error>(self, number: usize) -> Result<Vec<u8>, E> {
        let data = self.list.get(number).ok_or_else(|| E::custom("no such attachment"))?;
        let left = self.left.get().checked_sub(data.len());
        self.left.set(left.ok_or_else(|| E::custom("an attachment is named too often"))?);
        Ok(data.to_vec())
    }
}

/// The arguments as a whole. The first call that a type makes says how many it takes.
struct Arguments<'a>(&'a Payload, Attachments<'a>);

impl<'a> Arguments<'a> {
    /// The first argument, or an error if there is none.
    fn first<V>(
        self,
        then: impl FnOnce(Argument<'a, &mut serde_json::Deserializer<StrRead<'a>>>) -> Result<V, Error>,
    ) -> Result<V, Error> {
        if self.is_empty() {
            return Err(Error::custom("there are no arguments"));
        }
        let mut json = serde_json::Deserializer::from_str(self.0.arguments());
        then(Argument { inner: &mut json, attachments: self.1 })
    }

    /// The same, read as an element of the array, so that what follows it is looked at as well:
    /// `serde_json` ends a number of 128 bits at the first character that is no digit.
    fn element<S: DeserializeSeed<'a>>(self, seed: S) -> Result<S::Value, Error> {
        if self.is_empty() {
            return Err(Error::custom("there are no arguments"));
        }
        self.several(One(seed))
    }

    fn is_empty(&self) -> bool {
        self.0.arguments().trim_start().starts_with(']')
    }

    fn several<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.list(visitor, false)
    }

    fn list<V: Visitor<'a>>(self, visitor: V, is_open: bool) -> Result<V::Value, Error> {
        let (named, attachments) = (self.0.is_named(), self.1);
        let several = Several { visitor, named, is_open, attachments };
        serde_json::Deserializer::from_str(self.0.json()).deserialize_seq(several)
    }
}

/// All arguments, however many there are.
struct All<'a>(Arguments<'a>);

impl<'de> Deserializer<'de> for All<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.list(visitor, true)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

macro_rules! first_argument {
    ($($method:ident($($name:ident: $kind:ty),*);)*) => {
        $(fn $method<V: Visitor<'a>>(self, $($name: $kind,)* visitor: V) -> Result<V::Value, Error> {
            self.first(|argument| argument.$method($($name,)* visitor))
        })*
    };
}

/// Visits the one element that a type takes.
struct One<S>(S);

impl<'a, S: DeserializeSeed<'a>> Visitor<'a> for One<S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an argument")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<S::Value, A::Error> {
        let one = seq.next_element_seed(self.0)?;
        one.ok_or_else(|| A::Error::custom("there are no arguments"))
    }
}

/// What may be a number of 128 bits, as a seed.
macro_rules! seeds {
    ($($name:ident: $method:ident;)*) => {
        $(struct $name<V>(V);

        impl<'a, V: Visitor<'a>> DeserializeSeed<'a> for $name<V> {
            type Value = V::Value;

            fn deserialize<D: Deserializer<'a>>(self, inner: D) -> Result<V::Value, D::Error> {
                inner.$method(self.0)
            }
        })*
    };
}

seeds! {
    Signed: deserialize_i128;
    Unsigned: deserialize_u128;
    Optional: deserialize_option;
}

impl<'a> Deserializer<'a> for Arguments<'a> {
    type Error = Error;

    fn deserialize_i128<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.element(Signed(visitor))
    }

    fn deserialize_u128<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        self.element(Unsigned(visitor))
    }

    first_argument! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_seq();
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_empty() { visitor.visit_none() } else { self.element(Optional(visitor)) }
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match name {
            ARGS => visitor.visit_newtype_struct(All(self)),
            VALUE | ATTACHMENT => {
                self.first(|argument| argument.deserialize_newtype_struct(name, visitor))
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.several(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.several(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

/// Visits the whole array for a type that takes several arguments.
struct Several<'a, V> {
    visitor: V,
    named: bool,
    /// Behind the last argument it ends.
    is_open: bool,
    attachments: Attachments<'a>,
}

impl<'a, V: Visitor<'a>> Visitor<'a> for Several<'a, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut inner: S) -> Result<V::Value, S::Error> {
        if self.named {
            inner.next_element::<IgnoredAny>()?;
        }
        let attachments = self.attachments;
        let value = if self.is_open {
            self.visitor.visit_seq(Inside { inner: &mut inner, attachments })?
        } else {
            self.visitor.visit_seq(Elements { inner: &mut inner, attachments, ended: false })?
        };
        while inner.next_element::<IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}

/// Arguments one by one; behind the last one come missing ones, which are `None` or an error.
struct Elements<'a, 's, S> {
    inner: &'s mut S,
    attachments: Attachments<'a>,
    ended: bool,
}

impl<'a, S: SeqAccess<'a>> SeqAccess<'a> for Elements<'a, '_, S> {
    type Error = S::Error;

    fn next_element_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, S::Error> {
        let mut seed = Some(seed);
        if !self.ended {
            let attempt = Attempt { seed: &mut seed, attachments: self.attachments };
            if let Some(value) = self.inner.next_element_seed(attempt)? {
                return Ok(Some(value));
            }
            self.ended = true;
        }
        match seed {
            Some(seed) => seed.deserialize(Missing(PhantomData)).map(Some),
            None => Ok(None),
        }
    }
}

/// Takes the seed only if there is an element, so that it is there for a missing one.
struct Attempt<'a, 's, T> {
    seed: &'s mut Option<T>,
    attachments: Attachments<'a>,
}

impl<'a, T: DeserializeSeed<'a>> DeserializeSeed<'a> for Attempt<'a, '_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'a>>(self, inner: D) -> Result<T::Value, D::Error> {
        match self.seed.take() {
            Some(seed) => seed.deserialize(Argument { inner, attachments: self.attachments }),
            None => Err(D::Error::custom("an argument was asked for twice")),
        }
    }
}

/// An argument that did not come: `None` for an `Option`, an error for anything else.
struct Missing<E>(PhantomData<E>);

impl<'de, E: serde::de::Error> Deserializer<'de> for Missing<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, E> {
        Err(E::custom("there are fewer arguments than that"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_none()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// A JSON value that may contain attachments. `serde_json`'s own deserializer reads it, except where a
/// type asks for bytes and finds a placeholder.
struct Argument<'a, D> {
    inner: D,
    attachments: Attachments<'a>,
}

macro_rules! through {
    ($($method:ident($($name:ident: $kind:ty),*);)*) => {
        $(fn $method<V: Visitor<'a>>(self, $($name: $kind,)* visitor: V) -> Result<V::Value, D::Error> {
            if self.attachments.is_empty() {
                self.inner.$method($($name,)* visitor)
            } else {
                let visitor = Inside { inner: visitor, attachments: self.attachments };
                self.inner.$method($($name,)* visitor)
            }
        })*
    };
}

impl<'a, D: Deserializer<'a>> Deserializer<'a> for Argument<'a, D> {
    type Error = D::Error;

    through! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let Self { inner, attachments } = self;
        if attachments.is_empty() {
            inner.deserialize_newtype_struct(name, visitor)
        } else if name == VALUE {
            hand_over(inner.deserialize_any(Build { attachments: attachments.list })?, visitor)
        } else if name == ATTACHMENT {
            inner.deserialize_any(Shared { inner: visitor, attachments: attachments.list })
        } else {
            inner.deserialize_newtype_struct(name, Inside { inner: visitor, attachments })
        }
    }

    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, D::Error> {
        if self.attachments.is_empty() {
            self.inner.deserialize_byte_buf(visitor)
        } else {
            self.inner.deserialize_any(Binary { inner: visitor, attachments: self.attachments })
        }
    }
}

/// A visitor of a type that asked for bytes.
struct Binary<'a, V> {
    inner: V,
    attachments: Attachments<'a>,
}

#[derive(Deserialize)]
struct Placeholder {
    #[serde(rename = "_placeholder")]
    is_placeholder: bool,
    num: usize,
}

/// The number of an attachment.
fn number<'a, M: MapAccess<'a>>(map: M) -> Result<usize, M::Error> {
    let place = Placeholder::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
    if !place.is_placeholder {
        return Err(M::Error::custom("no such attachment"));
    }
    Ok(place.num)
}

impl<'a, V: Visitor<'a>> Visitor<'a> for Binary<'a, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_map<M: MapAccess<'a>>(self, map: M) -> Result<V::Value, M::Error> {
        self.inner.visit_byte_buf(self.attachments.copy(number(map)?)?)
    }

    fn visit_seq<S: SeqAccess<'a>>(self, seq: S) -> Result<V::Value, S::Error> {
        self.inner.visit_seq(seq)
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'a str) -> Result<V::Value, E> {
        self.inner.visit_bytes(text.as_bytes())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<V::Value, E> {
        self.inner.visit_bytes(text.as_bytes())
    }
}

/// A visitor of an [`Attachment`](crate::Attachment).
struct Shared<'a, V> {
    inner: V,
    attachments: &'a [Bytes],
}

impl<'a, V: Visitor<'a>> Visitor<'a> for Shared<'a, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_map<M: MapAccess<'a>>(self, map: M) -> Result<V::Value, M::Error> {
        let data = self.attachments.get(number(map)?).cloned();
        let data = data.ok_or_else(|| M::Error::custom("no such attachment"))?;
        attachment::hand_over(data, self.inner)
    }

    // Anything else is read as `Bytes` are.

    fn visit_seq<S: SeqAccess<'a>>(self, seq: S) -> Result<V::Value, S::Error> {
        self.inner.visit_newtype_struct(SeqAccessDeserializer::new(seq))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<V::Value, E> {
        self.inner.visit_newtype_struct(text.into_deserializer())
    }
}

/// Passes the attachments on to whatever is inside: a visitor, a seed, a sequence, a map, an enum.
struct Inside<'a, T> {
    inner: T,
    attachments: Attachments<'a>,
}

impl<'a, T> Inside<'a, T> {
    fn inside<U>(&self, inner: U) -> Inside<'a, U> {
        Inside { inner, attachments: self.attachments }
    }
}

macro_rules! visit_plain {
    ($($method:ident: $kind:ty;)*) => {
        $(fn $method<E: serde::de::Error>(self, value: $kind) -> Result<V::Value, E> {
            self.inner.$method(value)
        })*
    };
}

impl<'a, V: Visitor<'a>> Visitor<'a> for Inside<'a, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit_plain! {
        visit_bool: bool;
        visit_i64: i64;
        visit_i128: i128;
        visit_u64: u64;
        visit_u128: u128;
        visit_f64: f64;
        visit_str: &str;
        visit_borrowed_str: &'a str;
        visit_string: String;
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'a>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Argument { inner, attachments: self.attachments })
    }

    fn visit_newtype_struct<D: Deserializer<'a>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Argument { inner, attachments: self.attachments })
    }

    fn visit_seq<S: SeqAccess<'a>>(self, seq: S) -> Result<V::Value, S::Error> {
        let seq = self.inside(seq);
        self.inner.visit_seq(seq)
    }

    fn visit_map<M: MapAccess<'a>>(self, map: M) -> Result<V::Value, M::Error> {
        let map = self.inside(map);
        self.inner.visit_map(map)
    }

    fn visit_enum<A: EnumAccess<'a>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.inside(access);
        self.inner.visit_enum(access)
    }
}

impl<'a, T: DeserializeSeed<'a>> DeserializeSeed<'a> for Inside<'a, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'a>>(self, inner: D) -> Result<T::Value, D::Error> {
        self.inner.deserialize(Argument { inner, attachments: self.attachments })
    }
}

impl<'a, S: SeqAccess<'a>> SeqAccess<'a> for Inside<'a, S> {
    type Error = S::Error;

    fn next_element_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, S::Error> {
        let seed = self.inside(seed);
        self.inner.next_element_seed(seed)
    }
}

impl<'a, M: MapAccess<'a>> MapAccess<'a> for Inside<'a, M> {
    type Error = M::Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, M::Error> {
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<T::Value, M::Error> {
        let seed = self.inside(seed);
        self.inner.next_value_seed(seed)
    }
}

impl<'a, A: EnumAccess<'a>> EnumAccess<'a> for Inside<'a, A> {
    type Error = A::Error;
    type Variant = Inside<'a, A::Variant>;

    fn variant_seed<T: DeserializeSeed<'a>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), A::Error> {
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, Inside { inner: variant, attachments: self.attachments }))
    }
}

impl<'a, A: VariantAccess<'a>> VariantAccess<'a> for Inside<'a, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, A::Error> {
        let seed = self.inside(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'a>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.inside(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'a>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.inside(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}
