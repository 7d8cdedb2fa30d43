//! Writes a unit file in one style, without changing what it says.
//!
//! No blanks around a key and its `=`, none at the end of a line, further lines of a value indented
//! by four, one empty line between sections, never two empty lines in a row, a newline at the end.
//! Comments, the order of everything, the places where a value is folded and the kind of newline
//! (LF or CRLF) stay as they are. A file reads the same before and after, for sampan and for
//! Podman, also where these two disagree on what a backslash carries on: such lines only lose the
//! blanks at their ends.

use crate::syntax::lines::{Line, LineKind, lines};
use crate::syntax::scanner::{BYTE_ORDER_MARK, Fold};

/// What stands before a further line of a value.
const INDENT: &str = "    ";

/// The text of a unit file in sampan's style.
pub fn format(text: &str) -> String {
    let mut formatter = Formatter { lines: Vec::new() };
    for (line, podman) in lines(text, Fold::Blank).zip(lines(text, Fold::Nothing)) {
        formatter.line(&line, &podman);
    }
    formatter.finish(text)
}

/// A line that is ready, and what it is for the lines below it.
struct Ready {
    text: String,
    kind: LineKind,
}

struct Formatter {
    lines: Vec<Ready>,
}

impl Formatter {
    /// Takes one line, as sampan and as Podman read it.
    fn line(&mut self, line: &Line<'_>, podman: &Line<'_>) {
        let text = match line.kind {
            LineKind::Blank => return self.blank(),
            LineKind::Header if podman.kind == line.kind => {
                self.space_before_header();
                line.text.to_owned()
            }
            LineKind::Entry { equals } if podman.kind == line.kind => entry(line.text, equals),
            LineKind::Comment | LineKind::Continuation if line.inside => format!("{INDENT}{}", line.text),
            _ => line.text.to_owned(),
        };
        self.lines.push(Ready { text, kind: line.kind });
    }

    /// An empty line; none at the top of the file, and not two in a row.
    fn blank(&mut self) {
        if self.lines.last().is_some_and(|last| last.kind != LineKind::Blank) {
            self.lines.push(Ready { text: String::new(), kind: LineKind::Blank });
        }
    }

    /// An empty line before a header and the comments directly above it.
    fn space_before_header(&mut self) {
        let comments = self.lines.iter().rev().take_while(|line| line.kind == LineKind::Comment).count();
        let at = self.lines.len() - comments;
        if at > 0 && self.lines[at - 1].kind != LineKind::Blank {
            self.lines.insert(at, Ready { text: String::new(), kind: LineKind::Blank });
        }
    }

    /// All lines in one text, with what the original starts with and how it ends lines.
    fn finish(mut self, original: &str) -> String {
        if self.lines.last().is_some_and(|last| last.kind == LineKind::Blank) {
            self.lines.pop();
        }
        let first_end = original.find('\n').unwrap_or(0);
        let newline = if original[..first_end].ends_with('\r') { "\r\n" } else { "\n" };
        let mut out = String::with_capacity(original.len() + 16);
        if original.starts_with(BYTE_ORDER_MARK) {
            out.push(BYTE_ORDER_MARK);
        } else if self.lines.first().is_some_and(|first| first.text.starts_with(BYTE_ORDER_MARK)) {
            out.push_str(newline); // at the top this character would mean something else
        }
        for line in &self.lines {
            out.push_str(&line.text);
            out.push_str(newline);
        }
        out
    }
}

/// The first line of an assignment, without the blanks around the key and before the value.
fn entry(line: &str, equals: usize) -> String {
    let (key, value) = (line[..equals].trim_end(), line[equals + 1..].trim_start());
    format!("{key}={value}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::scanner::scan;
    use proptest::prelude::*;

    /// Sections, keys and values as one engine reads them, and what it says is wrong. A header stands
    /// among them without a key.
    fn meaning(text: &str, fold: Fold) -> (Vec<[String; 3]>, Vec<String>) {
        let scan = scan(text, fold);
        let mut found = Vec::new();
        for section in &scan.sections {
            found.push([section.name.to_string(), String::new(), String::new()]);
            let entries = section.entries.iter();
            found.extend(entries.map(|entry| {
                [&section.name, &entry.key, &entry.value].map(|text| text.clone().into_owned())
            }));
        }
        (found, scan.mistakes.into_iter().map(|mistake| mistake.reason).collect())
    }

    #[test]
    fn one_style() {
        let text = "\n# top\n[Unit]  \nDescription = A  web  page \nAfter=a \\\n  b \\\n\n\n# why\n\tc\n# next\n[Container]\n\n\nImage= x\n\n\n";
        let formatted = "# top\n[Unit]\nDescription=A  web  page\nAfter=a \\\n    b \\\n\n    # why\n    c\n\n# next\n[Container]\n\nImage=x\n";
        assert_eq!(format(text), formatted);
    }

    #[test]
    fn newlines_and_the_byte_order_mark_stay() {
        assert_eq!(format("\u{feff} [S]\r\nA = b\n"), "\u{feff}[S]\r\nA=b\r\n");
        assert_eq!(format("[S]\nA=b"), "[S]\nA=b\n");
        assert_eq!(format("\n \n"), "");
    }

    #[test]
    fn lines_that_podman_reads_otherwise_are_left_alone() {
        assert_eq!(format("[S]\nA = b\\\\\n L = c\n"), "[S]\nA=b\\\\\nL = c\n");
    }

    #[test]
    fn a_mark_in_a_later_line_never_becomes_the_first_character() {
        let text = " \u{feff}[S]\nA=b\n";
        assert_eq!(meaning(&format(text), Fold::Blank), meaning(text, Fold::Blank));
    }

    fn check(text: &str) -> Result<(), TestCaseError> {
        let formatted = format(text);
        for fold in [Fold::Blank, Fold::Nothing] {
            prop_assert_eq!(meaning(&formatted, fold), meaning(text, fold), "{:?}", fold);
        }
        prop_assert_eq!(format(&formatted), formatted);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn formatting_keeps_the_meaning_of_likely_text(
            lines in proptest::collection::vec(
                "[ \t]{0,2}(\\[S\\]|\\[T|\\[|[KL]|# c|;|\u{feff}|=|a|é|\u{a0}|\\[a)?[ \t]{0,2}(=)?[ \t]{0,2}(a|a b|\"x  y\"|\\]|\0)?[ \t]{0,2}\\\\{0,3}[ \t]?(\n|\r\n|\r)",
                0..12,
            )
        ) {
            check(&lines.concat())?;
            check(lines.concat().trim_end())?;
        }

        #[test]
        fn formatting_keeps_the_meaning_of_any_text(text in "([\\[\\]SK=#; \\\\a\u{feff}\u{85}\0\r\n]|\\PC){0,60}") {
            check(&text)?;
        }
    }
}
