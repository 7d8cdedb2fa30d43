//! Programs of the host that listen on a published port.

use super::{Finding, Host, Severity};

pub(super) fn examine(host: &Host<'_>) -> anyhow::Result<Vec<Finding>> {
    let shadowed = host.networks.examine_listeners()?;
    let finding = |one: sampan_network::Shadowed| {
        let port = format!("port {}/{}", one.port.host_port, one.port.protocol);
        Finding::new(
            "port-shadowed",
            Severity::Warning,
            port,
            format!(
                "{} listens on it, but what comes goes to container {:?}, which publishes it ({})",
                one.program, one.container, one.port
            ),
            "Let one of them have another port: change PublishPort= and restart the container's service, \
             or configure the program.",
        )
    };
    Ok(shadowed.into_iter().map(finding).collect())
}
