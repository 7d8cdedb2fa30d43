//! iperf3, client and server on processors of their own.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::machines::enter;
use crate::{Candidate, SERVER_PORT};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// A server, until it is dropped.
pub(crate) struct Server(Child);

impl Server {
    /// One for each namespace that the candidates send to.
    pub(crate) fn start_all(candidates: &[Candidate<'_>]) -> Vec<Self> {
        let mut known = Vec::new();
        let mut servers = Vec::new();
        for candidate in candidates.iter().filter(|candidate| {
            let is_new = !known.iter().any(|netns| std::ptr::eq(*netns, candidate.server));
            known.push(candidate.server);
            is_new
        }) {
            enter(candidate.server);
            let port = SERVER_PORT.to_string();
            let server = Command::new("iperf3").args(["-s", "-p", &port]).stdout(Stdio::null()).spawn();
            servers.push(Self(server.unwrap()));
        }
        thread::sleep(Duration::from_millis(300));
        servers
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// In milliseconds, from sending so many MiB.
pub(crate) fn time_of_a_gibibyte(candidate: &Candidate<'_>, mebibytes: usize) -> f64 {
    enter(candidate.client);
    let mut client = Command::new("iperf3");
    client.args(["-c", candidate.address, "-p", &candidate.port.to_string(), "-J"]);
    client.args(["-n", &format!("{mebibytes}M")]);
    if thread::available_parallelism().is_ok_and(|processors| processors.get() > 1) {
        // The client's, and the server's.
        client.args(["-A", "0,1"]);
    }
    let output = client.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let received = &report["end"]["sum_received"];
    let field = |name: &str| received[name].as_f64().unwrap();
    field("seconds") * 1000.0 * GIB / field("bytes")
}
