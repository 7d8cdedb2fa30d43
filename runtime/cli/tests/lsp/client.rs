//! A small client of the Language Server Protocol, as an editor is one: it starts the built program,
//! frames messages, numbers requests and keeps what the server sends of its own accord.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long an answer may take before a test fails; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server with a workspace of its own.
pub(crate) struct Client {
    server: Child,
    stdin: Option<ChildStdin>,
    messages: Receiver<Value>,
    /// What the server sent and nobody has asked for yet.
    waiting: Vec<Value>,
    next_id: i64,
    folder: tempfile::TempDir,
    /// The answer to `initialize`.
    pub(crate) capabilities: Value,
}

impl Client {
    /// Starts a server on a folder with some files, for a client that knows everything.
    pub(crate) fn start(files: &[(&str, &str)]) -> Self {
        let mut client = Self::spawn(files);
        client.initialize(json!({
            "general": { "positionEncodings": ["utf-16"] },
            "workspace": { "didChangeWatchedFiles": { "dynamicRegistration": true } },
            "textDocument": {
                "completion": { "completionItem": { "snippetSupport": true, "documentationFormat": ["markdown"] } },
                "hover": { "contentFormat": ["markdown", "plaintext"] },
                "documentSymbol": { "hierarchicalDocumentSymbolSupport": true },
            },
        }));
        client
    }

    /// Starts a server and says nothing to it yet.
    pub(crate) fn spawn(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut server = Command::new(env!("CARGO_BIN_EXE_sampan"))
            .args(["lsp", "--stdio", "--engine=sampan"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(server.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            while let Some(message) = read(&mut stdout) {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let stdin = server.stdin.take();
        let capabilities = Value::Null;
        Self { server, stdin, messages, waiting: Vec::new(), next_id: 0, folder, capabilities }
    }

    /// Introduces the client with these capabilities.
    pub(crate) fn initialize(&mut self, capabilities: Value) {
        let folders = json!([{ "uri": uri_of(self.folder.path()), "name": "test" }]);
        let params = json!({
            "processId": null, "rootUri": null, "capabilities": capabilities, "workspaceFolders": folders,
        });
        self.capabilities = self.request("initialize", params)["capabilities"].clone();
        self.notify("initialized", json!({}));
    }

    /// The path of a file in the workspace.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The URI of a file in the workspace.
    pub(crate) fn uri(&self, name: &str) -> String {
        uri_of(&self.path(name))
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(bytes).and_then(|()| stdin.flush()).unwrap();
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        self.send_raw(format!("Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes());
    }

    /// Sends a notification.
    pub(crate) fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Sends a request and waits for its result; an error fails the test.
    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        let response = self.ask(method, params);
        assert!(response.get("error").is_none(), "{method}: {response}");
        response["result"].clone()
    }

    /// Sends a request and waits for the whole response.
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        self.wait(|message| message["id"] == id && message.get("method").is_none(), method)
    }

    /// Waits for a message; others are kept.
    pub(crate) fn wait(&mut self, wanted: impl Fn(&Value) -> bool, what: &str) -> Value {
        if let Some(at) = self.waiting.iter().position(&wanted) {
            return self.waiting.remove(at);
        }
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left) {
                Ok(message) if wanted(&message) => return message,
                Ok(message) => self.waiting.push(message),
                Err(RecvTimeoutError::Timeout) => panic!("no answer: {what}; got {:?}", self.waiting),
                Err(RecvTimeoutError::Disconnected) => panic!("the server has gone: {what}"),
            }
        }
    }

    /// Opens a file with a text, which need not be that on disk, and returns its diagnostics.
    pub(crate) fn open(&mut self, name: &str, text: &str) -> Vec<Value> {
        let document = json!({ "uri": self.uri(name), "languageId": "quadlet", "version": 1, "text": text });
        self.notify("textDocument/didOpen", json!({ "textDocument": document }));
        self.diagnostics(name, Some(1))
    }

    /// Sends changes that make a version of a document, and returns its diagnostics.
    pub(crate) fn change(&mut self, name: &str, version: i64, changes: Value) -> Vec<Value> {
        let document = json!({ "uri": self.uri(name), "version": version });
        let params = json!({ "textDocument": document, "contentChanges": changes });
        self.notify("textDocument/didChange", params);
        self.diagnostics(name, Some(version))
    }

    /// Waits for the diagnostics of a file, for an open one those of a version.
    pub(crate) fn diagnostics(&mut self, name: &str, version: Option<i64>) -> Vec<Value> {
        let uri = self.uri(name);
        let wanted = |message: &Value| {
            message["method"] == "textDocument/publishDiagnostics"
                && message["params"]["uri"] == uri
                && message["params"]["version"].as_i64() == version
        };
        let message = self.wait(wanted, &format!("diagnostics of {name}"));
        message["params"]["diagnostics"].as_array().unwrap().clone()
    }

    /// Parameters for a place in a document, given as the line and a text in it: the place is that
    /// of the `|` in the text, which the document doesn't have.
    pub(crate) fn at(&self, name: &str, line: u32, character: u32) -> Value {
        json!({
            "textDocument": { "uri": self.uri(name) },
            "position": { "line": line, "character": character },
        })
    }

    /// Says goodbye and returns how the server ended.
    pub(crate) fn goodbye(mut self) -> ExitStatus {
        self.request("shutdown", Value::Null);
        self.notify("exit", Value::Null);
        self.end().0
    }

    /// Waits for the end of the server; returns its status and what it wrote to standard error.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        self.stdin.take();
        let mut said = String::new();
        self.server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.server.wait().unwrap(), said)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The URI of a path without characters that would need an escape.
fn uri_of(path: &Path) -> String {
    format!("file://{}", std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).display())
}

/// Reads one message; `None` at the end.
fn read(stdout: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stdout.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            header => {
                if let Some(value) = header.strip_prefix("Content-Length: ") {
                    length = value.parse().ok()?;
                }
            }
        }
    }
    let mut body = vec![0; length];
    stdout.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}
