//! What can go wrong with images, in kinds that a caller can match on.
//!
//! Every message names what was attempted and on what, then the cause, then what the administrator
//! can do about it. No message ever contains a credential.
//!
//! Much of a message may be a stranger's text: what a registry said, a name in an archive, a string
//! of a manifest. It goes through [`plain`], so that no message is more than one line or does
//! anything to a terminal.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::Digest;

/// Longest text of a stranger in a message, in characters.
const MAX_SHOWN: usize = 600;

/// A stranger's text, made fit for a terminal and a log.
#[derive(Clone, Copy)]
pub(crate) struct Plain<'a>(&'a str);

/// Escapes what is not seen as itself (control characters, and those that turn the direction of
/// text round: CVE-2021-42574), and cuts what is too long.
pub(crate) fn plain(text: &str) -> Plain<'_> {
    Plain(text)
}

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for (count, character) in self.0.chars().enumerate() {
            if count == MAX_SHOWN {
                return f.write_char('…');
            }
            match character {
                '"' | '\'' | '\\' => f.write_char(character)?,
                other => write!(f, "{}", other.escape_debug())?,
            }
        }
        Ok(())
    }
}

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An image operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not an image reference.
    #[error("invalid image reference \"{}\": {}", plain(.reference), plain(.reason))]
    InvalidReference {
        /// The text as it was given.
        reference: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A short name that `registries.conf` resolves to nothing.
    #[error(
        "short name \"{name}\" cannot be resolved: {reason}; \
         write the registry too (for example \"quay.io/{name}\") or add an alias to \
         /etc/containers/registries.conf.d"
    )]
    ShortName {
        /// The short name.
        name: String,
        /// Why it has no meaning here.
        reason: String,
    },

    /// The source (registry, archive, directory) does not have the image.
    #[error("image \"{}\" not found in {}: {}", plain(.reference), plain(.location), plain(.detail))]
    NotFound {
        /// The image that was asked for.
        reference: String,
        /// Where it was looked for.
        location: String,
        /// What the source said.
        detail: String,
    },

    /// The registry wants other credentials, or any.
    #[error(
        "registry {registry} refused access to \"{repository}\": {}; \
         check the name, and the credentials in {auth_file} (sampan login {registry})",
        plain(.detail)
    )]
    Unauthorized {
        /// The registry's host name and port.
        registry: String,
        /// The repository that was asked for.
        repository: String,
        /// What the registry said.
        detail: String,
        /// The file that credentials were (or would be) read from.
        auth_file: String,
    },

    /// The registry does not take the credentials of a login.
    #[error("registry {registry} refused user name and password: {detail}; nothing was saved")]
    LoginRefused {
        /// The registry's host name and port.
        registry: String,
        /// What the registry said.
        detail: String,
    },

    /// There is nothing to log out from.
    #[error("not logged into {registry}{hint}")]
    NotLoggedIn {
        /// The registry, or the part of one.
        registry: String,
        /// Where credentials are that this is not about.
        hint: String,
    },

    /// A program that keeps credentials failed. Nothing of what it printed is told.
    #[error("credential helper {helper:?} cannot {action} credentials: {reason}")]
    CredentialHelper {
        /// The name after `docker-credential-`.
        helper: String,
        /// `get`, `store`, `erase` or `list`.
        action: String,
        /// Why not.
        reason: String,
    },

    /// The registry could not be talked to at all.
    #[error("registry {} cannot be reached: {}", plain(.registry), plain(.cause))]
    Unreachable {
        /// The registry's host name and port.
        registry: String,
        /// Why not (name resolution, connection, TLS, …).
        cause: String,
    },

    /// A transfer stopped making progress.
    #[error(
        "transfer from {} stalled: next to no data for {} s while reading {}",
        plain(.registry), .timeout.as_secs_f32(), plain(.what)
    )]
    Stalled {
        /// The registry's host name and port.
        registry: String,
        /// The object that was being read.
        what: String,
        /// How long nothing arrived.
        timeout: Duration,
    },

    /// A transfer broke and could not be resumed.
    #[error(
        "transfer of {} from {} broke after {received} of {expected} bytes: {}",
        plain(.what), plain(.registry), plain(.cause)
    )]
    Broken {
        /// The registry or file.
        registry: String,
        /// The object that was being read.
        what: String,
        /// Bytes that had arrived.
        received: u64,
        /// Bytes that were announced.
        expected: u64,
        /// Why it broke.
        cause: String,
    },

    /// The registry answered with something that the protocol does not allow.
    #[error("registry {registry} answered {} unexpectedly: {}", plain(.request), plain(.detail))]
    Protocol {
        /// The registry's host name and port.
        registry: String,
        /// Method and path of the request.
        request: String,
        /// What was wrong with the answer.
        detail: String,
    },

    /// Bytes do not have the digest under which they were asked for.
    #[error(
        "{what} from {} has the wrong digest: expected {expected}, got {got}; \
         nothing of it was kept",
        plain(.location)
    )]
    DigestMismatch {
        /// The object: "manifest", "config", "layer", "unpacked layer".
        what: &'static str,
        /// The registry or file it came from.
        location: String,
        /// The digest it should have.
        expected: Digest,
        /// The digest it has.
        got: Digest,
    },

    /// Bytes do not have the size that the manifest announces.
    #[error(
        "{what} {digest} from {} has the wrong size: \
         the manifest says {expected} bytes, got {got}; nothing of it was kept",
        plain(.location)
    )]
    SizeMismatch {
        /// The object.
        what: &'static str,
        /// The registry or file it came from.
        location: String,
        /// The object's digest.
        digest: Digest,
        /// Announced size in bytes.
        expected: u64,
        /// Received bytes (at least).
        got: u64,
    },

    /// `registries.conf` blocks the registry.
    #[error("registry {registry} is blocked by {file} (prefix \"{prefix}\")")]
    Blocked {
        /// The registry or reference that was asked for.
        registry: String,
        /// The matching prefix.
        prefix: String,
        /// The file that says so.
        file: PathBuf,
    },

    /// `policy.json` does not accept the image.
    #[error("image \"{reference}\" is not accepted by {file}: {reason}")]
    Policy {
        /// The image that was asked for.
        reference: String,
        /// The policy file.
        file: PathBuf,
        /// Which requirement failed and what to do.
        reason: String,
    },

    /// A program of the host that is needed is not there.
    #[error("{program} is needed to {purpose}, and is not installed; install {package}")]
    Missing {
        /// Its path.
        program: &'static str,
        /// What it is needed for.
        purpose: &'static str,
        /// The package that has it.
        package: &'static str,
    },

    /// A layer, manifest, configuration or archive that breaks its format or our bounds.
    #[error("{} from {} is corrupt or hostile: {}", plain(.what), plain(.location), plain(.reason))]
    Corrupt {
        /// The object, with its digest where it has one.
        what: String,
        /// The registry or file it came from.
        location: String,
        /// What is wrong.
        reason: String,
    },

    /// The kernel refused to create something of a layer.
    #[error("layer {layer} cannot be unpacked below {}: {}", path.display(), plain(.cause))]
    Unpack {
        /// The layer's digest.
        layer: Digest,
        /// The store.
        path: PathBuf,
        /// The failed operation, the path inside the layer and the kernel's answer.
        cause: String,
    },

    /// No image of the index fits the machine.
    #[error("image \"{}\" has no variant for {wanted}; it has {}", plain(.reference), plain(.available))]
    NoPlatform {
        /// The image that was asked for.
        reference: String,
        /// The platform that was looked for.
        wanted: String,
        /// The platforms that the index offers.
        available: String,
    },

    /// The text names no platform.
    #[error("\"{}\" is no platform: {reason}", plain(.platform))]
    InvalidPlatform {
        /// The text as it was given.
        platform: String,
        /// What is wrong with it, and how it is written.
        reason: String,
    },

    /// The file system is full.
    #[error(
        "no space left on the file system of {} while {operation}; \
         nothing half-made was kept; free space there or remove unused images",
        path.display()
    )]
    NoSpace {
        /// What was being done.
        operation: String,
        /// The store or file.
        path: PathBuf,
    },

    /// The image is used by containers.
    #[error("image {image} is in use by {}; stop and remove them first", .containers.join(", "))]
    InUse {
        /// Name or id of the image.
        image: String,
        /// Names of the containers.
        containers: Vec<String>,
    },

    /// An id was to be removed that several names lead to.
    #[error("image {image} has several names ({}); remove them one by one, or force", .names.join(", "))]
    SeveralNames {
        /// The id as given.
        image: String,
        /// Its names.
        names: Vec<String>,
    },

    /// An id prefix that several images share.
    #[error("\"{prefix}\" is the beginning of several image ids: {}", .ids.join(", "))]
    Ambiguous {
        /// The prefix as given.
        prefix: String,
        /// The ids that start with it.
        ids: Vec<String>,
    },

    /// The store does not have the image.
    #[error("no such image: {0}")]
    NoSuchImage(String),

    /// No artifact of this name in the store.
    #[error("{0}: artifact not known")]
    NoSuchArtifact(String),

    /// A configuration file that cannot be understood.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },

    /// A file operation failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was being done ("create", "open", "rename", …).
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Error {
    /// A file operation's error; a full disk or quota becomes [`Error::NoSpace`].
    pub(crate) fn io(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        if is_no_space(&source) {
            return Error::NoSpace { operation: operation.to_owned(), path: path.to_owned() };
        }
        Error::Io { operation, path: path.to_owned(), source }
    }

    /// Shorthand for [`Error::Corrupt`].
    pub(crate) fn corrupt(
        what: impl Into<String>,
        location: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Error::Corrupt { what: what.into(), location: location.into(), reason: reason.into() }
    }

    /// Shorthand for [`Error::InvalidReference`].
    pub(crate) fn reference(reference: &str, reason: impl Into<String>) -> Self {
        Error::InvalidReference { reference: reference.to_owned(), reason: reason.into() }
    }
}

