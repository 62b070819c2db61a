//! Attachments that are passed on without a copy.

use std::{cell::Cell, fmt, ops::Deref};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use super::value::with_handed;

/// An attachment that is received and sent without a copy. For large ones, and for many.
///
/// [`Bytes`] alone works as well, everywhere, but serde can only copy it. This type is a [`Bytes`] that shares
/// the memory of the message in which it came ([`Payload::detach`](crate::Payload::detach) tells when that matters),
/// or of the bytes that are emitted. In other formats than that of events, it is what `Bytes` is.
///
/// ```
/// use actix_socketio::{Attachment, Socket};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Photo {
///     name: String,
///     data: Attachment,
/// }
///
/// fn send(socket: &Socket, name: &str, jpeg: Vec<u8>) -> Result<(), actix_socketio::EmitError> {
///     socket.emit("photo", Photo { name: name.to_owned(), data: jpeg.into() })?;
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Attachment(
    /// The data.
    pub Bytes,
);

/// The deserialiser of arguments recognises the type by this name.
pub(super) const ATTACHMENT: &str = "$socketio::Attachment";

thread_local! {
    /// Serde cannot pass on a [`Bytes`] without a copy, so it is passed on here, only during [`hand_over`]
    /// and [`serialize`].
    static HANDED: Cell<Option<Bytes>> = const { Cell::new(None) };
}

/// Gives an attachment that came to the visitor of an [`Attachment`].
pub(super) fn hand_over<'de, V: Visitor<'de>, E: de::Error>(
    data: Bytes,
    visitor: V,
) -> Result<V::Value, E> {
    with_handed(&HANDED, data, || visitor.visit_unit())
}

/// Serialises bytes, which the serialiser of arguments can [take](taken).
pub(super) fn serialize<S: Serializer>(data: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    with_handed(&HANDED, data.clone(), || serializer.serialize_bytes(data))
}

/// The bytes that are being serialised, without a copy if that is possible.
pub(super) fn taken(data: &[u8]) -> Bytes {
    let same = |handed: &Bytes| handed.as_ptr() == data.as_ptr() && handed.len() == data.len();
    HANDED.take().filter(same).unwrap_or_else(|| Bytes::copy_from_slice(data))
}

impl Serialize for Attachment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Attachment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(ATTACHMENT, Whole)
    }
}

/// Takes the attachment that is handed over, or reads one from any format.
struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = Attachment;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attachment")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Attachment, E> {
        let data = HANDED.take().ok_or_else(|| E::invalid_type(de::Unexpected::Unit, &self))?;
        Ok(Attachment(data))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Attachment, D::Error> {
        Bytes::deserialize(inner).map(Attachment)
    }
}

impl Deref for Attachment {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.0
    }
}

impl From<Bytes> for Attachment {
    fn from(data: Bytes) -> Self {
        Self(data)
    }
}

impl From<Vec<u8>> for Attachment {
    fn from(data: Vec<u8>) -> Self {
        Self(data.into())
    }
}

