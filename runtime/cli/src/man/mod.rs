//! The manual pages that the programs can write of themselves.
//!
//! Section 1 comes from the command line's own description, a page for each command. Section 5
//! comes from the generator's key table, a page for each kind of unit file (`unit`), around what
//! people have written about that kind (`prose`). What no table knows stands in the repository's
//! `man/` folder. `typeset` lays out the source of all of them as mandoc(1) wants it.

mod prose;
mod typeset;
mod unit;

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use sampan_generator::keys::UnitType;

/// The manual that the pages belong to, in the middle of their first line.
const MANUAL: &str = "sampan";

/// The date of the pages, that of the release: the same source writes the same page. The pages of
/// the folder `man/` have it as well.
const DATE: &str = "2026-11-27";

/// A command with more options than this gets `[OPTIONS]` in its synopsis.
const LONG_SYNOPSIS: usize = 8;

/// Writes every page into `directory`, which must exist, as `NAME.SECTION`.
pub(crate) fn write(directory: &Path, mut command: Command) -> anyhow::Result<()> {
    command.build();
    commands(directory, &command, &[])?;
    UnitType::ALL.into_iter().try_for_each(|kind| {
        let name = format!("sampan.{}", kind.extension());
        save(directory, &name, 5, &unit::page(kind, &name))
    })
}

/// The page of one command, and of the commands below it. `above` names its parents.
fn commands(directory: &Path, command: &Command, above: &[&str]) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let mut related: Vec<(&str, u8)> = above.iter().map(|parent| (*parent, 1)).collect();
    if name == "sampan-run" {
        related.push(("sampan.container", 5));
    }
    related.push(("sampan", 7));
    let mut roff = Roff::new();
    see_also(&mut roff, &related);
    save(directory, name, 1, &(command_page(command, name)? + &roff.to_roff()))?;
    let path: Vec<&str> = above.iter().copied().chain([name]).collect();
    let mut visible = command.get_subcommands().filter(|below| !below.is_hide_set());
    visible.try_for_each(|below| commands(directory, below, &path))
}

/// A command's page up to its last section.
fn command_page(command: &Command, name: &str) -> anyhow::Result<String> {
    let mut command = command.clone();
    if command.get_opts().filter(|option| !option.is_hide_set()).count() > LONG_SYNOPSIS {
        let usage = command.render_usage().to_string();
        command = command.override_usage(usage.trim_start_matches("Usage: ").to_owned());
    }
    let mut page = Vec::new();
    Man::new(command).render(&mut page).with_context(|| format!("render the page {name}(1)"))?;
    let page = String::from_utf8(page).with_context(|| format!("the page {name}(1) is no text"))?;
    // clap_mangen leaves out an empty date and so shifts what follows it.
    let lines =
        page.lines().map(|line| if line.starts_with(".TH ") { heading(name, 1) } else { line.to_owned() });
    Ok(lines.map(|line| line.trim_end().to_owned() + "\n").collect())
}

/// The first line of a page.
fn heading(name: &str, section: u8) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(r#".TH "{}" {section} "{DATE}" "sampan {version}" "{MANUAL}""#, name.to_uppercase())
}

/// The section that names other pages.
fn see_also(roff: &mut Roff, pages: &[(&str, u8)]) {
    roff.control("SH", ["SEE ALSO"]);
    for (number, (name, section)) in pages.iter().enumerate() {
        let comma = if number + 1 < pages.len() { "," } else { "" };
        roff.text([bold(*name), roman(format!("({section}){comma}"))]);
    }
}

/// Writes one page.
fn save(directory: &Path, name: &str, section: u8, page: &str) -> anyhow::Result<()> {
    let path = directory.join(format!("{name}.{section}"));
    fs::write(&path, typeset::page(page)).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of the repository.
    fn repository(path: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn every_page_of_section_5_is_written_and_packaged() {
        use clap::CommandFactory as _;
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), crate::CommandLine::command()).unwrap();
        for kind in UnitType::ALL {
            let page =
                fs::read_to_string(folder.path().join(format!("sampan.{}.5", kind.extension()))).unwrap();
            for key in kind.keys() {
                assert!(
                    page.contains(&format!("\n.B {}=\n", key.name)),
                    "{}= in {}",
                    key.name,
                    kind.extension()
                );
            }
        }
        assert!(folder.path().join("sampan-quadlet-install.1").exists());
        // The Makefile and the package take all pages by their pattern.
        assert!(repository("Makefile").contains("for page in man/*.[1-8] $(generated)/man/*.[1-8]; do"));
        let spec = repository("packaging/rpm/sampan.spec");
        for pattern in ["man1/sampan*.1*", "man5/sampan*.5*", "man7/sampan*.7*", "man8/sampan*.8*"] {
            assert!(spec.contains(&format!("%{{_mandir}}/{pattern}")), "{pattern}");
        }
        let overview = repository("man/sampan.7");
        for kind in UnitType::ALL {
            assert!(
                overview.contains(&format!(".BR sampan.{} (5)", kind.extension())),
                "{}",
                kind.extension()
            );
        }
    }

    #[test]
    fn pages_written_by_hand_have_the_same_date() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../man");
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let head = fs::read_to_string(&path).unwrap().lines().next().unwrap_or_default().to_owned();
            assert!(head.contains(DATE), "{}: {head}", path.display());
        }
    }
}
