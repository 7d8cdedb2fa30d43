//! `.pod`: containers that share namespaces.

use super::Translator;
use super::users::MappingKeys;
use crate::keys::pod::*;

static MAPPINGS: MappingKeys = MappingKeys {
    modern: &[&USER_NS, &UID_MAP, &GID_MAP, &SUB_UID_MAP, &SUB_GID_MAP],
    remap_users: &REMAP_USERS,
    remap_uid: &REMAP_UID,
    remap_gid: &REMAP_GID,
    remap_uid_size: &REMAP_UID_SIZE,
    manual: true,
};

impl Translator<'_> {
    pub(super) fn pod(&mut self) {
        let name = crate::book::resource_name(self.unit, "").unwrap_or_default();
        let members = self.book.get_mut(self.unit.name).map(|card| std::mem::take(&mut card.members));
        for member in members.into_iter().flatten() {
            self.service.add("Unit", "Wants", member.as_str());
            self.service.add("Unit", "Before", member.as_str());
        }
        self.service.set_default("Service", "SyslogIdentifier", "%N");

        let base = self.base();
        let timeout = self.text_or_empty(&STOP_TIMEOUT).unwrap_or("10");
        let stop = base.with(["pod", "stop", "--ignore", &format!("--time={timeout}"), &name]);
        let remove = base.with(["pod", "rm", "--ignore", "--force", &name]);
        let mut create = base.with(["pod", "create", "--infra-conmon-pidfile=%t/%N.pid", "--replace"]);
        let policy = self.text_or_empty(&EXIT_POLICY).unwrap_or("stop");
        create.flag("--exit-policy", policy);
        self.options(&mut create);
        self.remap(&MAPPINGS, &mut create);
        self.networks(&NETWORK, &mut create);
        self.volumes(&VOLUME, &mut create);
        create.flag("--infra-name", format!("{name}-infra"));
        create.flag("--name", name.as_str());
        self.further_arguments(&mut create);

        self.service.add("Service", "ExecStart", base.with(["pod", "start", &name]).value());
        self.service.add("Service", "ExecStop", stop.value());
        self.service.add("Service", "ExecStopPost", remove.value());
        self.service.add("Service", "ExecStartPre", create.value());
        self.service.add("Service", "Environment", "PODMAN_SYSTEMD_UNIT=%n");
        self.service.set("Service", "Type", "forking");
        self.service.set("Service", "PIDFile", "%t/%N.pid");
        self.service.set_default("Service", "Restart", "on-failure");
    }
}
