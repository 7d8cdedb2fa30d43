//! Mappings of a new user namespace whose configuration has none.
//!
//! Nobody is anybody there, and no program can be executed. The specification says nothing of it; runc refuses it, and
//! crun makes user 0 its caller. That is done here, too: the container's root is the caller without any privilege over
//! the host, and no other user exists.

use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespaceType, Spec};

/// Maps user and group 0 to the caller's, where a new user namespace has no mappings of users, or of groups.
pub(crate) fn complete(spec: &mut Spec) {
    let Some(linux) = spec.linux() else { return };
    let mut namespaces = linux.namespaces().iter().flatten();
    // An empty path is none: callers in Go write it so.
    let is_new = namespaces.any(|namespace| {
        let path = namespace.path().as_ref();
        namespace.typ() == LinuxNamespaceType::User && path.is_none_or(|path| path.as_os_str().is_empty())
    });
    let none = |mappings: &Option<Vec<LinuxIdMapping>>| mappings.as_ref().is_none_or(Vec::is_empty);
    let (users, groups) = (none(linux.uid_mappings()), none(linux.gid_mappings()));
    if !is_new || !(users || groups) {
        return;
    }
    let mut linux = linux.clone();
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if users {
        linux.set_uid_mappings(only(uid));
    }
    if groups {
        linux.set_gid_mappings(only(gid));
    }
    let missing = match (users, groups) {
        (true, true) => "uidMappings and gidMappings",
        (true, false) => "uidMappings",
        (false, _) => "gidMappings",
    };
    log::warn!(
        "the new user namespace has no {missing}: id 0 becomes the caller's ({uid}:{gid}), and no other exists"
    );
    spec.set_linux(Some(linux));
}

fn only(id: u32) -> Option<Vec<LinuxIdMapping>> {
    let mapping = LinuxIdMappingBuilder::default().container_id(0u32).host_id(id).size(1u32).build();
    mapping.ok().map(|one| vec![one])
}
