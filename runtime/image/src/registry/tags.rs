//! The list of a repository's tags, page by page
//! ([distribution spec](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags)).

use std::io::Read;

use serde::Deserialize;
use ureq::http::Response;

use super::Client;
use super::http::{Method, Request};
use crate::error::{Error, Result};

/// How many tags are asked for at once.
const PAGE: usize = 1000;
/// Most tags of a repository: each of them would be pulled.
const MAX_TAGS: usize = 10_000;
/// Largest page, in bytes.
const MAX_PAGE: u64 = 4 * 1024 * 1024;

#[derive(Deserialize)]
struct Page {
    /// Some registries write `null` where there are none.
    tags: Option<Vec<String>>,
}

impl Client<'_> {
    /// All tags, in the registry's order.
    ///
    /// # Errors
    /// The registry's; more than [`MAX_TAGS`].
    pub(crate) fn tags(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        let mut path = self.path(&format!("tags/list?n={PAGE}"));
        loop {
            let request = Request {
                method: Method::Get,
                path: path.clone(),
                accept: Some("application/json"),
                offset: 0,
                shown: self.reference.repository(),
            };
            let bad = |detail: String| Error::Protocol {
                registry: self.reference.registry().to_owned(),
                request: request.to_string(),
                detail,
            };
            let (head, body) = self.send(&request)?.into_parts();
            let mut bytes = Vec::new();
            let read = body.into_reader().take(MAX_PAGE).read_to_end(&mut bytes);
            read.map_err(|error| self.http.body_error(error, "list of tags", bytes.len() as u64, 0))?;
            let page: Page = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
            let tags = page.tags.unwrap_or_default();
            let is_empty = tags.is_empty();
            all.extend(tags);
            if all.len() > MAX_TAGS {
                return Err(bad(format!(
                    "there are more than {MAX_TAGS} tags; pull those that are needed by name"
                )));
            }
            match next(&Response::from_parts(head, ())) {
                Some(_) if is_empty => return Err(bad("an empty page leads to another one".to_owned())),
                Some(link) => {
                    path = self.page(&link).ok_or_else(|| bad(format!("the next page is {link}")))?
                }
                None => return Ok(all),
            }
        }
    }

    /// The path and query of a further page, which must be one of the same list.
    fn page(&self, link: &str) -> Option<String> {
        let list = self.path("tags/list");
        // Relative to the page, or to the registry, or a whole URL.
        let (place, query) = link.split_once('?')?;
        let place = match place.split_once("://") {
            Some((_, rest)) => &rest[rest.find('/')?..],
            None => place,
        };
        let is_the_list = place.is_empty() || place == "list" || place == list;
        let is_plain = query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        (is_the_list && is_plain).then(|| format!("{list}?{query}"))
    }
}

/// The target of `Link: <…>; rel="next"`
/// ([RFC 8288](https://www.rfc-editor.org/rfc/rfc8288)).
fn next<T>(response: &Response<T>) -> Option<String> {
    let links = response.headers().get_all("link").iter().filter_map(|value| value.to_str().ok());
    links.flat_map(|value| value.split(", <")).find_map(|link| {
        let (target, parameters) = link.trim_start_matches('<').split_once('>')?;
        let is_next = parameters.split(';').map(str::trim).any(|p| p == "rel=next" || p == "rel=\"next\"");
        is_next.then(|| target.to_owned())
    })
}
