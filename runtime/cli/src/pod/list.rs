//! `sampan pod ps`: one row for each pod.

use std::collections::BTreeMap;
use std::process::ExitCode;

use jiff::Timestamp;
use sampan_container::state::{State, Status};
use serde::Serialize;
use serde_json::{Value, json};

use super::remove;
use super::state::Pod;
use crate::context::Context;
use crate::output::filter::{Filters, matches};
use crate::output::{self, Format, human};
use crate::ps;

const COLUMNS: &str = "{{.Id}}\t{{.Name}}\t{{.Status}}\t{{.CreatedHuman}}\t{{.NumberOfContainers}}";

const HEADINGS: &[(&str, &str)] =
    &[("Id", "POD ID"), ("CreatedHuman", "CREATED"), ("NumberOfContainers", "# OF CONTAINERS")];

/// `sampan pod ps [options]`
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Only some: id=, name=, label=, status=, network=
    #[arg(long, short, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// json, or a Go template for each pod
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Without the headings
    #[arg(long, short)]
    noheading: bool,
    /// The ids alone
    #[arg(long, short)]
    quiet: bool,
}

/// A pod with Podman's field names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    cgroup: &'static str,
    containers: Vec<Container>,
    created: String,
    id: String,
    infra_id: &'static str,
    name: String,
    namespace: &'static str,
    networks: Vec<String>,
    status: &'static str,
    labels: BTreeMap<String, String>,
    /// The systemd unit; Podman has no such field.
    unit: String,
}

/// A container of a pod with Podman's field names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    names: String,
    status: &'static str,
    restart_count: u32,
}

/// Lists pods.
pub(super) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let filters = Filters::parse(&options.filter, &["id", "name", "label", "status", "network"])?;
    let mut rows = Vec::new();
    for directory in context.pods().list()? {
        // One that can't be read is being made or removed.
        let Ok(pod) = directory.read() else { continue };
        let inside: Vec<State> =
            remove::containers(context, &pod)?.into_iter().map(|(_, state)| state).collect();
        rows.push(Row::new(pod, inside));
    }
    rows.retain(|row| {
        filters.any("id", |id| row.id.starts_with(id))
            && filters.any("name", |name| matches(&row.name, name))
            && filters.any("status", |status| row.status.eq_ignore_ascii_case(status))
            && filters.any("network", |network| row.networks.iter().any(|own| own == network))
            && filters.labels(&row.labels)
    });
    if options.quiet && options.format.is_none() {
        output::lines(rows.iter().map(|row| output::short_id(&row.id, options.no_trunc)))?;
        return Ok(ExitCode::SUCCESS);
    }
    match Format::of(options.format.as_deref(), COLUMNS)? {
        Format::Json => output::json(&rows)?,
        Format::Listing(listing) => {
            let rows = rows.iter().map(|row| row.fields(options.no_trunc)).collect();
            listing.print(rows, !options.noheading, HEADINGS)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The state of a pod in Podman's word for it.
pub(super) fn status<'a>(pod: &Pod, containers: impl IntoIterator<Item = &'a State>) -> &'static str {
    let (mut running, mut all) = (0, 0);
    for state in containers {
        all += 1;
        running += usize::from(state.live_status() == Status::Running);
    }
    match (running, all) {
        _ if !pod.is_complete => "Created",
        (_, 0) => "Created",
        (0, _) => "Exited",
        (running, all) if running < all => "Degraded",
        _ => "Running",
    }
}

impl Row {
    fn new(pod: Pod, containers: Vec<State>) -> Self {
        Self {
            cgroup: "",
            status: status(&pod, &containers),
            containers: containers
                .into_iter()
                .map(|state| Container {
                    status: ps::word(state.live_status()),
                    id: state.id,
                    names: state.name,
                    restart_count: 0,
                })
                .collect(),
            created: pod.created,
            id: pod.id,
            infra_id: "",
            name: pod.name,
            namespace: "",
            networks: pod.networks.into_keys().collect(),
            labels: pod.labels,
            unit: pod.unit.unwrap_or_default(),
        }
    }

    /// What templates and the table see.
    fn fields(&self, whole: bool) -> Value {
        let made = self.created.parse::<Timestamp>().unwrap_or_default();
        let all =
            |field: fn(&Container) -> &str| self.containers.iter().map(field).collect::<Vec<_>>().join(",");
        json!({
            "Id": output::short_id(&self.id, whole),
            "ID": output::short_id(&self.id, whole),
            "Name": self.name,
            "Status": self.status,
            "Created": format!("{} ago", human::since(made)),
            "CreatedHuman": format!("{} ago", human::since(made)),
            "InfraID": "",
            "Networks": self.networks.join(","),
            "Labels": output::pairs(&self.labels),
            "Label": self.labels,
            "NumberOfContainers": self.containers.len(),
            "ContainerIds": all(|container| output::short_id(&container.id, false)),
            "ContainerNames": all(|container| &container.names),
            "ContainerStatuses": all(|container| container.status),
            "Unit": self.unit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ps::tests::state;

    #[test]
    fn the_state_of_a_pod_is_that_of_its_containers() {
        let pod = Pod { is_complete: true, ..Pod::default() };
        assert_eq!(status(&pod, []), "Created");
        let ended = state("a");
        assert_eq!(status(&pod, [&ended]), "Exited");
        let own = i32::try_from(std::process::id()).unwrap();
        let running = State { pid: Some(own), start_time: None, status: Status::Running, ..state("b") };
        assert_eq!(status(&pod, [&ended, &running]), "Degraded");
        assert_eq!(status(&pod, [&running]), "Running");
        let row = Row::new(pod, vec![ended]).fields(false);
        assert_eq!((&row["ContainerNames"], &row["NumberOfContainers"]), (&json!("a"), &json!(1)));
    }
}
