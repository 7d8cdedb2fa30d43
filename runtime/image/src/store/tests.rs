//! The store without any transport: records, names, removal, locks, leftovers.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::reference::Reference;
use crate::registries::Registries;
use crate::unpack::{Known, Unpacked, survey};

/// Longer than any of these tests.
pub(super) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(600);

pub(super) fn config(number: u32) -> Vec<u8> {
    format!(
        r#"{{"architecture":"amd64","os":"linux","created":"2024-01-01T00:00:00Z","author":"{number}",
            "rootfs":{{"type":"layers","diff_ids":[]}}}}"#
    )
    .into_bytes()
}

pub(super) fn add_layer(store: &Store, content: &str) -> Digest {
    let diff_id = Digest::of(content.as_bytes());
    if let Some(staging) = store.stage(diff_id, PATIENCE, &|_| ()).unwrap() {
        staging.directories().unwrap();
        let path = store.root().join("tmp").join(diff_id.short()).join("root/file");
        std::fs::write(path, content).unwrap();
        let unpacked = unpacked(store, diff_id, content.len() as u64);
        store.commit(vec![staging.finish(unpacked)]).unwrap();
    }
    diff_id
}

/// What unpacking would have said of a layer that a test has written.
fn unpacked(store: &Store, diff_id: Digest, bytes: u64) -> Unpacked {
    let root = std::fs::File::open(store.root().join("tmp").join(diff_id.short()).join("root")).unwrap();
    let contents = survey(root.as_fd(), &Known::nothing(true)).unwrap();
    Unpacked { diff_id, bytes, links_to_output: false, contents }
}

pub(super) fn add_image(store: &Store, number: u32, layers: &[&str], name: &str) -> Image {
    let bytes = config(number);
    let digest = Digest::of(&bytes);
    store.keep_blob(&digest, &bytes).unwrap();
    store.keep_blob(&Digest::of(name.as_bytes()), name.as_bytes()).unwrap();
    let reference = Reference::parse(name).unwrap();
    let record = ImageRecord {
        config: digest,
        manifest: Digest::of(name.as_bytes()),
        size: 1,
        layers: layers.iter().map(|layer| add_layer(store, layer)).collect(),
        names: Vec::new(),
        repo_digests: vec![reference.with_digest(Digest::of(name.as_bytes())).to_string()],
        links_to_output: Some(false),
    };
    let name = NameRecord::new(reference.to_string(), digest, Some(digest));
    store.add_image(record, &[name]).unwrap()
}

pub(super) fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("sampan")).unwrap();
    (directory, store)
}

