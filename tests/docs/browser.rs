//! A headless Chromium, asked through its debugging pipe: no port, no driver. Says what its console says.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// For how long an answer is waited for, on a machine that may be crowded.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page.
pub struct Browser {
    child: Child,
    to: File,
    answers: Receiver<Value>,
    waiting: VecDeque<Value>,
    asked: u64,
    session: Option<String>,
    /// Errors of scripts, refusals of the policy, whatever the console was told.
    pub problems: Vec<String>,
    /// Addresses that were asked for.
    pub requests: Vec<String>,
    _folder: TempDir,
}

/// The program, where there is one. Absent, the test says so and passes by, unless it is required.
pub fn chromium() -> Option<PathBuf> {
    let asked = std::env::var("MEDALLION_CHROMIUM").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = match asked.as_str() {
        "" | "required" => std::env::split_paths(&path)
            .flat_map(|folder| names.map(|name| folder.join(name)))
            .find(|program| program.is_file()),
        program => Some(PathBuf::from(program)),
    };
    if found.is_none() {
        assert_ne!(asked, "required", "Chromium is required, and is not in PATH");
        eprintln!("PASSED BY: there is no Chromium to open the page in");
    }
    found
}

impl Browser {
    pub fn start(program: &Path, width: u32, height: u32, dark: bool) -> Self {
        let folder = TempDir::new().unwrap();
        let [to, from] = ["to", "from"].map(|name| folder.path().join(name));
        assert!(Command::new("mkfifo").args([&to, &from]).status().unwrap().success());
        let mut command = Command::new("sh");
        command.arg("-c").arg(r#"to=$1 from=$2; shift 2; exec "$@" 3<"$to" 4>"$from""#).arg("sh");
        command.args([&to, &from]).arg(program);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--remote-debugging-pipe",
        ]);
        if dark {
            command.arg("--blink-settings=preferredColorScheme=0");
        }
        command.arg(format!("--window-size={width},{height}"));
        command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
        command.arg("about:blank");
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Both ends are there when the shell has opened them, in this order.
        let to = OpenOptions::new().write(true).open(&to).unwrap();
        let from = File::open(&from).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "Chromium does not start");
        let (tell, answers) = mpsc::channel();
        std::thread::spawn(move || {
            for message in BufReader::new(from).split(0) {
                let Ok(message) = message else { break };
                let Ok(message) = serde_json::from_slice(&message) else { break };
                if tell.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            to,
            answers,
            waiting: VecDeque::new(),
            asked: 0,
            session: None,
            problems: Vec::new(),
            requests: Vec::new(),
            _folder: folder,
        };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", target);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        browser.ask("Emulation.setDeviceMetricsOverride", metrics);
        browser
    }

    /// Opens a file, and returns how long it took until all of it had loaded.
    pub fn open(&mut self, page: &Path) -> Duration {
        let begun = Instant::now();
        self.ask("Page.navigate", json!({ "url": format!("file://{}", page.display()) }));
        let deadline = Instant::now() + PATIENCE;
        while self.evaluate("document.readyState + location.protocol") != "completefile:" {
            assert!(Instant::now() < deadline, "the page does not load");
        }
        begun.elapsed()
    }

    /// The value of a script.
    pub fn evaluate(&mut self, script: &str) -> Value {
        let answer = self.ask(
            "Runtime.evaluate",
            json!({ "expression": script, "returnByValue": true, "awaitPromise": true }),
        );
        assert!(answer["exceptionDetails"].is_null(), "{script}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until a script says `true`.
    pub fn wait_for(&mut self, script: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.evaluate(script) != true {
            assert!(Instant::now() < deadline, "never so: {script}");
        }
    }

    /// Clicks with the mouse into the middle of what a script finds.
    pub fn click(&mut self, element: &str) {
        let script = format!(
            "(() => {{ const one = {element}; one.scrollIntoView({{ block: 'center', inline: 'center' }}); \
             const at = one.getBoundingClientRect(); \
             return [at.x + at.width / 2, at.y + at.height / 2]; }})()"
        );
        let at = self.evaluate(&script);
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1 });
            self.ask("Input.dispatchMouseEvent", event);
        }
    }

    /// Types a text where the cursor is.
    pub fn write(&mut self, text: &str) {
        self.ask("Input.insertText", json!({ "text": text }));
    }

    /// Presses a key.
    pub fn press(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let text = if key == "Enter" && kind == "keyDown" { "\r" } else { "" };
            let event = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code, "text": text });
            self.ask("Input.dispatchKeyEvent", event);
        }
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(message.to_string().as_bytes()).unwrap();
        self.to.write_all(&[0]).unwrap();
        self.to.flush().unwrap();
        loop {
            let answer = match self.waiting.pop_front() {
                Some(answer) => answer,
                None => self.answers.recv_timeout(PATIENCE).expect("Chromium answers"),
            };
            if answer["id"] == self.asked {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.hear(&answer);
        }
    }

    fn hear(&mut self, event: &Value) {
        let parameters = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => self.problems.push(parameters["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" => self.problems.push(parameters["args"].to_string()),
            "Log.entryAdded" => self.problems.push(parameters["entry"]["text"].to_string()),
            "Network.requestWillBeSent" => {
                let url = parameters["request"]["url"].as_str().unwrap_or_default();
                self.requests.push(url.to_owned());
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its parts end with it; then its folder can go.
        let _ = writeln!(self.to, "{{\"id\":0,\"method\":\"Browser.close\"}}\0");
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.answers.recv_timeout(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
