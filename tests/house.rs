//! The house: which room of `src/` may know which, and what the pure ones must not know.
//!
//! Data goes down through handles, actors, transport and core, and comes up the same way. So a room
//! imports from the floors below it.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The rooms, from the top.
const FLOORS: [&str; 17] = [
    "error",
    "relay",
    "bridge",
    "client",
    "actor",
    "middleware",
    "transport",
    "message",
    "tap",
    "stats",
    "runtime",
    "proto",
    "payload",
    "backpressure",
    "guard",
    "logs",
    "display",
];

/// Rooms, and parts of rooms, that are tested on virtual time, without IO.
const PURE: [&str; 5] = ["proto", "payload", "guard", "display", "relay/core"];

const IMPURE: [&str; 10] = [
    "actix",
    "awc",
    "tokio",
    "futures",
    "std::net",
    "std::io",
    "std::thread",
    "async ",
    "Instant::now",
    "SystemTime",
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Each file of the library with its room, and its code: without comments and test modules.
fn sources() -> Vec<(String, PathBuf, String)> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&base, &mut paths);
    let is_test = |path: &PathBuf| {
        let name = path.file_name().unwrap();
        name == "tests.rs" || name == "vectors.rs"
    };
    paths.retain(|path| !is_test(path) && !path.starts_with(base.join("fuzz")));
    let read = |path: PathBuf| {
        let place = path.strip_prefix(&base).unwrap();
        let room = place.iter().next().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        (room.trim_end_matches(".rs").to_owned(), place.to_owned(), code(&text))
    };
    paths.into_iter().map(read).collect()
}

/// Without comments, and without the modules that are compiled for tests only, which end at a brace
/// in the first column.
fn code(text: &str) -> String {
    let mut lines = text.lines();
    let mut code = String::new();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            let module = lines.by_ref().find(|line| !line.starts_with("#[")).unwrap_or_default();
            if module.ends_with('{') {
                lines.by_ref().take_while(|line| *line != "}").for_each(drop);
            }
        } else if !line.trim_start().starts_with("//") {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// The rooms that are named behind `crate::`, also in braces.
fn rooms_of(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        let mut names = vec![rest];
        if let Some(list) = rest.strip_prefix('{') {
            names.clear();
            let (mut depth, mut from) = (0, 0);
            for (place, character) in list.char_indices() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => {
                        names.push(&list[from..place]);
                        break;
                    }
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        names.push(&list[from..place]);
                        from = place + 1;
                    }
                    _ => {}
                }
            }
        }
        let is_part = |character: char| character.is_alphanumeric() || character == '_';
        for name in names {
            let name: String = name.trim_start().chars().take_while(|&c| is_part(c)).collect();
            if FLOORS.contains(&&*name) {
                rooms.insert(name);
            }
        }
    }
    rooms
}

#[test]
fn a_room_imports_from_the_floors_below_it() {
    let floor = |room: &str| FLOORS.iter().position(|other| *other == room);
    for (room, path, code) in sources() {
        let Some(from) = floor(&room) else {
            assert!(["lib", "guide"].contains(&&*room), "{} has no floor", path.display());
            continue;
        };
        for other in rooms_of(&code) {
            let is_above = floor(&other).unwrap() < from;
            assert!(!is_above, "{} imports from {other}, which is above it", path.display());
        }
    }
}

#[test]
fn the_core_knows_no_clock_no_io_and_no_runtime() {
    let mut seen = BTreeSet::new();
    for (_, path, code) in sources() {
        let is_in =
            |pure: &&&str| path.starts_with(pure) || path == Path::new(&format!("{pure}.rs"));
        if let Some(pure) = PURE.iter().find(is_in) {
            for word in IMPURE {
                assert!(!code.contains(word), "{} mentions {word:?}", path.display());
            }
            seen.insert(pure);
        }
    }
    assert_eq!(seen.len(), PURE.len(), "a room is missing: {seen:?}");
}

#[test]
fn each_line_of_the_log_is_cut() {
    for (_, path, code) in sources() {
        for level in ["error", "warn", "info", "debug", "trace", "log"] {
            let macro_name = format!("log::{level}!(");
            let is_there = code.replace("::log::", "").contains(&macro_name);
            assert!(!is_there, "{} logs past crate::logs", path.display());
        }
    }
}

#[test]
fn imports_are_found_however_they_are_written() {
    let code = code(
        "use crate::actor::x;\nuse crate::{\n    error::{A, B},\n    stats,\n};\n\
         // crate::bridge\nfn f() { crate::proto::g() }\n\
         #[cfg(test)]\nmod tests {\n    use crate::client;\n}\nfn h() { crate::transport::i() }\n",
    );
    let found: Vec<String> = rooms_of(&code).into_iter().collect();
    assert_eq!(found, ["actor", "error", "proto", "stats", "transport"]);
}
