//! A container's terminal, shown on ours.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{self, OptionalActions, Termios};

/// Our own terminal in raw mode; as it was before, when dropped.
#[derive(Debug)]
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> Self {
        let stdin = rustix::stdio::stdin();
        let before = termios::tcgetattr(stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            let _ = termios::tcsetattr(stdin, OptionalActions::Flush, &raw);
        }
        Self(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, before);
        }
    }
}

/// Copies between our standard input and output and the terminal `master` while `wait` waits for the program.
///
/// # Errors
/// Those of `wait`, or a thread can't be made.
pub(crate) fn attach<T>(master: OwnedFd, wait: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let raw = Raw::enter();
    let is_over = AtomicBool::new(false);
    let result = std::thread::scope(|scope| -> anyhow::Result<T> {
        let copy = std::thread::Builder::new().spawn_scoped(scope, || copy(master.as_fd(), &is_over));
        let copy = copy.context("starting a thread for the terminal")?;
        let result = wait();
        is_over.store(true, Ordering::Release);
        let _ = copy.join();
        result
    });
    drop(raw);
    result
}

/// Ends at the terminal's end of file, or when the program is over and nothing is left to show.
fn copy(master: BorrowedFd<'_>, is_over: &AtomicBool) {
    /// A resized window is noticed this late at most.
    const TICK: Duration = Duration::from_millis(100);
    let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    let mut buffer = [0u8; 8192];
    let mut listens = true;
    loop {
        if let Ok(size) = termios::tcgetwinsize(stdin) {
            let _ = termios::tcsetwinsize(master, size);
        }
        let mut fds = vec![PollFd::new(&master, PollFlags::IN)];
        if listens {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        match poll(&mut fds, Some(&tick)) {
            Ok(0) if is_over.load(Ordering::Acquire) => return,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready[0] {
            match rustix::io::read(master, &mut buffer[..]) {
                // EIO is how a terminal says that its last user is gone.
                Ok(0) | Err(rustix::io::Errno::IO) => return,
                Ok(length) => write_all(stdout, &buffer[..length]),
                Err(_) => {}
            }
        }
        if ready.get(1) == Some(&true) {
            match rustix::io::read(stdin, &mut buffer[..]) {
                Ok(0) | Err(_) => {
                    listens = false;
                    // ^D: the terminal's own way to say that input is over.
                    write_all(master, &[4]);
                }
                Ok(length) => write_all(master, &buffer[..length]),
            }
        }
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
