//! HTTP with a registry: TLS, time-outs, redirects.
//!
//! Two agents are used. One talks to the registry itself, with the CAs, client certificate and
//! laxness that are configured for it. The other follows redirects and token realms to other hosts:
//! it never sends the registry's credentials or certificate, and goes only where `reach` lets it.

use std::fmt;
use std::io::{self, Read};
use std::net::Ipv6Addr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ureq::http::{Response, Uri};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, Proxy, Timeout};

use super::certificates;
use super::proxy::Proxies;
use super::reach::{Guard, Place, Reach, Refused, Role};
use super::retry::Failure;
use crate::error::{Error, Result};
use crate::pull::PullOptions;
use crate::reference::{self, Reference};

/// Most redirects of one request.
const MAX_REDIRECTS: usize = 5;
/// Longest time to make a connection, all addresses together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time for a manifest, a token or an error to arrive, once it has begun to: a registry that
/// sends a byte now and then would hold a unit's start for ever.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// Largest header of an answer, in bytes.
const MAX_HEADER: usize = 64 * 1024;

/// What to ask.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) accept: Option<&'a str>,
    /// First byte that is wanted.
    pub(super) offset: u64,
    /// What is asked for, for messages.
    pub(super) shown: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match self.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
        };
        write!(f, "{method} {}", self.path)
    }
}

/// Connections to one registry and to where it sends us.
pub(super) struct Http {
    /// Host name and port as users write them, for messages.
    registry: String,
    /// Host name and port to connect to.
    host: String,
    stall: Duration,
    own: OnceLock<Agent>,
    foreign: OnceLock<Agent>,
    certificates: certificates::Places,
    verify: bool,
    proxies: Proxies,
    /// Where the registry is, and the hosts that it may lead to wherever they are.
    place: Place,
    exempt: Arc<[String]>,
}

impl Http {
    pub(super) fn new(reference: &Reference, options: &PullOptions<'_>, insecure: bool) -> Self {
        let registry = reference.registry().to_owned();
        let host = match registry.as_str() {
            "docker.io" => "registry-1.docker.io".to_owned(),
            other => other.to_owned(),
        };
        let certificates = certificates::Places::new(options, &registry);
        Self::with(registry, host, options, certificates, !insecure)
    }

    /// For the server that has the signatures of a registry's images. It is trusted by the same authorities, and
    /// unless the user says so, never without one.
    pub(super) fn beside(reference: &Reference, host: &str, options: &PullOptions<'_>) -> Self {
        let certificates =
            certificates::Places::new(options, host).and_authorities_of(options, reference.registry());
        let verify = options.tls_verify.unwrap_or(true);
        Self::with(format!("{host} (for signatures)"), host.to_owned(), options, certificates, verify)
    }

    fn with(
        registry: String,
        host: String,
        options: &PullOptions<'_>,
        certificates: certificates::Places,
        verify: bool,
    ) -> Self {
        let stall = options.stall_timeout;
        let place = Place::new(reference::host(&host));
        Self {
            registry,
            host,
            stall,
            own: OnceLock::new(),
            foreign: OnceLock::new(),
            certificates,
            verify,
            proxies: Proxies::from_environment(),
            place,
            exempt: options.registries.hosts().map(str::to_owned).collect(),
        }
    }

    /// Sends a request and follows redirects. `authorization` goes to the registry alone.
    pub(super) fn send(
        &self,
        scheme: &str,
        request: &Request<'_>,
        authorization: Option<&str>,
    ) -> Result<Response<Body>, Failure> {
        let mut url: Uri = format!("{scheme}://{}{}", self.host, request.path)
            .parse()
            .map_err(|error| self.protocol(request, format!("{error}")))?;
        for _ in 0..=MAX_REDIRECTS {
            let own = url.authority().is_some_and(|authority| authority.as_str() == self.host)
                && url.scheme_str() == Some(scheme);
            let (agent, proxy) = self.agent_for(&url, own)?;
            // Another host, port or scheme gets no credentials.
            let authorization = authorization.filter(|_| own);
            let response = call(agent, proxy, &url, request, authorization)
                .map_err(|error| self.failure(error, &url, request))?;
            if !response.status().is_redirection() || response.status().as_u16() == 304 {
                return Ok(response);
            }
            url = self.redirected(&url, scheme, request, &response)?;
        }
        Err(self.protocol(request, "it redirects in circles".to_owned()).into())
    }

    fn redirected(
        &self,
        from: &Uri,
        scheme: &str,
        request: &Request<'_>,
        response: &Response<Body>,
    ) -> Result<Uri> {
        let location = response.headers().get("location").and_then(|value| value.to_str().ok());
        let location =
            location.ok_or_else(|| self.protocol(request, "it redirects to nowhere".to_owned()))?;
        self.target(from, scheme, request, location)
    }

