//! What a registry has, without fetching it.

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::pull::{PullOptions, at_candidates, at_endpoints};
use crate::reference::Reference;
use crate::source::Source;
use crate::transport::Transport;

/// The digest that the registry has for a name now: one `HEAD` request, and where the registry doesn't answer those the
/// manifest itself.
///
/// # Errors
/// The registry's; [`Error::Blocked`].
pub fn tag_digest(name: &Reference, options: &PullOptions<'_>) -> Result<Digest> {
    at_endpoints(options, name, |client| match client.known_digest() {
        Ok(Some(digest)) => Ok(digest),
        Ok(None) | Err(Error::Protocol { .. }) => Ok(Digest::of(&client.root()?.bytes)),
        Err(error) => Err(error),
    })
}

/// All tags of a repository, each as a complete name, in the registry's order. The tag or digest that `source` has
/// itself doesn't matter.
///
/// # Errors
/// `source` is no registry's; the registry's; [`Error::Blocked`].
pub fn tags(source: &Source, options: &PullOptions<'_>) -> Result<Vec<Reference>> {
    let Source::Registry { candidates } = source else {
        return Err(Error::reference(&source.to_string(), "only a registry has tags to list"));
    };
    at_candidates(candidates, |name| {
        let tags = at_endpoints(options, name, |client| client.tags())?;
        tags.iter().map(|tag| Reference::parse(&format!("{}:{tag}", name.repository()))).collect()
    })
}
