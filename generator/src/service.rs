//! A unit that is being written: sections and properties in order, held by rust-ini.
//!
//! rust-ini never reads user text: what reaches it here is already a value in systemd's syntax, in
//! one line. Printing is three lines here: rust-ini's own printer copies every string character by
//! character even where nothing is escaped, which took a tenth of the whole generator's time.

use crate::syntax::words;
use ini::Properties;
use std::borrow::Cow;

/// A unit file that is being made.
#[derive(Clone, Debug)]
pub struct Service {
    /// The unit's file name, such as `web.service`.
    pub name: String,
    sections: Vec<(String, Properties)>,
    /// The text of sections that are only there to be read.
    aside: String,
}

impl Service {
    /// An empty unit.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), sections: Vec::new(), aside: String::new() }
    }

    fn section(&self, name: &str) -> Option<&Properties> {
        self.sections.iter().find(|(section, _)| section == name).map(|(_, properties)| properties)
    }

    fn section_mut(&mut self, name: &str) -> &mut Properties {
        let at = self.sections.iter().position(|(section, _)| section == name).unwrap_or_else(|| {
            self.sections.push((name.to_owned(), Properties::new()));
            self.sections.len() - 1
        });
        &mut self.sections[at].1
    }

    /// The last value of a key, with enclosing double quotes taken off.
    pub fn last(&self, section: &str, key: &str) -> Option<&str> {
        self.section(section)?.get_all(key).next_back().map(crate::unit::unquoted)
    }

    /// Whether the key is assigned at all, also if it is empty.
    pub fn has(&self, section: &str, key: &str) -> bool {
        self.section(section).is_some_and(|section| section.contains_key(key))
    }

    /// The words of a list such as `After=`, those after its last empty assignment.
    pub fn list(&self, section: &str, key: &str) -> Vec<String> {
        let Some(section) = self.section(section) else { return Vec::new() };
        let mut values: Vec<_> = section.get_all(key).rev().take_while(|value| !value.is_empty()).collect();
        values.reverse();
        let words = values.into_iter().flat_map(|value| words::split(value, words::Escapes::Kept).words);
        words.map(|word| word.text).filter(|word| !word.is_empty()).collect()
    }

    /// Adds an assignment at the end of a section.
    pub fn add(&mut self, section: &str, key: &str, value: impl Into<String>) {
        self.section_mut(section).append(key, one_line(Cow::Owned(value.into())));
    }

    /// Puts a section that systemd doesn't know at the end of the unit, for people to read. What
    /// stands there can't be looked up or changed.
    pub fn put_aside<'a>(&mut self, section: &str, assignments: impl Iterator<Item = (&'a str, &'a str)>) {
        self.aside.extend(["\n[X-", section, "]\n"]);
        for (key, value) in assignments {
            self.aside.extend([key, "=", &one_line(Cow::Borrowed(value)), "\n"]);
        }
    }

    /// Replaces the last assignment of a key, or adds one.
    pub fn set(&mut self, section: &str, key: &str, value: &str) {
        let section = self.section_mut(section);
        if !section.contains_key(key) {
            return section.append(key, value);
        }
        if let Some((_, last)) = section.iter_mut().filter(|(name, _)| *name == key).last() {
            value.clone_into(last);
        }
    }

    /// Adds an assignment unless the key has one.
    pub fn set_default(&mut self, section: &str, key: &str, value: &str) {
        if !self.has(section, key) {
            self.add(section, key, value);
        }
    }

    /// Adds assignments at the start of a section.
    pub fn prepend(&mut self, section: &str, assignments: &[(&str, &str)]) {
        let section = self.section_mut(section);
        let old = std::mem::take(section);
        for (key, value) in assignments {
            section.append(*key, *value);
        }
        for (key, value) in old {
            section.append(key, value);
        }
    }

    /// Removes every assignment of a key.
    pub fn remove(&mut self, section: &str, key: &str) {
        // The old values are dropped with the iterator that returns them.
        drop(self.section_mut(section).remove_all(key));
    }

    /// Replaces `text` by the text of the unit file, with a comment line above it.
    pub fn print(&self, comment: &str, text: &mut String) {
        text.clear();
        text.extend(["# ", comment, "\n"]);
        for (name, properties) in &self.sections {
            text.extend(["\n[", name, "]\n"]);
            for (key, value) in properties {
                text.extend([key, "=", value, "\n"]);
            }
        }
        text.push_str(&self.aside);
    }
}

/// A value that can't end its line early nor swallow the next one: otherwise whoever writes a value
/// could write directives of the unit as well (the kind of hole that CVE-2024-3154 was).
fn one_line(mut value: Cow<'_, str>) -> Cow<'_, str> {
    if value.bytes().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        value = Cow::Owned(value.replace(['\n', '\r', '\0'], " "));
    }
    if value.ends_with('\\') && (value.len() - value.trim_end_matches('\\').len()) % 2 == 1 {
        value.to_mut().push(' ');
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(service: &Service) -> String {
        let mut text = String::from("old");
        service.print("made by a test", &mut text);
        text
    }

    #[test]
    fn keeps_order_and_duplicates() {
        let mut service = Service::new("x.service");
        service.add("Unit", "After", "a b");
        service.add("Service", "Environment", "A=\\x b:c");
        service.add("Unit", "After", "c");
        service.prepend("Unit", &[("Wants", "n"), ("After", "n")]);
        service.set("Unit", "After", "d");
        assert_eq!(
            text(&service),
            "# made by a test\n\n[Unit]\nWants=n\nAfter=n\nAfter=a b\nAfter=d\n\n[Service]\nEnvironment=A=\\x b:c\n"
        );
        assert_eq!(service.list("Unit", "After"), ["n", "a", "b", "d"]);
        service.remove("Unit", "After");
        assert!(!service.has("Unit", "After"));
    }

    #[test]
    fn no_value_reaches_into_another_line() {
        let mut service = Service::new("x.service");
        service.add("Unit", "Description", "a\nExecStart=/bin/evil");
        service.add("Unit", "Documentation", "b\\");
        service.add("Unit", "After", "c");
        assert_eq!(
            text(&service),
            "# made by a test\n\n[Unit]\nDescription=a ExecStart=/bin/evil\nDocumentation=b\\ \nAfter=c\n"
        );
    }
}
