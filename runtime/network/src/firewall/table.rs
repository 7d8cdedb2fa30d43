//! Loading [the table](RULES): the only place where a program, `nft`, is run.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::elements::Element;
use crate::error::{Error, Result};

/// All rules, as text for `nft -f`.
const RULES: &str = include_str!("table.nft");

/// The chain that tells the layout of a table; its name changes whenever the rules do.
pub(super) const MARKER: &str = "layout_3";

/// Puts the table with these elements in the place of an older one, in one transaction:
/// no packet sees anything in between. Elements of one set lie side by side.
pub(super) fn load(elements: &[Element]) -> Result<()> {
    let script = script(elements);
    let failed = |why: String| Error::Program { program: "nft".to_owned(), why };
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(format!("{e}; it makes the firewall table, install nftables")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A broken pipe means that nft ended early: its own words say why.
        let _ = stdin.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(format!(
        "can't make table inet sampan ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

fn script(elements: &[Element]) -> String {
    // Adding the table first makes the deletion succeed whether it exists or not.
    let mut script = format!("table inet sampan\ndelete table inet sampan\n{RULES}");
    for group in elements.chunk_by(|a, b| a.set == b.set) {
        let texts: Vec<String> = group.iter().map(Element::to_string).collect();
        // Writing to a String can't fail.
        let _ = writeln!(script, "add element inet sampan {} {{ {} }}", group[0].set, texts.join(", "));
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_have_their_marker() {
        assert!(RULES.contains(&format!("chain {MARKER} {{")));
    }

    #[test]
    fn elements_are_added_set_by_set() {
        let member = |set, last| Element { set, key: vec![10, 0, 0, last], key_end: None, data: None };
        let script = script(&[member("resolvers4", 1), member("resolvers4", 2)]);
        assert!(
            script.ends_with("}\nadd element inet sampan resolvers4 { 10.0.0.1, 10.0.0.2 }\n"),
            "{script}"
        );
    }
}
