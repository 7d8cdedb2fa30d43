//! What a packet costs: one byte goes to the server, one comes back, again and again, and both ends are this thread.
//!
//! A packet passes from end to end within the system call that sends it, so all of its way is in the processor time
//! of the thread. Neither other work of the machine nor the waking of another process counts, unlike with iperf3.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use rustix::time::{ClockId, clock_gettime};

use crate::machines::enter;
use crate::{Candidate, SERVER_PORT};

const PACKETS: usize = 1000;

/// Both ends of a connection.
pub(crate) struct Connection {
    client: TcpStream,
    server: TcpStream,
}

/// Keeps the thread on the last of its processors: what a packet finds in the caches was left by the one before.
pub(crate) fn pin() {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let last = (0..CpuSet::count()).rfind(|cpu| allowed.is_set(*cpu).unwrap()).unwrap();
    let mut one = CpuSet::new();
    one.set(last).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
}

impl Connection {
    pub(crate) fn open(candidate: &Candidate<'_>) -> Self {
        enter(candidate.server);
        let listener = TcpListener::bind(("0.0.0.0", SERVER_PORT)).unwrap();
        enter(candidate.client);
        let client = TcpStream::connect((candidate.address, candidate.port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        for end in [&client, &server] {
            end.set_nodelay(true).unwrap();
        }
        Self { client, server }
    }

    /// In milliseconds of processor time.
    pub(crate) fn time_of_a_thousand(&mut self) -> f64 {
        let before = processor_time();
        for _ in 0..PACKETS / 2 {
            carry(&mut self.client, &mut self.server);
            carry(&mut self.server, &mut self.client);
        }
        processor_time() - before
    }
}

fn carry(from: &mut TcpStream, to: &mut TcpStream) {
    let mut byte = [0];
    from.write_all(&byte).unwrap();
    to.read_exact(&mut byte).unwrap();
}

fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}