pub(super) fn layers(store: &Store) -> usize {
    std::fs::read_dir(store.root().join("layers"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_none())
        .count()
}

#[test]
fn images_are_found_by_name_short_name_id_and_digest() {
    let (_directory, store) = store();
    let registries = Registries::empty();
    let image = add_image(&store, 1, &["a", "b"], "q.io/x:1");
    let local = add_image(&store, 2, &["a"], "localhost/mine");
    for name in ["q.io/x:1", "docker://q.io/x:1", &image.id, &image.id[..6], &format!("sha256:{}", image.id)]
    {
        assert_eq!(store.find(name, &registries).unwrap().unwrap().id, image.id, "{name}");
    }
    assert_eq!(store.find("mine", &registries).unwrap().unwrap().id, local.id);
    let by_digest = format!("q.io/x@{}", image.digest);
    assert_eq!(store.find(&by_digest, &registries).unwrap().unwrap().id, image.id);
    for name in ["q.io/x", "q.io/x:2", "zzz", "", "../etc", "oci:/x"] {
        assert!(store.find(name, &registries).unwrap().is_none(), "{name}");
    }
    assert_eq!(image.layers.len(), 2);
    assert_eq!(std::fs::read_to_string(image.layers[0].join("file")).unwrap(), "b", "topmost first");
    assert_eq!(store.images().unwrap().len(), 2);
}

#[test]
fn paths_of_128_layers_fit_into_a_page_of_mount_options() {
    let (_directory, store) = store();
    let path = store.layer_path(&Digest::of(b"x"));
    let relative = path.strip_prefix(store.root().join("layers")).unwrap();
    assert!(128 * (relative.as_os_str().len() + 1) < 4096 - 500);
}

#[test]
fn a_moved_name_leaves_the_old_image_without_it() {
    let (_directory, store) = store();
    let registries = Registries::empty();
    let old = add_image(&store, 1, &["a"], "q.io/x");
    let new = add_image(&store, 2, &["b"], "q.io/x");
    assert_eq!(store.find("q.io/x", &registries).unwrap().unwrap().id, new.id);
    let old = store.find(&old.id, &registries).unwrap().unwrap();
    assert!(old.names.is_empty());
    store.tag(&old, &Reference::parse("q.io/x:old").unwrap()).unwrap();
    let names: BTreeSet<_> = store.images().unwrap().into_iter().flat_map(|image| image.names).collect();
    assert_eq!(names, BTreeSet::from(["q.io/x:latest".to_owned(), "q.io/x:old".to_owned()]));
}

#[test]
fn removal_takes_only_what_nobody_else_uses() {
    let (_directory, store) = store();
    let registries = Registries::empty();
    let image = add_image(&store, 1, &["shared", "own"], "q.io/x");
    add_image(&store, 2, &["shared"], "q.io/y");
    store.tag(&image, &Reference::parse("q.io/z").unwrap()).unwrap();
    let used = ["web".to_owned()];

    let by_id = store.removal().unwrap().remove(&image.id, &registries, &[], false);
    assert!(matches!(by_id, Err(Error::SeveralNames { .. })));
    let removed = store.removal().unwrap().remove("q.io/z", &registries, &used, false).unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted), (1, None));
    let in_use = store.removal().unwrap().remove("q.io/x", &registries, &used, false);
    assert!(matches!(in_use, Err(Error::InUse { .. })));
    assert_eq!(layers(&store), 2);

    let removed = store.removal().unwrap().remove("q.io/x", &registries, &[], false).unwrap();
    assert_eq!(removed.deleted, Some(image.id));
    assert_eq!(removed.collected.layers, 1);
    assert_eq!(layers(&store), 1);
    assert!(store.find("q.io/x", &registries).unwrap().is_none());
    assert!(store.find("q.io/y", &registries).unwrap().is_some());
    assert!(matches!(
        store.removal().unwrap().remove("q.io/x", &registries, &[], false),
        Err(Error::NoSuchImage(_))
    ));
}

#[test]
fn nothing_is_collected_while_a_pull_runs() {
    let (_directory, store) = store();
    add_layer(&store, "orphan");
    let pull = store.lock_shared().unwrap();
    assert_eq!(store.collect_garbage().unwrap(), Collected::default());
    drop(pull);
    assert_eq!(store.collect_garbage().unwrap().layers, 1);
    assert_eq!(std::fs::read_dir(store.root().join("layers")).unwrap().count(), 0);
}

#[test]
fn leftovers_go_at_the_next_opening_unless_a_pull_runs() {
    let (_directory, store) = store();
    let deep = store.root().join("tmp/left/").join("d/".repeat(900));
    std::fs::create_dir_all(&deep).unwrap();
    std::os::unix::fs::symlink(store.root().join("names"), deep.join("link")).unwrap();
    add_image(&store, 1, &["a"], "q.io/x");
    let pull = store.lock_shared().unwrap();
    Store::open(store.root()).unwrap();
    assert!(deep.exists());
    drop(pull);
    Store::open(store.root()).unwrap();
    assert_eq!(std::fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(store.root().join("names")).unwrap().count(), 1, "the link was followed");
}

