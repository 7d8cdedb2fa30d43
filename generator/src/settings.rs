//! The generator's part of `/etc/sampan/sampan.toml`.

use crate::diagnostic::{Diagnostic, Severity, rules};
use crate::engine::Engine;
use crate::regular;
use std::io;
use std::path::Path;

/// Where the settings are.
pub const DEFAULT_PATH: &str = "/etc/sampan/sampan.toml";

/// The file's keys that matter here; others belong to the runtime.
#[derive(Debug, Default, serde::Deserialize)]
struct Settings {
    engine: Option<String>,
}

/// The engine that the file names. Without the file, or with a mistake in it, that is sampan; the
/// mistake is returned as well.
pub fn engine(path: &Path) -> (Engine, Option<Diagnostic>) {
    let read = regular::read(path).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    });
    let text = match read {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (Engine::default(), None),
        Err(error) => {
            return (Engine::default(), Some(mistake(path, format!("the file can't be read: {error}"))));
        }
    };
    let parsed = toml::from_str::<Settings>(&text).map_err(|error| error.message().to_owned());
    let engine = parsed.and_then(|settings| match settings.engine {
        Some(name) => name.parse().map_err(|error: crate::engine::UnknownEngine| error.to_string()),
        None => Ok(Engine::default()),
    });
    match engine {
        Ok(engine) => (engine, None),
        Err(reason) => (Engine::default(), Some(mistake(path, reason))),
    }
}

fn mistake(path: &Path, reason: String) -> Diagnostic {
    Diagnostic::whole(&rules::BAD_SETTINGS, Severity::Warning, path, reason)
        .help("the file is ignored; units are written for sampan")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_engine_and_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let engine_of = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            engine(file.path())
        };
        assert_eq!(engine_of("engine = \"podman\"\n[network]\npool = 1\n").0, Engine::Podman);
        assert!(matches!(engine_of("[network]\n"), (Engine::Sampan, None)));
        assert!(matches!(engine_of("engine = \"docker\""), (Engine::Sampan, Some(_))));
        assert!(matches!(engine_of("engine"), (Engine::Sampan, Some(_))));
        assert!(matches!(engine(Path::new("/nonexistent/x")), (Engine::Sampan, None)));
    }
}
