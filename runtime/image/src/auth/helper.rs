//! Programs that keep credentials: `docker-credential-NAME`
//! ([protocol](https://github.com/docker/docker-credential-helpers#development)).
//!
//! A helper is told what to do by its one argument; everything else goes through its standard
//! input and output, which no other process can read.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::Secret;
use crate::error::{Error, Result};
use crate::pull::Credentials;

/// User name that stands for a refresh token.
const TOKEN: &str = "<token>";
/// Longest answer of a helper that is read, in bytes.
const MAX_ANSWER: u64 = 1 << 20;
/// What a helper says when it has no credentials for a registry.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The name under which Docker keeps the credentials of its hub.
const HUB: &str = "https://index.docker.io/v1/";

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(default, rename = "ServerURL")]
    server: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// What a helper has for a registry.
pub(super) fn get(helper: &str, registry: &str) -> Result<Option<Secret>> {
    let hub = (registry == "docker.io").then_some(HUB);
    for server in std::iter::once(registry).chain(hub) {
        let Some(answer) = ask(helper, "get", server.as_bytes())? else { continue };
        // The parser's message could quote the secret.
        let entry: Entry = serde_json::from_slice(&answer)
            .map_err(|_| failed(helper, "get", "its answer is no JSON of the protocol"))?;
        return Ok(match (&*entry.username, entry.secret.is_empty()) {
            (_, true) => None,
            (TOKEN, false) => Some(Secret::Identity(entry.secret)),
            _ => Some(Secret::Basic(Credentials { user: entry.username, password: entry.secret })),
        });
    }
    Ok(None)
}

/// Gives a helper credentials to keep.
pub(super) fn store(helper: &str, registry: &str, credentials: &Credentials) -> Result<()> {
    let entry = Entry {
        server: registry.to_owned(),
        username: credentials.user.clone(),
        secret: credentials.password.clone(),
    };
    // Three strings always have a JSON form.
    let text = serde_json::to_vec(&entry).unwrap_or_default();
    ask(helper, "store", &text).map(drop)
}

/// Makes a helper forget a registry; whether it knew it.
pub(super) fn erase(helper: &str, registry: &str) -> Result<bool> {
    if get(helper, registry)?.is_none() {
        return Ok(false);
    }
    let mut erased = ask(helper, "erase", registry.as_bytes())?.is_some();
    if registry == "docker.io" {
        erased |= ask(helper, "erase", HUB.as_bytes())?.is_some();
    }
    Ok(erased)
}

/// Makes a helper forget everything.
pub(super) fn erase_all(helper: &str) -> Result<()> {
    let answer = ask(helper, "list", b"")?.unwrap_or_default();
    let servers: BTreeMap<String, String> = serde_json::from_slice(&answer)
        .map_err(|_| failed(helper, "list", "its answer is no JSON of the protocol"))?;
    servers.keys().try_for_each(|server| ask(helper, "erase", server.as_bytes()).map(drop))
}

/// Runs a helper; `None` when it says that it has no such credentials.
fn ask(helper: &str, action: &str, input: &[u8]) -> Result<Option<Vec<u8>>> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if helper.is_empty() || !helper.bytes().all(word) {
        return Err(failed(helper, action, "this is no name of a credential helper"));
    }
    let program = format!("docker-credential-{helper}");
    let mut child = Command::new(&program)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // It would go to the journal, and nobody knows what is in it.
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(helper, action, &format!("{program} cannot be run: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read its input says why by its status.
        let _ = stdin.write_all(input);
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let read = stdout.take(MAX_ANSWER).read_to_end(&mut answer);
        read.map_err(|error| failed(helper, action, &error.to_string()))?;
    }
    let status = child.wait().map_err(|error| failed(helper, action, &error.to_string()))?;
    if status.success() {
        return Ok(Some(answer));
    }
    if String::from_utf8_lossy(&answer).contains(NOT_FOUND) {
        return Ok(None);
    }
    // What it printed may be a credential.
    Err(failed(helper, action, &format!("it ended with {status}")))
}

fn failed(helper: &str, action: &str, reason: &str) -> Error {
    Error::CredentialHelper {
        helper: helper.chars().filter(|character| !character.is_control()).take(64).collect(),
        action: action.to_owned(),
        reason: reason.to_owned(),
    }
}
