//! What a single value must look like, so that a mistake is found before a service starts.
//!
//! A value with a specifier (`%i`) or a variable (`${PORT}`) is only known when the service starts,
//! so it is never refused here.

use super::limits;
use crate::diagnostic::{Rule, rules};
use crate::syntax::values;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Anything.
    Any,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A whole number, perhaps negative.
    Integer,
    /// A size such as `512m`.
    Size,
    /// A time such as `30s` or `1m30s`, or `disable`.
    Duration,
    /// A time span of systemd.time(7), such as `5min` or `1h 30min`.
    TimeSpan,
    /// A signal's name or number.
    Signal,
    /// `[ip:][hostPort[-end]:]containerPort[-end][/protocol]`.
    PublishedPort,
    /// `port[-end][/protocol]`.
    Port,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// An IP address, or `none`.
    Address,
    /// A network such as `10.90.0.0/24`.
    Subnet,
    /// A number of processors such as `1.5`.
    Processors,
    /// A list of processors such as `0-3,5`.
    CpuSet,
    /// A weight of systemd.resource-control(5), 1 to 10000.
    Weight,
    /// A size such as `512m`, a share of the host's memory such as `50%`, or `infinity`.
    Limit,
    /// A path and a weight.
    DeviceWeight,
    /// A path and a rate, such as `/dev/sda 10M`.
    DeviceRate,
}

impl Shape {
    /// The form in words; empty for [`Shape::Any`].
    pub fn describe(self) -> String {
        match self {
            Self::Any => String::new(),
            Self::OneOf(words) => {
                format!(
                    "one of {}",
                    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
                )
            }
            Self::Integer => "a whole number".to_owned(),
            Self::Size => "a size such as 512m".to_owned(),
            Self::Duration => "a time such as 30s or 1m30s".to_owned(),
            Self::TimeSpan => "a time span such as 5min or 1h 30min".to_owned(),
            Self::Signal => "a signal such as SIGTERM".to_owned(),
            Self::PublishedPort => {
                "[IP:][HOSTPORT[-END]:]CONTAINERPORT[-END][/tcp|/udp|/sctp], such as 8080:80".to_owned()
            }
            Self::Port => "PORT[-END][/tcp|/udp|/sctp], such as 80".to_owned(),
            Self::Ipv4 => "an IPv4 address".to_owned(),
            Self::Ipv6 => "an IPv6 address".to_owned(),
            Self::Address => "an IP address".to_owned(),
            Self::Subnet => "a network such as 10.90.0.0/24".to_owned(),
            Self::Processors => "a number of processors such as 1.5".to_owned(),
            Self::CpuSet => "numbers of processors such as 0-3,5".to_owned(),
            Self::Weight => "a number from 1 to 10000".to_owned(),
            Self::Limit => "a size such as 512m, a share of the memory such as 50%, or infinity".to_owned(),
            Self::DeviceWeight => {
                "PATH WEIGHT, such as /dev/sda 500; the path is that of a device or of a file on it"
                    .to_owned()
            }
            Self::DeviceRate => {
                "PATH RATE, such as /dev/sda 10M; K, M, G and T are thousands, millions and so on".to_owned()
            }
        }
    }

    /// How systemd writes the value in a directive of systemd.resource-control(5).
    pub(crate) fn directive(self, value: &str) -> String {
        match self {
            Self::Processors => limits::percent(value),
            Self::Limit => limits::in_bytes(value),
            _ => value.to_owned(),
        }
    }

    /// The rule that a value of another form breaks.
    pub fn rule(self) -> &'static Rule {
        match self {
            Self::Any | Self::OneOf(_) => &rules::BAD_CHOICE,
            Self::Integer | Self::Processors | Self::CpuSet | Self::Weight => &rules::BAD_NUMBER,
            Self::Size | Self::Limit => &rules::BAD_SIZE,
            Self::DeviceWeight | Self::DeviceRate => &rules::BAD_DEVICE_LIMIT,
            Self::Duration | Self::TimeSpan => &rules::BAD_DURATION,
            Self::Signal => &rules::BAD_SIGNAL,
            Self::PublishedPort | Self::Port => &rules::BAD_PORT,
            Self::Ipv4 | Self::Ipv6 | Self::Address => &rules::BAD_ADDRESS,
            Self::Subnet => &rules::BAD_SUBNET,
        }
    }

    /// Whether a value has this form.
    pub fn fits(self, value: &str) -> bool {
        match self {
            // systemd resolves no specifiers in these.
            Self::Processors => limits::is_processors(value),
            Self::CpuSet => limits::is_cpu_set(value),
            Self::Weight => limits::is_weight(value),
            Self::Limit => limits::is_limit(value),
            Self::DeviceWeight => limits::is_of_device(value, limits::is_weight),
            Self::DeviceRate => limits::is_of_device(value, limits::is_rate),
            // Looked at where it is used, which needs the number.
            Self::Any | Self::TimeSpan => true,
            _ if value.contains(['%', '$']) => true,
            Self::OneOf(words) => words.contains(&value),
            Self::Integer => value.parse::<i64>().is_ok(),
            Self::Size => value == "-1" || values::bytes(value).is_some(),
            Self::Duration => value == "disable" || is_duration(value),
            Self::Signal => is_signal(value),
            Self::PublishedPort => is_published_port(value),
            Self::Port => is_port_range(value),
            Self::Ipv4 => value.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => value.parse::<Ipv6Addr>().is_ok(),
            Self::Address => value == "none" || value.parse::<IpAddr>().is_ok(),
            Self::Subnet => is_subnet(value),
        }
    }
}

