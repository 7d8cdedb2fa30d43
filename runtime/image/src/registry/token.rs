//! Tokens: what a registry's token server gives for credentials, or for none
//! ([token specification](https://distribution.github.io/distribution/spec/auth/token/)).

use serde::Deserialize;
use ureq::http::{Response, Uri};
use ureq::{Agent, Body, Proxy};

use super::challenge::{self, Bearer};
use super::http::{Http, Method, Request};
use super::retry::{self, Failure};
use crate::auth::Secret;
use crate::error::{Error, Result};
use crate::reference::Reference;

/// Largest answer of a token server, in bytes.
const MAX_TOKEN: u64 = 64 * 1024;

impl Http {
    /// Gets a token for pulling from the repository.
    pub(super) fn token(
        &self,
        bearer: Bearer<'_>,
        reference: &Reference,
        secret: Option<&Secret>,
        plain_http: bool,
    ) -> Result<String, Failure> {
        let realm = self.realm(bearer.realm, secret.is_some(), plain_http)?;
        let scope = match (bearer.scope, reference.path()) {
            (Some(scope), _) => Some(scope.to_owned()),
            // A login is for no repository.
            (None, "") => None,
            (None, path) => Some(format!("repository:{path}:pull")),
        };
        let mut fields: Vec<_> = scope.map(|scope| ("scope", scope)).into_iter().collect();
        fields.extend(bearer.service.map(|service| ("service", service.to_owned())));
        let (agent, proxy) = self.agent_for(&realm, self.is_own(&realm))?;
        let response = ask_for_token(agent, proxy, &realm, fields, secret).map_err(|error| {
            let request = Request {
                method: Method::Get,
                path: realm.to_string(),
                accept: None,
                offset: 0,
                shown: reference.to_string(),
            };
            self.failure(error, &realm, &request)
        })?;
        self.read_token(response, &realm)
    }

    fn read_token(&self, response: Response<Body>, realm: &Uri) -> Result<String, Failure> {
        let host = realm.host().unwrap_or_default();
        let refused = |detail: String| Error::Unauthorized {
            registry: self.registry().to_owned(),
            repository: String::new(),
            detail,
            auth_file: String::new(),
        };
        let status = response.status().as_u16();
        if status != 200 {
            let error = refused(format!("its token server {host} answered with status {status}"));
            let passing = matches!(status, 429 | 500..=599);
            let pause = retry::pause_asked_for(&response);
            return Err(if passing { Failure::passing(error, pause) } else { error.into() });
        }
        let bytes = self
            .read_document(response.into_body(), MAX_TOKEN)
            .map_err(|error| self.body_error(error, "token", 0, 0))?;
        token_in(&bytes)
            .map(|token| format!("Bearer {token}"))
            .map_err(|reason| refused(format!("its token server {host} gave {reason}")).into())
    }

    /// Checks where a registry wants its users' credentials sent to.
    fn realm(&self, realm: &str, with_credentials: bool, plain_http: bool) -> Result<Uri> {
        let bad = |reason: &str| Error::Protocol {
            registry: self.registry().to_owned(),
            request: "the request for a token".to_owned(),
            detail: reason.to_owned(),
        };
        let url: Uri = realm.parse().map_err(|_| bad("its token server is not a valid URL"))?;
        let host = url.host().unwrap_or_default();
        match url.scheme_str() {
            Some("https") => {}
            // What the registry itself gets without TLS; another host gets nothing that way.
            Some("http") if plain_http && (!with_credentials || self.is_own(&url)) => {}
            Some("http") => {
                let reason = format!("its token server {host} must be reached over HTTPS");
                return Err(bad(&reason));
            }
            _ => return Err(bad("its token server is not a URL that begins with https://")),
        }
        self.check_host(&url).map_err(|reason| bad(&format!("its token server: {reason}")))?;
        Ok(url)
    }
}

fn ask_for_token(
    agent: &Agent,
    proxy: Option<Proxy>,
    realm: &Uri,
    mut fields: Vec<(&str, String)>,
    secret: Option<&Secret>,
) -> Result<Response<Body>, ureq::Error> {
    match secret {
        Some(Secret::Identity(token)) => {
            fields.push(("grant_type", "refresh_token".to_owned()));
            fields.push(("refresh_token", token.clone()));
            fields.push(("client_id", "sampan".to_owned()));
            let post = agent.post(realm).config().proxy(proxy).build();
            post.send_form(fields.iter().map(|(key, value)| (*key, value.as_str())))
        }
        other => {
            let mut get = agent.get(realm).config().proxy(proxy).build();
            for (key, value) in &fields {
                get = get.query(key, value);
            }
            if let Some(Secret::Basic(credentials)) = other {
                get = get.header("authorization", challenge::basic(credentials));
            }
            get.call()
        }
    }
}

/// The token in an answer. A reason quotes nothing of it: it is a credential.
pub(super) fn token_in(bytes: &[u8]) -> Result<String, &'static str> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(bytes).map_err(|_| "no valid answer")?;
    let filled = |token: Option<String>| token.filter(|token| !token.is_empty());
    let token = filled(answer.token).or(filled(answer.access_token)).ok_or("no token")?;
    // It becomes part of a header.
    if token.bytes().all(|byte| byte.is_ascii_graphic()) { Ok(token) } else { Err("no valid token") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::PullOptions;

    #[test]
    fn realms_of_a_public_registry_stay_public() {
        let registries = crate::Registries::empty();
        let policy = crate::Policy::accept_anything();
        let options = PullOptions::new(&registries, &policy);
        let http = Http::new(&Reference::parse("quay.io/a/b").unwrap(), &options, false);
        assert!(http.realm("https://auth.quay.io/token", true, false).is_ok());
        assert!(http.realm("http://quay.io/token", true, true).is_ok(), "it got them without TLS before");
        assert!(http.realm("http://auth.quay.io/token", false, true).is_ok());
        assert!(http.realm("http://auth.quay.io/token", true, true).is_err());
        for realm in [
            "http://auth.quay.io/token",
            "https://169.254.169.254/latest",
            "https://10.0.0.1/token",
            "https://user:hunter2@auth.quay.io/",
            "file:///etc/passwd",
            "//x",
            "",
            "https://[::1]/",
            "https://localhost./",
            "https://:auth.quay.io/",
            "https://[::ffff:127.0.0.1]/",
        ] {
            let error = http.realm(realm, true, false).expect_err(realm);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn tokens_are_read_and_never_quoted() {
        assert_eq!(token_in(br#"{"token":"a","access_token":"b"}"#).unwrap(), "a");
        assert_eq!(token_in(br#"{"token":"","access_token":"b","x":[]}"#).unwrap(), "b");
        for bad in [
            &b""[..],
            b"null",
            br#"{"token":"hunter2"#,
            br#"{"token":["hunter2"]}"#,
            br#"{"token":"a\r\nHost: x"}"#,
            br#"{"token":"hunter2 \u00e9"}"#,
            br#"{"token":"hunter2","token":"other"}"#,
            br#"{"access_token":""}"#,
        ] {
            let reason = token_in(bad).unwrap_err();
            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }
}
