//! Headless Chromium, which shows pages to a test, and ends with the test process.

use super::PATIENCE;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, process, thread};

const MISSING: &str = "this test shows a page in Chromium: install it (on Debian: \
    apt-get install chromium), or set CHROMIUM to its path, and run again";
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// How many browsers this process has started.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// One browser. It speaks the Chrome `DevTools` protocol on its pipes, each message with a zero after
/// it, and runs as long as they are open, so that it never outlives the test process, however that dies.
pub struct Browser {
    child: Child,
    commands: Option<ChildStdin>,
    messages: mpsc::Receiver<Value>,
    /// Messages that came while another one was awaited.
    unread: Vec<Value>,
    /// The id of the last command.
    last: u64,
    directory: PathBuf,
}

/// A page of the browser: its session in the protocol.
pub struct Page(String);

impl Browser {
    /// Prints a message and returns `None` if there is no Chromium; fails if `REQUIRE_CHROMIUM` is set.
    pub fn start() -> Option<Self> {
        let Some(program) = find() else {
            let required = env::var_os("REQUIRE_CHROMIUM").is_some_and(|value| !value.is_empty());
            assert!(!required, "{MISSING}");
            // Not by a macro: what those print is shown only if the test fails.
            writeln!(io::stderr(), "skipped: {MISSING}").ok();
            return None;
        };
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("chromium-{}-{number}", process::id()));
        // An earlier process with the same id may have left one.
        fs::remove_dir_all(&directory).ok();
        fs::create_dir_all(&directory).expect("the directory for temporary files can be made");
        let log = File::create(log_in(&directory)).expect("a log file");
        // Chromium reads commands from file descriptor 3 and answers on 4.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#])
            .arg(program)
            .args([
                "--headless",
                "--remote-debugging-pipe",
                // There is no sandbox for root and in many containers, and the pages are our own.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
            ])
            .arg(format!("--user-data-dir={}", directory.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("a shell");
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            for message in answers.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("messages are in JSON");
                // The test may have ended.
                sender.send(message).ok();
            }
        });
        Some(Self { child, commands, messages, unread: Vec::new(), last: 0, directory })
    }

    /// Opens this address in a new page.
    pub fn open(&mut self, url: &str) -> Page {
        let target = self.call(None, "Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call(None, "Target.attachToTarget", &attach);
        let page = Page(attached["sessionId"].as_str().expect("a session").to_owned());
        self.call(Some(&page), "Page.enable", &json!({}));
        let navigated = self.call(Some(&page), "Page.navigate", &json!({ "url": url }));
        assert_eq!(navigated["errorText"], Value::Null, "{url}");
        self.take("the page to be loaded", |message| {
            message["method"] == "Page.loadEventFired" && message["sessionId"] == page.0.as_str()
        });
        page
    }

    /// The value of a JavaScript expression in the page; or what it resolves to, if it is a
    /// promise.
    pub fn evaluate(&mut self, page: &Page, expression: &str) -> Value {
        let evaluate =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut evaluated = self.call(Some(page), "Runtime.evaluate", &evaluate);
        assert_eq!(evaluated["exceptionDetails"], Value::Null, "{expression}");
        evaluated["result"]["value"].take()
    }

    /// Waits until a condition holds in the page, after the statements in `given`. If it does not, the
    /// failure shows the value of the expression `shown`.
    #[track_caller]
    pub fn until(&mut self, page: &Page, given: &str, condition: &str, shown: &str) {
        let patience = PATIENCE.as_millis();
        let outcome = self.evaluate(
            page,
            &format!(
                r"new Promise((resolve) => {{
                  const check = (last) => {{
                    {given}
                    const holds = Boolean({condition});
                    if (holds || last) resolve({{ holds, shown: {shown} }});
                  }};
                  new MutationObserver(() => check(false)).observe(document, {{
                    subtree: true, childList: true, characterData: true, attributes: true,
                  }});
                  setTimeout(check, {patience}, true);
                  check(false);
                }})"
            ),
        );
        assert_eq!(outcome["holds"], true, "{condition}: not so after {PATIENCE:?}: {outcome:#}");
    }

    /// Sets the size of the page's window, and whether the system is in dark mode.
    pub fn dress(&mut self, page: &Page, (width, height): (u32, u32), is_dark: bool) {
        let window =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call(Some(page), "Emulation.setDeviceMetricsOverride", &window);
        let scheme = if is_dark { "dark" } else { "light" };
        let scheme = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call(Some(page), "Emulation.setEmulatedMedia", &json!({ "features": [scheme] }));
    }

    /// A picture of the page, as PNG.
    pub fn picture(&mut self, page: &Page) -> Vec<u8> {
        let taken = self.call(Some(page), "Page.captureScreenshot", &json!({ "format": "png" }));
        STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64")
    }

    fn call(&mut self, page: Option<&Page>, method: &str, params: &Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(Page(session)) = page {
            command["sessionId"] = session.as_str().into();
        }
        let mut commands = self.commands.as_ref().expect("open until it is dropped");
        let written = commands.write_all(format!("{command}\0").as_bytes());
        assert!(written.is_ok(), "{method}: {written:?}; Chromium said:\n{}", self.log());
        let mut answer = self.take(method, |message| message["id"] == id);
        assert_eq!(answer["error"], Value::Null, "{command}");
        answer["result"].take()
    }

    /// The first message that is wanted; the others are kept.
    fn take(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        // An expression may wait as well, and should fail first.
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            if let Some(at) = self.unread.iter().position(&wanted) {
                return self.unread.remove(at);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left) {
                Ok(message) => self.unread.push(message),
                Err(error) => panic!("{what}: {error}; Chromium said:\n{}", self.log()),
            }
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(log_in(&self.directory)).unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.commands.take());
        let deadline = Instant::now() + STOP_DEADLINE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                self.child.kill().ok();
                self.child.wait().ok();
            }
            thread::sleep(Duration::from_millis(5));
        }
        // Its child processes may end a moment later, and still write to the directory.
        while fs::remove_dir_all(&self.directory).is_err() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn log_in(directory: &Path) -> PathBuf {
    directory.join("stderr.log")
}

/// The program of a Chromium that works.
fn find() -> Option<String> {
    let chosen = env::var("CHROMIUM").ok().filter(|program| !program.is_empty());
    let names = ["chromium", "chromium-browser", "google-chrome"].map(str::to_owned);
    let candidates = chosen.map_or_else(|| names.to_vec(), |program| vec![program]);
    candidates.into_iter().find(|program| {
        let shown = Command::new(program).arg("--version").stdin(Stdio::null()).output();
        shown.is_ok_and(|output| output.status.success())
    })
}
