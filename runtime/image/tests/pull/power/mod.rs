//! The power fails at random moments.
//!
//! A process works on a store under strace(1), once. Its calls are then played again on a disk in memory that forgets
//! what was not synced (`disk`), up to a hundred random moments; what is left is written out, and must be a store in
//! which everything that was complete still is, nothing half-made is visible, and the next pull works without repair.

mod disk;
mod trace;

use std::path::Path;
use std::process::Command;

use sampan_image::Store;

pub(crate) use disk::Dice;
use disk::{Disk, Manners};
use trace::Call;

use crate::fixture::{Machine, installed};
use crate::killed::{assert_sound, has};
use crate::victim::{layout, play, victim};

/// Asking for a file in here marks a step.
pub(crate) const MARKS: &str = "/sampan-test-marks";
/// How often the power fails.
const CUTS: usize = 100;

/// Carries the orders out under strace; `None` where there is none.
fn traced(test: &str, store: &Path, orders: &[String]) -> Option<Vec<Call>> {
    if !installed("strace") {
        return None;
    }
    let log = store.with_extension("strace");
    let player = victim(test, store, orders);
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-xx", "-s", "1000000", "-e", trace::TRACED, "-o"]).arg(&log);
    command.arg("--").arg(player.get_program()).args(player.get_args());
    command.envs(player.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let output = command.output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if said.contains("PTRACE") || said.contains("ptrace") {
        eprintln!("SKIP: processes can't be traced here: {said}");
        return None;
    }
    assert!(said.contains("+end"), "{said}");
    Some(trace::calls(&std::fs::read_to_string(&log).unwrap()))
}

/// A place for disks: nothing here need survive anything.
fn workshop() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIP: whiteouts and attributes of overlayfs need root");
    }
    is_root
}

/// The names of the marks among some calls.
fn marks<'a>(calls: &'a [Call]) -> Vec<&'a str> {
    let mark = |call: &'a Call| match call {
        Call::Mark(name) => Some(name.as_str()),
        _ => None,
    };
    calls.iter().filter_map(mark).collect()
}

fn a_hundred_cuts(test: &str, manners: Manners) {
    let machine = Machine::new();
    let (first, first_id) = layout(machine.directory.path(), &["common", "first", "last"]);
    let (second, second_id) = layout(machine.directory.path(), &["common", "second", "other"]);
    let orders: Vec<String> = [
        format!("pull {first}"),
        "mark first".into(),
        "tag localhost/v1 localhost/kept".into(),
        "mark kept".into(),
        format!("pull {second}"),
        "mark second".into(),
        "mark removing".into(),
        "rm localhost/kept".into(),
        "prune".into(),
        "rm localhost/v1".into(),
        "mark removed".into(),
        "prune".into(),
        format!("pull {first}"),
        "mark again".into(),
        "mark end".into(),
    ]
    .to_vec();
    let Some(calls) = traced(test, &machine.store_path(), &orders) else { return };
    // The store's parent is there already; everything below it has to survive by our own doing.
    let place = machine.directory.path().canonicalize().unwrap();
    let seed = std::env::var("SAMPAN_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut dice = Dice(seed.unwrap_or(0x0123_4567_89ab_cdef));
    let mut moments: Vec<usize> = (0..CUTS).map(|_| dice.below(calls.len() + 1)).collect();
    moments.sort_unstable();
    let mut disk = Disk::new(&place);
    let mut played = 0;
    for moment in moments {
        calls[played..moment].iter().for_each(|call| disk.call(call, manners));
        played = moment;
        let workshop = workshop();
        disk.cut(manners, &mut dice, workshop.path());
        let marks = marks(&calls[..moment]);
        let done = |mark: &str| marks.contains(&mark);
        let last: String = format!("{:?}", calls[moment.saturating_sub(1)]).chars().take(200).collect();
        let context = format!("{manners:?}, call {moment} of {}: {last}, after {marks:?}", calls.len());
        let root = workshop.path().join("store");
        let store = Store::open(&root).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert_sound(&store, &context);
        assert_eq!(std::fs::read_dir(root.join("tmp")).unwrap().count(), 0, "{context}");
        let first_is_there = done("first") && !done("removing") || done("again");
        let second_is_there = done("second") && !done("removing");
        assert!(!first_is_there || has(&store, &first_id), "the first image is gone: {context}");
        assert!(!second_is_there || has(&store, &second_id), "the second image is gone: {context}");
        let machine = Machine { store: Some(root), ..Machine::new() };
        for (source, id) in [(&second, &second_id), (&first, &first_id)] {
            let pulled = machine.pull(source).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(pulled.id, *id, "{context}");
        }
        assert_sound(&store, &format!("pulled again, {context}"));
        assert!(has(&store, &first_id) && has(&store, &second_id), "{context}");
    }
    assert!(played > calls.len() / 2);
}

#[test]
fn with_a_journal_a_power_cut_loses_nothing_that_was_complete() {
    play();
    if is_root() {
        a_hundred_cuts("power::with_a_journal_a_power_cut_loses_nothing_that_was_complete", Manners::Orderly);
    }
}

#[test]
fn without_any_order_a_power_cut_loses_nothing_that_was_complete() {
    play();
    if is_root() {
        a_hundred_cuts(
            "power::without_any_order_a_power_cut_loses_nothing_that_was_complete",
            Manners::Unruly,
        );
    }
}
