//! Networks that Podman has defined on this host and not brought up, so that no route
//! tells of them (its files in `/etc/containers/networks`, podman-network(1)).

use std::path::Path;

use serde::Deserialize;

use crate::files;
use crate::subnet::Subnet;

const DIRECTORY: &str = "/etc/containers/networks";

/// A network of Podman's.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Foreign {
    /// Its name.
    pub(crate) name: String,
    #[serde(default)]
    subnets: Vec<Block>,
}

#[derive(Clone, Debug, Deserialize)]
struct Block {
    subnet: Subnet,
}

impl Foreign {
    /// All of them; a file that we can't read is Podman's affair.
    pub(crate) fn all() -> Vec<Self> {
        Self::below(Path::new(DIRECTORY))
    }

    fn below(directory: &Path) -> Vec<Self> {
        let names = files::names(directory).unwrap_or_default();
        let paths = names.iter().filter(|name| name.ends_with(".json")).map(|name| directory.join(name));
        paths.filter_map(|path| files::read_json(&path).ok().flatten()).collect()
    }

    /// Whether it shares an address with a subnet.
    pub(crate) fn overlaps(&self, subnet: &Subnet) -> bool {
        self.subnets.iter().any(|block| block.subnet.overlaps(subnet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podmans_files_are_read_and_others_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write(
            "app.json",
            r#"{"name":"app","id":"0","driver":"bridge","subnets":[{"subnet":"10.84.0.0/24","gateway":"10.84.0.1"}],
               "ipv6_enabled":false,"internal":false,"dns_enabled":true}"#,
        );
        write("broken.json", "{");
        write("none.json", r#"{"name":"none"}"#);
        let all = Foreign::below(directory.path());
        assert_eq!(all.len(), 2);
        assert!(all[0].overlaps(&"10.84.0.128/25".parse().unwrap()));
        assert!(!all[0].overlaps(&"10.84.1.0/24".parse().unwrap()));
    }
}
