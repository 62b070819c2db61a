//! Credentials as the application set them, for a client or for one of its namespaces.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::{
    actor::credentials::AuthProvider,
    display::brief,
    proto::namespace::{self, Credentials},
    runtime::provider::{JoinContext, Provider},
};

#[derive(Clone)]
pub(super) enum Auth {
    None,
    /// The serialised value, or why serialising failed.
    Fixed(Result<Value, String>),
    Provided(AuthProvider),
}

/// Shows nothing of the credentials.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Fixed(_) => "Fixed",
            Self::Provided(_) => "Provided",
        })
    }
}

impl Auth {
    pub(super) fn fixed(auth: impl Serialize) -> Self {
        Self::Fixed(serde_json::to_value(auth).map_err(|error| error.to_string()))
    }

    pub(super) fn provided<P, F, T, E>(provider: P) -> Self
    where
        P: Fn(JoinContext) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, E>> + 'static,
        T: Serialize,
        E: fmt::Display,
    {
        Self::Provided(Provider::new(provider, |auth| {
            let auth = serde_json::to_value(auth).map_err(|error| brief(&error))?;
            object(&auth).map_err(|error| format!("unusable auth: {error}"))
        }))
    }

    /// The credentials for a namespace, or why they cannot be sent.
    pub(super) fn build(self) -> Result<(Credentials, Option<AuthProvider>), String> {
        Ok(match self {
            Self::None => (Credentials::Fixed(None), None),
            Self::Fixed(auth) => (Credentials::Fixed(Some(object(&auth?)?)), None),
            Self::Provided(provider) => (Credentials::Provided, Some(provider)),
        })
    }
}

fn object(auth: &Value) -> Result<namespace::Auth, String> {
    match auth {
        Value::Object(_) => Ok(namespace::Auth(auth.to_string().into())),
        _ => Err("it must be an object, such as {\"token\": …}".to_owned()),
    }
}
