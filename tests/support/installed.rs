//! Proxies and balancers from packages of the system.

use super::eventually;
use super::reserved::Port;
use std::env;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running program; it is killed when dropped.
pub struct Installed {
    child: Child,
    port: Port,
    directory: PathBuf,
}

impl Installed {
    /// Starts it. Prints a message and returns `None` if it is not installed; fails if this variable is set.
    /// `arguments` gets a free port to listen on, and a directory for the program.
    pub async fn start(
        program: &str,
        required_by: &str,
        arguments: impl Fn(u16, &Path) -> Vec<String>,
    ) -> Option<Self> {
        let places = [Path::new("/usr/bin"), Path::new("/usr/sbin"), Path::new("/usr/local/bin")];
        let Some(path) = places.map(|place| place.join(program)).into_iter().find(|p| p.is_file())
        else {
            assert!(env::var_os(required_by).is_none(), "{program} is not installed");
            eprintln!("{program} is not installed: skipped");
            return None;
        };
        let reserved = Port::reserve();
        let port = reserved.number();
        // Another user must be able to read the directory: squid changes its user if root starts it.
        let directory = env::temp_dir().join(format!("actix-socketio-{program}-{port}"));
        fs::create_dir_all(&directory).unwrap();
        let child = Command::new(path)
            .args(arguments(port, &directory))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut installed = Self { child, port: reserved, directory };
        let is_up = || {
            let ended = installed.child.try_wait().unwrap();
            assert!(ended.is_none(), "{program} does not run: {ended:?}");
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        };
        eventually(program, is_up).await;
        Some(installed)
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub fn url(&self, scheme: &str, login: &str) -> String {
        format!("{scheme}://{login}127.0.0.1:{}", self.port())
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        fs::remove_dir_all(&self.directory).ok();
    }
}
