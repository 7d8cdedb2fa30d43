//! Cases become trials, one for each runtime.

use std::cell::RefCell;
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::bundle::{Bundle, Ran, Runtime, reason_to_skip};
use crate::deviations;

/// One clause and its test, which panics where a runtime does otherwise.
#[derive(Clone)]
pub(crate) struct Case {
    name: String,
    section: &'static str,
    needs: fn() -> Option<String>,
    test: Arc<dyn Fn(&mut Bundle) + Send + Sync>,
}

/// A case: its name, the section it rests on (`config.md#process`), and the test.
pub(crate) fn case(
    name: impl Into<String>,
    section: &'static str,
    test: impl Fn(&mut Bundle) + Send + Sync + 'static,
) -> Case {
    Case { name: name.into(), section, needs: || None, test: Arc::new(test) }
}

impl Case {
    /// The same case with a condition: a function that says why it can't run here, if so.
    pub(crate) fn needs(self, needs: fn() -> Option<String>) -> Self {
        Case { needs, ..self }
    }
}

/// A value that must be refused: a name, where it stands, and how it is made.
pub(crate) type Invalid = (&'static str, &'static str, fn() -> serde_json::Value);

/// Runtimes that the cases are proven by.
const PEERS: &[&str] = &["crun", "runc"];

/// Runs what the command line asks for.
pub(crate) fn run(cases: Vec<Case>) -> ExitCode {
    let arguments = Arguments::from_args();
    panic::set_hook(Box::new(|info| MESSAGE.set(info.to_string())));
    let all = |runtime: Runtime| cases.iter().map(move |case| trial(runtime.clone(), case)).collect();
    let mut trials: Vec<Trial> = all(Runtime::sampan());
    for &name in PEERS {
        trials.extend(match find(name) {
            Some(program) => all(Runtime { name, program }),
            None => vec![absent(name)],
        });
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Stands for all the trials of a runtime that isn't there.
fn absent(name: &'static str) -> Trial {
    Trial::ignorable_test(name, move || {
        Ok(Completion::ignored_with(format!("{name} is not installed: nothing is proven by it")))
    })
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    folders.map(|folder| folder.join(name)).find(|program| program.exists())
}

thread_local! {
    /// What the panic of the test on this thread said.
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
}

fn trial(runtime: Runtime, case: &Case) -> Trial {
    let case = case.clone();
    Trial::ignorable_test(format!("{}/{}", runtime.name, case.name), move || {
        if let Some(why) = reason_to_skip().or_else(case.needs) {
            return Ok(Completion::ignored_with(why));
        }
        let mut bundle = Bundle::of(&runtime);
        let passed = panic::catch_unwind(AssertUnwindSafe(|| (case.test)(&mut bundle))).is_ok();
        bundle.tidy();
        if passed {
            return Ok(Completion::Completed);
        }
        let message = MESSAGE.take();
        if let Some(why) = deviations::known(runtime.name, &case.name) {
            eprintln!("known: {}/{}: {why}", runtime.name, case.name);
            return Ok(Completion::Completed);
        }
        let doubt = match runtime.is_ours() {
            true => "",
            false => {
                "\nNothing is known of this: the test may be wrong. If it is right, deviations.rs lists it."
            }
        };
        Err(Failed::from(format!("{message}\nSpecification: {}{doubt}", case.section)))
    })
}

impl Bundle {
    /// Runs a container that the runtime must refuse, with nothing left of it; returns what it said.
    #[track_caller]
    pub(crate) fn refused(&mut self) -> Ran {
        if self.spec["process"].is_object() && self.spec["process"]["args"][0].is_string() {
            self.args(&["echo", "executed"]);
        }
        let ran = self.run();
        assert!(ran.status != 0 && !ran.out.contains("executed"), "no error: {ran:?}");
        assert!(!ran.err.trim().is_empty(), "no message: {ran:?}");
        self.gone();
        ran
    }

    /// Removes what a test that failed, or a runtime that did, left on the host.
    fn tidy(&self) {
        if std::fs::read_dir(self.path().join("state")).is_ok_and(|mut entries| entries.next().is_some()) {
            self.runtime(&["delete", "--force", "test"]);
        }
        let _ = std::fs::remove_dir(self.cgroup());
    }

    /// Fails if there is a container `test` or a cgroup of it.
    #[track_caller]
    pub(crate) fn gone(&self) {
        assert_ne!(self.runtime(&["state", "test"]).status, 0, "the container exists");
        let cgroup = self.cgroup();
        assert!(!cgroup.exists(), "the cgroup {} is left", cgroup.display());
    }

    /// The container's cgroup as the host sees it, by the absolute `cgroupsPath`.
    pub(crate) fn cgroup(&self) -> PathBuf {
        let path = self.spec["linux"]["cgroupsPath"].as_str().unwrap_or("/none");
        hierarchy().join(path.trim_start_matches('/'))
    }

    /// An entry of `linux.namespaces`, added or replaced.
    pub(crate) fn namespace(&mut self, kind: &str, path: Option<&str>) {
        self.without_namespace(kind);
        let entry = match path {
            Some(path) => serde_json::json!({"type": kind, "path": path}),
            None => serde_json::json!({"type": kind}),
        };
        self.spec["linux"]["namespaces"].as_array_mut().unwrap().push(entry);
    }

    pub(crate) fn without_namespace(&mut self, kind: &str) {
        self.spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != kind);
    }

    /// Gives the container a user namespace with the host's first ids shifted by `host`. Its users may enter the
    /// bundle, but not make mount points in the root file system.
    pub(crate) fn users(&mut self, host: u32, size: u32) {
        std::fs::set_permissions(self.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["proc", "sys", "dev", "t", "volume"] {
            std::fs::create_dir_all(self.rootfs(name)).unwrap();
        }
        self.namespace("user", None);
        let map = serde_json::json!([{"containerID": 0, "hostID": host, "size": size}]);
        self.spec["linux"]["uidMappings"] = map.clone();
        self.spec["linux"]["gidMappings"] = map;
    }

    /// A folder of the bundle beside the root file system.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }
}

/// Where the second version of cgroups is mounted.
fn hierarchy() -> PathBuf {
    let unified = Path::new("/sys/fs/cgroup/unified");
    if unified.exists() { unified.into() } else { "/sys/fs/cgroup".into() }
}

/// A reason to skip: this capability is missing.
pub(crate) fn lacks(capability: caps::Capability) -> Option<String> {
    let has = caps::has_cap(None, caps::CapSet::Effective, capability).unwrap_or(false);
    (!has).then(|| format!("this process has no {capability}"))
}
