//! The source of a page, laid out: a sentence begins a line, no line is longer than 80 characters, and
//! there are no breaks where a space follows anyway. mandoc(1) has nothing to say against such a page.

/// A line of the source is at most this long.
const WIDTH: usize = 79;

/// Lays out a page.
pub(super) fn page(source: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut example = false;
    for line in source.lines() {
        match line.trim_end() {
            ".EX" | ".nf" => example = true,
            ".EE" | ".fi" => example = false,
            _ => {}
        }
        if example || line.starts_with('.') {
            out.push(line.trim_end().to_owned());
        } else {
            sentences(line).into_iter().for_each(|sentence| wrap(sentence, &mut out));
        }
    }
    let idle = |at: usize| {
        let beside = [at.checked_sub(1).and_then(|before| out.get(before)), out.get(at + 1)];
        out[at] == ".br"
            && beside.into_iter().flatten().any(|line| line.is_empty() || line.starts_with(".sp"))
    };
    let lines = (0..out.len()).filter(|at| !idle(*at)).map(|at| format!("{}\n", out[at]));
    lines.collect()
}

/// The sentences of a line.
fn sentences(line: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut rest = line.trim_end();
    while let Some(end) = end_of_sentence(rest) {
        sentences.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    sentences.push(rest);
    sentences
}

/// Behind the first full stop, with what closes it, that a blank follows.
fn end_of_sentence(text: &str) -> Option<usize> {
    text.match_indices(". ")
        .chain(text.match_indices(".) "))
        .map(|(at, mark)| at + mark.len() - 1)
        .filter(|end| !text[*end..].trim_start().is_empty())
        .min()
}

/// Breaks a sentence at blanks. No line begins with what troff takes for a request.
fn wrap(text: &str, out: &mut Vec<String>) {
    let mut line = String::new();
    for word in text.split(' ') {
        let request = word.starts_with(['.', '\'']);
        if !line.is_empty() && !request && width(&line) + 1 + width(word) > WIDTH {
            out.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        while let Some(at) = within_word(&line) {
            // A backslash at its end joins a line to the next one.
            out.push(format!("{}\\", &line[..at]));
            line.drain(..at);
        }
    }
    out.push(line);
}

/// Where a line that is one long word can be broken: behind a comma.
fn within_word(line: &str) -> Option<usize> {
    if width(line) <= WIDTH || line.contains(' ') {
        return None;
    }
    let mut commas = line.match_indices(',').map(|(at, _)| at + 1);
    commas.rfind(|at| *at < line.len() && width(&line[..*at]) <= WIDTH)
}

/// How long a text is to mandoc(1), which reads other characters than ASCII as `\[u2026]`.
fn width(text: &str) -> usize {
    text.chars().map(|character| if character.is_ascii() { 1 } else { r"\[u2026]".len() }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_begin_lines_and_examples_stay() {
        let source = ".SH X\nOne (see a.b). Two such as v7.1.\n.EX\nA. B\n.EE\n.br\n\n.br\nC\n";
        assert_eq!(page(source), ".SH X\nOne (see a.b).\nTwo such as v7.1.\n.EX\nA. B\n.EE\n\nC\n");
    }

    #[test]
    fn a_long_word_goes_on_in_the_next_line() {
        let word = ["1234567890"; 10].join(",");
        let page = page(&word);
        assert!(page.lines().all(|line| line.len() <= 80), "{page}");
        assert_eq!(page.replace("\\\n", "").trim_end(), word);
    }

    #[test]
    fn long_lines_are_broken_but_not_before_a_full_stop() {
        let text = format!("{} .container x", "word ".repeat(15).trim_end());
        let page = page(&text);
        assert!(page.lines().all(|line| !line.starts_with('.')), "{page}");
        assert_eq!(page.lines().count(), 2);
    }
}
