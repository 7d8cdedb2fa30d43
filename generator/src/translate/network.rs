//! `.network`: a network that containers join.

use super::Translator;
use crate::command::CommandLine;
use crate::diagnostic::rules;
use crate::keys::UnitType;
use crate::keys::network::*;

impl Translator<'_> {
    pub(super) fn network(&mut self) {
        debug_assert_eq!(self.unit.kind, UnitType::Network);
        let name = crate::book::resource_name(self.unit, "").unwrap_or_default();
        let base = self.base();
        if self.boolean(&NETWORK_DELETE_ON_STOP).unwrap_or(false) {
            let remove = base.with(["network", "rm", &name]);
            self.service.add("Service", "ExecStopPost", remove.value());
        }
        let mut create = base.with(["network", "create", "--ignore"]);
        self.options(&mut create);
        self.subnets(&mut create);
        self.further_arguments(&mut create);
        create.word(name.as_str());
        self.oneshot(&create, true);
        if self.engine().reloads_networks() {
            self.service.set_default("Service", "ExecReload", create.value());
        }
        self.makes(&name);
    }

    /// Each subnet with its gateway and range, which belong together by their order.
    fn subnets(&mut self, create: &mut CommandLine) {
        let subnets = self.values(&SUBNET);
        let gateways = self.values(&GATEWAY);
        let ranges = self.values(&IP_RANGE);
        for (key, values) in [(&GATEWAY, &gateways), (&IP_RANGE, &ranges)] {
            if values.len() > subnets.len() {
                let reason = match subnets.len() {
                    0 => format!("{}= is set without Subnet=", key.name),
                    count => format!(
                        "there are {} {}= lines, but only {count} Subnet= lines",
                        values.len(),
                        key.name
                    ),
                };
                self.fail_at(&rules::MISSING_COMPANION, key, reason, "add the Subnet= that it belongs to");
            }
        }
        let mut gateways = gateways.into_iter();
        let mut ranges = ranges.into_iter();
        for subnet in subnets {
            create.flag("--subnet", subnet);
            gateways.next().into_iter().for_each(|gateway| create.flag("--gateway", gateway));
            ranges.next().into_iter().for_each(|range| create.flag("--ip-range", range));
        }
    }
}
