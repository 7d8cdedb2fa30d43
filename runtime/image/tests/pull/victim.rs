//! A process that works on a store and does not live long: this test program, started again with orders in a variable.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use sampan_image::{Policy, Prune, PullOptions, Reference, Registries, Source, Store, pull};

use crate::fixture::{Machine, TestImage, gzip};

/// Tells a test to be the victim: the store's directory, then an order a line.
const ORDERS: &str = "SAMPAN_TEST_ORDERS";

/// A victim that plays in a test of this name.
pub(crate) fn victim(test: &str, store: &Path, orders: &[String]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(ORDERS, format!("{}\n{}", store.display(), orders.join("\n")));
    command
}

/// As the victim: carries the orders out and ends. Otherwise returns.
pub(crate) fn play() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let mut lines = orders.lines();
    let root = Path::new(lines.next().unwrap());
    let machine = Machine::new();
    let registries = machine.registries();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "mark" {
            // Both forms of a sign: to whoever reads our output, and to whoever traces our calls.
            let _ = std::fs::metadata(Path::new(crate::power::MARKS).join(words[1]));
            println!("\n+{}", words[1]);
            continue;
        }
        if let Err(error) = obey(root, &registries, &words) {
            println!("\n-{line}: {error}");
            std::process::exit(1);
        }
    }
    std::process::exit(0);
}

fn obey(root: &Path, registries: &Registries, words: &[&str]) -> sampan_image::Result<()> {
    let store = Store::open(root)?;
    match words {
        ["pull", source] => {
            let policy = Policy::accept_anything();
            let options = PullOptions::new(registries, &policy);
            pull(&store, &Source::parse(source, registries)?, &options).map(drop)
        }
        ["tag", name, new] => match store.find(name, registries)? {
            Some(image) => store.tag(&image, &Reference::parse(new)?),
            None => Ok(()),
        },
        ["rm", name] => match store.removal()?.remove(name, registries, &[], true) {
            Err(sampan_image::Error::NoSuchImage(_)) => Ok(()),
            result => result.map(drop),
        },
        ["prune"] => {
            let none = HashSet::new();
            store.removal()?.prune(&Prune { all: false, in_use: &none, keep: &|_| false }).map(drop)
        }
        _ => panic!("unknown order {words:?}"),
    }
}

/// An archive whose every directory has an entry, so that its tree looks the same wherever it is unpacked.
pub(crate) fn archive(word: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mtime(1_000_000);
    for (name, mode) in [("./", 0o755), ("./etc/", 0o755), ("./opaque/", 0o711)] {
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_size(0);
        builder.append_data(&mut header, name, std::io::empty()).unwrap();
    }
    header.set_entry_type(tar::EntryType::Regular);
    for (name, content) in [
        ("etc/word", word),
        ("etc/long", &word.repeat(500)),
        ("etc/.wh.gone", ""),
        ("opaque/.wh..wh..opq", ""),
    ] {
        header.set_mode(0o4755);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "etc/link", word).unwrap();
    builder.into_inner().unwrap()
}

/// An image whose layers are [`archive`]s of these words, as a layout: the source to pull it by, and its id.
pub(crate) fn layout(directory: &Path, words: &[&str]) -> (String, String) {
    let archives: Vec<_> = words.iter().map(|word| archive(word)).collect();
    let layers = archives.iter().map(|archive| gzip(archive)).collect();
    let ids: Vec<_> = archives.iter().map(|archive| sampan_image::Digest::of(archive).to_string()).collect();
    let image = TestImage::of_layers(layers, &ids);
    let path = directory.join(words.join("-"));
    image.write_layout(&path);
    (format!("oci:{}", path.display()), sampan_image::Digest::of(&image.config).hex())
}
