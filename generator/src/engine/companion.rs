//! Units beside a service: their names.

/// The names of units that go with a service: `web.service` has `web-health.timer`, `web@.service` has
/// `web-health@.timer`.
#[derive(Debug)]
pub(super) struct Names<'a> {
    prefix: &'a str,
    /// As it stands in references to units: `@%i` for a template.
    instance: &'a str,
}

impl<'a> Names<'a> {
    /// Of a service's file name.
    pub(super) fn of(service: &'a str) -> Names<'a> {
        let stem = service.strip_suffix(".service").unwrap_or(service);
        let (prefix, instance) = stem.split_at(stem.find('@').unwrap_or(stem.len()));
        Names { prefix, instance: if instance == "@" { "@%i" } else { instance } }
    }

    /// The service itself, as others refer to it.
    pub(super) fn watched(&self) -> String {
        self.unit("", "service")
    }

    /// A unit as others refer to it.
    pub(super) fn unit(&self, suffix: &str, extension: &str) -> String {
        format!("{}{suffix}{}.{extension}", self.prefix, self.instance)
    }

    /// A unit's file name.
    pub(super) fn file(&self, suffix: &str, extension: &str) -> String {
        let instance = if self.instance == "@%i" { "@" } else { self.instance };
        format!("{}{suffix}{instance}.{extension}", self.prefix)
    }
}
