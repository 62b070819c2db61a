//! What is printed: events and answers to standard output, everything else to standard error.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal as _, Write as _},
    process,
};

use actix_socketio::{Args, Event, Value};
use serde_json::json;

#[derive(Clone)]
pub(crate) struct Show {
    json: bool,
    /// Whether names are bold.
    bold: bool,
}

impl Show {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, bold: !json && io::stdout().is_terminal() }
    }

    /// `name argument argument`, or `{"event":"name","args":[…]}`.
    pub(crate) fn event(&self, event: &Event) {
        let Args(arguments) = match event.args() {
            Ok(arguments) => arguments,
            Err(error) => return notice(&format_args!("{}: {error}", event.name())),
        };
        if self.json {
            let arguments: Vec<_> = arguments.iter().map(plain).collect();
            let mut line = json!({ "event": event.name(), "args": arguments });
            if event.wants_ack()
                && let Some(line) = line.as_object_mut()
            {
                line.insert("wants_ack".to_owned(), true.into());
            }
            return print(&line);
        }
        let (begin, end) = if self.bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        let asks = if event.wants_ack() { " (wants an answer)" } else { "" };
        // Texts of a server must not control the terminal.
        let name = event.name().escape_debug();
        print(&format_args!("{begin}{name}{end}{asks}{}", Texts(&arguments)));
    }

    /// Its arguments, or a JSON array of them.
    pub(crate) fn answer(&self, Args(arguments): &Args) {
        if self.json {
            let arguments: Vec<_> = arguments.iter().map(plain).collect();
            return print(&json!(arguments));
        }
        print(&Texts(arguments).to_string().trim_start());
    }
}

/// Prints a notice for people, apart from the output for programs.
pub(crate) fn notice(text: &dyn fmt::Display) {
    eprintln!("* {text}");
}

/// Prints a line. If nobody reads the output any more, there is nothing to do.
fn print(line: &dyn fmt::Display) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        process::exit(0);
    }
}

/// Arguments as JSON with a space before each, and attachments by their size.
struct Texts<'a>(&'a [Value]);

impl fmt::Display for Texts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for argument in self.0 {
            match argument {
                Value::Bytes(data) => write!(f, " <{} bytes>", data.len())?,
                argument => write!(f, " {}", Escaped(&plain(argument)))?,
            }
        }
        Ok(())
    }
}

/// JSON whose control characters beyond ASCII are escaped, too; JSON itself escapes the others.
struct Escaped<'a>(&'a serde_json::Value);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.to_string().chars() {
            if char.is_control() {
                write!(f, "{}", char.escape_unicode())?;
            } else {
                write!(f, "{char}")?;
            }
        }
        Ok(())
    }
}

/// As JSON, with an attachment as an object that has its bytes in hexadecimal digits.
fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(is) => (*is).into(),
        Value::Number(number) => number.clone().into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Object(values) => {
            values.iter().map(|(key, value)| (key.clone(), plain(value))).collect()
        }
        Value::Bytes(data) => {
            let mut hex = String::new();
            for byte in data {
                // Writing to a string cannot fail.
                write!(hex, "{byte:02x}").ok();
            }
            json!({ "hex": hex })
        }
    }
}
