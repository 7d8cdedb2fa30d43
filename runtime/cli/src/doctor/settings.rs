//! Settings of other programs that one might expect to mean something here.

use super::{Finding, Host, Severity};
use crate::containers_conf::passed_over;

pub(super) fn examine(_: &Host<'_>) -> anyhow::Result<Vec<Finding>> {
    let finding = |one: crate::containers_conf::PassedOver| {
        Finding::new(
            "setting-without-effect",
            Severity::Warning,
            format!("{}:{}", one.file.display(), one.line),
            format!("{} has no effect: {}", one.assignment, one.instead),
            "Leave it if it is for Podman.",
        )
    };
    Ok(passed_over()?.into_iter().map(finding).collect())
}