/// Whether an error says that the disk or the quota is full.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_does_nothing_to_a_terminal() {
        let text = "a \"b\" é 日本\u{1b}[31m\n\0\u{7f}\u{9b}\u{202e}\u{2066}\u{200b}\u{feff}";
        let shown = plain(text).to_string();
        assert!(shown.starts_with("a \"b\" é 日本\\u{1b}[31m\\n\\0"), "{shown}");
        let invisible = |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{206f}' | '\u{feff}');
        assert!(!shown.chars().any(invisible), "{shown}");
        assert_eq!(plain(&"x".repeat(10_000)).to_string().chars().count(), MAX_SHOWN + 1);
    }

    #[test]
    fn messages_are_one_line_whatever_is_in_them() {
        let evil = || "\u{1b}]0;x\u{7}\nroot: ok\u{202e}".to_owned();
        for error in [
            Error::reference(&evil(), evil()),
            Error::corrupt(evil(), evil(), evil()),
            Error::NotFound { reference: evil(), location: evil(), detail: evil() },
            Error::Unauthorized {
                registry: "q.io".into(),
                repository: "x".into(),
                detail: evil(),
                auth_file: "auth.json".into(),
            },
            Error::Unreachable { registry: evil(), cause: evil() },
            Error::Stalled { registry: evil(), what: evil(), timeout: Duration::ZERO },
            Error::Broken { registry: evil(), what: evil(), received: 0, expected: 0, cause: evil() },
            Error::Protocol { registry: "q.io".into(), request: evil(), detail: evil() },
            Error::NoPlatform { reference: evil(), wanted: "linux/amd64".into(), available: evil() },
            Error::InvalidPlatform { platform: evil(), reason: "x".into() },
        ] {
            let message = error.to_string();
            assert!(!message.chars().any(|c| c.is_control() || c == '\u{202e}'), "{message:?}");
        }
    }
}
