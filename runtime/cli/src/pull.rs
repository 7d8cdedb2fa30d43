//! `sampan pull`, and the fetching that `sampan run` does when an image is missing.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use sampan_image::{Credentials, Image, Platform, Policy, PullOptions, Registries, Source, Store};

use crate::blame::Blamed as _;
use crate::context::Context;
use crate::progress::Shown;
use crate::prompt;
use crate::run::size;
use crate::run::unit::Unit;
use crate::{containers_conf, output};

/// `sampan pull [options] IMAGE…`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// All tags of the repositories
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    all_tags: bool,
    #[command(flatten)]
    access: Access,
    /// Refused: images are not decrypted
    #[arg(long, value_name = "KEY[:PASSPHRASE]", hide = true)]
    decryption_key: Option<String>,
    #[command(flatten)]
    machine: Machine,
    /// When to fetch
    #[arg(long, value_name = "POLICY", default_value = "always", value_parser = ["always", "missing", "never", "newer"])]
    policy: String,
    /// Policy to use instead of the system's, containers-policy.json(5)
    #[arg(long, value_name = "FILE", hide = true)]
    signature_policy: Option<PathBuf>,
    /// Print the identifier alone
    #[arg(long, short)]
    quiet: bool,
    /// The images: docker://, oci:, oci-archive:, docker-archive:, dir:, containers-storage:, or a plain name
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

/// Whom the image is for, if not for this machine.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Machine {
    /// Operating system and architecture of the image, as linux/arm64/v8
    #[arg(long, value_name = "PLATFORM", conflicts_with_all = ["os", "arch", "variant"])]
    platform: Option<String>,
    /// Operating system of the image
    #[arg(long, value_name = "OS")]
    os: Option<String>,
    /// Architecture of the image
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// Variant of the architecture
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
}

impl Machine {
    /// The platform; none if no option was given.
    ///
    /// # Errors
    /// An option is no name of a platform.
    pub(crate) fn platform(&self) -> anyhow::Result<Option<Platform>> {
        if let Some(text) = &self.platform {
            return Ok(Some(text.parse().context("--platform")?));
        }
        let Self { os, arch, variant, .. } = self;
        if os.is_none() && arch.is_none() && variant.is_none() {
            return Ok(None);
        }
        let host = Platform::host();
        // The variant of this machine says nothing of another architecture.
        let own = host.variant.as_deref().filter(|_| arch.is_none());
        let parts = [
            Some(os.as_deref().unwrap_or(&host.os)),
            Some(arch.as_deref().unwrap_or(&host.architecture)),
            variant.as_deref().or(own),
        ];
        let text = parts.into_iter().flatten().collect::<Vec<_>>().join("/");
        Ok(Some(text.parse().context("--os, --arch and --variant")?))
    }
}

/// How a registry is reached: the options that all fetching commands share.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Access {
    /// File with registry credentials, containers-auth.json(5)
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// Directory with certificates for the registry
    #[arg(long, value_name = "DIR")]
    pub(crate) cert_dir: Option<PathBuf>,
    /// Credentials
    #[arg(long, value_name = "USER[:PASSWORD]")]
    pub(crate) creds: Option<String>,
    /// How often to retry a failed fetch
    #[arg(long, value_name = "N")]
    pub(crate) retry: Option<u32>,
    /// Pause between retries, as 10s or 1m
    #[arg(long, value_name = "DURATION")]
    pub(crate) retry_delay: Option<String>,
    /// Verify certificates; false also allows plain HTTP
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) tls_verify: Option<bool>,
}

impl Access {
    /// Takes what was left open from containers.conf(5).
    pub(crate) fn complete(&mut self, engine: &containers_conf::Engine) {
        self.retry = self.retry.or(engine.retry);
        if self.retry_delay.is_none() {
            self.retry_delay = engine.retry_delay.clone().filter(|delay| !delay.is_empty());
        }
    }

