//! `checkpoint` and `restore`: criu(8) saves and makes again the processes, this program what is around them.
//!
//! criu takes what isn't the container's own (bind mounts, a joined network) as external, by a key, and writes keys
//! and paths into one option, `mnt[PATH]:KEY`. A path of the container's choice could be read as another key there
//! (CVE-2026-119101: a bracket in a destination, or a link in its place, put a directory of the host into the
//! container). So keys are generated and say nothing, destinations with characters that mean something are
//! refused, and so are destinations where the kernel has no mount: there, a link leads elsewhere.

pub(crate) mod dump;
mod external;
pub(crate) mod restore;

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::args::{CgroupManager, Global, Images};

/// A call of criu that is being put together.
#[derive(Debug)]
struct Criu {
    command: Command,
    action: &'static str,
    log: PathBuf,
}

impl Criu {
    /// `criu ACTION` with the options that all actions have.
    fn new(global: &Global, action: &'static str, images: &Images) -> Result<Self> {
        let path = absolute(&images.image_path)?;
        let work = images.work_path.as_deref().map(absolute).transpose()?.unwrap_or_else(|| path.clone());
        for directory in [&path, &work] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.with_context(|| format!("mkdir({})", directory.display()))?;
        }
        let mut command = Command::new(program(global));
        command.arg(action).arg("--images-dir").arg(&path).arg("--work-dir").arg(&work);
        let log = format!("{action}.log");
        command.args(["--log-file", &log]).stdin(Stdio::null());
        let mut criu = Criu { command, action, log: work.join(log) };
        let switches = [
            (images.tcp_established, "--tcp-established"),
            (images.ext_unix_sk, "--ext-unix-sk"),
            (images.shell_job, "--shell-job"),
            (images.lazy_pages, "--lazy-pages"),
            (images.file_locks, "--file-locks"),
            (images.auto_dedup, "--auto-dedup"),
        ];
        for (_, name) in switches.iter().filter(|(given, _)| *given) {
            criu.command.arg(name);
        }
        // Whoever wants no cgroups of ours wants none of criu's either.
        let usual = if global.cgroup_manager() == CgroupManager::Disabled { "ignore" } else { "soft" };
        let mode = images.manage_cgroups_mode.as_deref().unwrap_or(usual);
        if !["soft", "full", "strict", "ignore"].contains(&mode) {
            bail!("--manage-cgroups-mode {mode:?} is none of soft, full, strict, ignore");
        }
        criu.command.arg(format!("--manage-cgroups={mode}"));
        for kind in &images.empty_ns {
            match kind.as_str() {
                "network" => criu.command.args(["--empty-ns", "net"]),
                _ => bail!("--empty-ns {kind:?}: criu can leave a network empty, and nothing else"),
            };
        }
        Ok(criu)
    }

    fn arg(&mut self, word: impl AsRef<OsStr>) -> &mut Self {
        self.command.arg(word);
        self
    }

    fn option(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.command.arg(name).arg(value);
        self
    }

    /// The container's streams are this program's, not the null device and a pipe that is read.
    fn keep_streams(&mut self) {
        self.command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    }

    /// Runs it to its end.
    fn run(mut self) -> Result<()> {
        log::debug!("{:?}", self.command);
        let output = match self.command.output() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                bail!("{}: criu is not installed: install the package criu", self.program())
            }
            output => output.with_context(|| self.program())?,
        };
        if output.status.success() {
            return Ok(());
        }
        // The first error is the one that the others follow from, but for limits, which it could do without.
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let error = [&log, &said]
            .into_iter()
            .flat_map(|text| text.lines())
            .find(|line| line.contains("Error") && !line.contains("rlimit"));
        bail!(
            "criu {} failed ({}): {}; see {}",
            self.action,
            output.status,
            error.unwrap_or("it says nothing").trim(),
            self.log.display()
        )
    }

    fn program(&self) -> String {
        self.command.get_program().to_string_lossy().into_owned()
    }
}

fn program(global: &Global) -> OsString {
    global.criu.as_ref().map_or_else(|| "criu".into(), |path| path.clone().into_os_string())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| path.display().to_string())
}
