//! A page that stays open in a real browser, and is looked at and used over the browser's debugging protocol: one message
//! of JSON after the other, each ended by a zero byte, over two pipes.

use crate::process::{DEADLINE, wait_for};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jobmanager_tests::browser::{Browser, QUIET};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use tempfile::TempDir;

/// Gives the browser its pipes where it expects them, and keeps its words to itself.
const LAUNCH: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;

/// An open page. Dropping it ends its browser.
pub(crate) struct Page {
    browser: Child,
    orders: ChildStdin,
    messages: Receiver<Value>,
    session: String,
    next: u64,
    complaints: Vec<String>,
    /// The profile of the browser, which goes with it.
    _folder: TempDir,
}

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) dark: bool,
}

impl Page {
    /// Opens a browser with an empty page. Nothing, if there is no browser.
    pub(crate) fn open() -> Option<Page> {
        let name = Browser::find()?.name();
        let folder = tempfile::tempdir().unwrap();
        let mut browser = Command::new("sh")
            .args(["-c", LAUNCH, name])
            .args(QUIET)
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let orders = browser.stdin.take().unwrap();
        let messages = read(browser.stdout.take().unwrap());
        let mut page = Page {
            browser,
            orders,
            messages,
            session: String::new(),
            next: 0,
            complaints: Vec::new(),
            _folder: folder,
        };
        page.attach();
        Some(page)
    }

    fn attach(&mut self) {
        let targets = self.call("Target.getTargets", json!({}));
        let targets = targets["targetInfos"].as_array().unwrap().clone();
        let page = targets.iter().find(|target| target["type"] == "page");
        let target = &page.unwrap()["targetId"];
        let how = json!({ "targetId": target, "flatten": true });
        let attached = self.call("Target.attachToTarget", how);
        self.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            self.call(domain, json!({}));
        }
    }

    /// Orders something of the browser, and waits until it has been done.
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut order = json!({ "id": self.next, "method": method, "params": parameters });
        if !self.session.is_empty() {
            order["sessionId"] = self.session.as_str().into();
        }
        let mut bytes = order.to_string().into_bytes();
        bytes.push(0);
        self.orders.write_all(&bytes).unwrap();
        loop {
            let message = self.messages.recv_timeout(DEADLINE);
            let message = message.unwrap_or_else(|_| panic!("the browser does not do {method}"));
            if message["id"] == self.next {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.hear(&message);
        }
    }

    /// Notes what a page writes to the console, and what the browser writes there about it.
    fn hear(&mut self, message: &Value) {
        let method = message["method"].as_str().unwrap_or_default();
        if [
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
            "Log.entryAdded",
        ]
        .contains(&method)
        {
            self.complaints.push(message["params"].to_string());
        }
    }

    /// Everything that stood in the console since the last time.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // What was said before this is answered has been heard then.
        self.evaluate("0");
        std::mem::take(&mut self.complaints)
    }

    /// The same, apart from what the browser says by itself when nobody, or nobody who leads, answers a page.
    pub(crate) fn complaints_while_nobody_leads(&mut self) -> Vec<String> {
        let mut complaints = self.complaints();
        complaints.retain(|complaint| {
            let is_of_network = complaint.contains(r#""source":"network""#);
            let nobody = ["net::ERR_", "status of 503"];
            !is_of_network || !nobody.iter().any(|words| complaint.contains(words))
        });
        complaints
    }

    pub(crate) fn go(&mut self, address: &str) {
        self.call("Page.navigate", json!({ "url": address }));
    }

    pub(crate) fn resize(&mut self, window: Window) {
        let Window {
            width,
            height,
            dark,
        } = window;
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = if dark { "dark" } else { "light" };
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        let media = json!({ "features": [feature] });
        self.call("Emulation.setEmulatedMedia", media);
    }

    /// The value of an expression; null while the page is being left for another one.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let how = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let done = self.call("Runtime.evaluate", how);
        let thrown = &done["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        done["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) fn wait_for(&mut self, expression: &str) {
        wait_for(expression, || {
            (self.evaluate(expression) == true).then_some(())
        });
    }

    /// Waits until the page has this text.
    pub(crate) fn wait_for_text(&mut self, text: &str) {
        let text = Value::from(text);
        self.wait_for(&format!(
            "document.body !== null && document.body.innerText.includes({text})"
        ));
    }

    /// Presses the button, or follows the link, that says this, once there is one: in the open dialog, if there is one.
    pub(crate) fn press(&mut self, text: &str) {
        let text = Value::from(text);
        self.wait_for(&format!(
            "(() => {{
                const within = document.querySelector('dialog[open]') ?? document;
                const all = [...within.querySelectorAll('button, a')];
                const found = all.find((one) => !one.disabled && one.textContent.trim() === {text});
                found?.click();
                return found !== undefined;
            }})()"
        ));
    }

    /// Writes into the field that is called so, once there is one.
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        let (selector, text) = (Value::from(selector), Value::from(text));
        self.wait_for(&format!(
            "(() => {{
                const field = document.querySelector({selector});
                if (field === null) return false;
                field.focus();
                field.value = {text};
                field.dispatchEvent(new InputEvent('input', {{ bubbles: true }}));
                return true;
            }})()"
        ));
    }

    /// Presses a key on the keyboard.
    pub(crate) fn key(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            let code = i64::from(u32::from(match key {
                "Escape" => '\u{1b}',
                "Tab" => '\t',
                key => key.chars().next().unwrap(),
            }));
            let mut event = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code });
            if key.len() == 1 && kind == "keyDown" {
                event["text"] = key.into();
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// A picture of what is in sight.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let text = picture["data"].as_str().unwrap();
        BASE64_STANDARD.decode(text).unwrap()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // The other processes of a browser end when the first one does.
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

fn read(answers: ChildStdout) -> Receiver<Value> {
    let (sender, messages) = channel();
    thread::spawn(move || {
        for message in BufReader::new(answers).split(0) {
            let Ok(bytes) = message else {
                return;
            };
            let message: Value = serde_json::from_slice(&bytes).unwrap();
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    messages
}
