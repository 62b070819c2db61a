//! The machine and the versions behind the figures.

use std::{fs, thread, time::SystemTime};

/// The date, the machine, and the versions of the crates that take part.
pub fn describe() -> String {
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let crates = ["actix-socketio", "actix", "awc", "tokio-tungstenite", "rust_socketio"];
    let versions: Vec<String> =
        crates.iter().map(|name| format!("{name} {}", version(name))).collect();
    format!("{}, {cores} cores of {}; {}", &date[..10], processor(), versions.join(", "))
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim());
    name.unwrap_or("an unknown processor").to_owned()
}

/// The newest locked version: rust_socketio may depend on an older one.
pub fn version(name: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let wanted = format!("name = \"{name}\"");
    let mut found = "?";
    let mut lines = lock.lines();
    while let Some(line) = lines.next() {
        if line == wanted {
            let version = lines.next().and_then(|line| line.strip_prefix("version = "));
            found = version.map_or(found, |version| version.trim_matches('"'));
        }
    }
    found
}
