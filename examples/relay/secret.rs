//! Secrets: where they come from, and that they are not shown.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use toml::de::DeValue;

use crate::reading::{Problems, Section};

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Where a secret is.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Variable(String),
    File(PathBuf),
}

impl Source {
    /// Reads `{ env = "NAME" }` or `{ file = "path" }`. A path begins at the folder of the configuration.
    pub(crate) fn read(
        section: &mut Section<'_>,
        problems: &mut Problems<'_>,
        folder: &Path,
    ) -> Option<Self> {
        let is_clear = section.has("env") != section.has("file");
        let variable = section.text(problems, "env");
        let file = section.text(problems, "file");
        if !is_clear {
            section.wrong(problems, None, "env, file", "one of them belongs here");
            return None;
        }
        match (variable, file) {
            (Some(name), _) => Some(Self::Variable(name.value)),
            (_, Some(path)) => Some(Self::File(folder.join(path.value))),
            (None, None) => None,
        }
    }

    /// The secret, without the line feed at its end that editors leave.
    pub(crate) fn secret(&self) -> Result<Secret, String> {
        let text = match self {
            Self::Variable(name) => env::var(name).map_err(|error| match error {
                env::VarError::NotPresent => format!("the variable {name} is not set"),
                env::VarError::NotUnicode(_) => format!("the variable {name} is no UTF-8"),
            }),
            Self::File(path) => fs::read_to_string(path)
                .map_err(|error| format!("{} cannot be read: {error}", path.display())),
        }?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() { Err(format!("{self} is empty")) } else { Ok(Secret::new(text)) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}

/// A secret of the section `key`, read now.
pub(crate) fn secret(
    section: &mut Section<'_>,
    problems: &mut Problems<'_>,
    key: &'static str,
    folder: &Path,
) -> Option<Secret> {
    let mut place = section.section(problems, key)?;
    let source = Source::read(&mut place, problems, folder);
    let secret = source.and_then(|source| match source.secret() {
        Ok(secret) => Some(secret),
        Err(error) => {
            section.wrong(problems, place.span(), key, error);
            None
        }
    });
    place.end(problems);
    secret
}

/// The credentials for a namespace. They are read for each attempt to join, so that a file can be replaced.
#[derive(Debug, Clone)]
pub(crate) struct Auth {
    source: Source,
    /// The secret is the value of this key, and else an object itself.
    key: Option<String>,
}

impl Auth {
    /// Reads `auth`, and tries whether the secret can be used.
    pub(crate) fn read(
        section: &mut Section<'_>,
        problems: &mut Problems<'_>,
        folder: &Path,
    ) -> Option<Self> {
        let mut place = section.section(problems, "auth")?;
        let source = Source::read(&mut place, problems, folder);
        let key = place.text(problems, "key").map(|key| key.value);
        let auth = source.map(|source| Self { source, key });
        if let Some(Err(error)) = auth.as_ref().map(Self::value) {
            section.wrong(problems, place.span(), "auth", error);
        }
        place.end(problems);
        auth
    }

    pub(crate) fn value(&self) -> Result<Value, String> {
        let secret = self.source.secret()?;
        if let Some(key) = &self.key {
            return Ok(Map::from_iter([(key.clone(), Value::from(secret.reveal()))]).into());
        }
        // The text of the error could quote the secret.
        let value = serde_json::from_str(secret.reveal()).ok().filter(Value::is_object);
        value.ok_or_else(|| {
            format!(
                "{} has no JSON object; with key = \"token\", it may have any text",
                self.source
            )
        })
    }
}

/// The headers of the section `headers`: a text, or a secret.
pub(crate) fn headers(
    section: &mut Section<'_>,
    problems: &mut Problems<'_>,
    folder: &Path,
) -> Vec<(String, Secret)> {
    let Some(mut table) = section.section(problems, "headers") else { return Vec::new() };
    let mut headers = Vec::new();
    for (name, entry) in table.all() {
        let value = match entry.value {
            DeValue::String(text) => Ok(Secret::new(text)),
            DeValue::Table(place) => {
                let mut place = Section::new(table.path(&name), Some(entry.span.clone()), place);
                let Some(source) = Source::read(&mut place, problems, folder) else { continue };
                place.end(problems);
                source.secret()
            }
            _ => Err("a text or { env = … } or { file = … } belongs here".to_owned()),
        };
        match value {
            Ok(value) => headers.push((name, value)),
            Err(error) => table.wrong(problems, Some(&entry.span), &name, error),
        }
    }
    headers
}
