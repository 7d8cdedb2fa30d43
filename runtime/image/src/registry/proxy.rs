//! Proxies that the environment names, with the meaning that they have for Podman and Docker
//! ([Go's httpproxy](https://pkg.go.dev/golang.org/x/net/http/httpproxy)): `HTTPS_PROXY` and
//! `HTTP_PROXY` by the scheme of what is asked for, `NO_PROXY` for what is asked for directly; each
//! in lower case too. This machine itself is never asked for through a proxy.
//!
//! A proxy is asked for a tunnel (`CONNECT`) in both cases. Its password stays out of messages.

use std::net::IpAddr;

use ureq::http::Uri;
use ureq::{Proxy, ProxyProtocol};

use super::reach::Reach;
use crate::reference;

/// The environment's proxies. A value that is no proxy is an error where it would be used.
#[derive(Debug)]
pub(super) struct Proxies {
    https: Named,
    http: Named,
    direct: Vec<Direct>,
}

type Named = Result<Option<Proxy>, String>;

/// A pattern of `NO_PROXY`, and the port that it is for.
#[derive(Debug, PartialEq, Eq)]
struct Direct {
    pattern: Pattern,
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum Pattern {
    Everything,
    /// Address and the number of its bits that count.
    Network(IpAddr, u32),
    /// A name without a leading dot; whether it stands for itself too, besides all names below it.
    Domain(String, bool),
}

impl Proxies {
    pub(super) fn from_environment() -> Self {
        Self::new(&|name| std::env::var(name).ok())
    }

    fn new(get: &dyn Fn(&str) -> Option<String>) -> Self {
        let either = |name: &'static str| {
            let filled = |name: &str| get(name).filter(|value| !value.is_empty());
            filled(name).or_else(|| filled(&name.to_ascii_lowercase()))
        };
        let named = |name: &'static str| either(name).map(|value| proxy(name, &value)).transpose();
        let direct = either("NO_PROXY").unwrap_or_default();
        Self {
            https: named("HTTPS_PROXY"),
            http: named("HTTP_PROXY"),
            direct: direct.split(',').filter_map(Direct::parse).collect(),
        }
    }

    /// The proxy for a URL; none if it is to be reached directly.
    ///
    /// # Errors
    /// What is wrong with the variable.
    pub(super) fn of(&self, url: &Uri) -> Named {
        let is_https = url.scheme_str() == Some("https");
        let named = if is_https { &self.https } else { &self.http };
        let host = url.host().unwrap_or_default();
        let port = url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let here = Reach::of_host(host) == Some(Reach::Local);
        if here || self.direct.iter().any(|direct| direct.matches(host, port)) {
            return Ok(None);
        }
        named.clone()
    }
}

/// A proxy of ureq's. The value may have a password in it and is never quoted.
fn proxy(variable: &str, value: &str) -> Result<Proxy, String> {
    let (scheme, _) = value.split_once("://").unwrap_or(("http", value));
    if scheme.starts_with("socks") {
        return Err(format!("${variable} names a SOCKS proxy, which is not supported; use an HTTP proxy"));
    }
    let bad = || format!("${variable} is not the URL of a proxy (http://host:port or https://host:port)");
    let proxy = Proxy::new(value).map_err(|_| bad())?;
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Https if !proxy.host().is_empty() => Ok(proxy),
        _ => Err(bad()),
    }
}

