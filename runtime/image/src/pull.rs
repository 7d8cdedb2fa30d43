//! Pulling: the one way by which images come into the store, whatever the source.

use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use oci_spec::image::ImageConfiguration;

use crate::digest::Digest;
use crate::error::{Error, Result, plain};
use crate::fetch;
use crate::manifest::{Descriptor, Document, Manifest};
use crate::platform::Platform;
use crate::policy::Policy;
use crate::progress::{Meter, Progress};
use crate::reference::Reference;
use crate::registries::Registries;
use crate::registry;
use crate::source::Source;
use crate::store::{Image, ImageRecord, NameRecord, Staged, Store};
use crate::transport::{self, Transport};

/// Most layers fetched at once: decompression is the limit, and registries dislike more.
const MAX_THREADS: usize = 4;

/// A user and password for a registry. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password or access token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How to pull. [`PullOptions::new`] gives Podman's defaults.
#[derive(Clone, Copy)]
pub struct PullOptions<'a> {
    /// Registries, mirrors, short names.
    pub registries: &'a Registries,
    /// What may be used.
    pub policy: &'a Policy,
    /// Platform to choose from an index; absent: the host's.
    pub platform: Option<&'a Platform>,
    /// `--authfile`: credentials are read from this file alone.
    pub auth_file: Option<&'a Path>,
    /// `--creds`: used instead of any file.
    pub credentials: Option<&'a Credentials>,
    /// `--cert-dir`: CAs and client certificates, instead of `certs.d`.
    pub cert_dir: Option<&'a Path>,
    /// `--tls-verify`; absent: as `registries.conf` says.
    pub tls_verify: Option<bool>,
    /// How often a request or transfer that failed for a passing reason is tried again.
    pub retries: u32,
    /// Pause before the first of these; doubles each time, up to a minute. Absent: 1 s.
    pub retry_delay: Option<Duration>,
    /// A transfer that brings nothing for this long has failed.
    pub stall_timeout: Duration,
    /// Called while bytes flow, from the threads that fetch layers.
    pub progress: &'a (dyn Fn(&Progress) + Sync),
}

impl<'a> PullOptions<'a> {
    /// Host platform, credentials from the usual files, 3 retries, 30 s without data is a stall.
    pub fn new(registries: &'a Registries, policy: &'a Policy) -> Self {
        Self {
            registries,
            policy,
            platform: None,
            auth_file: None,
            credentials: None,
            cert_dir: None,
            tls_verify: None,
            retries: 3,
            retry_delay: None,
            stall_timeout: Duration::from_secs(30),
            progress: &|_| (),
        }
    }
}

impl PullOptions<'_> {
    /// The longest time that a fetch goes on without a byte. Then it ends with its cause, also where another process
    /// fetches and this one waits.
    pub fn patience(&self) -> Duration {
        registry::retry::patience(self.retries, self.retry_delay)
    }
}

impl fmt::Debug for PullOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullOptions")
            .field("platform", &self.platform)
            .field("auth_file", &self.auth_file)
            .field("tls_verify", &self.tls_verify)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}

/// Brings an image into the store, verified and unpacked. Layers that are there already are not
/// fetched; a tag that has not moved since costs one `HEAD` request, a digest that is there none.
///
/// Two pulls of one image at the same time, in one process or several, do the work once: the second
/// waits for each layer and reports the first one's progress.
///
/// # Errors
/// Any of [`Error`]; nothing half-made is left in the store, and layers that were complete are kept
/// until the next [`Store::collect_garbage`].
pub fn pull(store: &Store, source: &Source, options: &PullOptions<'_>) -> Result<Image> {
    let _no_deletion = store.lock_shared()?;
    let pull = Pull { store, options, source };
    if source.is_local() {
        options.policy.for_source(source).check_unsigned()?;
    }
    if let Some(transport) = transport::open(source, store)? {
        return pull.pull_transport(transport.as_ref(), None);
    }
    let Source::Registry { candidates } = source else {
        return Err(Error::reference(&source.to_string(), "not a registry"));
    };
    at_candidates(candidates, |reference| pull.pull_reference(reference))
}

