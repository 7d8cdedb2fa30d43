//! `sampan-runtime`: the command line that containerd, CRI-O and Podman call an OCI runtime by, with runc's
//! options. Each command is one file; what they do is in the library.

mod annotations;
#[macro_use]
mod args;
mod bundle;
mod cgroup;
mod console;
mod create;
mod criu;
mod delete;
mod events;
mod exec;
mod foreground;
mod info;
mod messages;
mod notify;
mod ps;
mod signal;
mod spec;
mod start;
#[allow(unsafe_code)]
mod sys;
mod tracers;
mod update;
mod users;

use std::process::ExitCode;

use args::{Command, Global, Request, help};

fn main() -> ExitCode {
    let mut global = Global::default();
    let result =
        args::read(std::env::args_os().skip(1), &mut global).and_then(|request| run(&global, &request));
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            messages::error(&global, &messages::words(&error));
            let library = error.downcast_ref::<sampan_container::Error>();
            ExitCode::from(library.map_or(1, |e| match e.exit_status() {
                // Callers tell a program that doesn't exist by the status, everything else by the message.
                status @ (126 | 127) => status,
                _ => 1,
            }))
        }
    }
}

fn run(global: &Global, request: &Request) -> anyhow::Result<u8> {
    let command = match request {
        Request::Help(command) => return info::write(&help::help(command.as_deref())),
        Request::Version => return info::write(&help::version()),
        Request::Run(command) => command,
    };
    messages::init(global)?;
    global.check()?;
    match command {
        Command::Create(options) => create::create(global, options),
        Command::Run(options) => create::run(global, options),
        Command::Start(options) => start::start(global, &options.id),
        Command::State(options) => info::state(global, &options.id),
        Command::List(options) => info::list(global, options),
        Command::Ps(options) => ps::ps(global, options),
        Command::Features(_) => info::features(),
        Command::Spec(options) => spec::spec(options),
        Command::Kill(options) => signal::kill(global, options),
        Command::Pause(options) => signal::freeze(global, &options.id, true),
        Command::Resume(options) => signal::freeze(global, &options.id, false),
        Command::Delete(options) => delete::delete(global, options),
        Command::Update(options) => update::update(global, options),
        Command::Events(options) => events::events(global, options),
        Command::Exec(options) => exec::exec(global, options),
        Command::Checkpoint(options) => criu::dump::checkpoint(global, options),
        Command::Restore(options) => criu::restore::restore(global, options),
        Command::Completions(options) => info::write(&help::completions(&options.shell)?),
    }
}
