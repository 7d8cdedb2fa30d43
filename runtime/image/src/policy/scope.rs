//! Scopes: which part of a policy is about an image.

use std::path::Path;

use crate::reference::Reference;
use crate::source::StorageName;

/// Scopes of a registry's image, the most specific first: the reference, the repository, each
/// namespace above it, the host, and `*.` patterns of its domain.
pub(crate) fn of_reference(reference: &Reference) -> Vec<String> {
    let mut scopes = vec![reference.to_string()];
    let mut name = reference.repository();
    while let Some((above, _)) = name.rsplit_once('/') {
        let above = above.to_owned();
        scopes.push(std::mem::replace(&mut name, above));
    }
    scopes.push(name.clone());
    let host = name.rsplit_once(':').map_or(&name[..], |(host, _)| host);
    let mut domain = host;
    while let Some((_, above)) = domain.split_once('.') {
        scopes.push(format!("*.{above}"));
        domain = above;
    }
    scopes
}

/// Scopes of a path, the most specific first: the path without symbolic links, and each directory above it.
pub(super) fn of_path(path: &Path) -> Vec<String> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let path = path.canonicalize().unwrap_or(path);
    path.ancestors().map(|path| path.display().to_string()).filter(|path| path != "/").collect()
}

/// Scopes of an image in Podman's store: `[driver@root]name`, `[driver@root]` and `[root]`.
pub(super) fn of_storage(name: &StorageName) -> Vec<String> {
    let root = name.root.as_deref().unwrap_or(Path::new("/var/lib/containers/storage")).display();
    let driver = name.driver.as_deref().unwrap_or("overlay");
    let whole = Reference::parse(&name.image).map(|name| format!("[{driver}@{root}]{name}"));
    let places = [format!("[{driver}@{root}]"), format!("[{root}]")];
    whole.into_iter().chain(places).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_comes_first() {
        let reference = Reference::parse("a.corp.com:5000/ns/x:1").unwrap();
        let scopes = of_reference(&reference);
        assert_eq!(
            scopes,
            [
                "a.corp.com:5000/ns/x:1",
                "a.corp.com:5000/ns/x",
                "a.corp.com:5000/ns",
                "a.corp.com:5000",
                "*.corp.com",
                "*.com"
            ]
        );
        assert_eq!(of_path(Path::new("/nowhere/x")), ["/nowhere/x", "/nowhere"]);
    }
}
