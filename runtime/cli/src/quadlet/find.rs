//! Which unit file a word on the command line names.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use sampan_generator::check::CheckedUnit;
use sampan_generator::diagnostic::suggest;

/// The installed file that a word names: `web.container`, its service `web.service` or `web`, an
/// instance `web@1.service` of its template, or the file's path. A plain `web` means the file with
/// that service first, else the only file of that name.
///
/// # Errors
/// There is none, or there are several.
pub(crate) fn find<'a>(units: &'a [CheckedUnit], word: &str) -> anyhow::Result<&'a CheckedUnit> {
    if word.contains('/') {
        // An instance is a link to its template: the folder's links are followed first.
        let at = |path: &Path| units.iter().find(|unit| unit.file == path);
        let found = at(Path::new(word))
            .or_else(|| at(&in_real_folder(Path::new(word))?))
            .or_else(|| at(&std::fs::canonicalize(word).ok()?));
        return found.ok_or_else(|| anyhow!("{word} is no installed unit file; see sampan list"));
    }
    let exactly = |word: &str| units.iter().find(|unit| unit.name == word || unit.service == word);
    let service = format!("{word}.service");
    let template = template(word);
    if let Some(unit) = exactly(word)
        .or_else(|| exactly(&service))
        .or_else(|| template.as_deref().and_then(exactly))
        .or_else(|| template.and_then(|name| exactly(&format!("{name}.service"))))
    {
        return Ok(unit);
    }
    let of_stem: Vec<_> = units
        .iter()
        .filter(|unit| unit.name.rsplit_once('.').is_some_and(|(stem, _)| stem == word))
        .collect();
    match of_stem[..] {
        [unit] => Ok(unit),
        [] => bail!("there is no unit file {word}{}; see sampan list", hint(units, word)),
        _ => {
            let names: Vec<_> = of_stem.iter().map(|unit| unit.name.as_str()).collect();
            bail!("{word} may be {}: write which", names.join(" or "))
        }
    }
}

fn in_real_folder(path: &Path) -> Option<PathBuf> {
    Some(std::fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?))
}

/// `web@.service` of `web@1.service`, `web@.container` of `web@1.container`, `web@` of `web@1`.
fn template(word: &str) -> Option<String> {
    let (base, rest) = word.split_once('@')?;
    let end = match rest.rsplit_once('.') {
        Some((_, extension)) => format!(".{extension}"),
        None => String::new(),
    };
    Some(format!("{base}@{end}"))
}

fn hint(units: &[CheckedUnit], word: &str) -> String {
    let names = units.iter().flat_map(|unit| {
        let stem = unit.name.rsplit_once('.').map_or(unit.name.as_str(), |(stem, _)| stem);
        [unit.name.as_str(), unit.service.as_str(), stem]
    });
    suggest(word, names).map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_generator::keys::UnitType;

    fn units() -> Vec<CheckedUnit> {
        let unit = |name: &str, service: &str| CheckedUnit {
            file: Path::new("/etc/containers/systemd").join(name),
            name: name.to_owned(),
            kind: UnitType::of(name).unwrap(),
            service: service.to_owned(),
            resource: None,
            dropins: Vec::new(),
        };
        vec![
            unit("web.container", "web.service"),
            unit("web.network", "web-network.service"),
            unit("job@.container", "job@.service"),
            unit("data.volume", "data-volume.service"),
            unit("x.volume", "x-volume.service"),
            unit("x.network", "x-network.service"),
        ]
    }

    #[test]
    fn a_file_is_named_by_itself_its_service_or_its_path() {
        let units = units();
        for (word, name) in [
            ("web", "web.container"),
            ("web.container", "web.container"),
            ("web.service", "web.container"),
            ("web.network", "web.network"),
            ("web-network", "web.network"),
            ("data", "data.volume"),
            ("job@7.service", "job@.container"),
            ("job@7", "job@.container"),
            ("job@a.container", "job@.container"),
            ("/etc/containers/systemd/web.network", "web.network"),
        ] {
            assert_eq!(find(&units, word).unwrap().name, name, "{word}");
        }
    }

    #[test]
    fn what_is_not_there_is_said_with_what_is() {
        let units = units();
        let error = |word: &str| find(&units, word).unwrap_err().to_string();
        assert_eq!(error("x"), "x may be x.volume or x.network: write which");
        assert_eq!(
            error("wbe.container"),
            "there is no unit file wbe.container; did you mean web.container?; see sampan list"
        );
        assert_eq!(
            error("/nowhere/web.container"),
            "/nowhere/web.container is no installed unit file; see sampan list"
        );
    }
}
