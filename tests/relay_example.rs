//! The daemon of the example `relay`, run as its users run it.
//!
//! `cargo test` builds it first; with `--test relay_example` it is as `cargo build --examples` has left it.

// Signals.
#![cfg(unix)]
// A test fails by panicking, and waits by the real clock.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicUsize, Ordering},
};

use support::example::program;

/// A folder of its own, deleted when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("relay-example-{}-{number}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A file of this text.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Whether the configuration is right, and the lines about it, without the path.
fn check(path: &Path) -> (bool, Vec<String>) {
    let mut command = Command::new(program("relay"));
    command.arg("--config").arg(path).arg("--check");
    command.env("RELAY_TEST_SET", "a secret of the test").env_remove("RELAY_TEST_UNSET");
    let output = command.env("RELAY_TEST_JSON", r#"{"token":"a secret of the test"}"#).output();
    let output = output.unwrap();
    let (printed, told) = (output.stdout, output.stderr);
    let text = String::from_utf8([printed, told].concat()).unwrap();
    assert!(!text.contains("a secret"), "{text}");
    let prefix = format!("{}:", path.display());
    let lines = text.lines().map(|line| line.strip_prefix(&prefix).unwrap_or(line).to_owned());
    (output.status.success(), lines.collect())
}

#[test]
fn the_configuration_of_the_example_is_right_as_it_is_and_with_all_options() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/relay/relay.toml");
    assert_eq!(check(&path), (true, vec![" nothing is wrong, 2 upstreams".to_owned()]));

    // What is commented out is right, too.
    let mut text = String::new();
    for line in fs::read_to_string(&path).unwrap().lines() {
        let option = line.strip_prefix("# ");
        let is_option = |line: &&str| {
            line.split_once(" = ").is_some_and(|(key, value)| {
                !key.contains(' ') && value.starts_with(['"', '[', '{', '1', '3'])
            })
        };
        match option.filter(is_option) {
            Some(option) if !option.starts_with("token") => text.push_str(option),
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    let text = text.replace(r#"kind = "in-process""#, r#"kind = "nats""#);
    let text = text.replace("PRICES_AUTHORIZATION", "RELAY_TEST_SET");
    let folder = Folder::new();
    fs::create_dir(folder.0.join("secrets")).unwrap();
    for name in ["nats", "prices"] {
        folder.file(&format!("secrets/{name}"), "a secret\n");
    }
    let path = folder.file("all.toml", &text);
    assert_eq!(check(&path), (true, vec![" nothing is wrong, 2 upstreams".to_owned()]), "{text}");
    let options = text.lines().filter(|line| line.contains(" = ") && !line.starts_with('#'));
    assert_eq!(options.count(), 22, "{text}");
}

#[test]
fn all_that_is_wrong_in_a_configuration_is_said_with_its_line() {
    let folder = Folder::new();
    folder.file("empty", "\n");
    let path = folder.file(
        "wrong.toml",
        r#"worker = "one two"
http = "localhost"
hand_over = -1
colour = "red"

[engine]
kind = "nats"
servers = ["nats://user:a secret@host"]
user = "me"
token = { env = "RELAY_TEST_UNSET" }
replicas = 7
lease = 0.5

[[upstream]]
name = "shop"
url = "localhost:3000"

[[upstream]]
name = "shop"
url = 3000
namespace = "orders"

[[upstream]]
url = "http://localhost:3000"
auth = { env = "RELAY_TEST_SET" }
headers = { a = { file = "nowhere" }, b = 7, c = { env = "A", file = "b" } }
transports = ["carrier pigeon"]
route = { name = ["a"], except = "b" }
when_full = "panic"
takeover = "later"

[[upstream]]
name = "empty"
url = "http://localhost:3000"
auth = { file = "empty" }
headers = { "not a header" = "a secret" }
"#,
    );
    let (is_right, lines) = check(&path);
    assert!(!is_right);
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    for line in &lines {
        println!("{line}");
    }
    assert_eq!(lines, [""]);
}

#[test]
fn what_is_no_toml_is_said_with_its_line() {
    let folder = Folder::new();
    let path = folder.file("no.toml", "a = 1\nb = \nc = 'x\n");
    let (is_right, lines) = check(&path);
    assert!(!is_right);
    println!("{lines:#?}");
    assert_eq!(lines, [""; 0]);
    let (is_right, lines) = check(Path::new("nowhere.toml"));
    assert!(!is_right);
    assert_eq!(lines, ["nowhere.toml cannot be read: No such file or directory (os error 2)"]);
}
