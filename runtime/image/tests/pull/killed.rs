//! `kill -9` at random moments of everything that changes a store, again and again on the same one.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use sampan_image::{Depth, Digest, Registries, Store};

use crate::fixture::{Machine, TestImage, noise, tar_of};
use crate::power::Dice;
use crate::server::{Reply, Server};
use crate::victim::{layout, play, victim};

/// How often.
const KILLS: usize = 100;
/// What two images that take turns under one name have: a layer in common, two of their own.
const FIRST: [&str; 3] = ["common", "first", "last"];
const SECOND: [&str; 3] = ["common", "second", "other"];

/// Every image that is visible is whole, and what a crash may leave is harmless.
pub(crate) fn assert_sound(store: &Store, context: &str) {
    let checked = store.check(Depth::Full).unwrap();
    let passing = ["leads to no image", "lists other names"];
    let harmful = checked.faults.iter().filter(|fault| !fault.is_harmless()).map(ToString::to_string);
    let harmful: Vec<_> = harmful.filter(|text| !passing.iter().any(|words| text.contains(words))).collect();
    assert_eq!(harmful, [] as [String; 0], "{context}");
    for image in store.images().unwrap() {
        assert_eq!(image.layers.len(), 3, "{context}");
        assert_eq!(std::fs::read(image.layers[2].join("etc/word")).unwrap(), b"common", "{context}");
    }
}

/// Whether an image is there.
pub(crate) fn has(store: &Store, id: &str) -> bool {
    store.find(id, &Registries::empty()).unwrap().is_some()
}

#[test]
fn a_process_killed_at_any_moment_leaves_a_store_that_works() {
    play();
    let machine = Machine::new();
    let (first, first_id) = layout(machine.directory.path(), &FIRST);
    let (second, second_id) = layout(machine.directory.path(), &SECOND);
    let orders: Vec<String> = [
        format!("pull {first}"),
        "mark first".into(),
        "tag localhost/v1 localhost/kept".into(),
        "mark kept".into(),
        format!("pull {second}"),
        "mark second".into(),
        "rm localhost/kept".into(),
        "tag localhost/v1 localhost/again".into(),
        format!("pull {first}"),
        "prune".into(),
        "rm localhost/v1".into(),
        "rm localhost/again".into(),
        "prune".into(),
        "mark end".into(),
    ]
    .to_vec();
    let test = "killed::a_process_killed_at_any_moment_leaves_a_store_that_works";
    let start = || {
        let mut command = victim(test, &machine.store_path(), &orders);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let begun = Instant::now();
    let output = start().wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("+end"), "{output:?}");
    let mut whole = begun.elapsed();

    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut cut_short = 0;
    for round in 0..KILLS {
        let mut process = start();
        std::thread::sleep(whole.mul_f64(dice.below(1000) as f64 / 1000.0));
        let _ = process.kill();
        let _ = process.wait();
        let mut said = String::new();
        process.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        let done = |mark: &str| said.lines().any(|line| line == format!("+{mark}"));
        assert!(!said.lines().any(|line| line.starts_with('-')), "round {round}: {said}");
        cut_short += usize::from(!done("end"));
        // The machine may have more or less to do by now than when the time was taken.
        whole = whole.mul_f64(if done("end") { 0.8 } else { 1.05 });
        let store = machine.store();
        let context = format!("round {round} after {said:?}");
        assert_eq!(machine.leftovers(), [] as [String; 0], "{context}");
        assert_sound(&store, &context);
        if done("kept") && !done("second") {
            assert!(has(&store, &first_id), "{context}");
        }
        if round % 10 == 9 {
            // What came before is no matter to the next pull.
            for (source, id) in [(&first, &first_id), (&second, &second_id)] {
                assert_eq!(machine.pull(source).unwrap().id, *id, "{context}");
            }
            assert_sound(&store, &context);
        }
    }
    assert!(cut_short > KILLS / 4, "only {cut_short} of {KILLS} were killed in the middle");
}

#[test]
fn of_two_processes_that_pull_one_image_the_other_goes_on_when_one_is_killed() {
    play();
    let archives = [tar_of(&[("a", &noise(400_000))]), tar_of(&[("b", &noise(150_000))])];
    let image = TestImage::new(&archives);
    let layers: Vec<_> = image.layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let server =
        Server::registry_with(image, |_, reply| Reply { pace: Some(Duration::from_millis(60)), ..reply });
    let name = format!("{}/x", server.address);
    let test = "killed::of_two_processes_that_pull_one_image_the_other_goes_on_when_one_is_killed";
    let fetched = |layer: &String| server.requests().iter().filter(|request| request.contains(layer)).count();

    for is_killed in [false, true] {
        let machine = Machine::new();
        server.forget();
        let mut first = victim(test, &machine.store_path(), &[format!("pull {name}")]);
        let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        while fetched(&layers[0]) == 0 {
            assert!(Instant::now() < deadline, "the first process asks for nothing");
            std::thread::sleep(Duration::from_millis(2));
        }
        let waiting = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                machine.pull_watched(&name, &|progress| {
                    waiting.fetch_add(usize::from(progress.waiting), std::sync::atomic::Ordering::Relaxed);
                })
            });
            while waiting.load(std::sync::atomic::Ordering::Relaxed) == 0 && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            if is_killed {
                first.kill().unwrap();
            }
            let pulled = second.join().unwrap().unwrap();
            assert_eq!(std::fs::read(pulled.layers[1].join("a")).unwrap(), noise(400_000));
        });
        first.wait().unwrap();
        assert!(waiting.into_inner() > 0, "the second process showed no progress of the first");
        let wanted = if is_killed { 2 } else { 1 };
        assert!(layers.iter().all(|layer| fetched(layer) <= wanted), "{:?}", server.requests());
        assert!(is_killed || layers.iter().all(|layer| fetched(layer) == 1), "{:?}", server.requests());
        assert_eq!(machine.leftovers(), [] as [String; 0]);
    }
}
