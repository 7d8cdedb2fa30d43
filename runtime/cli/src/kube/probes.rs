//! Probes become health checks: a program that a timer runs in the container, as Podman does it.

use super::model::{Container, HttpAction, Probe, TcpAction};
use super::read::{Scalar, Source};
use super::yaml::{At, Problem};

/// Kubernetes reference, "Probe": the defaults.
const PERIOD: i64 = 10;
const TIMEOUT: i64 = 1;
const FAILURES: i64 = 3;

/// A container's check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// The words of `sampan run`.
    pub(crate) words: Vec<String>,
    /// Seconds between checks.
    pub(crate) period: u64,
}

/// The container's liveness probe; its startup probe gives it time.
///
/// # Errors
/// A probe that does nothing, or with a number that makes no sense.
pub(crate) fn check(
    container: &Container,
    restarts: bool,
    path: &str,
    source: &Source<'_>,
) -> Result<Option<Check>, Problem> {
    let Some(probe) = &container.liveness_probe else {
        if let Some(startup) = &container.startup_probe {
            source.note(startup.at, format!("{path}.startupProbe has no effect without a livenessProbe"));
        }
        return Ok(None);
    };
    let path_of = |name: &str| format!("{path}.{name}");
    let command = command(probe, container, &path_of("livenessProbe"), source)?;
    let number = |value: &Option<super::read::Number>, default: i64, least: i64| match value {
        None => Ok(default),
        Some(value) if value.value >= least => Ok(value.value),
        Some(value) => {
            Err(source.problem(value.at, format!("{path}: a probe's number must be {least} or more")))
        }
    };
    let period = number(&probe.period, PERIOD, 1)?;
    let mut grace = number(&probe.initial_delay, 0, 0)?;
    if let Some(startup) = &container.startup_probe {
        // While it may still start, failures don't count; the check itself is the liveness probe's.
        let failures = number(&startup.failure_threshold, FAILURES, 1)?;
        let wait = failures.saturating_mul(number(&startup.period, PERIOD, 1)?);
        grace = grace.max(number(&startup.initial_delay, 0, 0)?.saturating_add(wait));
    }
    let failures = number(&probe.failure_threshold, FAILURES, 1)?;
    let timeout = number(&probe.timeout, TIMEOUT, 1)?;
    let action = if restarts { "restart" } else { "kill" };
    let words = [
        ("--health-cmd", command),
        ("--health-interval", format!("{period}s")),
        ("--health-timeout", format!("{timeout}s")),
        ("--health-retries", failures.to_string()),
        ("--health-start-period", format!("{grace}s")),
        ("--health-on-failure", action.to_owned()),
    ];
    let words = words.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect();
    Ok(Some(Check { words, period: period.unsigned_abs() }))
}

/// The command as a JSON array.
fn command(probe: &Probe, container: &Container, path: &str, source: &Source<'_>) -> Result<String, Problem> {
    let words: Vec<String> = match (&probe.exec, &probe.http_get, &probe.tcp_socket) {
        (Some(exec), None, None) if !exec.command.is_empty() => {
            exec.command.iter().map(|word| word.value.clone()).collect()
        }
        (None, Some(http), None) => page(http, probe.at, container, path, source)?,
        (None, None, Some(tcp)) => connection(tcp, probe.at, container, path, source)?,
        _ => {
            let reason =
                format!("{path} must have exactly one of exec (with a command), httpGet and tcpSocket");
            return Err(source.problem(probe.at, reason));
        }
    };
    Ok(serde_json::Value::from([vec!["CMD".to_owned()], words].concat()).to_string())
}

/// curl(1), or wget(1) where there is none: one of them must be in the image. The values are arguments, so that
/// no shell reads them.
fn page(
    http: &HttpAction,
    at: At,
    container: &Container,
    path: &str,
    source: &Source<'_>,
) -> Result<Vec<String>, Problem> {
    let port = port(&http.port, at, container, path, source)?;
    let scheme = match http.scheme.as_deref().map_or("HTTP", String::as_str) {
        "HTTP" => "http",
        "HTTPS" => "https",
        other => {
            return Err(
                source.problem(http.at, format!("{path}.httpGet.scheme is \"{other}\", not HTTP or HTTPS"))
            );
        }
    };
    let host = http.host.as_deref().map_or("localhost", String::as_str);
    let place = http.path.as_deref().map_or("/", String::as_str);
    let slash = if place.starts_with('/') { "" } else { "/" };
    if !http.headers.is_empty() {
        source.note(http.at, format!("{path}.httpGet.httpHeaders has no effect here"));
    }
    let script = "if command -v curl >/dev/null; then exec curl -fsSk -o /dev/null \"$1\"; \
                  else exec wget -q -O /dev/null \"$1\"; fi";
    let url = format!("{scheme}://{host}:{port}{slash}{place}");
    Ok(["/bin/sh", "-c", script, "sh", &url].map(str::to_owned).to_vec())
}

/// nc(1) must be in the image.
fn connection(
    tcp: &TcpAction,
    at: At,
    container: &Container,
    path: &str,
    source: &Source<'_>,
) -> Result<Vec<String>, Problem> {
    let port = port(&tcp.port, at, container, path, source)?;
    let host = tcp.host.as_deref().map_or("localhost", String::as_str);
    Ok(["/bin/sh", "-c", "exec nc -z \"$1\" \"$2\"", "sh", host, &port.to_string()]
        .map(str::to_owned)
        .to_vec())
}

/// A number, or the port of the container that has this name.
fn port(
    port: &Option<Scalar>,
    at: At,
    container: &Container,
    path: &str,
    source: &Source<'_>,
) -> Result<u16, Problem> {
    let Some(Scalar(text)) = port else {
        return Err(source.problem(at, format!("{path} has no port")));
    };
    let by_name = || {
        let named = |port: &&super::model::Port| port.name.as_deref() == Some(&text.value);
        let port = container.ports.iter().find(named)?;
        u16::try_from(port.container.as_ref()?.value).ok()
    };
    match text.parse::<u16>().ok().or_else(by_name).filter(|port| *port > 0) {
        Some(port) => Ok(port),
        None => {
            let reason = format!(
                "{path}: \"{}\" is neither a port nor the name of one of the container's",
                text.value
            );
            Err(source.problem(text.at, reason))
        }
    }
}