impl From<Attachment> for Bytes {
    fn from(Attachment(data): Attachment) -> Self {
        data
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        Value,
        payload::{Payload, encode_event, encode_reply, event_e},
    };

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Photo {
        name: String,
        data: Attachment,
        more: Option<Box<Self>>,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Shape {
        One(Attachment),
        Two(u8, Attachment),
        Named { data: Attachment },
    }

    fn there_and_back<T>(value: &T, sources: &[&Bytes])
    where
        T: Serialize + de::DeserializeOwned + PartialEq + fmt::Debug,
    {
        let payload = encode_event("e", value).unwrap();
        let places = |list: &[&Bytes]| list.iter().map(|data| data.as_ptr()).collect::<Vec<_>>();
        let sent = payload.attachments();
        assert_eq!(places(&sent.iter().collect::<Vec<_>>()), places(sources), "shared on its way");
        let back: T = payload.decode().unwrap();
        assert_eq!(&back, value);
        // What came is sent again: still the same memory.
        let again = encode_reply(&back).unwrap();
        assert_eq!(places(&again.attachments().iter().collect::<Vec<_>>()), places(sources));
    }

    #[test]
    fn it_is_shared_wherever_it_stands() {
        let [one, two] = [Bytes::from(vec![1; 9]), Bytes::from(vec![2; 9])];
        let [a, b] = [&one, &two].map(|data| Attachment(data.clone()));
        there_and_back(&a, &[&one]);
        there_and_back(&(a.clone(), 7, b.clone(), a.clone()), &[&one, &two, &one]);
        there_and_back(&vec![a.clone(), b.clone()], &[&one, &two]);
        there_and_back(&Some(a.clone()), &[&one]);
        there_and_back(&BTreeMap::from([("k".to_owned(), a.clone())]), &[&one]);
        there_and_back(&Value::Bytes(one.clone()), &[&one]);
        let more = Photo { name: "b".into(), data: b.clone(), more: None };
        let photo = Photo { name: "a".into(), data: a.clone(), more: Some(more.into()) };
        there_and_back(&photo, &[&one, &two]);
        for shape in [Shape::One(a.clone()), Shape::Two(1, a.clone()), Shape::Named { data: a }] {
            there_and_back(&(shape, 1), &[&one]);
        }
    }

    #[test]
    fn beside_bytes_that_are_copied_each_is_itself() {
        let [one, two] = [Bytes::from(vec![1; 9]), Bytes::from(vec![2; 9])];
        let payload = encode_event("e", &(&one, Attachment(two.clone()), &one)).unwrap();
        let sent = payload.attachments();
        assert_eq!(sent, [one.clone(), two.clone(), one.clone()]);
        assert_eq!(sent[1].as_ptr(), two.as_ptr());
        assert_ne!(sent[2].as_ptr(), one.as_ptr());
        let (a, b, c): (Attachment, Bytes, Attachment) = payload.decode().unwrap();
        assert_eq!((a.as_ptr(), b.as_ptr() == sent[1].as_ptr()), (sent[0].as_ptr(), false));
        assert_eq!((&*b, c.as_ptr()), (&two[..], sent[2].as_ptr()));
    }

    #[test]
    fn it_reads_what_bytes_read() {
        let data = || vec![Bytes::from_static(b"x")];
        for json in [
            r#"["e"]"#,
            r#"["e",{"_placeholder":true,"num":0}]"#,
            r#"["e",{"_placeholder":true,"num":1}]"#,
            r#"["e",{"_placeholder":false,"num":0}]"#,
            r#"["e",{"num":0}]"#,
            r#"["e",[1,2,255]]"#,
            r#"["e",[1,256]]"#,
            r#"["e","tex\nt"]"#,
            r#"["e",null]"#,
            r#"["e",7]"#,
            r#"["e",true]"#,
        ] {
            for attachments in [Vec::new(), data()] {
                let payload = event_e(json, attachments);
                let shared = payload.decode::<Attachment>().map(Bytes::from).ok();
                assert_eq!(shared, payload.decode::<Bytes>().ok(), "{json}");
                let shared = payload.decode::<(Option<Attachment>,)>();
                let shared = shared.map(|(data,)| data.map(Bytes::from)).ok();
                let copied = payload.decode::<(Option<Bytes>,)>().map(|(data,)| data).ok();
                assert_eq!(shared, copied, "{json}");
            }
        }
    }

    #[test]
    fn code_of_the_application_that_panics_leaves_none_behind() {
        #[derive(Debug)]
        struct Bomb;

        impl<'de> Deserialize<'de> for Bomb {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_newtype_struct(ATTACHMENT, Self)
            }
        }

        impl Visitor<'_> for Bomb {
            type Value = Self;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("nothing")
            }

            fn visit_unit<E>(self) -> Result<Self, E> {
                panic!("as it must");
            }
        }

        let payload = encode_event("e", &Attachment::from(vec![1])).unwrap();
        let decode = std::panic::AssertUnwindSafe(|| payload.decode::<Bomb>());
        std::panic::catch_unwind(decode).unwrap_err();
        assert!(HANDED.take().is_none());
    }

    #[test]
    fn one_that_is_named_often_is_still_one() {
        let placeholder = r#"{"_placeholder":true,"num":0}"#;
        let json = format!("[[{}]]", [placeholder; 1000].join(","));
        let data = Bytes::from(vec![0; 1 << 20]);
        let payload = Payload::answer(json, vec![data.clone()]);
        payload.decode::<Vec<Bytes>>().unwrap_err();
        let all: Vec<Attachment> = payload.decode().unwrap();
        assert_eq!((all.len(), all[999].as_ptr()), (1000, data.as_ptr()));
    }

    #[test]
    fn in_other_formats_it_is_what_bytes_are() {
        let data = Attachment::from(vec![1, 2]);
        assert_eq!(serde_json::to_string(&data).unwrap(), "[1,2]");
        assert_eq!(serde_json::from_str::<Attachment>("[1,2]").unwrap(), data);
        serde_json::from_str::<Attachment>("null").unwrap_err();
        assert!(HANDED.take().is_none());
    }
}
