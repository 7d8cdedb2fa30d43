//! A unit that is being written: sections and assignments in their order.
//!
//! The lines stand in one string, one behind the other as they were added, and are put into the
//! order of the sections when the unit is printed. Holding them in rust-ini's properties, which own
//! and hash every key, costs more than all the rest of a translation; rust-ini reads units back that
//! were written, see [`crate::written`].

use crate::syntax::words::{self, Escapes};
use std::borrow::Cow;
use std::collections::HashMap;

/// How many sections are searched one after the other; more than that are looked up in a map.
const FEW: usize = 16;

/// A unit file that is being made.
#[derive(Clone, Debug)]
pub struct Service {
    /// The unit's file name, such as `web.service`.
    pub name: String,
    sections: Vec<String>,
    /// Where each section is, if they are many.
    many: HashMap<String, usize>,
    lines: Vec<Line>,
    /// The text of all lines, in the order in which they were added.
    text: String,
    /// The text of sections that are only there to be read.
    aside: String,
}

/// Where an assignment stands in the text of its unit.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// The section's place among the unit's sections.
    section: usize,
    start: usize,
    equals: usize,
    /// Behind the value, where the line's newline is.
    end: usize,
}

impl Service {
    /// An empty unit.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            sections: Vec::with_capacity(4),
            many: HashMap::new(),
            // Room for the services of most containers; others grow.
            lines: Vec::with_capacity(32),
            text: String::with_capacity(2048),
            aside: String::new(),
        }
    }

    fn value(&self, line: &Line) -> &str {
        &self.text[line.equals + 1..line.end]
    }

    fn section(&self, name: &str) -> Option<usize> {
        match self.many.is_empty() {
            true => self.sections.iter().position(|known| known == name),
            false => self.many.get(name).copied(),
        }
    }

    fn add_section(&mut self, name: &str) -> usize {
        let at = self.sections.len();
        self.sections.push(name.to_owned());
        if at == FEW {
            self.many = self.sections.iter().cloned().zip(0..).collect();
        } else if at > FEW {
            self.many.insert(name.to_owned(), at);
        }
        at
    }

    /// The places in `lines` of the assignments of a key.
    fn places(&self, section: &str, key: &str) -> impl DoubleEndedIterator<Item = usize> {
        let section = self.section(section);
        (0..self.lines.len()).filter(move |at| {
            let line = &self.lines[*at];
            Some(line.section) == section
                && line.equals - line.start == key.len()
                && &self.text[line.start..line.equals] == key
        })
    }

    /// The last value of a key, with enclosing double quotes taken off.
    pub fn last(&self, section: &str, key: &str) -> Option<&str> {
        let at = self.places(section, key).next_back()?;
        Some(crate::unit::unquoted(self.value(&self.lines[at])))
    }

    /// Whether the key is assigned at all, also if it is empty.
    pub fn has(&self, section: &str, key: &str) -> bool {
        self.places(section, key).next().is_some()
    }

    /// The words of a list such as `After=`, those after its last empty assignment.
    pub fn list(&self, section: &str, key: &str) -> Vec<Cow<'_, str>> {
        let mut found = Vec::new();
        for at in self.places(section, key) {
            match self.value(&self.lines[at]) {
                "" => found.clear(),
                value => found.extend(words::split(value, Escapes::Kept).words),
            }
        }
        found.into_iter().map(|word| word.text).filter(|word| !word.is_empty()).collect()
    }

    /// Adds an assignment at the end of a section.
    pub fn add(&mut self, section: &str, key: &str, value: impl AsRef<str>) {
        let line = self.line(section, key, value.as_ref());
        self.lines.push(line);
    }

    /// Writes a line whose place in the order is not decided yet.
    fn line(&mut self, section: &str, key: &str, value: &str) -> Line {
        let section = self.section(section).unwrap_or_else(|| self.add_section(section));
        let start = self.text.len();
        push_line(&mut self.text, key, value);
        Line { section, start, equals: start + key.len(), end: self.text.len() - 1 }
    }

    /// Puts a section that systemd doesn't know at the end of the unit, for people to read. What
    /// stands there can't be looked up or changed.
    pub fn put_aside<'a>(&mut self, section: &str, assignments: impl Iterator<Item = (&'a str, &'a str)>) {
        self.aside.reserve(1024);
        self.aside.extend(["\n[X-", section, "]\n"]);
        assignments.for_each(|(key, value)| push_line(&mut self.aside, key, value));
    }

    /// Replaces the last assignment of a key, or adds one.
    pub fn set(&mut self, section: &str, key: &str, value: &str) {
        let last = self.places(section, key).next_back();
        let line = self.line(section, key, value);
        match last {
            Some(at) => self.lines[at] = line,
            None => self.lines.push(line),
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
        for (at, (key, value)) in assignments.iter().enumerate() {
            let line = self.line(section, key, value);
            self.lines.insert(at, line);
        }
    }

    /// Removes a section, and returns its assignments.
    pub fn take_section(&mut self, name: &str) -> Vec<(String, String)> {
        let Some(section) = self.section(name) else { return Vec::new() };
        let (taken, kept) = self.lines.drain(..).partition::<Vec<_>, _>(|line| line.section == section);
        self.lines = kept;
        let key = |line: &Line| self.text[line.start..line.equals].to_owned();
        taken.iter().map(|line| (key(line), self.value(line).to_owned())).collect()
    }

    /// Removes every assignment of a key.
    pub fn remove(&mut self, section: &str, key: &str) {
        for at in self.places(section, key).rev().collect::<Vec<_>>() {
            self.lines.remove(at);
        }
    }

    /// Replaces `text` by the text of the unit file, with a comment line above it.
    pub fn print(&self, comment: &str, text: &mut String) {
        text.clear();
        text.extend(["# ", comment, "\n"]);
        let mut lines: Vec<_> = self.lines.iter().collect();
        lines.sort_by_key(|line| line.section);
        for section in lines.chunk_by(|a, b| a.section == b.section) {
            text.extend(["\n[", &self.sections[section[0].section], "]\n"]);
            section.iter().for_each(|line| text.push_str(&self.text[line.start..=line.end]));
        }
        text.push_str(&self.aside);
    }
}

/// Adds `KEY=VALUE` in a line. A value can't end its line early nor swallow the next one: otherwise
/// whoever writes a value could write directives of the unit as well (the kind of hole that
/// CVE-2024-3154 was).
fn push_line(text: &mut String, key: &str, value: &str) {
    text.push_str(key);
    text.push('=');
    // Looking at every byte is faster than stopping at the first for texts as short as values.
    if value.bytes().fold(false, |ends, byte| ends | matches!(byte, b'\n' | b'\r' | 0)) {
        text.push_str(&value.replace(['\n', '\r', '\0'], " "));
    } else {
        text.push_str(value);
    }
    if value.ends_with('\\') && (value.len() - value.trim_end_matches('\\').len()) % 2 == 1 {
        text.push(' ');
    }
    text.push('\n');
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
        service.put_aside("Container", [("Exec", "d\\"), ("Image", "e\0\n[Service]")].into_iter());
        assert_eq!(
            text(&service),
            "# made by a test\n\n[Unit]\nDescription=a ExecStart=/bin/evil\nDocumentation=b\\ \nAfter=c\n\n\
             [X-Container]\nExec=d\\ \nImage=e  [Service]\n"
        );
    }
}
