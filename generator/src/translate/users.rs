//! Users and user namespaces.

use super::Translator;
use crate::command::CommandLine;
use crate::diagnostic::{Severity, rules};
use crate::engine::{Engine, HostUser};
use crate::keys::Key;
use crate::syntax::values;
use std::borrow::Cow;

/// The rows of the mapping keys of a section; not every section has all of them.
pub(super) struct MappingKeys {
    /// Keys that map users; the table says which options they become.
    pub(super) modern: &'static [&'static Key],
    pub(super) remap_users: &'static Key,
    pub(super) remap_uid: &'static Key,
    pub(super) remap_gid: &'static Key,
    pub(super) remap_uid_size: &'static Key,
    /// Whether `RemapUsers=manual` is possible.
    pub(super) manual: bool,
}

impl Translator<'_> {
    /// Adds what the deprecated `Remap…=` keys say; the other mapping keys are plain options.
    pub(super) fn remap(&mut self, keys: &MappingKeys, command: &mut CommandLine) {
        let unit = self.unit;
        let given = |key: &Key| unit.last(key.section, key.name).is_some();
        let modern = keys.modern.iter().any(|key| !self.values(key).is_empty());
        if modern {
            for key in [keys.remap_uid, keys.remap_gid, keys.remap_users] {
                if given(key) {
                    let reason = format!(
                        "the deprecated {}= can't be used together with UserNS= and the mapping keys",
                        key.name
                    );
                    return self.fail_at(&rules::CONFLICTING_KEYS, key, reason, "remove it");
                }
            }
            return;
        }
        let (uids, gids) = (self.values(keys.remap_uid), self.values(keys.remap_gid));
        match self.text(keys.remap_users) {
            None => {
                for (key, given) in [(keys.remap_uid, !uids.is_empty()), (keys.remap_gid, !gids.is_empty())] {
                    if given {
                        let reason = format!("{}= needs RemapUsers=", key.name);
                        self.fail_at(
                            &rules::MISSING_COMPANION,
                            key,
                            reason,
                            "use UserNS= or UIDMap= and GIDMap= instead",
                        );
                    }
                }
            }
            Some("manual") if keys.manual => {
                uids.into_iter().for_each(|map| command.flag("--uidmap", map));
                gids.into_iter().for_each(|map| command.flag("--gidmap", map));
            }
            Some("auto") => {
                let size = self.number(keys.remap_uid_size).filter(|size| *size > 0);
                let uids = uids.iter().map(|map| format!("uidmapping={map}"));
                let gids = gids.iter().map(|map| format!("gidmapping={map}"));
                let options: Vec<_> =
                    uids.chain(gids).chain(size.map(|size| format!("size={size}"))).collect();
                command.flag("--userns", namespace("auto", &options));
            }
            Some("keep-id") => self.keep_id(keys, &uids, &gids, command),
            Some(other) => {
                let reason = format!("RemapUsers={other} is not possible here");
                let choices = if keys.manual { "manual, auto or keep-id" } else { "auto or keep-id" };
                self.fail_at(
                    &rules::BAD_CHOICE,
                    keys.remap_users,
                    reason,
                    format!("write {choices}, or better use UserNS="),
                );
            }
        }
    }

    /// `RemapUsers=keep-id` keeps the user that the engine runs as, perhaps under another number.
    fn keep_id(
        &mut self,
        keys: &MappingKeys,
        uids: &[Cow<'_, str>],
        gids: &[Cow<'_, str>],
        command: &mut CommandLine,
    ) {
        for (key, maps) in [(keys.remap_uid, uids), (keys.remap_gid, gids)] {
            if maps.len() > 1 {
                let reason = format!("RemapUsers=keep-id takes one {}= only", key.name);
                self.fail_at(&rules::TOO_MANY_VALUES, key, reason, "remove the others");
            }
        }
        let uid = uids.first().map(|uid| format!("uid={uid}"));
        let gid = gids.first().map(|gid| format!("gid={gid}"));
        let options: Vec<_> = uid.into_iter().chain(gid).collect();
        command.flag("--userns", namespace("keep-id", &options));
    }

    /// Adds the user, and the group behind a colon.
    pub(super) fn user(&mut self, user: &Key, group: &Key, command: &mut CommandLine) {
        match (self.text(user), self.text(group)) {
            (Some(user), Some(group)) => command.flag("--user", format!("{user}:{group}")),
            (Some(user), None) => command.flag("--user", user),
            (None, Some(_)) => {
                self.fail_at(&rules::MISSING_COMPANION, group, "Group= is set without User=", "add User=")
            }
            (None, None) => {}
        }
    }

    /// Whom `User=` and its kin in `[Service]` make the container's root, and the options for that.
    /// With Podman these are the user that Podman itself runs as.
    /// Other users of the host can't be chosen beside them: they would be the administrator's word against itself, and
    /// could make the container's root the host's.
    pub(super) fn host_user(&mut self, chosen: &MappingKeys, command: &mut CommandLine) -> HostUser {
        if self.engine() == Engine::Podman {
            return HostUser::Root;
        }
        let named =
            |key| self.service.last("Service", key).filter(|name| !matches!(*name, "" | "root" | "0"));
        let dynamic = named("DynamicUser").and_then(values::boolean) == Some(true);
        let (user, group) = (named("User").is_some(), named("Group").is_some());
        let root = match (dynamic, user) {
            (true, _) => HostUser::Dynamic,
            (false, true) => HostUser::Named,
            (false, false) => {
                if group {
                    let reason = "Group= in [Service] is set without User=".to_owned();
                    self.fail_service(
                        &rules::MISSING_COMPANION,
                        "Group",
                        reason,
                        "add User= to [Service]: the container's root becomes that user",
                    );
                }
                return HostUser::Root;
            }
        };
        self.refuse_chosen_users(chosen, if dynamic { "DynamicUser=" } else { "User=" });
        command.word("--service-user");
        if root == HostUser::Dynamic {
            // systemd.exec(5) says that DynamicUser= implies it.
            command.word("--security-opt=no-new-privileges");
        }
        root
    }

    /// Beside `named` in `[Service]` only `UserNS=` may say which users the container has.
    fn refuse_chosen_users(&mut self, keys: &MappingKeys, named: &str) {
        let maps = keys.modern.iter().copied().filter(|key| key.name != "UserNS");
        let manual = self.text(keys.remap_users) == Some("manual");
        for key in maps.chain(manual.then_some(keys.remap_users)) {
            if self.last(key).is_some_and(|entry| !entry.value.is_empty()) {
                let reason = format!("{}= can't be used together with {named} in [Service]", key.name);
                let help = "remove it: the container's root is that user, and its other users are that user's ranges \
                            in /etc/subuid and /etc/subgid";
                self.fail_at(&rules::CONFLICTING_KEYS, key, reason, help);
            }
        }
    }

    /// Notes a key that still works but has a better successor.
    pub(super) fn deprecated(&mut self, key: &Key, instead: &str) {
        if let Some(entry) = self.unit.last(key.section, key.name) {
            let diagnostic = entry.key_place().diagnose(
                &rules::DEPRECATED_KEY,
                Severity::Warning,
                format!("{}= is deprecated", key.name),
            );
            self.note(diagnostic.help(instead));
        }
    }
}

fn namespace(mode: &str, options: &[String]) -> String {
    if options.is_empty() { mode.to_owned() } else { format!("{mode}:{}", options.join(",")) }
}
