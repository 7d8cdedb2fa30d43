//! Published ports: how a user writes them, and what they mean.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The transport protocol of a published port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The number of the protocol in an IP header (IANA "Protocol Numbers").
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// A port, or a row of ports, of the host that leads into a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// The host's address; absent means every address, IPv4 and IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
    /// The first port on the host; 0 means any free one, which [`reserve`](crate::Networks::reserve)
    /// chooses and the lease then names.
    pub host_port: u16,
    /// The first port in the container.
    pub container_port: u16,
    /// How many ports in a row, at least 1.
    pub range: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl PortMapping {
    /// The ports of a row, each by itself.
    pub(crate) fn singles(&self) -> impl Iterator<Item = PortMapping> {
        (0..self.range).map(|step| PortMapping {
            host_port: self.host_port.wrapping_add(step),
            container_port: self.container_port.wrapping_add(step),
            range: 1,
            ..self.clone()
        })
    }
}

impl fmt::Display for PortMapping {
    /// As podman-ps(1) shows it: `0.0.0.0:8080->80/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            None => f.write_str("0.0.0.0")?,
            Some(IpAddr::V4(address)) => write!(f, "{address}")?,
            Some(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        let row = |f: &mut fmt::Formatter<'_>, first: u16| {
            if self.range > 1 {
                write!(f, "{first}-{}", first.saturating_add(self.range - 1))
            } else {
                write!(f, "{first}")
            }
        };
        f.write_str(":")?;
        row(f, self.host_port)?;
        f.write_str("->")?;
        row(f, self.container_port)?;
        write!(f, "/{}", self.protocol)
    }
}

/// Reads `[[ip:][hostPort[-end]]:]containerPort[-end][/protocol]`, the form of
/// `--publish` in podman-run(1). An IPv6 address stands in brackets.
///
/// A row of host ports for a single container port is one mapping per
/// protocol in Podman's reading: it must be as long as the container's row.
///
/// # Errors
/// [`Error::Invalid`] that quotes the whole text and says what is wrong.
pub fn parse_ports(text: &str) -> Result<Vec<PortMapping>> {
    let invalid = |why: String| Error::Invalid { what: "published port", value: text.to_owned(), why };
    let (ports, protocols) = match text.split_once('/') {
        Some((ports, protocols)) => (ports, protocols),
        None => (text, "tcp"),
    };
    let (host_ip, host, container) = split_address(ports).map_err(invalid)?;
    let (container_port, range) = row(container).map_err(invalid)?;
    if container_port == 0 {
        return Err(invalid("the container's port can't be 0".to_owned()));
    }
    let host_port = match host {
        None | Some("") => 0,
        Some(host) => {
            let (first, length) = row(host).map_err(invalid)?;
            if length != range {
                return Err(invalid(format!(
                    "{length} host port(s) can't lead to {range} container port(s); the rows must be equally long"
                )));
            }
            first
        }
    };
    protocols
        .split(',')
        .map(|protocol| {
            Ok(PortMapping {
                host_ip,
                host_port,
                container_port,
                range,
                protocol: match protocol.to_ascii_lowercase().as_str() {
                    "tcp" => Protocol::Tcp,
                    "udp" => Protocol::Udp,
                    "sctp" => Protocol::Sctp,
                    other => {
                        return Err(invalid(format!("unknown protocol {other:?}; use tcp, udp or sctp")));
                    }
                },
            })
        })
        .collect()
}

type Parts<'a> = (Option<IpAddr>, Option<&'a str>, &'a str);

/// Splits off the address, which may hold colons itself, and the host's part.
fn split_address(ports: &str) -> std::result::Result<Parts<'_>, String> {
    let Some((front, container)) = ports.rsplit_once(':') else {
        return Ok((None, None, ports));
    };
    let (address, host) = if let Some(rest) = front.strip_prefix('[') {
        let (address, rest) =
            rest.split_once(']').ok_or_else(|| "the [ of the IPv6 address has no ]".to_owned())?;
        match rest.strip_prefix(':') {
            Some(host) => (address, host),
            None if rest.is_empty() => (address, ""),
            None => return Err(format!("expected : after ], not {rest:?}")),
        }
    } else {
        match front.rsplit_once(':') {
            Some((address, _)) if address.contains(':') => {
                return Err(format!("the IPv6 address {address:?} must stand in brackets"));
            }
            Some((address, host)) => (address, host),
            None => return Ok((None, Some(front), container)),
        }
    };
    let host_ip = match address {
        "" => None,
        address => Some(
            address
                .parse()
                .map_err(|_| format!("{address:?} is no IP address (an IPv6 address stands in brackets)"))?,
        ),
    };
    Ok((host_ip, Some(host), container))
}

/// Reads `FIRST` or `FIRST-LAST` into the first port and the number of ports.
fn row(text: &str) -> std::result::Result<(u16, u16), String> {
    let port =
        |text: &str| text.parse::<u16>().map_err(|_| format!("{text:?} is no port number (1 to 65535)"));
    let Some((first, last)) = text.split_once('-') else {
        return Ok((port(text)?, 1));
    };
    let (first, last) = (port(first)?, port(last)?);
    if first == 0 || last < first {
        return Err(format!("the row {text:?} must rise"));
    }
    Ok((first, last - first + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> PortMapping {
        let mut ports = parse_ports(text).unwrap();
        assert_eq!(ports.len(), 1, "{text}");
        ports.remove(0)
    }

    #[test]
    fn every_form_of_podman_run() {
        let cases = [
            ("80", "0.0.0.0:0->80/tcp"),
            ("8080:80", "0.0.0.0:8080->80/tcp"),
            (":80", "0.0.0.0:0->80/tcp"),
            ("127.0.0.1:8080:80", "127.0.0.1:8080->80/tcp"),
            ("127.0.0.1::80", "127.0.0.1:0->80/tcp"),
            ("[::1]:8080:80/udp", "[::1]:8080->80/udp"),
            ("[::]::80", "[::]:0->80/tcp"),
            ("8000-8009:9000-9009/sctp", "0.0.0.0:8000-8009->9000-9009/sctp"),
            ("53:53/UDP", "0.0.0.0:53->53/udp"),
            ("0:80", "0.0.0.0:0->80/tcp"),
        ];
        for (text, shown) in cases {
            assert_eq!(one(text).to_string(), shown, "{text}");
        }
        assert_eq!(parse_ports("53:53/tcp,udp").unwrap().len(), 2);
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("", "port number"),
            ("80/icmp", "tcp, udp or sctp"),
            ("8080-8090:80", "equally long"),
            ("localhost:80:80", "no IP address"),
            ("::1:80:80", "brackets"),
            ("[::1:80:80", "has no ]"),
            ("70000:80", "1 to 65535"),
            ("8080:0", "can't be 0"),
            ("90-80:90-80", "must rise"),
        ];
        for (text, words) in cases {
            let error = parse_ports(text).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains(text), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9:\\[\\]./a-z-]{0,30}") {
            if let Ok(ports) = parse_ports(&text) {
                prop_assert!(!ports.is_empty() && ports.iter().all(|port| port.range >= 1));
            }
        }
    }
}
