//! Loading [the table](RULES): the only place where a program, `nft`, is run.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Seek, Write as _};
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};

use super::elements::Element;
use crate::error::{Error, Result};
use crate::files::Lock;

/// All rules, as text for `nft -f`.
const RULES: &str = include_str!("table.nft");

/// The chain that tells the layout of a table; its name changes whenever the rules do.
pub(super) const MARKER: &str = "layout_5";

/// Puts the table with these elements in the place of an older one, in one transaction:
/// no packet sees anything in between. Elements of one set lie side by side.
///
/// `nft` outlives us if we are killed, and must do no harm then: it has all of the script from
/// the start, and it holds `lock` too, as its standard output. (Nothing is written there.) So
/// nobody adds an element that it doesn't know of before it has come to its end.
pub(super) fn load(elements: &[Element], lock: &Lock) -> Result<()> {
    let failed = |why: String| Error::Program { program: "nft".to_owned(), why };
    let stdin = in_memory(&script(elements)).map_err(|e| failed(format!("can't write its script: {e}")))?;
    let stdout = lock.share().map_err(|e| failed(format!("can't share the lock: {e}")))?;
    let child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(stdin)
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(format!("{e}; it makes the firewall table, install nftables")))?;
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

/// A file that is nowhere but in memory, to be read from its start.
fn in_memory(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("sampan.nft", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
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
