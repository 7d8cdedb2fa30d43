//! What commands print: a table, JSON, or whatever a Go template says.
//!
//! A command that lists things has rows for JSON (structures with Podman's field names, which
//! `serde` writes) and rows for templates (JSON values whose fields hold what a table shows). It
//! asks [`Format::of`] what `--format` means and hands the rows to [`json`] or to [`Listing::print`].
//! `template` is the language, `table` aligns columns, `human` words times and sizes, and `filter`
//! says which rows there are at all.

pub(crate) mod filter;
pub(crate) mod human;
pub(crate) mod table;
pub(crate) mod template;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

use template::Template;

/// What the user's `--format` asks for.
#[derive(Debug)]
pub(crate) enum Format {
    /// `json`.
    Json,
    /// A template, or the command's own table.
    Listing(Listing),
}

/// A template and the way its lines are laid out.
#[derive(Debug)]
pub(crate) struct Listing {
    template: Template,
    /// Whether it is a table: aligned, and headed unless the user says otherwise.
    table: bool,
    /// Whether the template does its own `{{range .}}` over all rows.
    whole: bool,
}

impl Format {
    /// What `--format` means where a table with these `columns` (a template with tabs) is the default.
    pub(crate) fn of(format: Option<&str>, columns: &str) -> Result<Self, template::Error> {
        match format {
            None | Some("" | "table") => Listing::columns(columns).map(Self::Listing),
            Some(format) if is_json(format) => Ok(Self::Json),
            Some(format) => Listing::parse(format).map(Self::Listing),
        }
    }
}

/// `json`, and `{{json .}}` as Podman also takes it.
fn is_json(format: &str) -> bool {
    let inner = format.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    format.trim() == "json" || inner.is_some_and(|inner| inner.split_whitespace().eq(["json", "."]))
}

/// The template that `--format` holds where JSON is the default, as it is for `inspect`.
pub(crate) fn template_or_json(format: Option<&str>) -> Option<&str> {
    format.filter(|format| !format.is_empty() && !is_json(format))
}

impl Listing {
    fn columns(columns: &str) -> Result<Self, template::Error> {
        let template = Template::parse(&format!("{columns}\n"))?;
        Ok(Self { template, table: true, whole: false })
    }

    /// A user's template: `table {{.A}} {{.B}}`, a template for each row, or one for all of them.
    pub(crate) fn parse(format: &str) -> Result<Self, template::Error> {
        let (table, body) = match format.strip_prefix("table ") {
            Some(columns) => (true, unescape(&columns.trim().replace(' ', "\t"))),
            None => (false, unescape(format)),
        };
        let newline = if body.ends_with('\n') { "" } else { "\n" };
        // `\n` inside a string of the template is Go's own escape: what can't be read with the
        // escapes replaced is read as it stands.
        let template = Template::parse(&format!("{body}{newline}"))
            .or_else(|error| Template::parse(&format!("{format}\n")).map_err(|_| error))?;
        let whole = !table && ranges_over_all(&body);
        Ok(Self { template, table, whole })
    }

    /// Writes the rows, under a heading if this is a table and `heading` is wanted.
    pub(crate) fn text(
        &self,
        rows: Vec<Value>,
        heading: bool,
        headings: &[(&str, &str)],
    ) -> Result<String, template::Error> {
        let mut text = String::new();
        if self.table && heading {
            text.push_str(&self.template.heading(headings)?);
        }
        if self.whole {
            text.push_str(&self.template.render(&Value::Array(rows))?);
        } else {
            for row in rows {
                text.push_str(&self.template.render(&row)?);
            }
        }
        Ok(if self.table { table::align(&text) } else { text })
    }

    /// [`Listing::text`], to standard output.
    pub(crate) fn print(
        &self,
        rows: Vec<Value>,
        heading: bool,
        headings: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        emit(&self.text(rows, heading, headings)?)
    }
}

/// A shell's single quotes keep `\t` and `\n` as two characters each.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

/// Whether a template begins with `{{range .}}`.
fn ranges_over_all(template: &str) -> bool {
    let action = template.trim_start().strip_prefix("{{").and_then(|rest| rest.split_once("}}"));
    action.is_some_and(|(action, _)| {
        action.trim_matches(['-', ' ', '\t']).split_whitespace().eq(["range", "."])
    })
}

/// Writes a value to standard output as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    emit(&format!("{}\n", escaped(&serde_json::to_string_pretty(value)?)))
}

/// JSON in which no character does anything to a terminal. serde_json escapes what JSON wants escaped, which
/// leaves DEL, C1 and what turns text round; those occur within strings alone, where `\u` means the same.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && table::is_harmful(c) {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// Writes lines to standard output.
pub(crate) fn lines<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> anyhow::Result<()> {
    let lines = lines.into_iter().map(|line| format!("{}\n", line.as_ref()));
    emit(&lines.collect::<String>())
}

