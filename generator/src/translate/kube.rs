//! `.kube`: pods from Kubernetes YAML.

use super::Translator;
use super::users::MappingKeys;
use crate::diagnostic::rules;
use crate::engine::KubePlan;
use crate::keys::kube::*;

static MAPPINGS: MappingKeys = MappingKeys {
    modern: &[&USER_NS],
    remap_users: &REMAP_USERS,
    remap_uid: &REMAP_UID,
    remap_gid: &REMAP_GID,
    remap_uid_size: &REMAP_UID_SIZE,
    manual: false,
};

impl Translator<'_> {
    pub(super) fn kube(&mut self) {
        let yaml: Vec<_> = self.values(&YAML).iter().map(|path| self.absolute(path)).collect();
        if yaml.is_empty() {
            self.fail(&rules::MISSING_KEY, "Yaml= is not set", "add Yaml= with the Kubernetes YAML to play");
        }
        self.kill_mode();
        let oneshot = self.is_oneshot();

        let base = self.base();
        let mut play = base.with(["kube", "play", "--replace", "--service-container=true"]);
        self.options(&mut play);
        self.remap(&MAPPINGS, &mut play);
        self.networks(&NETWORK, &mut play);
        for update in self.values(&AUTO_UPDATE) {
            play.word(match update.split_once('/') {
                Some((container, policy)) => {
                    format!("--annotation=io.containers.autoupdate/{container}={policy}")
                }
                None => format!("--annotation=io.containers.autoupdate={update}"),
            });
        }
        for path in self.values(&CONFIG_MAP) {
            play.flag("--configmap", self.absolute(&path));
        }
        self.further_arguments(&mut play);
        play.words(yaml.iter().cloned());

        let mut down = base.with(["kube", "down"]);
        if let Some(force) = self.boolean(&KUBE_DOWN_FORCE) {
            down.switch("--force", force);
        }
        down.words(yaml);
        let plan = KubePlan { base, play, down, oneshot };
        self.more = self.engine().kube(&mut self.service, &plan);
        self.working_directory(&SET_WORKING_DIRECTORY);
    }
}
