//! The clients in other languages: fetched when they are first needed, in pinned versions.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

fn directory(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(language)
}

pub fn js() -> Command {
    let mut command = Command::new("node");
    command.arg(directory("js").join("client.js"));
    command
}

/// The versions of the client and of Node.js.
pub fn prepare_js() -> Result<String, String> {
    let node = output(Command::new("node").arg("--version"))?;
    let installed = directory("js").join("node_modules/socket.io-client/package.json");
    if !installed.exists() {
        output(
            Command::new("npm")
                .args(["ci", "--no-audit", "--no-fund"])
                .current_dir(directory("js")),
        )?;
    }
    let package = fs::read_to_string(&installed).map_err(|error| error.to_string())?;
    let package: serde_json::Value =
        serde_json::from_str(&package).map_err(|error| error.to_string())?;
    Ok(format!("{} on node {node}", package["version"].as_str().unwrap_or("?")))
}

/// A virtual environment beside this program.
fn environment() -> PathBuf {
    env::current_exe().expect("this is a program").with_file_name("bench-python")
}

pub fn python() -> Command {
    let mut command = Command::new(environment().join("bin/python"));
    command.arg(directory("python").join("client.py"));
    command
}

/// The versions of the client and of Python.
pub fn prepare_python() -> Result<String, String> {
    let environment = environment();
    let interpreter = environment.join("bin/python");
    let is_there =
        || output(Command::new(&interpreter).args(["-c", "import socketio, aiohttp"])).is_ok();
    if !is_there() {
        output(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let mut pip = Command::new(&interpreter);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
        output(pip.arg(directory("python").join("requirements.txt")))?;
    }
    let ask = "import importlib.metadata as m, platform as p; \
               print(m.version('python-socketio'), 'on python', p.python_version())";
    output(Command::new(&interpreter).args(["-c", ask]))
}

/// What a program prints, or why it failed.
fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if done.status.success() {
        Ok(text(&done.stdout))
    } else {
        let complaint = text(&done.stderr);
        Err(format!("{name}: {}", complaint.lines().last().unwrap_or("it failed")))
    }
}
