//! What came of it: rows with podman-auto-update(1)'s field names, and a record in the journal for each.

use log::Level;
use serde::Serialize;
use serde_json::{Value, json};
use systemd_journal_logger::JournalLog;

use super::tasks::Task;
use crate::output::{self, Format, template};

const COLUMNS: &str = "{{.Unit}}\t{{.Container}}\t{{.Image}}\t{{.Policy}}\t{{.Updated}}";

/// What became of a container, in Podman's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Updated {
    /// It has the newer image.
    #[serde(rename = "true")]
    Yes,
    /// It had the newest one.
    #[serde(rename = "false")]
    No,
    /// There is a newer one, which `--dry-run` leaves alone.
    #[serde(rename = "pending")]
    Pending,
    /// It could not be updated, or doesn't run.
    #[serde(rename = "failed")]
    Failed,
    /// It runs its previous image again.
    #[serde(rename = "rolled back")]
    RolledBack,
}

impl Updated {
    fn word(self) -> &'static str {
        match self {
            Self::Yes => "true",
            Self::No => "false",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::RolledBack => "rolled back",
        }
    }
}

/// One container, or a service that has none any more.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Row {
    pub(super) unit: String,
    pub(super) container: String,
    pub(super) container_name: String,
    #[serde(rename = "ContainerID")]
    pub(super) container_id: String,
    pub(super) image: String,
    pub(super) policy: String,
    pub(super) updated: Updated,
    #[serde(skip)]
    pub(super) reason: Option<String>,
    #[serde(skip)]
    pub(super) previous: String,
}

impl Row {
    /// A container's.
    pub(super) fn of(task: &Task, updated: Updated) -> Self {
        Self {
            unit: task.unit.clone(),
            container: format!("{} ({})", output::short_id(&task.id, false), task.container),
            container_name: task.container.clone(),
            container_id: task.id.clone(),
            image: task.image.name.clone(),
            policy: task.policy.word().to_owned(),
            updated,
            reason: None,
            previous: task.image.id.clone(),
        }
    }

    /// A service's whose containers are gone.
    pub(super) fn of_unit(unit: &str, image: &str, updated: Updated) -> Self {
        Self {
            unit: unit.to_owned(),
            container: String::new(),
            container_name: String::new(),
            container_id: String::new(),
            image: image.to_owned(),
            policy: String::new(),
            updated,
            reason: None,
            previous: String::new(),
        }
    }

    /// The same with a reason.
    pub(super) fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    /// What a message is about.
    pub(super) fn subject(&self) -> &str {
        if self.unit.is_empty() { &self.container_name } else { &self.unit }
    }

    /// Sends it to the journal, with fields to search for. `journalctl -u` and `systemctl status` of the service show
    /// it too, as they do with systemd's own words about a unit.
    pub(super) fn log(&self) {
        let level = match self.updated {
            Updated::No | Updated::Pending if self.reason.is_none() => Level::Debug,
            Updated::No | Updated::Pending | Updated::Yes => Level::Info,
            Updated::RolledBack => Level::Warn,
            Updated::Failed => Level::Error,
        };
        let what = match self.updated {
            Updated::Yes => "updated",
            Updated::No => "not updated",
            Updated::Pending => "update pending",
            Updated::Failed => "update failed",
            Updated::RolledBack => "update rolled back",
        };
        let mut text = format!("{}: {what}: {}", self.subject(), self.image);
        if let Some(reason) = &self.reason {
            text = format!("{text}: {reason}");
        }
        let fields = [
            ("OBJECT_SYSTEMD_UNIT", self.unit.as_str()),
            ("CONTAINER_NAME", &self.container_name),
            ("CONTAINER_ID_FULL", &self.container_id),
            ("IMAGE_NAME", &self.image),
            ("SAMPAN_AUTO_UPDATE", self.updated.word()),
            ("SAMPAN_AUTO_UPDATE_POLICY", &self.policy),
            ("SAMPAN_PREVIOUS_IMAGE", &self.previous),
        ];
        let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
        let Ok(journal) = JournalLog::new() else { return };
        let journal = journal.with_extra_fields(fields);
        // A machine without a journal has the list on standard output.
        let _ = journal.journal_send(
            &log::Record::builder().level(level).target("auto-update").args(format_args!("{text}")).build(),
        );
    }

    fn fields(&self) -> Value {
        json!({
            "Unit": self.unit,
            "Container": self.container,
            "ContainerName": self.container_name,
            "ContainerID": self.container_id,
            "Image": self.image,
            "Policy": self.policy,
            "Updated": self.updated.word(),
        })
    }
}

/// What `--format` means.
///
/// # Errors
/// It is no template.
pub(super) fn format(text: Option<&str>) -> Result<Format, template::Error> {
    Format::of(text, COLUMNS)
}

/// Prints the rows. Without any there is nothing to say.
pub(super) fn print(rows: &[Row], format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => output::json(&rows),
        Format::Listing(_) if rows.is_empty() => Ok(()),
        Format::Listing(listing) => listing.print(rows.iter().map(Row::fields).collect(), true, &[]),
    }
}