/// A time in Go's notation (`1h2m3.5s`), or a bare number.
fn is_duration(value: &str) -> bool {
    const UNITS: [&str; 8] = ["ns", "us", "µs", "ms", "s", "m", "h", ""];
    let mut rest = value.strip_prefix(['+', '-']).unwrap_or(value);
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        if rest[..digits].parse::<f64>().is_err() {
            return false;
        }
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        if !UNITS.contains(&&rest[digits..unit]) {
            return false;
        }
        rest = &rest[unit..];
    }
    true
}

fn is_signal(value: &str) -> bool {
    const NAMES: [&str; 32] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "PWR", "SYS",
    ];
    if let Ok(number) = value.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let name = value.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    NAMES.contains(&name)
        || name == "IO"
        || name == "POLL"
        || name.starts_with("RTMIN")
        || name.starts_with("RTMAX")
}

fn is_published_port(value: &str) -> bool {
    let rest = match value.strip_prefix('[') {
        Some(rest) => match rest.split_once("]:") {
            Some((address, rest)) if address.parse::<Ipv6Addr>().is_ok() => rest,
            _ => return false,
        },
        None => match value.matches(':').count() {
            0 | 1 => value,
            2 => {
                let (address, rest) = value.split_once(':').unwrap_or(("", value));
                if !address.is_empty() && address.parse::<Ipv4Addr>().is_err() {
                    return false;
                }
                rest
            }
            _ => return false,
        },
    };
    match rest.split_once(':') {
        Some(("", container)) => is_port_range(container),
        Some((host, container)) => !host.contains('/') && is_port_range(host) && is_port_range(container),
        None => is_port_range(rest),
    }
}

fn is_port_range(value: &str) -> bool {
    let (ports, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
    let port =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    let range = match ports.split_once('-') {
        Some((first, last)) => {
            matches!((port(first), port(last)), (Some(first), Some(last)) if first <= last)
        }
        None => port(ports).is_some(),
    };
    range && ["tcp", "udp", "sctp"].contains(&protocol.to_ascii_lowercase().as_str())
}

fn is_subnet(value: &str) -> bool {
    let Some((address, length)) = value.split_once('/') else { return false };
    match (address.parse::<IpAddr>(), length.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(length)) => length <= 32,
        (Ok(IpAddr::V6(_)), Ok(length)) => length <= 128,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Shape::*;

    #[test]
    fn ports() {
        for good in [
            "80",
            "8080:80",
            "127.0.0.1:1:2/udp",
            "[::1]:1:2",
            "1000-1010:1000-1010",
            ":80",
            "127.0.0.1::80",
            "${P}:80",
            "80/SCTP",
        ] {
            assert!(PublishedPort.fits(good), "{good}");
        }
        for bad in
            ["", "http", "80:", "1:2:3", "65536", "80/icmp", "20-10:20-10", "1.2.3.4:1:2:3", "[::1:1:2"]
        {
            assert!(!PublishedPort.fits(bad), "{bad}");
        }
    }

    #[test]
    fn times_sizes_and_signals() {
        for good in ["30s", "1m30s", "1.5h", "disable", "0", "%i"] {
            assert!(Duration.fits(good), "{good}");
        }
        for bad in ["", "s", "1 min", "10x"] {
            assert!(!Duration.fits(bad), "{bad}");
        }
        assert!(Size.fits("512m") && Size.fits("-1") && !Size.fits("lots"));
        assert!(Signal.fits("SIGTERM") && Signal.fits("hup") && Signal.fits("15") && !Signal.fits("TREM"));
    }

    #[test]
    fn addresses() {
        assert!(Subnet.fits("10.0.0.0/24") && Subnet.fits("fd00::/64") && !Subnet.fits("10.0.0.0"));
        assert!(!Subnet.fits("10.0.0.0/33"));
        assert!(Address.fits("::1") && !Address.fits("example.org"));
    }
}
