//! Units beside a service: their names, and specifiers that mean something else in them.

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

/// The text with those specifiers resolved that mean something else in another unit.
pub(super) fn resolve(text: &str, unit: &str) -> String {
    let stem = unit.strip_suffix(".service").unwrap_or(unit);
    let prefix = stem.split_once('@').map_or(stem, |(prefix, _)| prefix);
    let last = prefix.rsplit_once('-').map_or(prefix, |(_, last)| last);
    let mut resolved = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, characters.as_str().chars().next()) {
            ('%', Some(specifier)) => {
                characters.next();
                match specifier {
                    'n' => resolved.push_str(unit),
                    'N' => resolved.push_str(stem),
                    'p' | 'P' => resolved.push_str(prefix),
                    'j' | 'J' => resolved.push_str(last),
                    other => resolved.extend(['%', other]),
                }
            }
            _ => resolved.push(c),
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_what_depends_on_the_unit() {
        assert_eq!(resolve("systemd-%N", "web.service"), "systemd-web");
        assert_eq!(resolve("systemd-%p_%i-%%N", "web@%i.service"), "systemd-web_%i-%%N");
        assert_eq!(resolve("%j 100%", "a-b.service"), "b 100%");
    }
}
