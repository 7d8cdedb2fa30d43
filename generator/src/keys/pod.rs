//! The keys of `[Pod]` in `.pod` files.

use super::{Emit::*, Shape::*, table};

table! { "Pod";
    POD_NAME "PodName" Text, Own("--name, --infra-name"), Any,
        "The pod's name. The default is \"systemd-\" and the file's name without its extension.";
    SERVICE_NAME "ServiceName" Text, Own("name of the generated service"), Any,
        "The name of the generated service, without \".service\". The default is the file's name and \"-pod\".";
    EXIT_POLICY "ExitPolicy" TextOrEmpty, Own("--exit-policy"), OneOf(&["continue", "stop"]),
        "What happens when the last container ends: stop (the default) or continue.";
    STOP_TIMEOUT "StopTimeout" TextOrEmpty, Own("--time of pod stop"), Integer,
        "How many seconds the containers have to stop. The default is 10.";
    USER_NS "UserNS" Text, Flag("--userns"), Any,
        "The user namespace mode, such as auto or keep-id.";
    UID_MAP "UIDMap" Words, Flag("--uidmap"), Any,
        "A mapping of user ids, CONTAINER:HOST:SIZE.";
    GID_MAP "GIDMap" Words, Flag("--gidmap"), Any,
        "A mapping of group ids, CONTAINER:HOST:SIZE.";
    SUB_UID_MAP "SubUIDMap" Text, Flag("--subuidname"), Any,
        "The name whose range in /etc/subuid the user ids are mapped from.";
    SUB_GID_MAP "SubGIDMap" Text, Flag("--subgidname"), Any,
        "The name whose range in /etc/subgid the group ids are mapped from.";
    REMAP_USERS "RemapUsers" Text, Own("--userns"), Any,
        "Deprecated, use UserNS=. How users are mapped: manual, auto or keep-id.";
    REMAP_UID "RemapUid" Words, Own("--uidmap or --userns"), Any,
        "Deprecated, use UIDMap=. User id mappings for RemapUsers=.";
    REMAP_GID "RemapGid" Words, Own("--gidmap or --userns"), Any,
        "Deprecated, use GIDMap=. Group id mappings for RemapUsers=.";
    REMAP_UID_SIZE "RemapUidSize" Number, Own("--userns auto:size="), Any,
        "Deprecated, use UserNS=. How many ids RemapUsers=auto maps.";
    PUBLISH_PORT "PublishPort" Lines, Flag("--publish"), PublishedPort,
        "A port of the pod to publish on the host.";
    LABEL "Label" Pairs, Flag("--label"), Any,
        "Labels of the pod.";
    NETWORK "Network" Lines, Own("--network"), Any,
        "The network that the pod joins; may be a .network or .container file.";
    NETWORK_ALIAS "NetworkAlias" Lines, Flag("--network-alias"), Any,
        "A further name of the pod in its networks.";
    IP "IP" Text, Flag("--ip"), Ipv4,
        "A fixed IPv4 address in the pod's network.";
    IP6 "IP6" Text, Flag("--ip6"), Ipv6,
        "A fixed IPv6 address in the pod's network.";
    HOST_NAME "HostName" Lines, Flag("--hostname"), Any,
        "The host name in the pod.";
    ADD_HOST "AddHost" Lines, Flag("--add-host"), Any,
        "A line for /etc/hosts, as NAME:ADDRESS.";
    DNS "DNS" Lines, Flag("--dns"), Address,
        "A name server for the pod, or none to leave resolv.conf alone.";
    DNS_OPTION "DNSOption" Lines, Flag("--dns-option"), Any,
        "An option for the pod's resolv.conf.";
    DNS_SEARCH "DNSSearch" Lines, Flag("--dns-search"), Any,
        "A search domain of the pod.";
    SHM_SIZE "ShmSize" Text, Flag("--shm-size"), Size,
        "The size of /dev/shm.";
    VOLUME "Volume" Lines, Own("--volume"), Any,
        "A directory or volume mounted in all containers of the pod; may be a .volume file.";
    CONTAINERS_CONF_MODULE "ContainersConfModule" Lines, Own("--module"), Any,
        "A containers.conf(5) module to load.";
    GLOBAL_ARGS "GlobalArgs" Arguments, Own("arguments before the subcommand"), Any,
        "Arguments that are put before the subcommand, for options that have no key.";
    PODMAN_ARGS "PodmanArgs" Arguments, Own("arguments after the other options"), Any,
        "Arguments that are put behind all other options, for options that have no key.";
}
