//! What the caller and the container's process say to each other, over a socket pair of datagrams that keep
//! their boundaries (`SOCK_SEQPACKET`): no lengths to get wrong, and the end of either side is end of file.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// The longest message: an error text is cut to it.
const MAX: usize = 16 * 1024;

/// What the container's process says.
#[derive(Debug)]
pub(crate) enum Word {
    /// It can't go on; an exit status, and why.
    Failed(u8, String),
    /// Its time namespace is made: now come its offsets. It waits.
    Clocks,
    /// Its namespaces and mounts are made: now come the hooks of the host. It waits.
    Hooks,
    /// The master of its terminal.
    Terminal(OwnedFd),
    /// The listener of its filter.
    Listener(OwnedFd),
    /// The process with this id (in the caller's namespace) runs the program.
    Joined(i32),
    /// Everything is done but execve. It waits.
    Ready,
}

/// One end.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
}

/// Makes both ends.
pub(crate) fn pair() -> io::Result<(Channel, Channel)> {
    let (a, b) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Channel { socket: a }, Channel { socket: b }))
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Channel {
    /// Says a word. Plain write(2) where no descriptor goes along: a loaded filter will allow that.
    pub(crate) fn say(&self, word: &Word) -> io::Result<()> {
        let message = match word {
            Word::Failed(status, text) => {
                let mut message = vec![b'E', *status];
                message.extend_from_slice(&text.as_bytes()[..text.len().min(MAX - 2)]);
                // The caller may be gone, and its absence must not kill us before we have said it elsewhere.
                rustix::net::send(&self.socket, &message, SendFlags::NOSIGNAL)?;
                return Ok(());
            }
            Word::Clocks => b"C".to_vec(),
            Word::Hooks => b"H".to_vec(),
            Word::Ready => b"R".to_vec(),
            Word::Joined(pid) => [b"J".as_slice(), &pid.to_ne_bytes()].concat(),
            Word::Terminal(fd) => return self.send_fd(b"T", fd.as_fd()),
            Word::Listener(fd) => return self.send_fd(b"L", fd.as_fd()),
        };
        rustix::io::write(&self.socket, &message)?;
        Ok(())
    }

    fn send_fd(&self, message: &[u8], fd: BorrowedFd<'_>) -> io::Result<()> {
        let fds = [fd];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        rustix::net::sendmsg(&self.socket, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for the other side's next word. `None`: it is gone.
    pub(crate) fn hear(&self) -> io::Result<Option<Word>> {
        let mut buffer = vec![0; MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut into = [IoSliceMut::new(&mut buffer)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            match rustix::net::recvmsg(&self.socket, &mut into, &mut control, flags) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Ok(None),
                result => break result?,
            }
        };
        let fd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let message = &buffer[..received.bytes];
        let word = match (message, fd) {
            ([], _) => return Ok(None),
            ([b'E', status, text @ ..], _) => {
                Word::Failed(*status, String::from_utf8_lossy(text).into_owned())
            }
            (b"C", _) => Word::Clocks,
            (b"H", _) => Word::Hooks,
            (b"R", _) => Word::Ready,
            (b"T", Some(fd)) => Word::Terminal(fd),
            (b"L", Some(fd)) => Word::Listener(fd),
            ([b'J', a, b, c, d], _) => Word::Joined(i32::from_ne_bytes([*a, *b, *c, *d])),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        Ok(Some(word))
    }

    /// Lets the other side go on.
    pub(crate) fn go_on(&self) -> io::Result<()> {
        rustix::net::send(&self.socket, b"g", SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits until the other side says to go on. `false`: it is gone.
    pub(crate) fn wait(&self) -> io::Result<bool> {
        let mut byte = [0];
        loop {
            match rustix::io::read(&self.socket, &mut byte) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Ok(false),
                result => return Ok(result? == 1),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_with_their_descriptors() {
        let (a, b) = pair().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        a.say(&Word::Terminal(null.into())).unwrap();
        a.say(&Word::Failed(127, "x".repeat(2 * MAX))).unwrap();
        drop(a);
        assert!(matches!(b.hear().unwrap(), Some(Word::Terminal(_))));
        match b.hear().unwrap() {
            Some(Word::Failed(127, text)) => assert_eq!(text.len(), MAX - 2),
            other => panic!("{other:?}"),
        }
        assert!(b.hear().unwrap().is_none());
        assert!(!b.wait().unwrap());
    }
}
