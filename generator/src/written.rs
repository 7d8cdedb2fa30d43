//! Reads units back that this crate has written, with rust-ini.
//!
//! What [`crate::service`] prints is plain enough for rust-ini: one assignment to a line, no
//! continued lines, no comments but the first line. Units that people write go through
//! [`crate::syntax`].

use ini::{Ini, ParseOption};

/// A unit as this crate has written it.
#[derive(Clone, Debug)]
pub struct Written(Ini);

impl Written {
    /// Reads the text of a unit; `None` if a key that its author made up, such as `:x`, is none to
    /// rust-ini.
    pub fn read(text: &str) -> Option<Self> {
        let option = ParseOption {
            enabled_quote: false,
            enabled_escape: false,
            enabled_indented_mutiline_value: false,
            enabled_preserve_key_leading_whitespace: false,
        };
        Ini::load_from_str_opt(text, option).ok().map(Self)
    }

    /// The last value of a key.
    pub fn last(&self, section: &str, key: &str) -> Option<&str> {
        self.0.section_all(Some(section)).flat_map(|properties| properties.get_all(key)).last()
    }

    /// Every assignment in the order of the unit: section, key and value.
    pub fn assignments(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.0.iter().flat_map(|(section, properties)| {
            properties.iter().map(move |(key, value)| (section.unwrap_or_default(), key, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Service;

    #[test]
    fn what_is_written_is_read_back() {
        let assignments = [
            ("Unit", "Description", "a = \"b\" ; c # d"),
            ("Service", "ExecStart", "/bin/x '--a=\\n' \"b\\\"\" [c]"),
            ("Service", "ExecStart", "/bin/y \\ "),
            ("Service", "Environment", ""),
            ("Install", "WantedBy", "ä.target"),
        ];
        let mut service = Service::new("x.service");
        assignments.iter().for_each(|(section, key, value)| service.add(section, key, value));
        let mut text = String::new();
        service.print("made by a test", &mut text);
        let written = Written::read(&text).unwrap();
        let read: Vec<_> = written.assignments().collect();
        // Blanks at the end of a value have no meaning in a unit.
        let trimmed: Vec<_> =
            assignments.iter().map(|(section, key, value)| (*section, *key, value.trim_end())).collect();
        assert_eq!(read, trimmed);
        assert_eq!(written.last("Service", "ExecStart"), Some("/bin/y \\"));
        assert_eq!(written.last("Service", "Type"), None);
    }
}
