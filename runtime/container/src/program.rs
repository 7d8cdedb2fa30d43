//! Finding the program, proving that it can be executed, and executing it.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Process;
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Call, Error, Result};
use crate::sys::{self, Strings};

/// Where programs are looked for when the environment has no `PATH`, as Podman does.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program with arguments and environment, checked so far as that is possible outside of the container.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    arguments: Vec<CString>,
    env: Vec<CString>,
    cwd: PathBuf,
}

fn c_string(what: &'static str, text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::Invalid {
        what,
        value: text.to_owned(),
        reason: "it contains a zero byte".into(),
    })
}

impl Program {
    /// What `process` describes. An entry of the environment is `KEY=VALUE`: nothing is looked up on the host.
    pub(crate) fn new(process: &Process) -> Result<Self> {
        let words = process.args().as_deref().unwrap_or_default();
        if words.first().is_none_or(String::is_empty) {
            return Err(Error::Invalid {
                what: "process.args",
                value: format!("{words:?}"),
                reason: "there is no program to execute".into(),
            });
        }
        if !process.cwd().is_absolute() {
            return Err(Error::Invalid {
                what: "process.cwd",
                value: process.cwd().display().to_string(),
                reason: "the working directory is an absolute path".into(),
            });
        }
        let env = process.env().as_deref().unwrap_or_default();
        if let Some(entry) = env.iter().find(|e| e.find('=').is_none_or(|at| at == 0)) {
            return Err(Error::Invalid {
                what: "process.env",
                value: entry.clone(),
                reason: "an entry of the environment is KEY=VALUE".into(),
            });
        }
        let arguments = words.iter().map(|w| c_string("process.args", w));
        let env = env.iter().map(|e| c_string("process.env", e));
        Ok(Program {
            arguments: arguments.collect::<Result<_>>()?,
            env: env.collect::<Result<_>>()?,
            cwd: process.cwd().clone(),
        })
    }

    /// Adds `HOME`, if the environment doesn't have it.
    pub(crate) fn set_home(&mut self, home: impl FnOnce() -> PathBuf) {
        if self.variable(b"HOME").is_some() {
            return;
        }
        let text = [b"HOME=", home().as_os_str().as_bytes()].concat();
        if let Ok(entry) = CString::new(text) {
            self.env.push(entry);
        }
    }

    /// Makes the environment that of the caller.
    pub(crate) fn inherit_env(&mut self) {
        self.env = std::env::vars_os()
            .filter_map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok())
            .collect();
    }

    fn variable(&self, name: &[u8]) -> Option<&OsStr> {
        self.env.iter().find_map(|entry| {
            let rest = entry.as_bytes().strip_prefix(name)?.strip_prefix(b"=")?;
            Some(OsStr::from_bytes(rest))
        })
    }

    /// Changes to the working directory, as the user that the process is by now. Links of procfs aren't
    /// followed, and afterwards the directory must have a name below the process's root: a directory of the
    /// host that came in through a leaked descriptor has none (CVE-2024-21626).
    pub(crate) fn enter_cwd(&self) -> Result<()> {
        let call = || format!("chdir({})", self.cwd.display());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_MAGICLINKS;
        let directory = rustix::fs::openat2(CWD, &self.cwd, flags, Mode::empty(), resolve).call(call)?;
        rustix::process::fchdir(&directory).call(call)?;
        match rustix::process::getcwd(Vec::new()) {
            Ok(path) if path.as_bytes().starts_with(b"/") => Ok(()),
            Ok(_) | Err(Errno::NOENT) => Err(Error::Invalid {
                what: "process.cwd",
                value: self.cwd.display().to_string(),
                reason: "this directory is outside of the container".into(),
            }),
            Err(e) => Err(e).call(|| "getcwd()".into()),
        }
    }

    /// Finds the program, in `PATH` if its name has no slash, and checks that the user that the process is by
    /// now may execute it.
    ///
    /// # Errors
    /// [`Error::NotExecutable`] with the words that Podman looks for in a runtime's messages.
    pub(crate) fn find(&self) -> Result<PathBuf> {
        let name = OsStr::from_bytes(self.arguments[0].as_bytes());
        if name.as_bytes().contains(&b'/') {
            let path = PathBuf::from(name);
            return match check(&path) {
                Ok(()) => Ok(path),
                Err(e) => Err(refusal(e, format!("exec: {name:?}: stat {}", path.display()))),
            };
        }
        let search = self.variable(b"PATH").unwrap_or(OsStr::new(DEFAULT_PATH));
        let mut worst = Errno::NOENT;
        for directory in std::env::split_paths(search) {
            let path = match directory.as_os_str().is_empty() {
                true => Path::new(".").join(name),
                false => directory.join(name),
            };
            match check(&path) {
                Ok(()) => return Ok(path),
                Err(e @ (Errno::ACCESS | Errno::PERM)) => worst = e,
                Err(_) => {}
            }
        }
        let words = match worst {
            Errno::NOENT => format!("exec: {name:?}: executable file not found in $PATH"),
            _ => format!("exec: {name:?}: found in $PATH"),
        };
        Err(refusal(worst, words))
    }

    /// Prepares the last step. Allocates everything, so that [`Launch::execute`] only calls execveat.
    pub(crate) fn prepare(self, path: PathBuf, trampoline: OwnedFd) -> Result<Launch> {
        let path = CString::new(path.into_os_string().into_vec()).map_err(|_| Error::Invalid {
            what: "process.args",
            value: format!("{:?}", self.arguments[0]),
            reason: "it contains a zero byte".into(),
        })?;
        let mut arguments = vec![sys::trampoline::MARK.to_owned(), path];
        arguments.extend(self.arguments);
        Ok(Launch { trampoline, arguments: Strings::new(arguments), env: Strings::new(self.env) })
    }

    /// Path, arguments and environment of a program of the host, for execve(2).
    pub(crate) fn on_host(self, path: &Path) -> Result<(CString, Strings, Strings)> {
        let path = c_string("hooks.path", &path.to_string_lossy())?;
        Ok((path, Strings::new(self.arguments), Strings::new(self.env)))
    }

    /// The name of the program, for messages.
    pub(crate) fn name(&self) -> String {
        self.arguments[0].to_string_lossy().into_owned()
    }
}

