//! The system call filter: a profile in, a compiled filter out, kept so that the next start only loads it.
//!
//! `profile` reads the format of containers-common's `seccomp.json` and resolves its conditions (capabilities,
//! architecture, kernel) to the filter of the OCI runtime specification; `compile` makes BPF of that with
//! libseccomp, which takes some milliseconds. The result is stored under a name that depends on everything it
//! was made of, so a stored filter is never out of date; nothing ever needs to be invalidated.

mod cache;
mod compile;
mod profile;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Capability, LinuxSeccomp};

use crate::channel::{Channel, Word};
use crate::document;
use crate::error::{Call, Error, Result};
use crate::sys;

pub(crate) use compile::{ACTIONS, FLAGS, OPERATORS};
pub(crate) use profile::resolve;

/// Where compiled filters are kept.
pub const DEFAULT_CACHE: &str = "/var/cache/sampan/seccomp";

/// The distribution's profile, used for [`Profile::Default`] where it exists.
pub const SYSTEM_PROFILE: &str = "/usr/share/containers/seccomp.json";

/// The profile for systems without one.
const BUILT_IN: &str = include_str!("../profiles/default.json");

/// Which system calls a container may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// [`SYSTEM_PROFILE`] if there, else the built-in one.
    Default,
    /// A file in the format of containers-common's `seccomp.json`.
    File(PathBuf),
    /// No filter.
    Unconfined,
}

/// A compiled filter (BPF), ready to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    program: Vec<u8>,
    flags: u64,
    unknown: Vec<String>,
}

impl Filter {
    /// Names in the profile that the installed libseccomp doesn't know, and that the filter therefore treats
    /// by its default action; empty if the filter came from the cache.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// The instructions.
    pub(crate) fn program(&self) -> &[u8] {
        &self.program
    }

    /// Loads the filter into the calling process; a listener goes to the other side of `channel`.
    pub(crate) fn load(&self, channel: &Channel) -> Result<()> {
        let count = self.program.len() / sys::BPF_INSTRUCTION;
        let call = || format!("seccomp(SECCOMP_SET_MODE_FILTER, {count} instructions)");
        match sys::seccomp(&self.program, self.flags).call(call)? {
            Some(listener) => channel.say(&Word::Listener(listener)).call(|| "hand over the listener".into()),
            None => Ok(()),
        }
    }
}

/// The filter of `profile` for a container with the capabilities `caps`, from the directory `cache` or compiled into it.
///
/// # Errors
/// A profile that can't be read or says nonsense. A cache that can't be written is none: the filter is compiled.
pub fn load(profile: &Profile, caps: &HashSet<Capability>, cache: &Path) -> Result<Option<Filter>> {
    let (path, text) = match profile {
        Profile::Unconfined => return Ok(None),
        Profile::File(path) => (path.clone(), document::read(path)?),
        Profile::Default => match document::read(Path::new(SYSTEM_PROFILE)) {
            Ok(text) => (SYSTEM_PROFILE.into(), text),
            Err(e) if e.errno() == Some(libc::ENOENT) => ("built-in profile".into(), BUILT_IN.into()),
            Err(e) => return Err(e),
        },
    };
    let caps: BTreeSet<String> = caps.iter().map(|c| format!("CAP_{c}")).collect();
    let kernel = kernel_release();
    let key = cache::Key::new(&[
        b"profile",
        &text,
        caps.iter().map(|c| format!("{c} ")).collect::<String>().as_bytes(),
        kernel.as_bytes(),
    ])?;
    if let Some(filter) = cache::find(cache, &key) {
        return Ok(Some(filter));
    }
    let spec = profile::resolve(&text, &caps, &kernel).map_err(|reason| Error::File { path, reason })?;
    let filter = compile::compile(&spec)?;
    cache::store(cache, &key, &filter);
    Ok(Some(filter))
}

/// The filter of `linux.seccomp` in a `Spec`, from the directory `cache` or compiled into it; without a cache, compiled.
pub fn from_spec(seccomp: &LinuxSeccomp, cache: Option<&Path>) -> Result<Option<Filter>> {
    let Some(cache) = cache else {
        return compile::compile(seccomp).map(Some);
    };
    let text = serde_json::to_vec(seccomp).map_err(|e| Error::Invalid {
        what: "linux.seccomp",
        value: "…".into(),
        reason: e.to_string(),
    })?;
    let key = cache::Key::new(&[b"spec", &text])?;
    if let Some(filter) = cache::find(cache, &key) {
        return Ok(Some(filter));
    }
    let filter = compile::compile(seccomp)?;
    cache::store(cache, &key, &filter);
    Ok(Some(filter))
}

/// `MAJOR.MINOR.…` of the running kernel.
fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(list: &[Capability]) -> HashSet<Capability> {
        list.iter().copied().collect()
    }

    #[test]
    fn the_second_time_it_comes_from_the_cache() {
        let cache = tempfile::tempdir().unwrap();
        let directory = cache.path().join("seccomp");
        let none = caps(&[]);
        let first = load(&Profile::Default, &none, &directory).unwrap().unwrap();
        let second = load(&Profile::Default, &none, &directory).unwrap().unwrap();
        assert_eq!(first.program, second.program);
        assert!(second.unknown().is_empty());
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        load(&Profile::Default, &caps(&[Capability::SysTime]), &directory).unwrap();
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 2);
    }

    #[test]
    fn the_built_in_profile_compiles() {
        let spec = profile::resolve(BUILT_IN.as_bytes(), &BTreeSet::new(), "6.1.0").unwrap();
        let filter = compile::compile(&spec).unwrap();
        assert!(filter.program.len() > 1000);
    }

    #[test]
    fn unconfined_is_no_filter() {
        assert_eq!(load(&Profile::Unconfined, &caps(&[]), Path::new("/nonexistent")).unwrap(), None);
    }

    #[test]
    fn a_missing_profile_is_named() {
        let profile = Profile::File("/nonexistent/p.json".into());
        let error = load(&profile, &caps(&[]), Path::new("/nonexistent")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/p.json"), "{error}");
    }
}
