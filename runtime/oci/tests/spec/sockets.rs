//! What tests have on the other side of a runtime: sockets that it sends descriptors to, and processes whose
//! namespaces it joins.

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

/// A process that sleeps in namespaces of its own, killed at the end.
pub(crate) struct Holder(Child);

/// Starts one by `unshare FLAGS`; `before` is done by a shell in the namespaces.
pub(crate) fn holder(flags: &[&str], before: &str) -> Holder {
    let mut child = Command::new("unshare")
        .args(flags)
        .args(["sh", "-c", &format!("{before}\necho; exec sleep 1000")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Its line says that the namespaces are there.
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 1]).unwrap();
    Holder(child)
}

impl Holder {
    pub(crate) fn namespace(&self, file: &str) -> String {
        format!("/proc/{}/ns/{file}", self.0.id())
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Listens at `path`.
pub(crate) fn listen(path: &Path) -> UnixListener {
    let listener = UnixListener::bind(path).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// Takes one connection: what was sent in it until its end, and the descriptors that came with it.
pub(crate) fn receive(listener: &UnixListener) -> (Vec<u8>, Vec<OwnedFd>) {
    let stream = accept(listener);
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (mut data, mut fds) = (Vec::new(), Vec::new());
    loop {
        let mut buffer = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let got = rustix::net::recvmsg(&stream, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if got.bytes == 0 {
            return (data, fds);
        }
        data.extend_from_slice(&buffer[..got.bytes]);
    }
}

fn accept(listener: &UnixListener) -> UnixStream {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                return stream;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("nobody connects: {error}"),
        }
    }
}