/// Tries what a short name may mean, in order.
pub(crate) fn at_candidates<T>(
    candidates: &[Reference],
    pull: impl Fn(&Reference) -> Result<T>,
) -> Result<T> {
    let mut outcome = Err(Error::reference("", "no reference to pull"));
    for reference in candidates {
        outcome = pull(reference);
        match &outcome {
            Err(error)
                if candidates.len() > 1
                    && (is_about_one_registry(error) || matches!(error, Error::Blocked { .. })) =>
            {
                log::warn!("{error}");
            }
            _ => break,
        }
    }
    outcome
}

/// Tries the mirrors of a reference, then its own registry.
pub(crate) fn at_endpoints<T>(
    options: &PullOptions<'_>,
    reference: &Reference,
    pull: impl Fn(&registry::Client<'_>) -> Result<T>,
) -> Result<T> {
    let endpoints = options.registries.endpoints(reference)?;
    let count = endpoints.len();
    let mut outcome = Err(Error::reference(&reference.to_string(), "it has no location"));
    for (number, endpoint) in endpoints.into_iter().enumerate() {
        let last = number + 1 == count;
        outcome = pull(&registry::Client::new(endpoint, options, last));
        match &outcome {
            Err(error) if !last && is_about_one_registry(error) => log::warn!("{error}"),
            _ => break,
        }
    }
    outcome
}

/// Whether another registry or mirror may still have the image.
fn is_about_one_registry(error: &Error) -> bool {
    matches!(
        error,
        Error::NotFound { .. }
            | Error::Unauthorized { .. }
            | Error::Unreachable { .. }
            | Error::Stalled { .. }
            | Error::Broken { .. }
            | Error::Protocol { .. }
            | Error::DigestMismatch { .. }
            | Error::SizeMismatch { .. }
    )
}

/// One pull.
pub(crate) struct Pull<'a> {
    pub(crate) store: &'a Store,
    pub(crate) options: &'a PullOptions<'a>,
    pub(crate) source: &'a Source,
}

/// A layer to bring.
struct Layer {
    blob: Descriptor,
    diff_id: Digest,
}

