//! A small HTTP server that can misbehave in every way a registry can.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sampan_image::Digest;

use crate::fixture::TestImage;

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// First byte of a `Range` header.
    pub(crate) fn offset(&self) -> usize {
        let range = self.header("range").and_then(|range| range.strip_prefix("bytes="));
        range.and_then(|range| range.trim_end_matches('-').parse().ok()).unwrap_or(0)
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Send only so many bytes of the body, then close …
    pub(crate) cut: Option<usize>,
    /// … or, with this, fall silent instead.
    pub(crate) stall: bool,
    /// Pause after each `chunk` bytes.
    pub(crate) pace: Option<Duration>,
    pub(crate) chunk: usize,
}

impl Reply {
    pub(crate) fn new(status: u16, body: &[u8]) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.to_vec(),
            cut: None,
            stall: false,
            pace: None,
            chunk: 16384,
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The part of the body that a `Range` header asks for.
    pub(crate) fn ranged(mut self, request: &Request) -> Self {
        let offset = request.offset();
        if offset > 0 {
            let range = format!("bytes {offset}-{}/{}", self.body.len() - 1, self.body.len());
            self.body.drain(..offset);
            self.status = 206;
            self = self.with("content-range", &range);
        }
        self
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server on a free port of 127.0.0.1; stopped when dropped.
pub(crate) struct Server {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    port: u16,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let handler: Arc<Handler> = Arc::new(handler);
        let (seen, stopped) = (Arc::clone(&requests), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (handler, seen, stopped) =
                    (Arc::clone(&handler), Arc::clone(&seen), Arc::clone(&stopped));
                std::thread::spawn(move || {
                    // The client may go away at any time.
                    let _ = serve(&stream, &*handler, &seen, &stopped);
                });
            }
        });
        Self { address: format!("127.0.0.1:{port}"), requests, stop, port }
    }

    /// A registry that has one image under every name and tag.
    pub(crate) fn registry(image: TestImage) -> Self {
        Self::registry_with(image, |_, reply| reply)
    }

    /// The same, with a chance to spoil each answer.
    pub(crate) fn registry_with(
        image: TestImage,
        spoil: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |request| spoil(request, answer(&image, request)))
    }

    /// Requests so far, as `METHOD path`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.all().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    pub(crate) fn all(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        self.requests.lock().unwrap().clear();
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(&self.address);
    }
}

/// What an honest registry answers.
pub(crate) fn answer(image: &TestImage, request: &Request) -> Reply {
    let path = &request.path;
    if path.contains("/manifests/") {
        let digest = Digest::of(&image.manifest).to_string();
        return Reply::new(200, &image.manifest)
            .with("content-type", "application/vnd.oci.image.manifest.v1+json")
            .with("docker-content-digest", &digest);
    }
    let digest = path.rsplit('/').next().and_then(|digest| digest.parse::<Digest>().ok());
    match digest.and_then(|digest| image.blobs.get(&digest)) {
        Some(blob) => Reply::new(200, blob).ranged(request),
        None => Reply::new(404, br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}"#),
    }
}

fn serve(
    stream: &TcpStream,
    handler: &Handler,
    seen: &Mutex<Vec<Request>>,
    stop: &AtomicBool,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
    // A client that tries TLS first sends no text.
    if !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Ok(());
    }
    let mut request = Request { method: method.to_owned(), path: path.to_owned(), headers: Vec::new() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((key, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((key.to_ascii_lowercase(), value.trim().to_owned()));
    }
    seen.lock().unwrap().push(request.clone());
    let reply = handler(&request);
    send(stream, &request, &reply, stop)
}

fn send(mut stream: &TcpStream, request: &Request, reply: &Reply, stop: &AtomicBool) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", reply.status);
    for (key, value) in &reply.headers {
        head.push_str(&format!("{key}: {value}\r\n"));
    }
    if !reply.headers.iter().any(|(key, _)| key == "content-length") {
        head.push_str(&format!("content-length: {}\r\n", reply.body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    let end = reply.cut.unwrap_or(reply.body.len()).min(reply.body.len());
    for chunk in reply.body[..end].chunks(reply.chunk) {
        stream.write_all(chunk)?;
        if let Some(pace) = reply.pace {
            std::thread::sleep(pace);
        }
    }
    while reply.stall && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
