//! The runtime's part of `/etc/sampan/sampan.toml`; the generator reads its own.

use std::io;
use std::path::Path;

use serde::Deserialize;

const PATH: &str = "/etc/sampan/sampan.toml";

/// The settings that matter here; others belong to the generator.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    pub(crate) network: Network,
}

/// The table `[network]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Network {
    /// Let the host resolve the names of containers.
    pub(crate) host_names: bool,
}

/// Reads the file. Without it, or with a mistake in it, the defaults hold; a mistake is told in the log.
pub(crate) fn load() -> Settings {
    read(Path::new(PATH)).unwrap_or_else(|why| {
        log::warn!("{PATH}: {why}; the file is ignored");
        Settings::default()
    })
}

fn read(path: &Path) -> Result<Settings, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Settings::default()),
        Err(error) => Err(format!("it can't be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generators_settings_are_no_mistake() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let of = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            read(file.path()).map(|settings| settings.network.host_names)
        };
        assert_eq!(of("engine = \"sampan\"\n"), Ok(false));
        assert_eq!(of("[network]\nhost_names = true\n"), Ok(true));
        assert!(of("[network]\nhostnames = true\n").unwrap_err().contains("host_names"));
        assert!(of("[network]\nhost_names = 1\n").is_err());
        assert!(matches!(
            read(Path::new("/nonexistent/x")),
            Ok(Settings { network: Network { host_names: false } })
        ));
    }
}
