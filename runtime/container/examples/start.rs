//! Starts a program many times, as `sampan run` would: overlay root, default mounts, masks and filter; prints how
//! long a start takes from the call to the program's end.
//!
//! `start ROOTFS COUNT PROGRAM [ARGUMENT…]`, as root; the writable layer is made in a temporary directory.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sampan_container::mount::{self, Layers};
use sampan_container::seccomp::{self, Profile};
use sampan_container::{Creation, Parent, Result, create, defaults, process};

fn start(rootfs: &Path, work: &Path, words: &[String]) -> Result<i32> {
    let root = mount::overlay(&Layers {
        lower: &[rootfs.to_owned()],
        upper: &work.join("upper"),
        work: &work.join("work"),
        volatile: true,
        context: None,
    })?;
    let mut spec = defaults::spec();
    if let Some(mut process) = spec.process().clone() {
        process.set_args(Some(words.to_vec()));
        spec.set_process(Some(process));
    }
    let caps: HashSet<_> = defaults::capabilities().into_iter().collect();
    let mut creation = Creation::new(&spec, root);
    creation.parent = Parent::Caller;
    creation.filter = seccomp::load(&Profile::Default, &caps, &work.join("seccomp"))?;
    creation.default_rlimits = defaults::rlimits();
    let mut held = create(creation)?;
    let pidfd = held.pidfd().try_clone_to_owned();
    held.wait_ready()?;
    held.release()?;
    match pidfd {
        Ok(pidfd) => process::wait_exit(pidfd.as_fd()),
        Err(_) => Ok(125),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, rootfs, count, words @ ..] = arguments.as_slice() else {
        eprintln!("usage: start ROOTFS COUNT PROGRAM [ARGUMENT…]");
        std::process::exit(2);
    };
    let work = PathBuf::from(std::env::var_os("WORK").unwrap_or("/tmp/sampan-start".into()));
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..count.parse().unwrap_or(1) {
        for name in ["upper", "work"] {
            let _ = std::fs::remove_dir_all(work.join(name));
            std::fs::create_dir_all(work.join(name)).expect("a directory for the writable layer");
        }
        let begin = Instant::now();
        match start(Path::new(rootfs), &work, words) {
            Ok(0) => times.push(begin.elapsed()),
            Ok(status) => std::process::exit(status),
            Err(error) => {
                eprintln!("start: {error}");
                std::process::exit(error.exit_status().into());
            }
        }
    }
    times.sort();
    println!(
        "median {:?}, fastest {:?}, slowest {:?}",
        times[times.len() / 2],
        times[0],
        times[times.len() - 1]
    );
}
