//! A browser that tests drive, by Chromium's own protocol.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// How long a browser may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with a profile of its own, which ends with this.
pub(crate) struct Browser {
    process: Child,
    pub(crate) profile: std::path::PathBuf,
}

impl Browser {
    pub(crate) fn open(args: &[&str]) -> Self {
        static OPENED: AtomicU32 = AtomicU32::new(0);
        let n = OPENED.fetch_add(1, Ordering::Relaxed);
        let profile = format!("seawall-browser-{}-{n}", std::process::id());
        let profile = std::env::temp_dir().join(profile);
        let program = std::env::var("SEAWALL_BROWSER").unwrap_or("chromium".into());
        let process = Command::new(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
            ])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a browser is installed");
        Self { process, profile }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

/// One page of a browser of its own. There is one at a time, because each is a load.
pub(crate) struct Page {
    _turn: MutexGuard<'static, ()>,
    _browser: Browser,
    socket: WebSocketStream<TcpStream>,
    session: Option<String>,
    last_id: u64,
}

impl Page {
    /// An empty page.
    pub(crate) async fn open() -> Self {
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        timeout(PATIENCE, Self::connect(turn))
            .await
            .expect("the browser starts")
    }

    async fn connect(turn: MutexGuard<'static, ()>) -> Self {
        let browser = Browser::open(&["--remote-debugging-port=0", "--hide-scrollbars"]);
        let port_file = browser.profile.join("DevToolsActivePort");
        // Written when the port is open: the port, and the path of the browser's socket.
        let text = loop {
            match std::fs::read_to_string(&port_file) {
                Ok(text) if text.lines().count() == 2 => break text,
                _ => sleep(Duration::from_millis(20)).await,
            }
        };
        let (port, path) = text.split_once('\n').unwrap();
        let stream = TcpStream::connect(format!("127.0.0.1:{port}")).await;
        let url = format!("ws://127.0.0.1:{port}{}", path.trim());
        let (socket, _) = client_async(url, stream.unwrap()).await.unwrap();
        let mut page = Self {
            _turn: turn,
            _browser: browser,
            socket,
            session: None,
            last_id: 0,
        };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" }));
        let target = target.await["targetId"].clone();
        let attach = json!({ "targetId": target, "flatten": true });
        let session = page.call("Target.attachToTarget", attach).await;
        page.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        page
    }

    /// Calls a method of the protocol, and returns its result.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut call = json!({ "id": self.last_id, "method": method, "params": params });
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        let sent = self.socket.send(Message::text(call.to_string())).await;
        sent.unwrap();
        let answered = async {
            loop {
                let message = self.socket.next().await.unwrap().unwrap();
                let Message::Text(text) = message else {
                    continue;
                };
                let answer: Value = serde_json::from_str(&text).unwrap();
                if answer["id"] == json!(self.last_id) {
                    break answer;
                }
            }
        };
        let answer = timeout(PATIENCE, answered).await;
        let mut answer = answer.unwrap_or_else(|_| panic!("{method} has no answer"));
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].take()
    }

    pub(crate) async fn visit(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url })).await;
    }

    /// The value of an expression in the page, whose promise is awaited.
    pub(crate) async fn value(&mut self, expression: &str) -> Value {
        let evaluate = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
            "userGesture": true,
        });
        let mut result = self.call("Runtime.evaluate", evaluate).await;
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {result}"
        );
        result["result"]["value"].take()
    }

    /// Returns the value of an expression as soon as it is neither null nor false, and fails after
    /// `within`.
    pub(crate) async fn wait(&mut self, within: Duration, expression: &str) -> Value {
        let waited = async {
            loop {
                match self.value(expression).await {
                    Value::Null | Value::Bool(false) => sleep(Duration::from_millis(20)).await,
                    value => break value,
                }
            }
        };
        if let Ok(value) = timeout(within, waited).await {
            return value;
        }
        let shown = self.value("document.body?.innerText").await;
        panic!("not within {within:?}: {expression}\nthe page shows: {shown}")
    }
}

impl Page {
    /// The width and height of the window, in CSS pixels, and what the system prefers.
    pub(crate) async fn look(&mut self, (width, height): (u32, u32), colours: &str, motion: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1,
            "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let media = json!({ "features": [
            { "name": "prefers-color-scheme", "value": colours },
            { "name": "prefers-reduced-motion", "value": motion },
        ] });
        self.call("Emulation.setEmulatedMedia", media).await;
    }

    /// Presses a key of the keyboard.
    pub(crate) async fn key(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code });
            if key == "Enter" {
                event["text"] = json!("\r");
            }
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// What the window shows, as a PNG file.
    pub(crate) async fn screenshot(&mut self, path: &std::path::Path) {
        let taken = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let taken = taken.await;
        let png = BASE64_STANDARD.decode(taken["data"].as_str().unwrap());
        std::fs::write(path, png.unwrap()).unwrap();
    }
}
