//! A DHCP server on the other machine: dnsmasq(8).

use std::process::{Child, Command, Stdio};

use super::{Container, Host, eventually};

/// Ten addresses of the link's subnet, each for an hour.
pub const RANGE: &str = "--dhcp-range=192.0.2.50,192.0.2.59,255.255.255.0,1h";

/// It ends with the test.
pub struct Server(Child, String);

impl Server {
    /// Gives addresses of this range (`--dhcp-range=…`) on the link `lan`; absent, with a word why, where
    /// there is no dnsmasq.
    pub fn start(host: &Host, neighbour: &Container, range: &'static str) -> Option<Self> {
        let leases = host.directory().join("dhcp.leases").display().to_string();
        let file = format!("--dhcp-leasefile={leases}");
        let started = neighbour.run(move || {
            Command::new("dnsmasq")
                .args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--no-ping"])
                .args(["--interface=lan0", "--bind-interfaces", "--dhcp-authoritative", "--log-facility=-"])
                .args(["--domain=lan.example", "--user=root", "--pid-file=", range, &file])
                .args(["--dhcp-option=option:dns-server,192.0.2.2", "--dhcp-option=option:mtu,1400"])
                .stderr(Stdio::null())
                .spawn()
        });
        match started {
            Ok(child) => {
                eventually("that dnsmasq listens", || neighbour.run(serves_dhcp));
                Some(Self(child, leases))
            }
            Err(error) => {
                eprintln!("SKIP: dnsmasq: {error}");
                None
            }
        }
    }

    /// The addresses that it has given.
    pub fn leases(&self) -> String {
        std::fs::read_to_string(&self.1).unwrap_or_default()
    }
}

/// Whether there is a socket at the port of DHCP servers, 67.
fn serves_dhcp() -> bool {
    std::fs::read_to_string("/proc/thread-self/net/udp").unwrap().contains(":0043 ")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
