//! `.pod`: containers that share namespaces.

use super::Translator;
use super::activation::DemandKeys;
use super::users::MappingKeys;
use crate::engine::PodPlan;
use crate::keys::pod::*;

static MAPPINGS: MappingKeys = MappingKeys {
    modern: &[&USER_NS, &UID_MAP, &GID_MAP, &SUB_UID_MAP, &SUB_GID_MAP],
    remap_users: &REMAP_USERS,
    remap_uid: &REMAP_UID,
    remap_gid: &REMAP_GID,
    remap_uid_size: &REMAP_UID_SIZE,
    manual: true,
};

static DEMAND: DemandKeys = DemandKeys {
    activation: &ACTIVATION,
    idle_timeout: &IDLE_TIMEOUT_KEY,
    publish_port: &PUBLISH_PORT,
    network: &NETWORK,
};

impl Translator<'_> {
    pub(super) fn pod(&mut self) {
        let name = crate::book::resource_name(self.unit, "").unwrap_or_default();
        let card = self.book.get_mut(self.unit.name);
        let members = card.map(|card| std::mem::take(&mut card.members)).unwrap_or_default();
        for member in &members {
            self.service.add("Unit", "Wants", member.as_str());
            self.service.add("Unit", "Before", member.as_str());
        }
        self.service.set_default("Service", "SyslogIdentifier", "%N");

        let base = self.base();
        let has_infra = self.engine().has_infra_container();
        let stop_timeout = self.text_or_empty(&STOP_TIMEOUT).unwrap_or("10").to_owned();
        let mut create = base.with(["pod", "create"]);
        if has_infra {
            create.word("--infra-conmon-pidfile=%t/%N.pid");
        }
        create.word("--replace");
        let policy = self.text_or_empty(&EXIT_POLICY).unwrap_or(crate::book::STOP);
        create.flag("--exit-policy", policy);
        let on_demand = self.on_demand(&DEMAND, None);
        self.sockets(on_demand.as_ref(), &mut create);
        self.options(&mut create);
        self.remap(&MAPPINGS, &mut create);
        self.networks(&NETWORK, &mut create);
        self.volumes(&VOLUME, &mut create);
        if has_infra {
            create.flag("--infra-name", format!("{name}-infra"));
        }
        create.flag("--name", name.as_str());
        self.further_arguments(&mut create);

        let stops_when_idle = self.book.get(self.unit.name).is_some_and(|card| card.stops_when_idle);
        let plan = PodPlan { name, base, create, stop_timeout, stops_when_idle, members, on_demand };
        self.more = self.engine().pod(&mut self.service, &plan);
    }
}
