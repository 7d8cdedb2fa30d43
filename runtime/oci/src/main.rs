//! `sampan-runtime`: the command line that containerd, CRI-O and Podman call an OCI runtime by, with runc's
//! options. Each command is one file; what they do is in the library.

mod args;
mod bundle;
mod console;
mod create;
mod delete;
mod exec;
mod info;
mod messages;
mod signal;
mod start;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let global = &arguments.global;
    match run(&arguments) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            messages::error(global, &format!("{error:#}"));
            let library = error.downcast_ref::<sampan_container::Error>();
            ExitCode::from(library.map_or(1, |e| match e.exit_status() {
                // Callers tell a program that doesn't exist by the status, everything else by the message.
                status @ (126 | 127) => status,
                _ => 1,
            }))
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let global = &arguments.global;
    messages::init(global);
    global.check()?;
    match &arguments.command {
        Command::Create(options) => create::create(global, options),
        Command::Run(options) => create::run(global, options),
        Command::Start { id } => start::start(global, id),
        Command::State { id } => info::state(global, id),
        Command::List(options) => info::list(global, options),
        Command::Ps(options) => info::ps(global, options),
        Command::Features => info::features(),
        Command::Spec(options) => info::spec(options),
        Command::Kill(options) => signal::kill(global, options),
        Command::Pause { id } => signal::freeze(global, id, true),
        Command::Resume { id } => signal::freeze(global, id, false),
        Command::Delete(options) => delete::delete(global, options),
        Command::Exec(options) => exec::exec(global, options),
    }
}