#[test]
fn a_failed_layer_leaves_nothing() {
    let (_directory, store) = store();
    let staging = store.stage(Digest::of(b"x"), PATIENCE, &|_| ()).unwrap().unwrap();
    staging.directories().unwrap();
    drop(staging);
    assert_eq!(std::fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    assert_eq!(layers(&store), 0);
}

#[test]
fn an_image_that_lost_a_layer_is_not_found() {
    let (_directory, store) = store();
    let image = add_image(&store, 1, &["a"], "q.io/x");
    std::fs::remove_dir_all(&image.layers[0]).unwrap();
    assert!(store.find("q.io/x", &Registries::empty()).unwrap().is_none());
    assert!(store.images().unwrap().is_empty());
}

#[test]
fn the_second_fetcher_of_a_layer_waits_and_sees_progress() {
    let (_directory, store) = store();
    let diff_id = Digest::of(b"slow");
    let staging = store.stage(diff_id, PATIENCE, &|_| ()).unwrap().unwrap();
    staging.directories().unwrap();
    staging.received(1234);
    let seen = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            let other = Store { root: store.root.clone() };
            let tell = |bytes| seen.store(bytes, std::sync::atomic::Ordering::Relaxed);
            other.stage(diff_id, PATIENCE, &tell).unwrap().is_none()
        });
        while seen.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let unpacked = unpacked(&store, diff_id, 4);
        store.commit(vec![staging.finish(unpacked)]).unwrap();
        assert!(second.join().unwrap(), "the layer was there, yet it was to be fetched again");
    });
    assert_eq!(seen.into_inner(), 1234);
}

/// What `prune` would remove, and removes.
fn prune(store: &Store, all: bool, in_use: &[&Image]) -> Pruned {
    let in_use = in_use.iter().map(|image| image.id.clone()).collect();
    store.removal().unwrap().prune(&Prune { all, in_use: &in_use, keep: &|_| false }).unwrap()
}

#[test]
fn a_name_keeps_its_image_and_the_one_before() {
    let (_directory, store) = store();
    let first = add_image(&store, 1, &["a", "shared"], "q.io/x");
    let second = add_image(&store, 2, &["b", "shared"], "q.io/x");
    let pruned = prune(&store, false, &[]);
    assert_eq!((pruned.images.len(), pruned.previous), (0, vec![first.id.clone()]));
    // The same image again moves nothing.
    add_image(&store, 2, &["b", "shared"], "q.io/x");
    let third = add_image(&store, 3, &["c", "shared"], "q.io/x");
    let pruned = prune(&store, false, &[]);
    assert_eq!(pruned.images, [(first.id.clone(), Vec::new())]);
    assert_eq!(pruned.previous, std::slice::from_ref(&second.id));
    assert_eq!((pruned.collected.layers, layers(&store)), (1, 3));

    // Back to the one before: then that is current, and the bad one is what was before.
    store.tag(&second, &Reference::parse("q.io/x").unwrap()).unwrap();
    assert_eq!(prune(&store, false, &[]).previous, std::slice::from_ref(&third.id));
    let pruned = prune(&store, true, &[&third]);
    assert_eq!(pruned.images, [(second.id, vec!["q.io/x:latest".to_owned()])]);
    assert!(store.find(&third.id, &Registries::empty()).unwrap().is_some(), "it is in use");
    assert_eq!(layers(&store), 2);
    assert_eq!(std::fs::read_dir(store.root().join("trash")).unwrap().count(), 0);
}

#[test]
fn an_image_that_is_held_is_not_removed_until_it_is_let_go() {
    let (_directory, store) = store();
    let image = add_image(&store, 1, &["a"], "q.io/x");
    let hold = store.hold().unwrap();
    assert!(store.has(&image));
    let removed = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let removal = scope.spawn(|| {
            let other = Store { root: store.root.clone() };
            let removal = other.removal().unwrap();
            removed.store(true, std::sync::atomic::Ordering::Relaxed);
            removal.remove("q.io/x", &Registries::empty(), &[], false).unwrap()
        });
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!removed.load(std::sync::atomic::Ordering::Relaxed) && store.has(&image));
        drop(hold);
        assert_eq!(removal.join().unwrap().collected.layers, 1);
    });
    assert!(!store.has(&image));
}

#[test]
fn what_a_killed_collection_left_goes_with_the_next() {
    let (_directory, store) = store();
    add_image(&store, 1, &["a"], "q.io/x");
    std::fs::create_dir_all(store.root().join("trash/left/d/d")).unwrap();
    std::fs::write(store.root().join("trash/file"), "").unwrap();
    store.collect_garbage().unwrap();
    assert_eq!(std::fs::read_dir(store.root().join("trash")).unwrap().count(), 0);
    assert_eq!(layers(&store), 1);
}

