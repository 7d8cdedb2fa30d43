//! The keys of `[Network]` in `.network` files.

use super::{Emit::*, Shape::*, table};

table! { "Network";
    NETWORK_NAME "NetworkName" 4.7 Text, Own("NAME"), Any,
        "The network's name. The default is \"systemd-\" and the file's name without its extension.";
    SERVICE_NAME "ServiceName" 5.3 Text, Own("name of the generated service"), Any,
        "The name of the generated service, without \".service\". The default is the file's name and \"-network\".";
    DRIVER "Driver" 4.4 Text, Flag("--driver"), Any,
        "How the network is made: bridge (the default), or on an interface of the host macvlan or ipvlan.";
    INTERFACE_NAME "InterfaceName" 5.6 Text, Flag("--interface-name"), Any,
        "The name of the bridge on the host, or with macvlan and ipvlan of the parent interface, for which the default is the one that leads out of the host.";
    INTERNAL "Internal" 4.4 Boolean, Flag("--internal"), Any,
        "Whether the network is cut off from the outside: no default route, no published ports.";
    IPV6 "IPv6" 4.4 Boolean, Flag("--ipv6"), Any,
        "Whether the network has IPv6 addresses as well.";
    SUBNET "Subnet" 4.4 Lines, Own("--subnet"), Subnet,
        "A range of addresses of the network, in CIDR notation. For a bridge the default is a free range; macvlan and ipvlan take that of the parent's link.";
    GATEWAY "Gateway" 4.4 Lines, Own("--gateway"), Address,
        "The gateway of a subnet: the first Gateway= belongs to the first Subnet=, and so on.";
    IP_RANGE "IPRange" 4.4 Lines, Own("--ip-range"), Any,
        "The part of a subnet that addresses are given out from, as CIDR or START-END; the first IPRange= belongs to the first Subnet=.";
    IPAM_DRIVER "IPAMDriver" 4.4 Text, Flag("--ipam-driver"), Any,
        "Who gives out addresses: host-local (from Subnet=), dhcp (a DHCP server on the network of the parent interface, or of a bridge with Options=mode=unmanaged; a timer renews them, no daemon) or none. The default is dhcp for macvlan without Subnet=, else host-local.";
    DNS "DNS" 4.7 Lines, Flag("--dns"), Address,
        "A name server that the network's own name server asks; macvlan, ipvlan and networks with other addresses than ours have none.";
    DISABLE_DNS "DisableDNS" 4.4 Boolean, Flag("--disable-dns"), Any,
        "Whether names of containers are not resolved in this network. They never are with macvlan, ipvlan and IPAMDriver=dhcp, whose containers have the name servers of the host, or of the DHCP server. On a bridge of others (Options=mode=unmanaged) they are if the host has an address of the network's on it.";
    OPTIONS "Options" 4.4 Pairs, Flag("--opt"), Any,
        "Options of the driver: mtu=, metric=, no_default_route= and mode= (bridge: managed, unmanaged; macvlan: bridge, private, vepa, passthru; ipvlan: l2, l3, l3s), for bridge isolate=, vlan= and vrf=, for macvlan bclim=, for macvlan and ipvlan parent=, with IPAMDriver=dhcp arp_probe=false to use an address without asking the link whether somebody has it.";
    LABEL "Label" 4.4 Pairs, Flag("--label"), Any,
        "Labels of the network.";
    NETWORK_DELETE_ON_STOP "NetworkDeleteOnStop" 5.5 Boolean, Own("ExecStopPost= removes the network"), Any,
        "Whether stopping the service removes the network. The default is no.";
    CONTAINERS_CONF_MODULE "ContainersConfModule" 4.8 Lines, Own("--module"), Any,
        "A containers.conf(5) module to load.";
    GLOBAL_ARGS "GlobalArgs" 4.8 Arguments, Own("arguments before the subcommand"), Any,
        "Arguments that are put before the subcommand, for options that have no key.";
    PODMAN_ARGS "PodmanArgs" 4.6 Arguments, Own("arguments after the other options"), Any,
        "Arguments that are put behind all other options, for options that have no key.";
}
