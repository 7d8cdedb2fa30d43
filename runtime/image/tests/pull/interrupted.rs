//! A full disk, and `kill -9` at any moment: afterwards nothing half-made is visible and the next
//! pull works.
//!
//! The victim is this test program itself, started again with a variable that tells one test to be
//! the victim.

use std::process::{Command, Stdio};
use std::time::Duration;

use sampan_image::{Error, Store};

use crate::fixture::{Machine, TestImage, noise, tar_of};
use crate::server::{Reply, Server};

/// Tells a test what to do as the victim: the store and the source.
const VICTIM: &str = "SAMPAN_TEST_VICTIM";

fn victim(test: &str, store: &std::path::Path, source: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    command.env(VICTIM, format!("{}\n{source}", store.display()));
    command
}

/// As the victim: pulls, prints the error's kind, and ends. Otherwise returns.
fn play_victim() {
    let Ok(order) = std::env::var(VICTIM) else { return };
    let (root, source) = order.split_once('\n').unwrap();
    let machine = Machine::new();
    let registries = machine.registries();
    let policy = sampan_image::Policy::accept_anything();
    let options = sampan_image::PullOptions::new(&registries, &policy);
    let source = sampan_image::Source::parse(source, &registries).unwrap();
    let outcome = Store::open(std::path::Path::new(root))
        .and_then(|store| sampan_image::pull(&store, &source, &options));
    match outcome {
        Ok(_) => println!("victim: pulled"),
        Err(error @ Error::NoSpace { .. }) => println!("victim: NoSpace: {error}"),
        Err(error) => println!("victim: {error}"),
    }
    std::process::exit(0);
}

fn image() -> TestImage {
    TestImage::new(&[
        tar_of(&[("a", &noise(300_000)), ("b", &noise(300_000))]),
        tar_of(&[("c", &noise(100_000))]),
        tar_of(&[("d", b"small")]),
    ])
}

#[test]
fn a_killed_pull_leaves_a_store_that_works() {
    play_victim();
    let server =
        Server::registry_with(image(), |_, reply| Reply { pace: Some(Duration::from_millis(4)), ..reply });
    let machine = Machine::new();
    let name = format!("{}/x", server.address);
    let test = "interrupted::a_killed_pull_leaves_a_store_that_works";
    for step in 0..25 {
        let mut process = victim(test, &machine.store_path(), &name)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(10 * step));
        let _ = process.kill();
        let _ = process.wait();
        for image in machine.store().images().unwrap() {
            assert_eq!(std::fs::read(image.layers[2].join("b")).unwrap(), noise(300_000));
        }
        assert_eq!(machine.leftovers(), [] as [String; 0], "opening did not clean");
        if step % 5 == 0 {
            std::fs::remove_dir_all(machine.store_path()).unwrap();
        }
    }
    let pulled = machine.pull(&name).unwrap();
    assert_eq!(std::fs::read(pulled.layers[2].join("a")).unwrap(), noise(300_000));
}

#[test]
fn a_full_disk_is_named_and_nothing_stays() {
    play_victim();
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP: mounting a small file system needs root");
        return;
    }
    let server = Server::registry(image());
    let machine = Machine::new();
    std::fs::create_dir_all(machine.store_path()).unwrap();
    let program = victim(
        "interrupted::a_full_disk_is_named_and_nothing_stays",
        &machine.store_path().join("sampan"),
        &format!("{}/x", server.address),
    );
    let store = machine.store_path().display().to_string();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec"]);
    command.arg(
        "mount -t tmpfs -o size=400k sampan-test \"$1\" || exit 77; store=$1; shift; \"$@\"; \
         find \"$store/sampan/tmp\" \"$store/sampan/images\" -mindepth 1",
    );
    command.arg("sh").arg(store).arg(program.get_program()).args(program.get_args());
    command.envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let Ok(output) = command.output() else {
        eprintln!("SKIP: unshare is not installed");
        return;
    };
    if output.status.code() == Some(77) {
        eprintln!("SKIP: a small file system cannot be mounted here");
        return;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text.lines().find(|line| line.contains("victim:")).unwrap_or_default();
    assert!(said.contains("NoSpace: no space left on the file system of"), "{text}");
    assert!(said.contains("remove unused images"), "{text}");
    let left: Vec<_> = text.lines().filter(|line| line.starts_with('/')).collect();
    assert_eq!(left, [] as [&str; 0]);
}