    /// The credentials of `--creds`, which [`Access::apply`] borrows.
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        self.creds.as_deref().map(parse_credentials)
    }

    /// Writes the options into those of a fetch.
    ///
    /// # Errors
    /// `--retry-delay` is no time, or there is no file `--authfile`.
    pub(crate) fn apply<'a>(
        &'a self,
        credentials: Option<&'a Credentials>,
        fetch: &mut PullOptions<'a>,
    ) -> anyhow::Result<()> {
        if let Some(file) = self.authfile.as_deref().filter(|file| !file.exists()) {
            let error = anyhow::anyhow!("--authfile: there is no file {}", file.display());
            return Err(error).blame("AuthFile", file.display().to_string());
        }
        fetch.auth_file = self.authfile.as_deref();
        fetch.cert_dir = self.cert_dir.as_deref();
        fetch.credentials = credentials;
        fetch.tls_verify = self.tls_verify;
        fetch.retries = self.retry.unwrap_or(fetch.retries);
        fetch.retry_delay =
            self.retry_delay.as_deref().map(size::duration).transpose().context("RetryDelay=")?;
        Ok(())
    }
}

/// How to fetch, in words that `run` and `pull` share.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) name: &'a str,
    pub(crate) policy: &'a str,
    pub(crate) platform: Option<Platform>,
    pub(crate) access: &'a Access,
    /// Instead of the policy that the system or the user has.
    pub(crate) signature_policy: Option<&'a Path>,
}

/// Fetches and prints the identifiers, one a line.
pub(crate) fn run(mut options: Options, context: &Context, modules: &[PathBuf]) -> anyhow::Result<ExitCode> {
    if options.decryption_key.is_some() {
        let error =
            anyhow::anyhow!("--decryption-key: images are not decrypted here; use one that is not encrypted");
        return Err(error).blame("DecryptionKey", "");
    }
    options.access.complete(&containers_conf::load(modules)?.engine);
    let platform = options.machine.platform()?;
    let unit = Unit::current().filter(|unit| unit.listens);
    let shown = Shown::new(options.quiet, unit.as_ref());
    let names = match options.all_tags {
        true => all_tags(&options, context)?,
        false => options.images.clone(),
    };
    let fetched = output::each(&names, |name| {
        let name = &chosen(name, &options.policy, context)?;
        let request = Request {
            name,
            policy: &options.policy,
            platform: platform.clone(),
            access: &options.access,
            signature_policy: options.signature_policy.as_deref(),
        };
        let image = find_or_fetch(context, &request, &shown);
        shown.finish();
        output::lines([image.blame("Image", name)?.id])
    });
    match fetched {
        Err(error) if names.len() > 1 => Err(error.context("not all images were pulled")),
        fetched => fetched,
    }
}

/// What a name means: on a terminal someone is asked if it may mean several things.
fn chosen(name: &str, policy: &str, context: &Context) -> anyhow::Result<String> {
    let asks = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !asks || policy == "never" {
        return Ok(name.to_owned());
    }
    // Other transports' names are none of registries.conf's business.
    let choices = context.registries()?.choices(name).ok().flatten();
    let Some(choices) = choices else { return Ok(name.to_owned()) };
    eprintln!("{name} may mean several images:");
    for (place, choice) in choices.iter().enumerate() {
        eprintln!("  {}) {choice}", place + 1);
    }
    let answer = prompt::line(&format!("Which one (1 to {})? ", choices.len()))?;
    let place = answer.parse::<usize>().ok().and_then(|place| place.checked_sub(1));
    match place.and_then(|place| choices.get(place)) {
        Some(choice) => Ok(format!("docker://{choice}")),
        None => anyhow::bail!("{answer:?} is none of them; write the registry with the name"),
    }
}

/// The names of all tags of the repositories; a tag that is written there doesn't matter.
fn all_tags(options: &Options, context: &Context) -> anyhow::Result<Vec<String>> {
    let registries = context.registries()?;
    with_options(&registries, &options.access, options.signature_policy.as_deref(), |how| {
        let mut names = Vec::new();
        for image in &options.images {
            let source = Source::parse(image, &registries)?;
            let tags = sampan_image::tags(&source, how).blame("AllTags", "")?;
            anyhow::ensure!(!tags.is_empty(), "the registry has no tag of {image}");
            names.extend(tags.iter().map(ToString::to_string));
        }
        Ok(names)
    })
}

