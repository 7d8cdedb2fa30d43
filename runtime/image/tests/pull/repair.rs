//! A damaged store and a registry that has what it lacks: only that is fetched, and names stay as they were.

use std::collections::HashSet;
use std::fs;

use sampan_image::{Depth, Digest, Policy, PullOptions};

use crate::fixture::{Machine, TestImage, noise, tar_of};
use crate::server::Server;

fn image() -> TestImage {
    TestImage::new(&[tar_of(&[("lower", &noise(50_000))]), tar_of(&[("upper", b"content")])])
}

/// Mends the store with the registry's help; returns what could not be fetched.
fn repair(machine: &Machine) -> Vec<String> {
    let store = machine.store();
    let (registries, policy) = (machine.registries(), Policy::accept_anything());
    let options = PullOptions { retries: 0, ..PullOptions::new(&registries, &policy) };
    let checked = store.check(Depth::Full).unwrap();
    assert_eq!(checked.broken.len(), 1, "{:?}", checked.faults);
    store.removal().unwrap().repair(&checked, &HashSet::new()).unwrap();
    let outcomes = checked.broken.iter().filter_map(|broken| {
        let error = store.restore(broken, &options).err()?;
        store.removal().unwrap().give_up(broken, &HashSet::new()).unwrap();
        Some(error.to_string())
    });
    let failed = outcomes.collect();
    store.collect_garbage().unwrap();
    let faults: Vec<String> =
        store.check(Depth::Full).unwrap().faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults, [] as [String; 0]);
    failed
}

#[test]
fn what_an_image_lacks_is_fetched_and_nothing_else() {
    let server = Server::registry(image());
    let name = format!("{}/x:1", server.address);
    type Damage = fn(&Machine, &sampan_image::Image);
    let cases: [(&str, usize, Damage); 5] = [
        ("a changed file", 1, |_, image| fs::write(image.layers[0].join("upper"), "other").unwrap()),
        ("a missing layer", 1, |_, image| fs::remove_dir_all(&image.layers[0]).unwrap()),
        ("an empty configuration", 0, |machine, image| {
            fs::write(machine.store_path().join("blobs/sha256").join(&image.id), "").unwrap();
        }),
        ("a missing manifest", 0, |machine, image| {
            fs::remove_file(machine.store_path().join("blobs/sha256").join(image.digest.hex())).unwrap();
        }),
        ("an empty record", 0, |machine, image| {
            fs::write(machine.store_path().join(format!("images/{}.json", image.id)), "").unwrap();
        }),
    ];
    for (what, layers, damage) in cases {
        let machine = Machine::new();
        let pulled = machine.pull(&name).unwrap();
        damage(&machine, &pulled);
        server.forget();
        assert_eq!(repair(&machine), [] as [String; 0], "{what}");
        let digests: Vec<_> = image().layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        let is_layer = |request: &&String| digests.iter().any(|digest| request.contains(digest));
        assert_eq!(server.requests().iter().filter(is_layer).count(), layers, "{what}");
        let found = machine.store().images().unwrap();
        assert_eq!(found.len(), 1, "{what}");
        assert_eq!((&found[0].id, &found[0].names), (&pulled.id, &pulled.names), "{what}");
        assert_eq!(fs::read(found[0].layers[0].join("upper")).unwrap(), b"content", "{what}");
    }
}

#[test]
fn an_image_that_no_registry_has_any_more_is_given_up_in_words() {
    let server = Server::registry(image());
    let machine = Machine::new();
    let pulled = machine.pull(&format!("{}/x:1", server.address)).unwrap();
    drop(server);
    fs::remove_dir_all(&pulled.layers[0]).unwrap();
    let failed = repair(&machine);
    assert!(failed[0].contains("cannot be reached"), "{failed:?}");
    assert!(machine.store().images().unwrap().is_empty());
    assert_eq!(machine.layer_count(), 0);
}

#[test]
fn a_pull_alone_mends_what_it_brings() {
    let server = Server::registry(image());
    let name = format!("{}/x:1", server.address);
    let machine = Machine::new();
    let pulled = machine.pull(&name).unwrap();
    for path in [
        format!("blobs/sha256/{}", pulled.id),
        format!("images/{}.json", pulled.id),
        format!("names/{}.json", Digest::of(pulled.names[0].as_bytes()).hex()),
    ] {
        // Of the same length: only a look at it tells.
        let path = machine.store_path().join(path);
        let length = fs::metadata(&path).unwrap().len() as usize;
        fs::write(&path, " ".repeat(length)).unwrap();
        let again = machine.pull(&name).unwrap();
        assert_eq!((again.id, again.names), (pulled.id.clone(), pulled.names.clone()), "{}", path.display());
        assert!(machine.store().check(Depth::Full).unwrap().faults.is_empty(), "{}", path.display());
    }
}