fn refusal(error: Errno, words: String) -> Error {
    let status = match error {
        Errno::NOENT | Errno::NOTDIR => 127,
        _ => 126,
    };
    Error::NotExecutable { status, reason: format!("{words}: {}", std::io::Error::from(error)) }
}

fn check(path: &Path) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS),
        FileType::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::ACCESS),
    }
}

/// A program ready to be executed by way of [`sys::trampoline`].
pub(crate) struct Launch {
    trampoline: OwnedFd,
    arguments: Strings,
    env: Strings,
}

impl AsFd for Launch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.trampoline.as_fd()
    }
}

impl Launch {
    /// Names this process as the one that passed sockets are for, where it isn't the first one of its PID namespace.
    pub(crate) fn set_listener(&mut self) {
        let pid = rustix::process::getpid();
        if !pid.is_init()
            && let Ok(entry) = CString::new(format!("LISTEN_PID={}", pid.as_raw_pid()))
        {
            self.env.replace(b"LISTEN_PID=", entry);
        }
    }

    /// Becomes the program. Comes back only if that is refused.
    pub(crate) fn execute(&self) -> std::io::Error {
        sys::fexecve(self.trampoline.as_fd(), &self.arguments, &self.env)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(args: &[&str], env: &[&str], cwd: &str) -> Process {
        let mut process = Process::default();
        process
            .set_args(Some(args.iter().map(|s| (*s).into()).collect()))
            .set_env(Some(env.iter().map(|s| (*s).into()).collect()))
            .set_cwd(cwd.into());
        process
    }

    #[test]
    fn the_environment_is_keys_and_values() {
        for bad in ["SECRET", "*", "=x", ""] {
            assert!(Program::new(&process(&["a"], &[bad], "/")).is_err(), "{bad}");
        }
        Program::new(&process(&["a"], &["A=", "B=c=d"], "/")).unwrap();
    }

    #[test]
    fn messages_say_what_podman_looks_for() {
        let program = Program::new(&process(&["no-such-thing"], &["PATH=/bin"], "/")).unwrap();
        let error = program.find().unwrap_err();
        assert_eq!(error.exit_status(), 127);
        let words = error.to_string();
        assert!(words.contains("not found in $PATH: No such file or directory"), "{words}");
        let program = Program::new(&process(&["/etc/passwd"], &[], "/")).unwrap();
        let error = program.find().unwrap_err();
        assert_eq!(error.exit_status(), 126);
        assert!(error.to_string().contains("Permission denied"), "{error}");
    }

    #[test]
    fn home_is_added_once() {
        let mut program = Program::new(&process(&["a"], &["HOME=/x"], "/")).unwrap();
        program.set_home(|| "/y".into());
        assert_eq!(program.variable(b"HOME"), Some(OsStr::new("/x")));
    }
}