#[test]
fn an_image_is_found_without_reading_its_layers_records() {
    let (_directory, store) = store();
    let image = add_image(&store, 1, &["a", "b"], "q.io/x");
    for content in ["a", "b"] {
        std::fs::write(store.layer_path(&Digest::of(content.as_bytes())).with_extension("json"), "?")
            .unwrap();
    }
    let found = store.find("q.io/x", &Registries::empty()).unwrap().unwrap();
    assert_eq!((found.layers, found.links_to_output), (image.layers, false));
}

#[test]
fn a_pull_replaces_damaged_records() {
    let (_directory, store) = store();
    let image = add_image(&store, 1, &["a"], "q.io/x");
    let digest = Digest::from_hex(&image.id).unwrap();
    for path in [
        store.image_record_path(&digest),
        store.name_record_path("q.io/x:latest"),
        store.blob_path(&digest),
        store.layer_path(&Digest::of(b"a")).with_extension("json"),
    ] {
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged.fill(b' ');
        for wrong in [&whole[..whole.len() / 2], b"", &damaged[..]] {
            std::fs::write(&path, wrong).unwrap();
            add_image(&store, 1, &["a"], "q.io/x");
            let found = store.find("q.io/x", &Registries::empty()).unwrap();
            assert_eq!(found.unwrap().names, image.names, "{}", path.display());
        }
    }
}

#[test]
fn a_name_on_trial_keeps_its_image_or_goes_back() {
    let (_directory, store) = store();
    let registries = Registries::empty();
    let (old, new) = (add_image(&store, 1, &["a"], "q.io/x"), add_image(&store, 2, &["b"], "q.io/x"));
    let name = "q.io/x:latest";
    let leads_to = || store.find(name, &registries).unwrap().unwrap().id;
    let units = BTreeMap::from([("pod.service".to_owned(), vec!["web.service".to_owned()])]);
    store.begin_trial(name, &old.id, &units).unwrap();
    // Whoever pulls it again in between changes nothing.
    add_image(&store, 2, &["b"], "q.io/x");
    let trial = &store.trials().unwrap()[0];
    assert_eq!((trial.name.as_str(), &trial.image, &trial.previous), (name, &new.id, &Some(old.id.clone())));
    assert_eq!((&trial.units, trial.returning), (&units, false));
    assert!(store.refused(name).unwrap().is_none());

    assert_eq!(store.return_name(name).unwrap().unwrap().id, old.id);
    // Killed now, it is known what is still to be done.
    let trial = &store.trials().unwrap()[0];
    assert_eq!((leads_to(), &trial.image, &trial.units), (old.id.clone(), &old.id, &units));
    assert!(trial.returning);
    store.end_trial(name).unwrap();
    assert_eq!(store.trials().unwrap(), []);
    assert_eq!(store.refused(name).unwrap().unwrap().id, new.id);

    // A newer one, which proves itself; the last one that was good is remembered.
    let third = add_image(&store, 3, &["c"], "q.io/x");
    store.begin_trial(name, &old.id, &units).unwrap();
    store.end_trial(name).unwrap();
    assert_eq!((leads_to(), store.trials().unwrap().len()), (third.id, 0));
    assert_eq!(store.return_name(name).unwrap().unwrap().id, old.id);

    // Without the image there is no way back, and nothing changes.
    let fourth = add_image(&store, 4, &["d"], "q.io/x");
    store.begin_trial(name, &old.id, &units).unwrap();
    store.removal().unwrap().remove(&old.id, &registries, &[], true).unwrap();
    assert!(store.return_name(name).unwrap().is_none());
    assert_eq!((leads_to(), store.trials().unwrap().len()), (fourth.id, 1));
    assert!(matches!(store.end_trial("q.io/none:1"), Err(Error::NoSuchImage(_))));
}

#[test]
fn nobody_waits_for_a_fetcher_that_receives_nothing() {
    let (_directory, store) = store();
    let diff_id = Digest::of(b"stalled");
    let _staging = store.stage(diff_id, PATIENCE, &|_| ()).unwrap().unwrap();
    let other = Store { root: store.root.clone() };
    let error = other.stage(diff_id, std::time::Duration::from_millis(60), &|_| ()).unwrap_err();
    assert!(matches!(error, Error::Stalled { .. }), "{error}");
    assert!(error.to_string().contains("another process, which fetches the same layer"), "{error}");
}
