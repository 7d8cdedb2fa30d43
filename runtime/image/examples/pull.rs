//! Pulls one image into a store: `pull STORE SOURCE`, with the host's configuration. For
//! measurements; the command for people is `sampan pull`.

use std::path::Path;

use sampan_image::{Policy, Progress, PullOptions, Registries, Source, Store, pull};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(root), Some(source)) = (arguments.next(), arguments.next()) else {
        return Err("usage: pull STORE SOURCE".into());
    };
    let registries = Registries::load(Path::new("/"))?;
    let policy = Policy::load(Path::new("/"))?;
    let store = Store::open(Path::new(&root))?;
    let source = Source::parse(&source, &registries)?;
    let show = |progress: &Progress| eprintln!("{progress}");
    let options =
        PullOptions { progress: &show, tls_verify: Some(false), ..PullOptions::new(&registries, &policy) };
    let image = pull(&store, &source, &options)?;
    println!("{} {:?}", image.id, image.names);
    Ok(())
}
