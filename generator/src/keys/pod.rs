//! The keys of `[Pod]` in `.pod` files.

use super::{Emit::*, Shape::*, table};

table! { "Pod";
    POD_NAME "PodName" 5.0 Text, Own("--name, --infra-name"), Any,
        "The pod's name. The default is \"systemd-\" and the file's name without its extension.";
    SERVICE_NAME "ServiceName" 5.3 Text, Own("name of the generated service"), Any,
        "The name of the generated service, without \".service\". The default is the file's name and \"-pod\".";
    EXIT_POLICY "ExitPolicy" 5.6 TextOrEmpty, Own("--exit-policy"), OneOf(&["continue", "stop"]),
        "What happens when the last container ends: stop (the default) or continue.";
    STOP_TIMEOUT "StopTimeout" 5.7 TextOrEmpty, Own("--time of pod stop"), Integer,
        "How many seconds the containers have to stop. The default is 10.";
    USER_NS "UserNS" 5.3 Text, Flag("--userns"), Any,
        "The user namespace mode, such as auto or keep-id.";
    UID_MAP "UIDMap" 5.3 Words, Flag("--uidmap"), Any,
        "A mapping of user ids, CONTAINER:HOST:SIZE.";
    GID_MAP "GIDMap" 5.3 Words, Flag("--gidmap"), Any,
        "A mapping of group ids, CONTAINER:HOST:SIZE.";
    SUB_UID_MAP "SubUIDMap" 5.3 Text, Flag("--subuidname"), Any,
        "The name whose range in /etc/subuid the user ids are mapped from.";
    SUB_GID_MAP "SubGIDMap" 5.3 Text, Flag("--subgidname"), Any,
        "The name whose range in /etc/subgid the group ids are mapped from.";
    REMAP_USERS "RemapUsers" 5.3 Text, Own("--userns"), Any,
        "Deprecated, use UserNS=. How users are mapped: manual, auto or keep-id.";
    REMAP_UID "RemapUid" 5.3 Words, Own("--uidmap or --userns"), Any,
        "Deprecated, use UIDMap=. User id mappings for RemapUsers=.";
    REMAP_GID "RemapGid" 5.3 Words, Own("--gidmap or --userns"), Any,
        "Deprecated, use GIDMap=. Group id mappings for RemapUsers=.";
    REMAP_UID_SIZE "RemapUidSize" 5.3 Number, Own("--userns auto:size="), Any,
        "Deprecated, use UserNS=. How many ids RemapUsers=auto maps.";
    PUBLISH_PORT "PublishPort" 5.0 Lines, Flag("--publish"), PublishedPort,
        "A port of the pod to publish on the host.";
    ACTIVATION "Activation" sampan Text, Own("a .socket unit and systemd-socket-proxyd(8)"), OneOf(&["always", "on-demand"]),
        "When the pod is started: always (the default) as its [Install] section says, or on-demand, with all its containers, at the first connection to one of its published TCP ports. Then [Install] is that of the socket NAME-pod.socket.";
    IDLE_TIMEOUT_KEY "IdleTimeout" sampan Text, Own("a timer that looks at connections"), TimeSpan,
        "How long a pod with Activation=on-demand may have no connection that is in use before it is stopped with all its containers; a time span of systemd.time(7), or infinity for never. The default is 5min.";
    LABEL "Label" 5.6 Pairs, Flag("--label"), Any,
        "Labels of the pod.";
    NETWORK "Network" 5.0 Lines, Own("--network"), Any,
        "The network that the pod joins; may be a .network or .container file.";
    NETWORK_ALIAS "NetworkAlias" 5.2 Lines, Flag("--network-alias"), Any,
        "A further name of the pod in its networks.";
    IP "IP" 5.3 Text, Flag("--ip"), Ipv4,
        "A fixed IPv4 address in the pod's network.";
    IP6 "IP6" 5.3 Text, Flag("--ip6"), Ipv6,
        "A fixed IPv6 address in the pod's network.";
    HOST_NAME "HostName" 5.5 Lines, Flag("--hostname"), Any,
        "The host name in the pod.";
    ADD_HOST "AddHost" 5.3 Lines, Flag("--add-host"), Any,
        "A line for /etc/hosts, as NAME:ADDRESS.";
    DNS "DNS" 5.3 Lines, Flag("--dns"), Address,
        "A name server for the pod, or none to leave resolv.conf alone.";
    DNS_OPTION "DNSOption" 5.3 Lines, Flag("--dns-option"), Any,
        "An option for the pod's resolv.conf.";
    DNS_SEARCH "DNSSearch" 5.3 Lines, Flag("--dns-search"), Any,
        "A search domain of the pod.";
    SHM_SIZE "ShmSize" 5.4 Text, Flag("--shm-size"), Size,
        "The size of /dev/shm.";
    VOLUME "Volume" 5.0 Lines, Own("--volume"), Any,
        "A directory or volume mounted in all containers of the pod; may be a .volume file.";
    CONTAINERS_CONF_MODULE "ContainersConfModule" 5.0 Lines, Own("--module"), Any,
        "A containers.conf(5) module to load.";
    GLOBAL_ARGS "GlobalArgs" 5.0 Arguments, Own("arguments before the subcommand"), Any,
        "Arguments that are put before the subcommand, for options that have no key.";
    PODMAN_ARGS "PodmanArgs" 5.0 Arguments, Own("arguments after the other options"), Any,
        "Arguments that are put behind all other options, for options that have no key.";
}
