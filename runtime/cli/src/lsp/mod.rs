//! `sampan lsp`: what an editor needs to know of Quadlet files, over standard input and output in the
//! Language Server Protocol 3.17.
//!
//! [`session`] speaks with the client: it reads messages one by one, keeps the [`workspace`] up to
//! date and answers each request at once from one file per subject: [`completion`], [`hover`],
//! [`navigate`], [`symbols`], [`fix`]; formatting is the generator's. All of them ask [`cursor`] what
//! stands at a place, and [`known`] which keys there are. Diagnostics aren't asked for; [`checker`]
//! sends them from a thread of its own. The protocol counts lines and characters where the rest of
//! sampan counts bytes: [`position`] is where one becomes the other.

mod checker;
mod client;
mod completion;
mod cursor;
mod describe;
pub(crate) mod files;
mod fix;
mod hover;
mod known;
mod navigate;
mod position;
mod session;
mod specifiers;
mod symbols;
mod uri;
mod workspace;

use std::path::Path;
use std::process::ExitCode;

use sampan_generator::{Engine, settings};

/// `sampan lsp`
#[derive(Debug, clap::Args)]
#[command(after_help = "The editor starts this program and speaks with it over standard input and output. \
                        It gives diagnostics, proposals, documentation, the way to other files, an outline, \
                        formatting and quick fixes for .container, .pod, .kube, .network, .volume, .image, \
                        .build and .artifact files and their drop-ins. The files of one workspace are \
                        checked together, with the unsaved text of those that are open.")]
pub(crate) struct Options {
    /// The engine that the files are for: sampan or podman (default: engine in /etc/sampan/sampan.toml,
    /// else sampan)
    #[arg(long, value_name = "ENGINE")]
    engine: Option<Engine>,
    /// The files are for users' own systemd
    #[arg(long)]
    user: bool,
    /// Speak over standard input and output; there is no other way, but many editors say so
    #[arg(long)]
    stdio: bool,
}

/// Serves one client until it says goodbye.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let engine = options.engine.unwrap_or_else(|| {
        let (engine, mistake) = settings::engine(Path::new(settings::DEFAULT_PATH));
        if let Some(mistake) = mistake {
            log::warn!("{}", mistake.one_line());
        }
        engine
    });
    session::serve(engine, options.user)
}