/// Writes text to standard output. A reader that has gone away (`| head`) is no error.
pub(crate) fn emit(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("writing to standard output"))
        }
        _ => Ok(()),
    }
}

/// Does something to each name, all of them even if one fails. Prints every error but the last,
/// which is returned and decides the exit code.
///
/// # Errors
/// The last one.
pub(crate) fn each(
    names: &[String],
    action: impl Fn(&str) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let mut failed: Option<anyhow::Error> = None;
    for name in names {
        if let Err(error) = action(name)
            && let Some(earlier) = failed.replace(error)
        {
            eprintln!("Error: {earlier:#}");
        }
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Asks on the terminal whether to go on; anything but yes is no.
///
/// # Errors
/// Standard input can't be read.
pub(crate) fn confirm(warning: &str) -> anyhow::Result<bool> {
    emit(&format!("{warning}\nAre you sure you want to continue? [y/N] "))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("reading the answer")?;
    Ok(answer.trim_start().to_ascii_lowercase().starts_with('y'))
}

/// `--label NAME=VALUE` and the like; without `=` the value is empty, and of one name the last counts.
pub(crate) fn assignments(options: &[String]) -> BTreeMap<String, String> {
    let pairs = options.iter().map(|option| option.split_once('=').unwrap_or((option, "")));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// `a=1,b=2`: labels as lists show them.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let pairs: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// The first twelve digits of an id, or all of them.
pub(crate) fn short_id(id: &str, whole: bool) -> &str {
    if whole { id } else { id.get(..12).unwrap_or(id) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listing(format: Option<&str>) -> Listing {
        match Format::of(format, "{{.ID}}\t{{.Names}}").unwrap() {
            Format::Listing(listing) => listing,
            Format::Json => panic!("JSON"),
        }
    }

    #[test]
    fn json_does_nothing_to_a_terminal() {
        let value = json!({"a\u{202e}": "\u{9b}31m\u{7f}\u{1b}\u{e0041}é日\n"});
        let text = escaped(&serde_json::to_string_pretty(&value).unwrap());
        assert!(text.chars().all(|c| c == '\n' || !table::is_harmful(c)), "{text:?}");
        assert!(text.contains("é日"), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    fn text(format: Option<&str>, heading: bool) -> String {
        let rows = vec![json!({"ID": "a", "Names": "web"}), json!({"ID": "b", "Names": "db"})];
        listing(format).text(rows, heading, &[("ID", "CONTAINER ID")]).unwrap()
    }

    #[test]
    fn the_default_is_a_table_with_a_heading() {
        let table = "CONTAINER ID  NAMES\na             web\nb             db\n";
        assert_eq!(text(None, true), table);
        assert_eq!(text(Some("table"), true), table);
        assert_eq!(text(None, false), "a           web\nb           db\n");
    }

    #[test]
    fn a_users_table_has_tabs_for_blanks() {
        let heading = "NAMES       CONTAINER ID\n";
        assert_eq!(
            text(Some("table {{.Names}} {{.ID}}"), true),
            format!("{heading}web         a\ndb          b\n")
        );
        assert_eq!(text(Some("table {{.Names}}\\t{{.ID}}"), true).lines().next(), Some(heading.trim()));
    }

    #[test]
    fn a_template_is_for_each_row_without_heading() {
        assert_eq!(text(Some("{{.Names}}"), true), "web\ndb\n");
        assert_eq!(text(Some("{{.ID}}\\t{{.Names}}\\n"), true), "a\tweb\nb\tdb\n");
        assert_eq!(text(Some("{{printf \"%s\\n\" .ID}}"), true), "a\n\nb\n\n");
    }

    #[test]
    fn a_template_may_go_over_all_rows_itself() {
        assert_eq!(text(Some("{{range .}}{{.Names}} {{end}}"), true), "web db \n");
        assert_eq!(text(Some("{{ range . -}} {{.Names}},{{end}}"), true), "web,db,\n");
    }

    #[test]
    fn json_is_told_from_templates() {
        assert!(is_json("json") && is_json("{{json .}}") && is_json("{{ json . }}"));
        assert!(!is_json("{{json .Id}}") && !is_json("table"));
        assert!(matches!(Format::of(Some("json"), ""), Ok(Format::Json)));
        assert!(matches!(Format::of(Some(""), "{{.A}}"), Ok(Format::Listing(_))));
        assert_eq!(template_or_json(Some("{{.A}}")), Some("{{.A}}"));
        assert!([None, Some(""), Some("json")].into_iter().all(|f| template_or_json(f).is_none()));
    }

    #[test]
    fn ids_and_labels() {
        assert_eq!(short_id("0123456789abcdef", false), "0123456789ab");
        assert_eq!(short_id("0123456789abcdef", true), "0123456789abcdef");
        assert_eq!(short_id("01", false), "01");
        let labels = std::collections::BTreeMap::from([
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), String::new()),
        ]);
        assert_eq!(pairs(&labels), "a=1,b=");
    }
}
