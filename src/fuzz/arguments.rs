//! Random arguments in types of an application: decoding gives an error, or a value that can be sent.

use std::collections::BTreeMap;

use proptest::{prelude::*, test_runner::TestCaseResult};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::*;
use crate::{
    Args, Payload, Value,
    payload::{encode_event, encode_reply},
    proto::packet::Body,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    #[serde(default)]
    id: u32,
    body: Option<Bytes>,
    #[serde(flatten)]
    more: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Blob(Bytes),
    Line { from: f64, data: Vec<Bytes> },
    Two(i8, String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(f64),
    Text(String),
    List(Vec<Self>),
}

fn there_and_back<T>(payload: &Payload) -> TestCaseResult
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let Ok(value) = payload.decode::<T>() else { return Ok(()) };
    // An object that looks like a placeholder is refused.
    if let Ok(again) = encode_event("e", &value) {
        let again = again.decode::<T>();
        prop_assert_eq!(again.ok(), Some(value), "{}", payload.json());
    }
    Ok(())
}

pub(super) fn check(packet: &Packet) -> TestCaseResult {
    let (Body::Event { payload, .. } | Body::Ack { payload, .. }) = &packet.body else {
        return Ok(());
    };
    drop(payload.decode::<()>());
    drop(payload.decode::<serde_json::Value>());
    drop(payload.decode::<Vec<(u8, Bytes)>>());
    there_and_back::<u8>(payload)?;
    there_and_back::<String>(payload)?;
    there_and_back::<Option<i64>>(payload)?;
    there_and_back::<(f64, Option<String>)>(payload)?;
    there_and_back::<Vec<Bytes>>(payload)?;
    there_and_back::<(Value,)>(payload)?;
    there_and_back::<Args>(payload)?;
    there_and_back::<Order>(payload)?;
    there_and_back::<Shape>(payload)?;
    there_and_back::<Loose>(payload)?;
    // A copy with memory of its own is the same.
    let copy = payload.detach();
    prop_assert_eq!(&copy, payload);
    prop_assert_eq!(copy.name(), payload.name());
    if let Ok(args) = payload.decode::<Args>() {
        prop_assert!(payload.decode::<()>().is_ok());
        let first = payload.decode::<Value>().ok();
        prop_assert_eq!(first.as_ref(), args.0.first());
        if let Ok(reply) = encode_reply(&args) {
            prop_assert_eq!(reply.decode::<Args>().ok(), Some(args));
        }
    }
    Ok(())
}
