//! `WWW-Authenticate` challenges
//! ([RFC 9110, 11.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1)) and the answers to
//! them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::pull::Credentials;

/// One challenge: a scheme and its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

/// Where a token is to be had
/// ([token specification](https://distribution.github.io/distribution/spec/auth/token/)).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bearer<'a> {
    pub(super) realm: &'a str,
    pub(super) service: Option<&'a str>,
    pub(super) scope: Option<&'a str>,
}

impl Challenge {
    /// Parses the first challenge of a header; `None` if it is malformed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, mut rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parameters = Vec::new();
        loop {
            rest = rest.trim_start_matches([' ', ',', '\t']);
            let Some((key, value)) = rest.split_once('=') else { break };
            let key = key.trim();
            if key.is_empty() || key.contains(' ') {
                // The next challenge of the same header begins here.
                break;
            }
            let (value, after) = match value.strip_prefix('"') {
                Some(quoted) => unquote(quoted)?,
                None => {
                    let end = value.find([',', ' ']).unwrap_or(value.len());
                    (value[..end].to_owned(), &value[end..])
                }
            };
            parameters.push((key.to_ascii_lowercase(), value));
            rest = after;
        }
        (!scheme.is_empty()).then(|| Self { scheme: scheme.to_ascii_lowercase(), parameters })
    }

    pub(super) fn is_basic(&self) -> bool {
        self.scheme == "basic"
    }

    pub(super) fn bearer(&self) -> Option<Bearer<'_>> {
        let get =
            |name: &str| self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        (self.scheme == "bearer").then(|| get("realm")).flatten().map(|realm| Bearer {
            realm,
            service: get("service"),
            scope: get("scope"),
        })
    }
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[position + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// The `Authorization` header for user and password.
pub(super) fn basic(credentials: &Credentials) -> String {
    let text = format!("{}:{}", credentials.user, credentials.password);
    format!("Basic {}", STANDARD.encode(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_parsed() {
        let text = r#"Bearer realm="https://auth.io/token",service="r.io", scope="repository:a/b:pull,push""#;
        let challenge = Challenge::parse(text).unwrap();
        let bearer = challenge.bearer().unwrap();
        assert_eq!(bearer.realm, "https://auth.io/token");
        assert_eq!(bearer.service, Some("r.io"));
        assert_eq!(bearer.scope, Some("repository:a/b:pull,push"));
        assert!(Challenge::parse("Basic realm=\"x\\\"y\"").unwrap().is_basic());
        assert!(Challenge::parse("Basic").unwrap().is_basic());
        assert!(Challenge::parse("bearer service=x").unwrap().bearer().is_none());
    }

    #[test]
    fn malformed_challenges_do_no_harm() {
        for text in ["", " ", "=", "Bearer realm=\"", "Bearer =x", "Bearer realm=\"a\\", "é=\"é"] {
            let challenge = Challenge::parse(text);
            assert!(challenge.is_none_or(|challenge| challenge.bearer().is_none()), "{text}");
        }
    }
}