/// The image as the policy says: from the store, or from its source.
///
/// # Errors
/// The policy is `never` and the image is not there, or fetching failed.
pub(crate) fn find_or_fetch(
    context: &Context,
    request: &Request<'_>,
    shown: &Shown<'_>,
) -> anyhow::Result<Image> {
    let store = context.store()?;
    let registries = context.registries()?;
    let local = store.find(request.name, &registries)?;
    // One for another machine is not what was asked for.
    let fits = |image: &Image| request.platform.as_ref().is_none_or(|platform| platform.fits(&image.config));
    match (request.policy, local.filter(fits)) {
        ("missing" | "never", Some(image)) => Ok(image),
        ("never", None) => anyhow::bail!(
            "image {} is not on this machine and Pull=never forbids fetching it: run `sampan pull {0}`",
            request.name
        ),
        ("newer", Some(image)) => fetch(&store, &registries, request, shown).or_else(|error| {
            log::warn!("{error:#}; going on with the image that is there (Pull=newer)");
            Ok(image)
        }),
        _ => fetch(&store, &registries, request, shown),
    }
}

fn fetch(
    store: &Store,
    registries: &Registries,
    request: &Request<'_>,
    shown: &Shown<'_>,
) -> anyhow::Result<Image> {
    let source = Source::parse(request.name, registries)?;
    with_options(registries, request.access, request.signature_policy, |options| {
        let report = |progress: &_| shown.show(progress);
        let options = PullOptions { platform: request.platform.as_ref(), progress: &report, ..*options };
        shown.begin(request.name, options.patience());
        Ok(sampan_image::pull(store, &source, &options)?)
    })
}

/// Has something fetched as the host's policy and the user's options say.
///
/// # Errors
/// The policy can't be read, an option is wrong, or whatever `fetch` says.
pub(crate) fn with_options<T>(
    registries: &Registries,
    access: &Access,
    signature_policy: Option<&Path>,
    fetch: impl FnOnce(&PullOptions<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let policy = match signature_policy {
        Some(file) => Policy::load_file(file).context("--signature-policy")?,
        None => Context::policy()?,
    };
    let credentials = access.credentials();
    let mut options = PullOptions::new(registries, &policy);
    access.apply(credentials.as_ref(), &mut options)?;
    fetch(&options)
}

fn parse_credentials(text: &str) -> Credentials {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Credentials { user: user.to_owned(), password: password.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn platforms_come_from_one_option_or_three() {
        let platform = |words: &str| {
            let line = Line::try_parse_from(words.split(' ')).unwrap();
            line.options.machine.platform().map(|platform| platform.map(|platform| platform.to_string()))
        };
        let is = |words: &str, wanted: &str| {
            assert_eq!(platform(words).unwrap().as_deref(), Some(wanted), "{words}")
        };
        is("pull --platform linux/arm64/v8 image", "linux/arm64/v8");
        is("pull --arch aarch64 image", "linux/arm64");
        is("pull --os windows --arch amd64 image", "windows/amd64");
        is("pull --arch arm --variant v6 image", "linux/arm/v6");
        assert_eq!(platform("pull image").unwrap(), None);
        for wrong in [
            "pull --platform linux/arm/v7/x image",
            "pull --platform linux/ image",
            "pull --arch a/b/c image",
        ] {
            let message = format!("{:#}", platform(wrong).unwrap_err());
            assert!(message.contains("linux/arm64/v8"), "{wrong}: {message}");
        }
        assert!(Line::try_parse_from("pull --platform linux/arm --arch arm image".split(' ')).is_err());
    }

    /// A `.image` file has these options; they must not be passed over.
    #[test]
    fn encrypted_images_are_refused_with_the_key() {
        let line = Line::try_parse_from(["pull", "--decryption-key", "k", "image"]).unwrap();
        let context = Context::new("/nonexistent/a".into(), "/nonexistent/b".into());
        let error = run(line.options, &context, &[]).unwrap_err();
        assert!(format!("{error:#}").starts_with("DecryptionKey="), "{error:#}");
    }

    #[test]
    fn options_count_more_than_the_machines_defaults() {
        let engine = containers_conf::Engine { retry: Some(7), retry_delay: Some("2s".to_owned()) };
        let mut access = Access { retry: Some(1), ..Access::default() };
        access.complete(&engine);
        assert_eq!((access.retry, access.retry_delay.as_deref()), (Some(1), Some("2s")));
    }
}
