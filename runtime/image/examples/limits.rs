//! What unpacking an image can't do without, a step by itself: `limits LAYOUT ROUNDS`, for `tests/bench/image`.
//!
//! Reads the layers of an OCI image layout (those of its first manifest), with one thread, and prints lines
//! "NAME MILLISECONDS" for each round: reading them, the digest of what was read, decompression by the same library as
//! a pull uses, and the digest of what came out. Making the files isn't among them.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use oci_spec::image::{Digest, ImageIndex, ImageManifest};
use sha2::{Digest as _, Sha256};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(layout), Some(rounds)) = (arguments.next(), arguments.next()) else {
        return Err("usage: limits LAYOUT ROUNDS".into());
    };
    let layers = layers(Path::new(&layout))?;
    for _ in 0..rounds.parse()? {
        step("read_the_layers", &layers, |layer| drain(&mut fs::File::open(layer)?, |_| ()))?;
        step("their_digest", &layers, |layer| drain(&mut fs::File::open(layer)?, hash()))?;
        step("decompress_them", &layers, |layer| drain(&mut *plain(layer)?, |_| ()))?;
        step("and_the_digest_of_that", &layers, |layer| drain(&mut *plain(layer)?, hash()))?;
    }
    Ok(())
}

/// Times one step over all layers.
fn step(name: &str, layers: &[PathBuf], one: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let begin = Instant::now();
    for layer in layers {
        one(layer)?;
    }
    println!("{name} {:.3}", begin.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

/// Reads to the end, with what is done with each piece.
fn drain(from: &mut dyn Read, mut with: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => with(&buffer[..count]),
        }
    }
}

/// Computes a digest that nobody asks for.
fn hash() -> impl FnMut(&[u8]) {
    let mut hasher = Sha256::new();
    move |piece| {
        hasher.update(piece);
        std::hint::black_box(&hasher);
    }
}

/// The uncompressed bytes of a layer.
fn plain(layer: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = io::BufReader::with_capacity(128 * 1024, fs::File::open(layer)?);
    Ok(match io::BufRead::fill_buf(&mut file)? {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    })
}

fn layers(layout: &Path) -> Result<Vec<PathBuf>, Failure> {
    let blob = |digest: &Digest| layout.join("blobs").join(digest.algorithm().as_ref()).join(digest.digest());
    let index = ImageIndex::from_file(layout.join("index.json"))?;
    let first = index.manifests().first().ok_or("the layout has no manifest")?;
    let manifest = ImageManifest::from_file(blob(first.digest()))?;
    Ok(manifest.layers().iter().map(|layer| blob(layer.digest())).collect())
}
