//! A small HTTP server that can misbehave in every way a registry can.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    pub(crate) body: String,
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
    /// Send the body again and again.
    pub(crate) endless: bool,
    pub(crate) length: Length,
    /// Leave the connection open for the next request.
    pub(crate) keep: bool,
    /// Send this and nothing else, at the same pace.
    pub(crate) raw: Option<Vec<u8>>,
}

/// How the end of a body is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// By its true length.
    Told,
    /// By the end of the connection.
    Untold,
    /// In chunks, without the last one when `cut`, `stall` or `endless` says so.
    Chunked,
    /// By another length.
    Wrong(usize),
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
            endless: false,
            length: Length::Told,
            keep: false,
            raw: None,
        }
    }

    /// Bytes as they are, instead of an answer.
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        Self { raw: Some(bytes.to_vec()), ..Self::new(200, b"") }
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
    connections: Arc<AtomicUsize>,
    port: u16,
}

/// A connection, with TLS or without.
pub(crate) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// What makes a stream of a connection.
type Wrap = dyn Fn(TcpStream) -> std::io::Result<Box<dyn Stream>> + Send + Sync;

impl Server {
    pub(crate) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::start_on(listener, |stream| Ok(Box::new(stream)), handler)
    }

    /// At any address, in any wrapping.
    pub(crate) fn start_on(
        listener: TcpListener,
        wrap: impl Fn(TcpStream) -> std::io::Result<Box<dyn Stream>> + Send + Sync + 'static,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let port = address.port();
        let wrap: Arc<Wrap> = Arc::new(wrap);
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let handler: Arc<Handler> = Arc::new(handler);
        let (seen, stopped) = (Arc::clone(&requests), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                counter.fetch_add(1, Ordering::Relaxed);
                let (wrap, handler) = (Arc::clone(&wrap), Arc::clone(&handler));
                let (seen, stopped) = (Arc::clone(&seen), Arc::clone(&stopped));
                std::thread::spawn(move || {
                    // The client may go away at any time.
                    let _ = wrap(stream).and_then(|stream| serve(stream, &*handler, &seen, &stopped));
                });
            }
        });
        Self { address: address.to_string(), requests, stop, connections, port }
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
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
    stream: Box<dyn Stream>,
    handler: &Handler,
    seen: &Mutex<Vec<Request>>,
    stop: &AtomicBool,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream)? {
        seen.lock().unwrap().push(request.clone());
        let reply = handler(&request);
        send(stream.get_mut(), &request, &reply, stop)?;
        if !reply.keep {
            break;
        }
    }
    Ok(())
}

/// The next request; none at the end, or for a client that tries TLS first.
fn read_request(stream: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    let line = String::from_utf8_lossy(&line).into_owned();
    let mut words = line.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    if !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Ok(None);
    }
    let (method, path) = (method.to_owned(), path.to_owned());
    let mut request = Request { method, path, headers: Vec::new(), body: String::new() };
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((key, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((key.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    stream.take(length).read_to_string(&mut request.body)?;
    Ok(Some(request))
}

fn send(
    stream: &mut Box<dyn Stream>,
    request: &Request,
    reply: &Reply,
    stop: &AtomicBool,
) -> std::io::Result<()> {
    let paced = |stream: &mut Box<dyn Stream>, bytes: &[u8]| -> std::io::Result<()> {
        for chunk in bytes.chunks(reply.chunk) {
            stream.write_all(chunk)?;
            if let Some(pace) = reply.pace {
                stream.flush()?;
                std::thread::sleep(pace);
            }
        }
        Ok(())
    };
    if let Some(raw) = &reply.raw {
        paced(stream, raw)?;
    } else {
        stream.write_all(head(reply).as_bytes())?;
        if request.method == "HEAD" {
            return stream.flush();
        }
        let chunked = reply.length == Length::Chunked;
        let end = reply.cut.unwrap_or(reply.body.len()).min(reply.body.len());
        loop {
            if chunked && end > 0 {
                paced(stream, format!("{end:x}\r\n").as_bytes())?;
            }
            paced(stream, &reply.body[..end])?;
            if chunked && end > 0 {
                paced(stream, b"\r\n")?;
            }
            if !reply.endless || stop.load(Ordering::Relaxed) {
                break;
            }
        }
        if chunked && reply.cut.is_none() && !reply.stall {
            paced(stream, b"0\r\n\r\n")?;
        }
    }
    stream.flush()?;
    while reply.stall && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The head of an answer.
fn head(reply: &Reply) -> String {
    let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
    if !reply.keep {
        head.push_str("connection: close\r\n");
    }
    for (key, value) in &reply.headers {
        head.push_str(&format!("{key}: {value}\r\n"));
    }
    match reply.length {
        _ if reply.headers.iter().any(|(key, _)| key == "content-length") => {}
        Length::Told => head.push_str(&format!("content-length: {}\r\n", reply.body.len())),
        Length::Wrong(length) => head.push_str(&format!("content-length: {length}\r\n")),
        Length::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
        Length::Untold => {}
    }
    head + "\r\n"
}