    /// Where a `Location` leads: never from HTTPS to HTTP.
    fn target(&self, from: &Uri, scheme: &str, request: &Request<'_>, location: &str) -> Result<Uri> {
        let bad = |reason: String| self.protocol(request, reason);
        let target = match location.strip_prefix('/') {
            Some(rest) if !rest.starts_with('/') => {
                let authority = from.authority().map_or("", |authority| authority.as_str());
                format!("{}://{authority}{location}", from.scheme_str().unwrap_or(scheme))
            }
            _ => location.to_owned(),
        };
        let url: Uri = target.parse().map_err(|_| bad("it redirects to something that is no URL".into()))?;
        match url.scheme_str() {
            Some("https") => {}
            Some("http") if scheme == "http" => {}
            _ => return Err(bad("it redirects to somewhere without HTTPS".into())),
        }
        self.check_host(&url).map_err(bad)?;
        Ok(url)
    }

    /// A registry may send us to other hosts, but not to this one or to the cloud's metadata
    /// service, unless it is there itself.
    pub(super) fn check_host(&self, url: &Uri) -> Result<(), String> {
        let authority = url.authority().ok_or("it leads to a URL without host")?;
        if authority.as_str().contains('@') {
            return Err("it leads to a URL with credentials in it".to_owned());
        }
        // A name is judged when it is resolved (`reach`), unless a proxy does that.
        let host = authority.host();
        if host.is_empty() {
            // "https://:name" has a port of that name.
            return Err("it leads to a URL without host".to_owned());
        }
        let exempt = self.exempt.iter().any(|name| name.eq_ignore_ascii_case(host));
        match Reach::of_host(host) {
            Some(reach) if reach > self.place.reach() && !exempt => {
                let address = host.trim_matches(['[', ']']).parse().unwrap_or(Ipv6Addr::LOCALHOST.into());
                Err(Refused { host: host.to_owned(), address }.to_string())
            }
            _ => Ok(()),
        }
    }

    /// Whether a URL leads to the registry's host, at whatever port.
    pub(super) fn is_own(&self, url: &Uri) -> bool {
        url.host().is_some_and(|host| host.eq_ignore_ascii_case(reference::host(&self.host)))
    }

    /// The registry's name as users write it.
    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    /// The agent for a URL, and the proxy that the environment names for it.
    pub(super) fn agent_for(&self, url: &Uri, own: bool) -> Result<(&Agent, Option<Proxy>)> {
        let agent = if own { self.own_agent()? } else { self.foreign_agent()? };
        let registry = self.registry.clone();
        let proxy = self.proxies.of(url).map_err(|cause| Error::Unreachable { registry, cause })?;
        Ok((agent, proxy))
    }

    fn own_agent(&self) -> Result<&Agent> {
        if let Some(agent) = self.own.get() {
            return Ok(agent);
        }
        let tls = self.certificates.registry_tls(self.verify)?;
        Ok(self.own.get_or_init(|| self.agent(tls, Role::Registry)))
    }

    fn foreign_agent(&self) -> Result<&Agent> {
        if let Some(agent) = self.foreign.get() {
            return Ok(agent);
        }
        let tls = self.certificates.foreign_tls(self.verify)?;
        Ok(self.foreign.get_or_init(|| self.agent(tls, Role::Other(Arc::clone(&self.exempt)))))
    }

    fn agent(&self, tls: ureq::tls::TlsConfig, role: Role) -> Agent {
        let config = Agent::config_builder()
            .tls_config(tls)
            // By URL, see `agent_for`.
            .proxy(None)
            .max_response_header_size(MAX_HEADER)
            .user_agent(concat!("sampan/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_send_request(Some(self.stall))
            .timeout_recv_response(Some(self.stall))
            .timeout_per_read(Some(self.stall))
            .build();
        let guard = Guard::new(self.place.clone(), role);
        Agent::with_parts(config, DefaultConnector::default(), guard)
    }

    /// Reads a small answer, one byte more than `bound` at most, in bounded time.
    pub(super) fn read_document(&self, body: Body, bound: u64) -> io::Result<Vec<u8>> {
        let mut reader = body.into_reader().take(bound + 1);
        let (mut bytes, mut buffer) = (Vec::new(), [0; 8192]);
        let started = Instant::now();
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(bytes),
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if started.elapsed() > self.stall.max(DOCUMENT_TIMEOUT.min(4 * self.stall)) {
                return Err(ureq::Error::Timeout(Timeout::RecvBody).into_io());
            }
        }
    }

    /// An error of a transfer that had begun.
    pub(super) fn body_error(&self, error: io::Error, what: &str, received: u64, expected: u64) -> Error {
        let what = what.to_owned();
        let registry = self.registry.clone();
        match error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
            Some(ureq::Error::Timeout(_)) => Error::Stalled { registry, what, timeout: self.stall },
            _ => Error::Broken { registry, what, received, expected, cause: error.to_string() },
        }
    }

