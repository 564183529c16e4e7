//! A headless Chromium, driven over a pipe by its own protocol (CDP, that of its developer tools):
//! no port, no driver program and no client library that could differ in version from the browser.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Killed;

/// For any one answer, on the slowest machine.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);
/// As Debian, and as others name it.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// Nothing that the browser does by itself shall be taken for what the page does.
const FLAGS: &str = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync \
    --disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe";

pub(crate) struct Chromium {
    requests: ChildStdin,
    answers: Receiver<Value>,
    /// What came unasked.
    pub(crate) events: Vec<Value>,
    last_id: u64,
    session: Option<String>,
    process: Killed,
    /// Lives as long as the browser.
    _profile: TempDir,
}

impl Chromium {
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        // It reads requests from descriptor 3 and writes answers to 4: ours are 0 and 1.
        let script = format!(
            "exec \"$0\" {FLAGS} \"--user-data-dir=$1\" about:blank 3<&0 4>&1 0</dev/null 1>&2"
        );
        let mut process = Command::new("sh")
            .args(["-c", &script])
            .arg(installed())
            .arg(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map(Killed)
            .unwrap();
        let requests = process.0.stdin.take().unwrap();
        let mut pipe = BufReader::new(process.0.stdout.take().unwrap());
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while pipe.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop(); // the NUL that ends it
                let Ok(json) = serde_json::from_slice(&message) else { break };
                if sender.send(json).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let (events, session) = (Vec::new(), None);
        Self { requests, answers, events, last_id: 0, session, process, _profile: profile }
    }

    /// A page of its own, at that width and in that theme, with nothing noted yet.
    pub(crate) fn open(&mut self, file: &Path, width: u32, theme: &str) {
        self.session = None;
        let target = self.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call("Target.attachToTarget", &attach);
        self.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Network", "Log"] {
            self.call(&format!("{domain}.enable"), &json!({}));
        }
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let theme = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        self.call("Emulation.setEmulatedMedia", &theme);
        self.events.clear();
        let url = format!("file://{}", file.display());
        let navigated = self.call("Page.navigate", &json!({ "url": url }));
        assert!(navigated.get("errorText").is_none(), "{navigated}");
        self.event("Page.loadEventFired");
    }

    /// Asks, and waits for the answer.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last_id += 1;
        let mut request = json!({ "id": self.last_id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.requests.write_all(format!("{request}\0").as_bytes()).unwrap();
        self.requests.flush().unwrap();
        loop {
            let message = self.next(method);
            if message["id"] != self.last_id {
                self.events.push(message);
                continue;
            }
            assert!(message.get("error").is_none(), "{method}: {}", message["error"]);
            return message["result"].clone();
        }
    }

    /// Waits for an event, also one that has come already.
    #[track_caller]
    fn event(&mut self, method: &str) {
        while !self.events.iter().any(|event| event["method"] == method) {
            let message = self.next(method);
            self.events.push(message);
        }
    }

    #[track_caller]
    fn next(&mut self, awaited: &str) -> Value {
        self.answers
            .recv_timeout(ANSWER_TIMEOUT)
            .unwrap_or_else(|error| panic!("Chromium did not answer to {awaited}: {error}"))
    }

    /// The value of an expression in the page; of a promise, what it comes to.
    #[track_caller]
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let ask = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", &ask);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression in the page holds.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, expression: &str) {
        let limit_ms = ANSWER_TIMEOUT.as_millis() / 2;
        let holds = self.value(&format!(
            "new Promise((done) => {{ const began = Date.now(); const look = () => \
             ({expression}) ? done(true) : Date.now() - began > {limit_ms} ? done(false) \
             : setTimeout(look, 20); look(); }})"
        ));
        assert_eq!(holds, true, "it never came to be: {expression}");
    }

    /// Moves the pointer there, in pixels of the window; or presses and lets go.
    pub(crate) fn pointer(&mut self, kind: &str, x: f64, y: f64) {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let event = json!({ "type": kind, "x": x, "y": y, "button": button, "clickCount": 1 });
        self.call("Input.dispatchMouseEvent", &event);
    }

    /// The whole page as a picture, or what is in the window.
    pub(crate) fn screenshot(&mut self, file: &Path, whole: bool) {
        let shot = self.call("Page.captureScreenshot", &json!({ "captureBeyondViewport": whole }));
        let picture = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(file, picture).unwrap();
    }

    /// What the page asked for, from anywhere.
    pub(crate) fn requested(&self) -> Vec<String> {
        let asked = self.events.iter().filter(|e| e["method"] == "Network.requestWillBeSent");
        asked.map(|e| e["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// Errors and warnings: of the page's scripts, and of the browser about the page.
    pub(crate) fn complaints(&self) -> Vec<&Value> {
        let bad = |level: &Value| ["error", "warning", "assert"].iter().any(|bad| level == bad);
        self.events
            .iter()
            .filter(|event| match event["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Runtime.consoleAPICalled") => bad(&event["params"]["type"]),
                Some("Log.entryAdded") => bad(&event["params"]["entry"]["level"]),
                _ => false,
            })
            .collect()
    }
}

impl Drop for Chromium {
    /// The launcher's children end with the browser that is asked to close.
    fn drop(&mut self) {
        let _ = self.requests.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.process.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            if Instant::now() > deadline {
                return; // it is killed then
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The first browser on the path.
fn installed() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let files = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    files.into_iter().find(|file| file.is_file()).unwrap_or_else(|| {
        panic!("this test needs Chromium on the PATH (Debian, Ubuntu: apt install chromium)")
    })
}
