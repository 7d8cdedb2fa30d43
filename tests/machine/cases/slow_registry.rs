//! A registry in the machine that is slow, or falls silent: it hands on what the real one has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use sampan_machine_tests::Machine;

/// Where it listens inside.
pub const ADDRESS: &str = "localhost:5001";

/// What it does to blobs.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// So many bytes, and then a pause.
    pub chunk: usize,
    /// The pause.
    pub pause: Duration,
    /// So many bytes in all, and then nothing more: connections are taken, and stay silent.
    pub silent_after: usize,
}

impl Default for Manners {
    fn default() -> Self {
        Manners { chunk: 65_536, pause: Duration::ZERO, silent_after: usize::MAX }
    }
}

/// A server that ends when it is dropped.
#[derive(Debug)]
pub struct SlowRegistry {
    stop: Arc<AtomicBool>,
    sent: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl SlowRegistry {
    /// Listens in the machine's network, and has clients trust it.
    pub fn start(machine: &Machine, manners: Manners) -> Result<SlowRegistry> {
        let text = format!("[[registry]]\nlocation = \"{ADDRESS}\"\ninsecure = true\n");
        machine.write("/etc/containers/registries.conf.d/60-slow.conf", &text)?;
        let root = machine.path("/");
        let network =
            File::open(root.parent().unwrap_or(&root).join("ns/net")).context("open the network")?;
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(Mutex::new(BTreeMap::new()));
        let (sender, listening) = mpsc::channel();
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&sent));
        std::thread::spawn(move || {
            // Of this thread, and of those that it starts.
            let listener = setns(network, CloneFlags::CLONE_NEWNET)
                .map_err(anyhow::Error::from)
                .and_then(|()| Ok(TcpListener::bind("127.0.0.1:5001")?))
                .and_then(|listener| Ok(listener.set_nonblocking(true).map(|()| listener)?));
            let listener = match listener {
                Ok(listener) => listener,
                Err(error) => return drop(sender.send(Err(error))),
            };
            let _ = sender.send(Ok(()));
            while !stopped.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let (stopped, counted) = (Arc::clone(&stopped), Arc::clone(&counted));
                std::thread::spawn(move || {
                    // The client may go away at any time.
                    let _ = hand_on(stream, manners, &stopped, &counted);
                });
            }
        });
        listening.recv().context("the slow registry has not come up")??;
        Ok(SlowRegistry { stop, sent })
    }

    /// How many bytes each blob was sent as, its repetitions included.
    pub fn sent(&self) -> BTreeMap<String, usize> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for SlowRegistry {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Serves one request of a connection.
fn hand_on(
    mut client: TcpStream,
    manners: Manners,
    stop: &AtomicBool,
    sent: &Mutex<BTreeMap<String, usize>>,
) -> Result<()> {
    client.set_nonblocking(false)?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 65_536 {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
        // The beginning of TLS is no text.
        if head.len() == 1 && !byte[0].is_ascii_uppercase() {
            return Ok(());
        }
    }
    let head = String::from_utf8(head)?.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut registry = TcpStream::connect("127.0.0.1:5000")?;
    registry.write_all(head.as_bytes())?;
    let is_blob = path.contains("/blobs/");
    let mut buffer = vec![0; manners.chunk];
    loop {
        while is_blob && all(sent) >= manners.silent_after && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let count = registry.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        client.write_all(&buffer[..count])?;
        if !is_blob {
            continue;
        }
        *sent.lock().unwrap_or_else(PoisonError::into_inner).entry(path.clone()).or_default() += count;
        std::thread::sleep(manners.pause);
    }
}

/// How much was sent of all blobs.
fn all(sent: &Mutex<BTreeMap<String, usize>>) -> usize {
    sent.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
}
