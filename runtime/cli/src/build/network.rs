//! The network of a build's RUN instructions: a namespace connected to networks of ours, for as long as it builds.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};

use anyhow::Context as _;
use oci_spec::runtime::LinuxNamespaceType as Kind;
use sampan_container::shared::{Namespaces, Wanted};
use sampan_image::{Digest, Reference};
use sampan_network::{Holder, Lease, Networks};

use super::Options;
use crate::blame::Blamed as _;
use crate::context::Context;
use crate::run::groups::Networking;
use crate::run::network::{self, Network as Asked};

/// What buildah is told, and what has to be given back.
#[derive(Debug)]
pub(super) struct Network {
    options: Vec<String>,
    made: Option<Made>,
}

#[derive(Debug)]
struct Made {
    holder: String,
    _namespaces: Namespaces,
    _lock: File,
}

impl Network {
    /// Makes the namespace and connects it; for the host's network and for none nothing is made.
    ///
    /// # Errors
    /// No such network; whatever keeps it from being joined.
    pub(super) fn prepare(options: &Options, tags: &[Reference], context: &Context) -> anyhow::Result<Self> {
        let wanted = Networking { network: options.networks.clone(), ..Networking::default() };
        let default = context.networks()?.default_name()?;
        let plan = network::plan(&wanted, &default, &[], None, context)?;
        let mut dns = options.dns.clone();
        let (word, made) = match plan.network {
            Asked::Host => ("host".to_owned(), None),
            Asked::None => ("none".to_owned(), None),
            Asked::Path(path) => (format!("ns:{path}"), None),
            Asked::Joined(requests) => {
                // The same build has the same holder: what a killed one has left is given back first.
                let holder = Holder { id: holder(tags), name: "build".to_owned() };
                let path = context.runroot().join(format!("{}.lock", holder.id));
                let lock = File::options().write(true).create(true).truncate(false).open(&path);
                let lock = lock.with_context(|| format!("opening {}", path.display()))?;
                lock.lock().with_context(|| format!("locking {}", path.display()))?;
                let networks = context.networks()?;
                let lease = networks.reserve(&holder, &requests, &[]);
                let lease = lease.map_err(|error| network::blame(error, &wanted))?;
                let namespaces = match connected(&networks, &lease) {
                    Ok(namespaces) => namespaces,
                    Err(error) => {
                        // The error says why; what a failed clean-up leaves, the next build of the name gives back.
                        if let Err(leftover) = networks.release(&holder.id) {
                            log::warn!("{leftover}");
                        }
                        return Err(error);
                    }
                };
                let netns = namespaces.get(Kind::Network).context("a network namespace was made")?;
                if dns.is_empty() {
                    dns.extend(lease.dns_servers.iter().map(ToString::to_string));
                }
                let word = format!("ns:/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd());
                (word, Some(Made { holder: holder.id, _namespaces: namespaces, _lock: lock }))
            }
        };
        let dns = dns.iter().map(|server| format!("--dns={server}"));
        Ok(Self { options: [format!("--network={word}")].into_iter().chain(dns).collect(), made })
    }

    /// The options that lead buildah there.
    pub(super) fn options(&self) -> &[String] {
        &self.options
    }

    /// Gives back what the build held.
    ///
    /// # Errors
    /// The network's.
    pub(super) fn release(self, context: &Context) -> anyhow::Result<()> {
        let Some(made) = self.made else { return Ok(()) };
        context.networks()?.release(&made.holder).context("releasing the networks of the build")
    }
}

/// A network namespace that is connected to what was reserved.
fn connected(networks: &Networks, lease: &Lease) -> anyhow::Result<Namespaces> {
    let kinds = Wanted { kinds: &[Kind::Network], mappings: None, hostname: None };
    let namespaces = Namespaces::new(kinds)?;
    let netns = namespaces.get(Kind::Network).context("a network namespace was made")?;
    networks.attach(lease, netns.as_fd()).blame("Network", "")?;
    Ok(namespaces)
}

/// The identifier of a build's lease: 64 hexadecimal digits, the same ones whenever the image is built.
fn holder(tags: &[Reference]) -> String {
    let tag = tags.first().map(ToString::to_string).unwrap_or_default();
    Digest::of(format!("build {tag}").as_bytes()).hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever program builds it: a killed build's lease is given back by the next version as well.
    #[test]
    fn a_build_has_the_same_holder_for_ever() {
        let of = |tag: &str| holder(&[Reference::parse(tag).unwrap()]);
        assert_eq!(of("localhost/a:1"), "c46627a0aabc1d984563b2f87ab395b2f69e5f869b214ae281bfa8512fcbd7b6");
        assert_ne!(of("localhost/a:1"), of("localhost/a:2"));
        assert_eq!(holder(&[]).len(), 64);
    }
}
