//! The keys of `[Kube]` in `.kube` files.

use super::{Emit::*, Shape::*, table};

table! { "Kube";
    YAML "Yaml" 4.4 Words, Own("YAML"), Any,
        "The Kubernetes YAML to play; a relative path starts at the unit file's directory.";
    SERVICE_NAME "ServiceName" 5.3 Text, Own("name of the generated service"), Any,
        "The name of the generated service, without \".service\". The default is the file's name.";
    EXIT_CODE_PROPAGATION "ExitCodePropagation" 4.6 Text, Joined("--service-exit-code-propagation"), OneOf(&["all", "any", "none"]),
        "When failing containers make the service fail, once all of them have ended: if all, any or none of them failed.";
    LOG_DRIVER "LogDriver" 4.5 TextOrEmpty, Flag("--log-driver"), Any,
        "Where the containers' output goes.";
    LOG_OPT "LogOpt" 5.2 Words, Flag("--log-opt"), Any,
        "Options of the log driver.";
    USER_NS "UserNS" 4.5 Text, Flag("--userns"), Any,
        "The user namespace mode, such as auto or keep-id.";
    REMAP_USERS "RemapUsers" 4.4 Text, Own("--userns"), Any,
        "Deprecated, use UserNS=. How users are mapped: auto or keep-id.";
    REMAP_UID "RemapUid" 4.4 Words, Own("--userns"), Any,
        "Deprecated, use UserNS=. User id mappings for RemapUsers=.";
    REMAP_GID "RemapGid" 4.4 Words, Own("--userns"), Any,
        "Deprecated, use UserNS=. Group id mappings for RemapUsers=.";
    REMAP_UID_SIZE "RemapUidSize" 4.4 Number, Own("--userns auto:size="), Any,
        "Deprecated, use UserNS=. How many ids RemapUsers=auto maps.";
    NETWORK "Network" 4.4 Lines, Own("--network"), Any,
        "The network that the pods join; may be a .network file.";
    AUTO_UPDATE "AutoUpdate" 4.7 Words, Own("--annotation=io.containers.autoupdate="), Any,
        "How images are updated: registry or local, for one container as NAME/local.";
    CONFIG_MAP "ConfigMap" 4.4 Words, Own("--configmap"), Any,
        "A file with a Kubernetes ConfigMap; a relative path starts at the unit file's directory.";
    PUBLISH_PORT "PublishPort" 4.4 Lines, Flag("--publish"), PublishedPort,
        "A port of the pod to publish on the host.";
    KUBE_DOWN_FORCE "KubeDownForce" 4.8 Boolean, Own("--force of kube down"), Any,
        "Whether stopping removes volumes as well.";
    SET_WORKING_DIRECTORY "SetWorkingDirectory" 4.7 Text, Own("[Service] WorkingDirectory="), Any,
        "The service's working directory: yaml for the directory of Yaml=, unit for the unit file's.";
    CONTAINERS_CONF_MODULE "ContainersConfModule" 4.8 Lines, Own("--module"), Any,
        "A containers.conf(5) module to load.";
    GLOBAL_ARGS "GlobalArgs" 4.8 Arguments, Own("arguments before the subcommand"), Any,
        "Arguments that are put before the subcommand, for options that have no key.";
    PODMAN_ARGS "PodmanArgs" 4.6 Arguments, Own("arguments after the other options"), Any,
        "Arguments that are put behind all other options, for options that have no key.";
}
