//! Lines with tabs in them, aligned as Podman aligns its lists.
//!
//! A cell ends with a tab; what stands behind the last tab of a line is not padded. Columns are at
//! least twelve wide and two blanks apart, as Go's `tabwriter.NewWriter(w, 12, 2, 2, ' ', 0)` has it.

const LEAST_WIDTH: usize = 12;
const GAP: usize = 2;

/// Aligns the cells of `text`.
///
/// Names, labels and commands can come from an image, and a terminal obeys control characters:
/// they are replaced by U+FFFD.
pub(crate) fn align(text: &str) -> String {
    let rows: Vec<Vec<String>> =
        text.split_terminator('\n').map(|line| line.split('\t').map(harmless).collect()).collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        for (column, cell) in row[..row.len() - 1].iter().enumerate() {
            let width = (cell.chars().count() + GAP).max(LEAST_WIDTH);
            match widths.get_mut(column) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut out = String::new();
    for row in &rows {
        let (last, cells) = row.split_last().map_or(("", &[][..]), |(last, rest)| (last.as_str(), rest));
        for (cell, width) in cells.iter().zip(&widths) {
            out.push_str(cell);
            out.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
        }
        out.push_str(last);
        out.push('\n');
    }
    out
}

fn harmless(cell: &str) -> String {
    cell.chars().map(|c| if is_harmful(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Whether a character does something instead of being seen: control characters, and those that
/// hide or turn round the text beside them (CVE-2021-42574).
pub(super) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::align;

    #[test]
    fn columns_are_as_wide_as_podmans() {
        let text = "CONTAINER ID\tIMAGE\tNAMES\n0123456789ab\tdocker.io/library/nginx\tweb\n";
        assert_eq!(
            align(text),
            "CONTAINER ID  IMAGE                    NAMES\n\
             0123456789ab  docker.io/library/nginx  web\n"
        );
        assert_eq!(align("A\tB\n"), "A           B\n");
        assert_eq!(align("a\t\tb\n"), "a                       b\n");
        assert_eq!(align(""), "");
    }

    #[test]
    fn width_is_counted_in_characters() {
        assert_eq!(align("äöü\tb\nabc\tb\n"), "äöü         b\nabc         b\n");
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        assert_eq!(align("a\x1b[2J\tb\n"), "a\u{fffd}[2J       b\n");
        assert_eq!(align("gnp\u{202e}exe\u{9b}\n"), "gnp\u{fffd}exe\u{fffd}\n");
    }
}
