//! Which containers want to be updated: those that run, with the label of podman-auto-update(1).

use std::path::PathBuf;

use sampan_container::state::{Image, State, Status};

use super::report::{Row, Updated};
use crate::context::Context;
use crate::kube;

/// How the image is updated.
const POLICY: &str = "io.containers.autoupdate";
/// With which credentials.
const AUTHFILE: &str = "io.containers.autoupdate.authfile";

/// Where newer images come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Policy {
    /// The registry.
    #[default]
    Registry,
    /// The store: whatever was built or pulled there.
    Local,
}

impl Policy {
    /// podman-auto-update(1)'s word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Local => "local",
        }
    }

    /// `Ok(None)`: not to be updated.
    fn parse(text: &str) -> Result<Option<Self>, String> {
        match text {
            "" | "disabled" => Ok(None),
            // Podman's older word for it.
            "registry" | "image" => Ok(Some(Self::Registry)),
            "local" => Ok(Some(Self::Local)),
            _ => Err(format!("AutoUpdate={text} means nothing: write registry, local or disabled")),
        }
    }
}

/// One container to be updated.
#[derive(Debug, Clone, Default)]
pub(super) struct Task {
    /// The service that is restarted: of a container in a pod the pod's.
    pub(super) unit: String,
    /// The container's own service.
    pub(super) own_unit: String,
    /// The container's name.
    pub(super) container: String,
    /// Its identifier.
    pub(super) id: String,
    /// What it runs.
    pub(super) image: Image,
    /// Where newer images come from.
    pub(super) policy: Policy,
    /// The credentials' file of the container's own label.
    pub(super) authfile: Option<PathBuf>,
}

/// The tasks, and rows for containers that want to be updated and can't.
///
/// # Errors
/// The containers can't be listed.
pub(super) fn find(context: &Context) -> anyhow::Result<(Vec<Task>, Vec<Row>)> {
    let (mut tasks, mut unfit) = (Vec::new(), Vec::new());
    for container in context.containers()?.list()? {
        // One that can't be read is just being made or removed.
        let Ok(state) = container.read() else { continue };
        if !matches!(state.live_status(), Status::Running | Status::Paused) {
            continue;
        }
        match task(&state, context) {
            Ok(task) => tasks.extend(task),
            Err(reason) => {
                let task = Task {
                    unit: state.unit.clone().unwrap_or_default(),
                    image: state.image.clone().unwrap_or_default(),
                    container: state.name,
                    id: state.id,
                    ..Task::default()
                };
                unfit.push(Row::of(&task, Updated::Failed).because(reason));
            }
        }
    }
    Ok((tasks, unfit))
}

fn task(state: &State, context: &Context) -> Result<Option<Task>, String> {
    let Some(policy) = Policy::parse(state.labels.get(POLICY).map_or("", String::as_str))? else {
        return Ok(None);
    };
    let own_unit = state.unit.clone().filter(|unit| unit.ends_with(".service"));
    let own_unit =
        own_unit.ok_or("it runs in no service that could be restarted: write a .container file")?;
    let image = state.image.clone().ok_or("it has no image (Rootfs=) that could be updated")?;
    Ok(Some(Task {
        unit: unit_of_pod(state, context).unwrap_or_else(|| own_unit.clone()),
        own_unit,
        container: state.name.clone(),
        id: state.id.clone(),
        image,
        policy,
        authfile: state.labels.get(AUTHFILE).filter(|path| !path.is_empty()).map(PathBuf::from),
    }))
}

/// The service of the pod that a container is in: that is what Podman restarts.
fn unit_of_pod(state: &State, context: &Context) -> Option<String> {
    let name = &state.pod.as_ref()?.name;
    let pods = context.pods().list().ok()?;
    let pod = pods.into_iter().find(|pod| pod.name() == name)?.read().ok()?;
    let unit = pod.unit.clone().or_else(|| kube::unit_of(&pod));
    unit.filter(|unit| unit.ends_with(".service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_label() {
        assert_eq!(Policy::parse("image"), Ok(Some(Policy::Registry)));
        assert_eq!(Policy::parse("local"), Ok(Some(Policy::Local)));
        assert_eq!(Policy::parse("disabled"), Ok(None));
        assert!(Policy::parse("daily").unwrap_err().contains("AutoUpdate=daily"));
    }
}
