//! `sampan-machine`: test machines by hand, and the processes that set them up.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use sampan_machine_tests::cache::Cache;
use sampan_machine_tests::place::Place;
use sampan_machine_tests::{Machine, Options, images, init, registry, root, shipped};

const HELP: &str = "\
sampan-machine: a throw-away systemd in private namespaces

  sampan-machine boot NAME [FOLDER...]   boot it; the folders' files lie over its root, first on top
  sampan-machine run NAME COMMAND...     run a command in it
  sampan-machine stop NAME               power it off; nothing of it stays
  sampan-machine archive IMAGE FILE      pack a small image of tests/images as an OCI archive
  sampan-machine images                  print the folder of the images of real programs, a layout each,
                                         built if missing
  sampan-machine root [building]         print the folder of its root file system, built if missing;
                                         with \"building\" of one that has buildah, with
                                         \"networking\" of one that has firewalld and the like, with
                                         \"network-manager\" of one that has NetworkManager
  sampan-machine virtual FOLDER          put the product into FOLDER; print the folders that are the
                                         root of a virtual machine together, the first on top

Needs root. What is built is kept in $SAMPAN_CACHE (default /var/cache/sampan-test).
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sampan-machine: {error:#}");
            ExitCode::from(125)
        }
    }
}

/// The program: one of its commands.
fn run(arguments: &[&str]) -> Result<ExitCode> {
    match arguments {
        ["boot", name, folders @ ..] => boot(name, folders)?,
        ["run", name, command @ ..] if !command.is_empty() => {
            let status = Machine::find(name)?.command(command).status().context("run nsenter")?;
            return Ok(ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1)));
        }
        ["stop", name] => Machine::find(name)?.stop()?,
        ["archive", image, file] => {
            let cache = Cache::open()?;
            let layouts = images::build(&cache, "images-small", images::SMALL, &root::build(&cache)?)?;
            images::archive(&layouts.join(image), Path::new(file))?;
        }
        ["images"] => {
            let cache = Cache::open()?;
            let layouts = images::build(&cache, "images-real", images::REAL, &root::build(&cache)?)?;
            println!("{}", layouts.display());
        }
        ["virtual", product] => virtual_machine(Path::new(product))?,
        ["root", "building"] => println!("{}", root::building(&Cache::open()?)?.display()),
        ["root", "networking"] => println!("{}", root::networking(&Cache::open()?)?.display()),
        ["root", "network-manager"] => println!("{}", root::network_manager(&Cache::open()?)?.display()),
        ["root"] => println!("{}", root::build(&Cache::open()?)?.display()),
        // The two processes of a machine, started by `boot`.
        ["keep", name, layers @ .., "--watch"] => init::keep(&Place::new(name)?, &paths(layers), true)?,
        ["keep", name, layers @ ..] => init::keep(&Place::new(name)?, &paths(layers), false)?,
        ["first-process", name, layers @ ..] => init::first_process(&Place::new(name)?, &paths(layers))?,
        ["--help" | "-h" | "help"] => print!("{HELP}"),
        _ => bail!("unknown command\n{HELP}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Boots a machine that stays until it is stopped.
fn boot(name: &str, folders: &[&str]) -> Result<()> {
    let mut layers = Vec::new();
    for folder in folders {
        layers.push(Path::new(folder).canonicalize().with_context(|| format!("find the folder {folder}"))?);
    }
    layers.push(root::build(&Cache::open()?)?);
    let options = Options { layers, program: std::env::current_exe()?, ..Options::default() };
    let started = std::time::Instant::now();
    Machine::boot_detached(name, &options)?;
    println!("{name}: running after {} ms", started.elapsed().as_millis());
    Ok(())
}

/// Prepares what a virtual machine boots from, the product in `product`.
fn virtual_machine(product: &Path) -> Result<()> {
    shipped::install(product)?;
    let cache = Cache::open()?;
    let root = root::virtual_machine(&cache)?;
    let small = images::build(&cache, "images-small", images::SMALL, &root)?;
    let recipe = format!("{} {}", registry::RECIPE, small.display());
    let served = cache.entry("registry-small", &recipe, |layer| registry::install(layer, &[&small]))?;
    for layer in [product, &served, &root] {
        println!("{}", layer.display());
    }
    Ok(())
}

/// The arguments as paths.
fn paths(arguments: &[&str]) -> Vec<PathBuf> {
    arguments.iter().map(PathBuf::from).collect()
}
