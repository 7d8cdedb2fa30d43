//! A lot of data, both ways: iperf3 between two containers, and through a published port.
//! (How much per second is measured by `tests/bench/network`.)

mod host;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use host::{Host, address, on};
use sampan_network::DEFAULT_NETWORK;

const BYTES: u64 = 64 << 20;

#[test]
fn iperf3_runs_through_bridge_and_published_port() {
    let Some(host) = Host::new() else { return };
    if Command::new("iperf3").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIP: iperf3 is not installed");
        return;
    }
    let neighbour = host.neighbour();
    let (server, lease) = host.start("server", &[on(DEFAULT_NETWORK)], &["8080:5201"]);
    let (client, _) = host.start("client", &[on(DEFAULT_NETWORK)], &[]);
    let mut process = server
        .run(|| Command::new("iperf3").arg("-s").stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
    let straight = address(&lease).to_string();
    for reverse in [false, true] {
        let straight = straight.clone();
        client.run(move || carry(&straight, 5201, reverse));
        carry("127.0.0.1", 8080, reverse);
        neighbour.run(move || carry("192.0.2.1", 8080, reverse));
    }
    stop(&mut process);
    for container in [server, client] {
        host.networks.release(&container.holder.id).unwrap();
    }
}

/// Sends [`BYTES`] from here, or, in reverse, from there.
fn carry(address: &str, port: u16, reverse: bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut command = Command::new("iperf3");
        command.args(["-J", "-c", address, "-p", &port.to_string(), "-n", &BYTES.to_string()]);
        command.args(reverse.then_some("-R"));
        let output = command.output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        // The server may not listen yet, or not again.
        if report["error"].is_string() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        let arrived = report["end"]["sum_received"]["bytes"].as_u64();
        // What was on its way when the sender had sent all isn't counted.
        assert!(arrived.is_some_and(|bytes| bytes > BYTES / 2), "{address}:{port}: {report}");
        return;
    }
}

fn stop(process: &mut Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}