impl Pull<'_> {
    fn pull_reference(&self, reference: &Reference) -> Result<Image> {
        let required = self.options.policy.for_reference(reference);
        required.check_unsigned()?;
        // One that has to be signed is asked for again: the policy, or what is signed, may have changed since it
        // came. Its layers are not.
        let known = if required.needs_signatures() { None } else { self.known(reference)? };
        if let Some((image, _)) = &known
            && reference.digest().is_some()
        {
            return Ok(image.clone());
        }
        at_endpoints(self.options, reference, |client| self.pull_endpoint(client, reference, known.as_ref()))
    }

    fn pull_endpoint(
        &self,
        client: &registry::Client<'_>,
        reference: &Reference,
        known: Option<&(Image, Digest)>,
    ) -> Result<Image> {
        if let Some((image, digest)) = known {
            match client.known_digest() {
                Ok(found) if found == Some(*digest) => return Ok(image.clone()),
                // A registry without HEAD requests: see what GET brings.
                Ok(_) | Err(Error::Protocol { .. } | Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.pull_transport(client, Some(reference))
    }

    /// The image that a reference already leads to, if it is whole and for the wanted platform, and
    /// the digest that the registry had for the reference.
    fn known(&self, reference: &Reference) -> Result<Option<(Image, Digest)>> {
        let name = reference.to_string();
        let found = self.store.name_record(&name).and_then(|record| match record {
            Some(record) => Ok(Some((record, self.store.find(&name, self.options.registries)?))),
            None => Ok(None),
        });
        let (record, image) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            // What is damaged is fetched again, which mends it.
            Err(error @ Error::Corrupt { .. }) => {
                log::warn!("{error}");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(digest) = record.digest else { return Ok(None) };
        Ok(image.filter(|image| self.fits(&image.config)).map(|image| (image, digest)))
    }

    fn platform(&self) -> Platform {
        self.options.platform.cloned().unwrap_or_else(Platform::host)
    }

    fn fits(&self, config: &ImageConfiguration) -> bool {
        self.platform().fits(config)
    }

    /// Brings what a transport has; `reference` is the name under which it was asked for.
    pub(crate) fn pull_transport(
        &self,
        transport: &dyn Transport,
        reference: Option<&Reference>,
    ) -> Result<Image> {
        let location = transport.location();
        let root = transport.root()?;
        let root_digest = Digest::of(&root.bytes);
        let (manifest_bytes, manifest) = self.choose(transport, &root.bytes)?;
        let manifest_digest = Digest::of(&manifest_bytes);
        // SECURITY: before anything that the manifest leads to is fetched, and on the digest of its bytes.
        let required = match reference {
            Some(reference) => self.options.policy.for_reference(reference),
            None => self.options.policy.for_source(self.source),
        };
        required.check(transport, &manifest_digest, manifest_digest != root_digest, self.store)?;
        manifest.check(&location)?;
        let config_bytes = fetch::small(transport, "configuration", &manifest.config)?;
        let config: ImageConfiguration = serde_json::from_slice(&config_bytes)
            .map_err(|error| Error::corrupt("configuration", &location, error.to_string()))?;
        if !self.fits(&config) {
            log::warn!(
                "image {} is for {}/{}, not for {}",
                self.source,
                plain(&config.os().to_string()),
                plain(&config.architecture().to_string()),
                self.platform()
            );
        }
        let layers = layers(&manifest, &config, &location)?;
        self.fetch_layers(transport, &layers)?;
        // After the layers: a fetch that fails leaves nothing behind.
        self.store.keep_blob(&manifest_digest, &manifest_bytes)?;
        self.store.keep_blob(&manifest.config.digest, &config_bytes)?;
        let (size, links_to_output) = self.summary(&layers)?;
        let record = ImageRecord {
            config: manifest.config.digest,
            manifest: manifest_digest,
            size,
            layers: layers.iter().map(|layer| layer.diff_id).collect(),
            names: Vec::new(),
            repo_digests: repo_digests(reference, &[root_digest, manifest_digest]),
            links_to_output: Some(links_to_output),
        };
        let names = names(reference, &root.names, record.config, root_digest);
        self.store.add_image(record, &names)
    }

    /// The manifest for the wanted platform.
    fn choose(&self, transport: &dyn Transport, root: &[u8]) -> Result<(Vec<u8>, Manifest)> {
        let location = transport.location();
        let index = match Document::parse(root, &location)? {
            Document::Manifest(manifest) => return Ok((root.to_vec(), manifest)),
            Document::Index(index) => index,
        };
        let chosen = index.choose(&self.platform(), &self.source.to_string())?;
        let bytes = transport.manifest(chosen)?;
        fetch::verify("manifest", &bytes, chosen, &location)?;
        match Document::parse(&bytes, &location)? {
            Document::Manifest(manifest) => Ok((bytes, manifest)),
            Document::Index(_) => {
                Err(Error::corrupt("manifest", location, "an index leads to another index"))
            }
        }
    }

    /// The bytes of all layers, and whether a link in one leads to the output.
    fn summary(&self, layers: &[Layer]) -> Result<(u64, bool)> {
        layers.iter().try_fold((0, false), |(size, links), layer| {
            let record = self.store.layer(&layer.diff_id)?;
            Ok(record.map_or((size, links), |layer| (size + layer.size, links || layer.links_to_output)))
        })
    }

    /// Brings the layers that are missing: threads fetch and unpack, this one makes what is
    /// finished visible, several layers with one sync.
    fn fetch_layers(&self, transport: &dyn Transport, layers: &[Layer]) -> Result<()> {
        let mut missing = Vec::new();
        for layer in layers {
            if self.store.layer(&layer.diff_id)?.is_none() {
                missing.push(layer);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        // The largest first: a small one at the end leaves no thread waiting for long.
        missing.sort_by_key(|layer| std::cmp::Reverse(layer.blob.size));
        // Sizes as the manifest has them: their sum may be anything.
        let total = missing.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.blob.size));
        let work = Work {
            store: self.store,
            transport,
            missing: &missing,
            meter: Meter::new(self.options.progress, missing.len(), total),
            patience: self.options.patience(),
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            error: Mutex::new(None),
        };
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let threads = processors.clamp(2, MAX_THREADS).min(missing.len());
        let (sender, finished) = mpsc::channel();
        let committed = std::thread::scope(|scope| {
            for _ in 0..threads {
                let sender = sender.clone();
                let work = &work;
                scope.spawn(move || work.run(&sender));
            }
            drop(sender);
            let mut outcome = Ok(());
            while let Ok(first) = finished.recv() {
                let batch: Vec<Staged<'_>> = std::iter::once(first).chain(finished.try_iter()).collect();
                if outcome.is_ok() {
                    outcome = self.store.commit(batch);
                    work.failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
                }
            }
            outcome
        });
        let error = work.error.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        error.map_or(committed, Err)
    }
}

/// What the threads of one pull share.
struct Work<'a> {
    store: &'a Store,
    transport: &'a dyn Transport,
    missing: &'a [&'a Layer],
    meter: Meter<'a>,
    patience: Duration,
    next: AtomicUsize,
    failed: AtomicBool,
    error: Mutex<Option<Error>>,
}

impl<'a> Work<'a> {
    /// Fetches layers until there is none left or one has failed.
    fn run(&self, finished: &mpsc::Sender<Staged<'a>>) {
        while !self.failed.load(Ordering::Relaxed) {
            let Some(layer) = self.missing.get(self.next.fetch_add(1, Ordering::Relaxed)) else { return };
            match self.fetch(layer) {
                // The receiver lives as long as this thread.
                Ok(Some(staged)) => drop(finished.send(staged)),
                Ok(None) => {}
                Err(error) => {
                    self.failed.store(true, Ordering::Relaxed);
                    let mut first = self.error.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    first.get_or_insert(error);
                }
            }
        }
    }

    fn fetch(&self, layer: &Layer) -> Result<Option<Staged<'a>>> {
        let relayed = std::cell::Cell::new(0);
        let waiting = |bytes: u64| {
            let bytes = bytes.min(layer.blob.size);
            self.meter.relayed(bytes.saturating_sub(relayed.get()));
            relayed.set(bytes.max(relayed.get()));
        };
        match self.store.stage(layer.diff_id, self.patience, &waiting)? {
            Some(staging) => {
                // The other process gave up; this one begins anew.
                self.meter.withdraw(relayed.get());
                fetch::layer(self.transport, staging, &layer.blob, layer.diff_id, &self.meter).map(Some)
            }
            None => {
                self.meter.relayed(layer.blob.size - relayed.get());
                self.meter.layer_finished();
                Ok(None)
            }
        }
    }
}