    pub(super) fn failure(&self, error: ureq::Error, url: &Uri, request: &Request<'_>) -> Failure {
        let registry = if self.is_own(url) {
            self.registry.clone()
        } else {
            format!("{} (to {})", self.registry, url.host().unwrap_or_default())
        };
        let through = match self.proxies.of(url) {
            Ok(Some(proxy)) => format!(" (through the proxy {}:{})", proxy.host(), proxy.port()),
            _ => String::new(),
        };
        let unreachable =
            |cause: String| Error::Unreachable { registry: registry.clone(), cause: cause + &through };
        match error {
            ureq::Error::Timeout(Timeout::Resolve) => {
                Failure::passing(unreachable("its name could not be resolved in time".into()), None)
            }
            ureq::Error::Timeout(Timeout::Connect) => {
                let cause = format!("no connection within {} s", CONNECT_TIMEOUT.as_secs());
                Failure::passing(unreachable(cause), None)
            }
            ureq::Error::Timeout(_) => {
                let what = request.to_string();
                Failure::passing(Error::Stalled { registry, what, timeout: self.stall }, None)
            }
            ureq::Error::HostNotFound => {
                Failure::passing(unreachable("no such host; check the name and DNS".into()), None)
            }
            ureq::Error::Rustls(error) => tls_failure(&error, unreachable),
            ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(error) => tls_failure(error, unreachable),
                None => Failure::passing(unreachable(error.to_string()), None).with_plain_http(true),
            },
            ureq::Error::ConnectProxyFailed(said) if said.contains("407") => {
                Failure::lasting(unreachable("the proxy wants other credentials, or any".into()))
            }
            // Not our text alone: it may have been the registry that led us there.
            ureq::Error::Other(error) => match error.downcast::<Refused>() {
                Ok(refused) => Failure::lasting(self.protocol(request, refused.to_string())),
                Err(error) => Failure::lasting(unreachable(error.to_string())),
            },
            ureq::Error::LargeResponseHeader(..) => {
                let detail = format!("its header has more than {MAX_HEADER} bytes");
                Failure::lasting(self.protocol(request, detail))
            }
            ureq::Error::Protocol(error) => {
                Failure::passing(self.protocol(request, format!("it is no valid HTTP: {error}")), None)
            }
            error => Failure::passing(unreachable(error.to_string()), None),
        }
    }

    pub(super) fn protocol(&self, request: &Request<'_>, detail: String) -> Error {
        Error::Protocol { registry: self.registry.clone(), request: request.to_string(), detail }
    }
}

fn tls_failure(error: &rustls::Error, unreachable: impl Fn(String) -> Error) -> Failure {
    match error {
        rustls::Error::InvalidMessage(_) => {
            let cause = "it does not speak TLS; if it is meant to be used without, set \
                         \"insecure = true\" for it in registries.conf";
            Failure::lasting(unreachable(cause.to_owned())).with_plain_http(true)
        }
        error => {
            let cause = format!("{error}; if it has a CA of its own, put that into /etc/containers/certs.d");
            Failure::lasting(unreachable(cause))
        }
    }
}

fn call(
    agent: &Agent,
    proxy: Option<Proxy>,
    url: &Uri,
    request: &Request<'_>,
    authorization: Option<&str>,
) -> Result<Response<Body>, ureq::Error> {
    let mut call = match request.method {
        Method::Get => agent.get(url),
        Method::Head => agent.head(url),
    };
    call = call.config().proxy(proxy).build();
    if let Some(accept) = request.accept {
        call = call.header("accept", accept);
    }
    if request.offset > 0 {
        call = call.header("range", format!("bytes={}-", request.offset));
    }
    if let Some(authorization) = authorization {
        call = call.header("authorization", authorization);
    }
    call.call()
}

/// A URL that a public registry sends, for `fuzzing`: what is accepted is public and without
/// credentials, what is not has an error of one line.
pub(crate) fn fuzz(url: &str) {
    let registries = crate::Registries::empty();
    let policy = crate::Policy::accept_anything();
    let Ok(reference) = Reference::parse("quay.io/a/b") else { return };
    let http = Http::new(&reference, &PullOptions::new(&registries, &policy), false);
    let request = Request {
        method: Method::Get,
        path: "/v2/".to_owned(),
        accept: None,
        offset: 0,
        shown: String::new(),
    };
    let from = Uri::from_static("https://quay.io/v2/");
    match http.target(&from, "https", &request, url) {
        Ok(url) => {
            assert_eq!(url.scheme_str(), Some("https"));
            let host = url.host().unwrap_or_default();
            assert!(
                !host.is_empty() && Reach::of_host(host).is_none_or(|reach| reach == Reach::Public),
                "{url}"
            );
            assert!(!url.authority().is_some_and(|authority| authority.as_str().contains('@')));
        }
        Err(error) => crate::fuzzing::one_line(&error.to_string()),
    }
}
