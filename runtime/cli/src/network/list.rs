//! `sampan network ls`.

use std::process::ExitCode;

use jiff::Timestamp;
use sampan_network::Network;
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::filter::{Filters, matches};
use crate::output::{self, Format};

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only some: name=, id=, label=, driver=, dangling=true|false, until= (a moment, or how
    /// long ago, as 24h)
    #[arg(long, short, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// json, or a Go template for each network
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Without the headings
    #[arg(long, short)]
    noheading: bool,
    /// The names alone
    #[arg(long, short)]
    quiet: bool,
}

/// Lists them.
pub(super) fn run(options: &List, context: &Context) -> anyhow::Result<ExitCode> {
    let filters = Filters::parse(&options.filter, &["name", "id", "label", "driver", "dangling", "until"])?;
    let until = filters.until()?;
    let networks = context.networks()?;
    // The default network is always there, though its file is only made when somebody asks for it.
    networks.get(&networks.default_name()?)?;
    let mut shown = Vec::new();
    for network in networks.list()? {
        let dangling = networks.holders(&network.name)?.is_empty();
        if filters.any("name", |name| matches(&network.name, name))
            && filters.any("id", |id| network.id.starts_with(id))
            && filters.any("driver", |driver| network.driver.to_string() == driver)
            && filters.any("dangling", |wanted| wanted == dangling.to_string())
            && filters.labels(&network.labels)
            && until.is_none_or(|until| is_older(&network, until))
        {
            shown.push(network);
        }
    }
    if options.quiet {
        output::lines(shown.iter().map(|network| &network.name))?;
        return Ok(ExitCode::SUCCESS);
    }
    match Format::of(options.format.as_deref(), "{{.ID}}\t{{.Name}}\t{{.Driver}}")? {
        Format::Json => output::json(&shown)?,
        Format::Listing(listing) => {
            let rows =
                shown.iter().map(|network| row(network, options.no_trunc)).collect::<Result<_, _>>()?;
            listing.print(rows, !options.noheading, &[("ID", "NETWORK ID")])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a network was made before; so no network whose file doesn't say when.
pub(super) fn is_older(network: &Network, until: Timestamp) -> bool {
    network.created.parse::<Timestamp>().is_ok_and(|created| created < until)
}

/// What templates of `network ls` see: Podman's Go names, which differ from the JSON names.
fn row(network: &Network, whole: bool) -> anyhow::Result<Value> {
    let mut row = serde_json::to_value(network)?;
    row["ID"] = json!(output::short_id(&network.id, whole));
    row["Label"] = json!(network.labels);
    row["Labels"] = json!(output::pairs(&network.labels));
    if let Value::Object(fields) = &mut row {
        fields.remove("id");
        fields.remove("labels");
    }
    Ok(row)
}
