//! Specifiers (systemd.unit(5)) in a text that moves from one unit into another, where some would
//! mean something else.

/// The text with those specifiers resolved that depend on the unit's name. The unit is the one that
/// the text was written for; an instance `%i` in its name stands for itself.
pub(crate) fn resolve(text: &str, unit: &str) -> String {
    let stem = unit.strip_suffix(".service").unwrap_or(unit);
    let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
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
                    'i' | 'I' if !matches!(instance, "" | "%i") => resolved.push_str(instance),
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
        assert_eq!(resolve("systemd-t-%i", "t-volume@one.service"), "systemd-t-one");
    }
}
