//! Reads TOML and goes on behind each error, so that all that is wrong is said at once, with its line.

use std::{collections::BTreeMap, fmt, ops::Range, time::Duration};

use toml::de::{DeTable, DeValue};

/// Something wrong in the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Counted from 1; none if something is missing altogether.
    line: Option<usize>,
    text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "{line}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// What is wrong in a file, in the order of its lines.
pub(crate) struct Problems<'a> {
    text: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    pub(crate) fn add(&mut self, at: Option<&Range<usize>>, text: impl fmt::Display) {
        let line = at.map(|span| {
            let before = self.text.get(..span.start).unwrap_or_default();
            before.matches('\n').count().saturating_add(1)
        });
        self.found.push(Problem { line, text: text.to_string() });
    }

    pub(crate) fn into_sorted(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| problem.line);
        self.found
    }
}

/// A value with its place.
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// A table whose entries are taken one by one. What is left in the end is unknown.
pub(crate) struct Section<'a> {
    /// As errors call it; empty for the file itself.
    name: String,
    span: Option<Range<usize>>,
    entries: BTreeMap<String, Placed<DeValue<'a>>>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The whole file; none if it is no TOML.
    pub(crate) fn file(text: &'a str, problems: &mut Problems<'_>) -> Option<Self> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            problems.add(error.span().as_ref(), format_args!("no TOML: {}", error.message()));
        }
        errors.is_empty().then(|| Self::new(String::new(), None, table.into_inner()))
    }

    pub(crate) fn new(name: String, span: Option<Range<usize>>, table: DeTable<'a>) -> Self {
        let entries = table.into_iter().map(|(key, value)| {
            let span = value.span();
            (key.into_inner().into_owned(), Placed { value: value.into_inner(), span })
        });
        Self { name, span, entries: entries.collect(), known: Vec::new() }
    }

    /// Where it begins; none for the file.
    pub(crate) fn span(&self) -> Option<&Range<usize>> {
        self.span.as_ref()
    }

    /// Errors speak of it by this name from now on.
    pub(crate) fn rename(&mut self, name: String) {
        self.name = name;
    }

    pub(crate) fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}: {key}", self.name) }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    fn take(&mut self, key: &'static str) -> Option<Placed<DeValue<'a>>> {
        self.known.push(key);
        self.entries.remove(key)
    }

    /// A problem with the value of a key, or with its absence.
    pub(crate) fn wrong(
        &self,
        problems: &mut Problems<'_>,
        at: Option<&Range<usize>>,
        key: &str,
        text: impl fmt::Display,
    ) {
        problems.add(at.or(self.span.as_ref()), format_args!("{}: {text}", self.path(key)));
    }

    /// The value of a key as `convert` reads it, which otherwise says what it expects.
    pub(crate) fn value<T>(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
        convert: impl FnOnce(DeValue<'a>) -> Result<T, String>,
    ) -> Option<Placed<T>> {
        let Placed { value, span } = self.take(key)?;
        match convert(value) {
            Ok(value) => Some(Placed { value, span }),
            Err(expected) => {
                self.wrong(problems, Some(&span), key, expected);
                None
            }
        }
    }

    pub(crate) fn text(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
    ) -> Option<Placed<String>> {
        self.value(problems, key, text)
    }

    /// A text that must be there.
    pub(crate) fn needed(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
    ) -> Option<Placed<String>> {
        if !self.has(key) {
            self.wrong(problems, None, key, "is missing");
        }
        self.text(problems, key)
    }

    pub(crate) fn texts(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
    ) -> Option<Placed<Vec<String>>> {
        self.value(problems, key, |value| {
            let DeValue::Array(values) = value else {
                return Err("a list of texts belongs here".to_owned());
            };
            values.into_iter().map(|value| text(value.into_inner())).collect()
        })
    }

    /// One of these words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let word = self.value(problems, key, |value| one_of(&text(value)?, words))?;
        Some(word.value)
    }

    /// A whole number in this range.
    pub(crate) fn number(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
        range: std::ops::RangeInclusive<usize>,
    ) -> Option<usize> {
        let expected = format!("a number from {} to {} belongs here", range.start(), range.end());
        let number = self.value(problems, key, |value| {
            let number = value
                .as_integer()
                .and_then(|number| usize::from_str_radix(number.as_str(), number.radix()).ok());
            number.filter(|number| range.contains(number)).ok_or(expected)
        })?;
        Some(number.value)
    }

    /// A time in seconds, in this range.
    pub(crate) fn seconds(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
        range: std::ops::RangeInclusive<f64>,
    ) -> Option<Duration> {
        let expected = format!("seconds, from {} to {}, belong here", range.start(), range.end());
        let time = self.value(problems, key, |value| {
            let seconds: Option<f64> = match &value {
                DeValue::Integer(number) => number.as_str().parse().ok(),
                DeValue::Float(number) => number.as_str().parse().ok(),
                _ => None,
            };
            let seconds = seconds.filter(|seconds| range.contains(seconds));
            seconds.and_then(|time| Duration::try_from_secs_f64(time).ok()).ok_or(expected)
        })?;
        Some(time.value)
    }

    /// The table of a key.
    pub(crate) fn section(
        &mut self,
        problems: &mut Problems<'_>,
        key: &'static str,
    ) -> Option<Self> {
        let table = self.value(problems, key, |value| match value {
            DeValue::Table(table) => Ok(table),
            _ => Err(format!("a table belongs here: [{key}]")),
        })?;
        Some(Self::new(self.path(key), Some(table.span), table.value))
    }

    /// The tables of a key.
    pub(crate) fn sections(&mut self, problems: &mut Problems<'_>, key: &'static str) -> Vec<Self> {
        let name = self.path(key);
        let tables = self.value(problems, key, |value| {
            let expected = || format!("tables belong here: [[{key}]]");
            let DeValue::Array(values) = value else { return Err(expected()) };
            let tables = values.into_iter().map(|value| {
                let span = value.span();
                match value.into_inner() {
                    DeValue::Table(table) => Ok(Self::new(name.clone(), Some(span), table)),
                    _ => Err(expected()),
                }
            });
            tables.collect::<Result<Vec<_>, _>>()
        });
        tables.map(|tables| tables.value).unwrap_or_default()
    }

    /// All entries, whose keys are free.
    pub(crate) fn all(&mut self) -> BTreeMap<String, Placed<DeValue<'a>>> {
        std::mem::take(&mut self.entries)
    }

    /// Says which keys nobody has asked for.
    pub(crate) fn end(mut self, problems: &mut Problems<'_>) {
        for (key, Placed { span, .. }) in std::mem::take(&mut self.entries) {
            let known = self.known.join(", ");
            self.wrong(problems, Some(&span), &key, format_args!("is no option here: {known}"));
        }
    }
}

pub(crate) fn text(value: DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.into_owned()),
        other => Err(format!("a text in quotes belongs here, not {}", kind(&other))),
    }
}

/// The meaning of a word.
pub(crate) fn one_of<T: Copy>(word: &str, words: &[(&str, T)]) -> Result<T, String> {
    let meaning = words.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning);
    meaning.ok_or_else(|| {
        let known: Vec<String> = words.iter().map(|(known, _)| format!("{known:?}")).collect();
        format!("one of these belongs here: {}", known.join(", "))
    })
}

/// What a value is. The value may be a secret.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
