//! The keys of `[Kube]` in `.kube` files.

use super::{Emit::*, Shape::*, table};

table! { "Kube";
    YAML "Yaml" Words, Own("YAML"), Any,
        "The Kubernetes YAML to play; a relative path starts at the unit file's directory.";
    SERVICE_NAME "ServiceName" Text, Own("name of the generated service"), Any,
        "The name of the generated service, without \".service\". The default is the file's name.";
    EXIT_CODE_PROPAGATION "ExitCodePropagation" Text, Joined("--service-exit-code-propagation"), OneOf(&["all", "any", "none"]),
        "When failing containers make the service fail: all, any or none of them.";
    LOG_DRIVER "LogDriver" TextOrEmpty, Flag("--log-driver"), Any,
        "Where the containers' output goes.";
    LOG_OPT "LogOpt" Words, Flag("--log-opt"), Any,
        "Options of the log driver.";
    USER_NS "UserNS" Text, Flag("--userns"), Any,
        "The user namespace mode, such as auto or keep-id.";
    REMAP_USERS "RemapUsers" Text, Own("--userns"), Any,
        "Deprecated, use UserNS=. How users are mapped: auto or keep-id.";
    REMAP_UID "RemapUid" Words, Own("--userns"), Any,
        "Deprecated, use UserNS=. User id mappings for RemapUsers=.";
    REMAP_GID "RemapGid" Words, Own("--userns"), Any,
        "Deprecated, use UserNS=. Group id mappings for RemapUsers=.";
    REMAP_UID_SIZE "RemapUidSize" Number, Own("--userns auto:size="), Any,
        "Deprecated, use UserNS=. How many ids RemapUsers=auto maps.";
    NETWORK "Network" Lines, Own("--network"), Any,
        "The network that the pods join; may be a .network file.";
    AUTO_UPDATE "AutoUpdate" Words, Own("--annotation=io.containers.autoupdate="), Any,
        "How images are updated: registry or local, for one container as NAME/local.";
    CONFIG_MAP "ConfigMap" Words, Own("--configmap"), Any,
        "A file with a Kubernetes ConfigMap; a relative path starts at the unit file's directory.";
    PUBLISH_PORT "PublishPort" Lines, Flag("--publish"), PublishedPort,
        "A port of the pod to publish on the host.";
    KUBE_DOWN_FORCE "KubeDownForce" Boolean, Own("--force of kube down"), Any,
        "Whether stopping removes volumes as well.";
    SET_WORKING_DIRECTORY "SetWorkingDirectory" Text, Own("[Service] WorkingDirectory="), Any,
        "The service's working directory: yaml for the directory of Yaml=, unit for the unit file's.";
    CONTAINERS_CONF_MODULE "ContainersConfModule" Lines, Own("--module"), Any,
        "A containers.conf(5) module to load.";
    GLOBAL_ARGS "GlobalArgs" Arguments, Own("arguments before the subcommand"), Any,
        "Arguments that are put before the subcommand, for options that have no key.";
    PODMAN_ARGS "PodmanArgs" Arguments, Own("arguments after the other options"), Any,
        "Arguments that are put behind all other options, for options that have no key.";
}
