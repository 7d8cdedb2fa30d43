//! `sampan login` and `sampan logout`: credentials for registries, verified before they are kept.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use sampan_image::{Credentials, LoginKey, PullOptions, Registries};

use crate::context::Context;
use crate::prompt;

/// Longest password that standard input may hold, in bytes.
const MAX_PASSWORD: u64 = 64 * 1024;

/// `sampan login [options] [REGISTRY]`
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    /// Directory with certificates for the registry
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Print the name of the user who is logged in, and do nothing else
    #[arg(long, conflicts_with_all = ["username", "password", "password_stdin"])]
    get_login: bool,
    /// The password; everybody on this machine can read it, so rather use --password-stdin
    #[arg(long, short, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Verify certificates; false also allows plain HTTP
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: Option<bool>,
    /// The user
    #[arg(long, short, value_name = "NAME")]
    username: Option<String>,
    /// Also say where the credentials are kept
    #[arg(long, short)]
    verbose: bool,
    /// The registry, or a namespace or repository in one; else the first unqualified-search registry
    registry: Option<String>,
}

/// `sampan logout [options] [REGISTRY]`
#[derive(Debug, clap::Args)]
pub(crate) struct LogoutOptions {
    #[command(flatten)]
    place: Place,
    /// Remove all credentials
    #[arg(long, short, conflicts_with = "registry")]
    all: bool,
    /// The registry, or a namespace or repository in one; else the first unqualified-search registry
    registry: Option<String>,
}

/// Which file has the credentials.
#[derive(Debug, clap::Args)]
struct Place {
    /// File with registry credentials, containers-auth.json(5)
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("registry", &self.registry).finish_non_exhaustive()
    }
}

/// Logs in.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let registries = context.registries()?;
    let policy = Context::policy()?;
    let mut how = PullOptions::new(&registries, &policy);
    how.auth_file = options.place.authfile.as_deref();
    how.cert_dir = options.cert_dir.as_deref();
    how.tls_verify = options.tls_verify;
    // Someone waits, and an answer of "no" comes at once.
    how.retries = 0;
    let key = key(options.registry.as_deref(), &registries)?;
    if options.get_login {
        let Some(credentials) = key.stored(&how)? else { bail!("not logged into {key}") };
        println!("{}", credentials.user);
        return Ok(ExitCode::SUCCESS);
    }
    if options.password.is_some() {
        eprintln!("WARNING! Everybody on this machine can see --password; use --password-stdin");
    }
    if let (None, None) = (&options.username, &options.password)
        && reuse(&key, &how, options.verbose)?
    {
        return Ok(ExitCode::SUCCESS);
    }
    let credentials = credentials(options, &key, &how)?;
    finish(&key, &credentials, &how, options.verbose)?;
    println!("Login Succeeded!");
    Ok(ExitCode::SUCCESS)
}

fn key(registry: Option<&str>, registries: &Registries) -> anyhow::Result<LoginKey> {
    let default = || registries.default_registry();
    let Some(name) = registry.or_else(default) else {
        bail!("say which registry: none is given, and registries.conf has no unqualified-search-registries");
    };
    Ok(LoginKey::parse(name)?)
}

/// Credentials that are there already and still valid need no questions.
fn reuse(key: &LoginKey, how: &PullOptions<'_>, verbose: bool) -> anyhow::Result<bool> {
    let Some(existing) = key.stored(how)? else { return Ok(false) };
    println!("Authenticating with existing credentials for {key}");
    match finish(key, &existing, how, verbose) {
        Ok(()) => {
            println!("Existing credentials are valid. Already logged in to {key}");
            Ok(true)
        }
        Err(error) if refused(&error) && std::io::stdin().is_terminal() => {
            eprintln!("Existing credentials are invalid, please enter valid user name and password");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn refused(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(sampan_image::Error::LoginRefused { .. }))
}

fn finish(
    key: &LoginKey,
    credentials: &Credentials,
    how: &PullOptions<'_>,
    verbose: bool,
) -> anyhow::Result<()> {
    let done = key.login(credentials, how)?;
    if !done.checked {
        eprintln!("{} asks nobody for credentials: they were saved, but not verified", key.registry());
    }
    if verbose {
        println!("Used: {}", done.kept_in);
    }
    Ok(())
}

/// What the options leave open is asked for on the terminal.
fn credentials(options: &Options, key: &LoginKey, how: &PullOptions<'_>) -> anyhow::Result<Credentials> {
    if options.password_stdin {
        let user = options.username.clone().unwrap_or_default();
        return Ok(Credentials { user, password: password_from_stdin()? });
    }
    if let (Some(user), Some(password)) = (&options.username, &options.password) {
        return Ok(Credentials { user: user.clone(), password: password.clone() });
    }
    ensure!(
        std::io::stdin().is_terminal(),
        "there is no terminal to ask for user name and password: use --username and --password-stdin"
    );
    let user = match &options.username {
        Some(user) => user.clone(),
        None => {
            let existing = key.stored(how).ok().flatten().map(|credentials| credentials.user);
            let question = match &existing {
                Some(user) => format!("Username ({user}): "),
                None => "Username: ".to_owned(),
            };
            let answer = prompt::line(&question)?;
            if answer.is_empty() { existing.unwrap_or_default() } else { answer }
        }
    };
    ensure!(!user.is_empty(), "a user name is needed");
    let password = match &options.password {
        Some(password) => password.clone(),
        None => prompt::password("Password: ")?,
    };
    ensure!(!password.is_empty(), "a password is needed");
    Ok(Credentials { user, password })
}

/// Everything up to the end, without the newlines that `echo` and files have there.
fn password_from_stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_PASSWORD).read_to_string(&mut text);
    read.context("reading the password from standard input")?;
    let password = text.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "standard input has no password");
    Ok(password.to_owned())
}

/// Logs out.
pub(crate) fn logout(options: &LogoutOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let registries = context.registries()?;
    let policy = Context::policy()?;
    let mut how = PullOptions::new(&registries, &policy);
    how.auth_file = options.place.authfile.as_deref();
    if options.all {
        LoginKey::logout_all(&how)?;
        println!("Removed login credentials for all registries");
        return Ok(ExitCode::SUCCESS);
    }
    let key = key(options.registry.as_deref(), &registries)?;
    key.logout(&how)?;
    println!("Removed login credentials for {key}");
    Ok(ExitCode::SUCCESS)
}
