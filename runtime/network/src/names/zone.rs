//! The file of one network, as the server reads it (aardvark-dns's `config.md`).
//!
//! The first line is the addresses to listen on and the servers for other names; every further line is a container:
//! id, IPv4 addresses, IPv6 addresses, names, and servers for other names if it has its own.
//!
//! One line is no container's: it gives the file's generation as the address of [`MARKER`]. The server reads a file
//! whole, so who is told a generation knows that the rest of it is answered too.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use crate::config::Network;
use crate::error::{Error, Result};
use crate::files::{self, Durability};
use crate::lease::{Attachment, Lease};

/// The name whose address is the generation.
pub(super) const MARKER: &str = "_generation";

/// Where nothing can be sent to: the kernel refuses it to a socket that isn't made for broadcasts.
const NOWHERE: Ipv4Addr = Ipv4Addr::BROADCAST;

/// What a network's file says.
#[derive(Debug, Default)]
pub(super) struct Zone {
    header: String,
    pub(super) generation: u32,
    lines: Vec<String>,
}

impl Zone {
    /// Reads a file; an empty zone if there is none.
    pub(super) fn read(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            result => Ok(Self::parse(&result.map_err(Error::file("read", path))?)),
        }
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let mut zone = Self { header: lines.next().unwrap_or_default().to_owned(), ..Self::default() };
        for line in lines {
            let mut words = line.split(' ');
            if words.next() == Some(MARKER) {
                let number: Option<Ipv4Addr> = words.next().and_then(|word| word.parse().ok());
                zone.generation = number.map_or(0, u32::from);
            } else {
                zone.lines.push(line.to_owned());
            }
        }
        zone
    }

    /// Replaces, adds or takes out the line of a container; tells whether that changes anything.
    pub(super) fn change(&mut self, id: &str, line: Option<String>) -> bool {
        let place = self.lines.iter().position(|old| old.split(' ').next() == Some(id));
        match (place, line) {
            (None, None) => return false,
            (Some(place), Some(line)) if self.lines[place] == line => return false,
            (Some(place), Some(line)) => self.lines[place] = line,
            (Some(place), None) => drop(self.lines.remove(place)),
            (None, Some(line)) => self.lines.push(line),
        }
        true
    }

    /// Sets the first line; tells whether that changes anything.
    pub(super) fn set_header(&mut self, header: String) -> bool {
        let is_changed = self.header != header;
        self.header = header;
        is_changed
    }

    /// Whom to ask for which generation: the first address that the server listens on.
    pub(super) fn question(&self) -> Option<(IpAddr, u32)> {
        let first = self.header.split([',', ' ']).next()?;
        Some((first.parse().ok()?, self.generation))
    }

    /// Takes addresses out of those that the server listens on; tells whether there were any.
    pub(super) fn retain_servers(&mut self, is_there: impl Fn(IpAddr) -> bool) -> bool {
        let (listen, servers) = self.header.split_once(' ').unwrap_or((&self.header, ""));
        let kept: Vec<&str> = listen.split(',').filter(|text| text.parse().is_ok_and(&is_there)).collect();
        let mut header = kept.join(",");
        if !servers.is_empty() {
            header.push(' ');
            header.push_str(servers);
        }
        self.set_header(header)
    }

    /// Whether it is for this file that the server listens on an address.
    pub(super) fn listens_on(&self, address: IpAddr) -> bool {
        let listen = self.header.split(' ').next().unwrap_or_default();
        listen.split(',').any(|text| text.parse() == Ok(address))
    }

    /// Whether there is no container.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Writes the file by way of `scratch`: the server never sees half of it.
    pub(super) fn write(&self, path: &Path, scratch: &Path) -> Result<()> {
        files::write(path, scratch, self.text().as_bytes(), Durability::Volatile)
    }

    fn text(&self) -> String {
        let marker = format!("{MARKER} {}  {MARKER}", Ipv4Addr::from(self.generation));
        let mut text = format!("{}\n{marker}\n", self.header);
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// The first line of a network's file.
pub(super) fn header(network: &Network, listen: &[IpAddr]) -> String {
    // Servers before 1.11 don't know networks without a way out, and would ask the host's servers for them; later ones
    // pay no heed to what stands here.
    let nowhere = [NOWHERE.into()];
    let servers = if network.internal { &nowhere[..] } else { &network.network_dns_servers };
    let mut header = join(listen);
    if !servers.is_empty() {
        header.push(' ');
        header.push_str(&join(servers));
    }
    header
}

/// The line of a container.
pub(super) fn line(lease: &Lease, attachment: &Attachment) -> String {
    let (ipv4, ipv6): (Vec<IpAddr>, Vec<IpAddr>) =
        attachment.addresses.iter().map(|address| address.address).partition(IpAddr::is_ipv4);
    let id = &lease.holder.id;
    let mut names = vec![lease.holder.name.as_str()];
    names.extend(attachment.aliases.iter().map(String::as_str));
    names.push(short(id));
    names.extend(lease.members.iter().flat_map(|member| [member.name.as_str(), short(&member.id)]));
    let mut line = format!("{id} {} {} {}", join(&ipv4), join(&ipv6), names.join(","));
    if !attachment.resolvers.is_empty() && !attachment.network.internal {
        line.push(' ');
        line.push_str(&join(&attachment.resolvers));
    }
    line
}

fn join(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    texts.join(",")
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_was_written() {
        let mut zone = Zone::default();
        assert!(zone.set_header("10.0.0.1".to_owned()) && !zone.set_header("10.0.0.1".to_owned()));
        assert!(zone.change("a", Some("a 10.0.0.2  web".to_owned())));
        assert!(zone.change("b", Some("b 10.0.0.3  db".to_owned())));
        zone.generation = 258;
        let text = zone.text();
        assert_eq!(text, "10.0.0.1\n_generation 0.0.1.2  _generation\na 10.0.0.2  web\nb 10.0.0.3  db\n");
        let mut again = Zone::parse(&text);
        assert_eq!((again.text(), again.generation), (text, 258));
        assert!(!again.change("a", Some("a 10.0.0.2  web".to_owned())), "it is the same");
        assert!(again.change("a", None) && !again.change("a", None) && again.change("b", None));
        assert!(again.is_empty());
        again.set_header("fd00::1,10.0.0.1 192.0.2.53".to_owned());
        assert_eq!(again.question(), Some(("fd00::1".parse().unwrap(), 258)));
        assert!(again.retain_servers(|address| address.is_ipv4()));
        assert_eq!(again.header, "10.0.0.1 192.0.2.53");
        assert!(!again.retain_servers(|_| true) && again.retain_servers(|_| false));
        assert_eq!(again.question(), None);
    }
}