impl Direct {
    /// `None` for what matches nothing.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text == "*" {
            return Some(Self { pattern: Pattern::Everything, port: None });
        }
        if let Some((address, bits)) = text.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(address))?;
            return Some(Self { pattern: Pattern::Network(address, bits), port: None });
        }
        let bare: Result<IpAddr, _> = text.parse();
        let (host, port) = match reference::host(&text) {
            _ if bare.is_ok() => (text.as_str(), None),
            host if host.len() < text.len() => (host, Some(text[host.len() + 1..].parse().ok()?)),
            host => (host, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self { pattern: Pattern::Network(address, width(address)), port });
        }
        let host = host.strip_prefix('*').unwrap_or(host);
        let name = host.strip_prefix('.');
        let pattern = Pattern::Domain(name.unwrap_or(host).to_owned(), name.is_none());
        (!name.unwrap_or(host).is_empty()).then_some(Self { pattern, port })
    }

    fn matches(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|wanted| wanted != port) {
            return false;
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        match &self.pattern {
            Pattern::Everything => true,
            Pattern::Network(network, bits) => {
                host.parse().is_ok_and(|address| prefix(address, *bits) == prefix(*network, *bits))
            }
            Pattern::Domain(domain, itself) => {
                let host = host.to_ascii_lowercase();
                match host.strip_suffix(domain.as_str()) {
                    Some("") => *itself,
                    Some(below) => below.ends_with('.'),
                    None => false,
                }
            }
        }
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Family and first bits of an address.
fn prefix(address: IpAddr, bits: u32) -> (bool, u128) {
    let number = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let cut = width(address).saturating_sub(bits);
    (address.is_ipv4(), number.checked_shr(cut).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let get =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Proxies::new(&get)
    }

    fn host_for(proxies: &Proxies, url: &str) -> Option<String> {
        let proxy = proxies.of(&url.parse().unwrap()).unwrap()?;
        Some(format!("{}:{}", proxy.host(), proxy.port()))
    }

    #[test]
    fn the_scheme_decides_and_both_spellings_count() {
        let both = proxies(&[("HTTPS_PROXY", "http://s:3128"), ("http_proxy", "p"), ("HTTP_PROXY", "")]);
        assert_eq!(host_for(&both, "https://quay.io/x").unwrap(), "s:3128");
        assert_eq!(host_for(&both, "http://quay.io/x").unwrap(), "p:80");
        for here in ["http://localhost:5000/", "https://127.0.0.1/", "https://[::1]:5000/"] {
            assert_eq!(host_for(&both, here), None, "{here}");
        }
        let none = proxies(&[("ALL_PROXY", "http://x:1")]);
        assert_eq!(host_for(&none, "https://quay.io/"), None);
        let upper = proxies(&[("HTTPS_PROXY", "http://upper:1"), ("https_proxy", "http://lower:1")]);
        assert_eq!(host_for(&upper, "https://quay.io/").unwrap(), "upper:1");
    }

    #[test]
    fn what_is_direct() {
        let direct = |list: &str, url: &str| {
            let named = proxies(&[("HTTPS_PROXY", "http://p:1"), ("no_proxy", list)]);
            host_for(&named, url).is_none()
        };
        for (list, url) in [
            ("*", "https://quay.io/"),
            ("quay.io", "https://quay.io/"),
            ("quay.io", "https://cdn.quay.io/"),
            (" Quay.IO , x", "https://QUAY.io/"),
            (".quay.io", "https://cdn.quay.io/"),
            ("*.quay.io", "https://cdn.quay.io/"),
            ("quay.io:8443", "https://quay.io:8443/"),
            ("quay.io:443", "https://quay.io/"),
            ("10.0.0.0/8", "https://10.200.1.1:5000/"),
            ("10.1.2.3", "https://10.1.2.3/"),
            ("10.1.2.3:5000", "https://10.1.2.3:5000/"),
            ("fd00::/8", "https://[fd12::1]:5000/"),
            ("fd12::1", "https://[fd12::1]/"),
            ("[fd12::1]:5000", "https://[fd12::1]:5000/"),
            ("0.0.0.0/0", "https://8.8.8.8/"),
        ] {
            assert!(direct(list, url), "{list} {url}");
        }
        for (list, url) in [
            ("", "https://quay.io/"),
            (".", "https://quay.io/"),
            ("uay.io", "https://quay.io/"),
            (".quay.io", "https://quay.io/"),
            ("quay.io:8443", "https://quay.io/"),
            ("quay.io:x", "https://quay.io/"),
            ("10.0.0.0/8", "https://11.0.0.1/"),
            ("10.0.0.0/8", "https://ten.example/"),
            ("10.0.0.0/33", "https://10.0.0.1/"),
            ("::/0", "https://10.0.0.1/"),
            ("0.0.0.0/0", "https://[2001:db8::1]/"),
        ] {
            assert!(!direct(list, url), "{list} {url}");
        }
    }

    #[test]
    fn a_value_that_is_no_proxy_is_named_but_not_quoted() {
        for value in
            ["socks5://user:hunter2@p:1", "ftp://user:hunter2@p", "http://user:hunter2@", "http://a b"]
        {
            let named = proxies(&[("https_proxy", value)]);
            let message = named.of(&"https://quay.io/".parse().unwrap()).unwrap_err();
            assert!(message.contains("$HTTPS_PROXY") && !message.contains("hunter2"), "{message}");
            assert!(named.of(&"http://quay.io/".parse().unwrap()).unwrap().is_none(), "it is for HTTPS");
        }
    }
}
