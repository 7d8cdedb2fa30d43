//! The floor for a generator: reads every file of a folder and writes one new file of about
//! the size of a service unit for each, each with one `write`, and does nothing else.
//!
//! usage: floor INPUT-FOLDER OUTPUT-FOLDER

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: floor INPUT-FOLDER OUTPUT-FOLDER");
        std::process::exit(2);
    };
    let mut paths: Vec<_> = fs::read_dir(input)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    paths.sort_unstable();
    for path in paths {
        let mut unit = fs::read(&path)?;
        unit.resize(1200, b'\n');
        let name = path.file_stem().unwrap_or_default();
        let mut service = output.join(name);
        service.set_extension("service");
        File::create_new(service)?.write_all(&unit)?;
    }
    Ok(())
}