/// The manifest's layers with their diff ids, each content once (overlayfs refuses a directory that
/// occurs twice): of several occurrences the topmost, which hides the others anyway.
fn layers(manifest: &Manifest, config: &ImageConfiguration, location: &str) -> Result<Vec<Layer>> {
    let diff_ids = diff_ids(config, location)?;
    if diff_ids.len() != manifest.layers.len() {
        let reason = format!("it lists {} layers, the manifest {}", diff_ids.len(), manifest.layers.len());
        return Err(Error::corrupt("configuration", location, reason));
    }
    let mut layers: Vec<Layer> = Vec::new();
    for (blob, diff_id) in manifest.layers.iter().zip(diff_ids) {
        layers.retain(|layer| layer.diff_id != diff_id);
        layers.push(Layer { blob: blob.clone(), diff_id });
    }
    Ok(layers)
}

/// The diff ids of a configuration.
pub(crate) fn diff_ids(config: &ImageConfiguration, location: &str) -> Result<Vec<Digest>> {
    let parsed = |text: &String| {
        text.parse().map_err(|error| Error::corrupt("configuration", location, format!("{error}")))
    };
    config.rootfs().diff_ids().iter().map(parsed).collect()
}

fn repo_digests(reference: Option<&Reference>, digests: &[Digest]) -> Vec<String> {
    let with_digest = |reference: &Reference| {
        digests.iter().map(|digest| reference.with_digest(*digest).to_string()).collect()
    };
    reference.map(with_digest).unwrap_or_default()
}

/// Names under which the image is recorded: the reference it was pulled by, or what the archive
/// calls it (a name without registry is put below `localhost/`, as Podman does).
fn names(reference: Option<&Reference>, own: &[String], image: Digest, root: Digest) -> Vec<NameRecord> {
    if let Some(reference) = reference {
        return vec![NameRecord::new(reference.to_string(), image, Some(root))];
    }
    let record = |name| NameRecord::new(name, image, None);
    own_names(own).into_iter().map(record).collect()
}

/// What a source calls its image, as names of the store; those that are none are left out.
pub(crate) fn own_names(own: &[String]) -> Vec<String> {
    let named = |name: &String| {
        crate::reference::Name::parse(name).ok().filter(|name| name.digest.is_none()).map(|name| {
            let registry = name.registry.clone().unwrap_or_else(|| "localhost".to_owned());
            name.at(&registry).to_string()
        })
    };
    own.iter().filter_map(named).collect()
}
