//! Reserving addresses and ports for a container.
//!
//! Everything is chosen and checked first, then the lease is written, then the
//! claims are made; all of it under one lock, so that any number of containers
//! that start at once get different addresses and ports.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use sha2::{Digest, Sha256};

use crate::config::{DNS_DOMAIN, Network, SubnetConfig};
use crate::definition::{check_interface, hexadecimal};
use crate::dhcp::{Dhcp, identity};
use crate::driver::{Driver, Ipam};
use crate::error::{Error, Result};
use crate::files::{self, Durability};
use crate::host_port;
use crate::kernel::interface;
use crate::kernel::link::{self, LONGEST_NAME};
use crate::lease::{Address, Attachment, Holder, Lease, Request};
use crate::mac::Mac;
use crate::networks::Networks;
use crate::port::PortMapping;
use crate::{claims, converge, names, on_demand, parent, reclaim};

/// The port of name servers.
const DNS_PORT: u16 = 53;

/// How many ports the kernel may suggest before we look for one ourselves.
const SUGGESTIONS: usize = 100;

/// See [`Networks::reserve`].
pub(crate) fn reserve(
    networks: &Networks,
    holder: &Holder,
    requests: &[Request],
    ports: &[PortMapping],
    held: Option<&[SocketAddr]>,
) -> Result<Lease> {
    check_id(&holder.id)?;
    names::check(&holder.name)?;
    networks.release(&holder.id)?;
    if requests.is_empty() {
        return Ok(Lease::empty(holder.clone()));
    }
    // The default network may have to be made, which takes the lock as well.
    let names = requests
        .iter()
        .map(|request| Ok(networks.get(&request.network)?.name))
        .collect::<Result<Vec<_>>>()?;
    let requests: Vec<(&Request, &str)> = requests.iter().zip(names.iter().map(String::as_str)).collect();
    reclaim::past_the_dead(networks, || choose(networks, holder, &requests, ports, held))
}

/// Chooses everything and writes it down: all of it, or nothing.
fn choose(
    networks: &Networks,
    holder: &Holder,
    requests: &[(&Request, &str)],
    ports: &[PortMapping],
    held: Option<&[SocketAddr]>,
) -> Result<Lease> {
    let _lock = networks.lock()?;
    let mut lease = Lease::empty(holder.clone());
    for (request, name) in requests {
        // Read again: it may have been removed in between.
        add(networks, &mut lease, request, name)?;
    }
    set_name_servers(networks, &mut lease);
    if !ports.is_empty() && publishes(&lease) {
        // The same port twice is one, as Podman has it.
        let first = |place: usize| !ports[..place].contains(&ports[place]) || ports[place].host_port == 0;
        for port in (0..ports.len()).filter(|place| first(*place)).map(|place| &ports[place]) {
            let port = choose_ports(networks, &lease.ports, port, held.unwrap_or_default())?;
            lease.ports.push(port);
        }
    }
    if held.is_some() {
        on_demand::withhold(&mut lease);
    }
    files::write_json(&networks.lease_path(&holder.id), &lease, Durability::Volatile)?;
    if let Err(error) = networks.claims.take(&lease) {
        // The first error is the one to tell; what stays, the next reserve gives back.
        let _ = networks.claims.give_back(&lease);
        let _ = files::remove(&networks.lease_path(&holder.id));
        return Err(error);
    }
    Ok(lease)
}

/// Adds a place in a network to a lease. The caller holds the lock.
pub(crate) fn add(networks: &Networks, lease: &mut Lease, request: &Request, name: &str) -> Result<()> {
    let network = networks.read(name)?.ok_or_else(|| Error::NoNetwork(name.to_owned()))?;
    let network = settled(networks, network)?;
    let attachment = attachment(networks, lease, request, network)?;
    lease.attachments.push(attachment);
    Ok(())
}

/// The network as its definition says by now, as far as its other holders allow.
fn settled(networks: &Networks, network: Network) -> Result<Network> {
    let converged = converge::settle(networks, network, &|_| None)?;
    let words = converged.to_string();
    if !words.is_empty() {
        log::warn!("{words}");
    }
    Ok(converged.network)
}

/// Refuses what can't be a container's id (and the name of its file).
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn check_id(id: &str) -> Result<()> {
    if (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(Error::Invalid {
        what: "container id",
        value: id.to_owned(),
        why: "an id is up to 64 letters and digits".to_owned(),
    })
}

/// The container's place in one network; `lease` has its places so far.
fn attachment(networks: &Networks, lease: &Lease, request: &Request, network: Network) -> Result<Attachment> {
    let interface = match &request.interface {
        Some(name) => {
            check_interface(name)?;
            name.clone()
        }
        None => free_interface(lease),
    };
    for other in &lease.attachments {
        let twice = |what, value: &str| Error::Invalid {
            what,
            value: value.to_owned(),
            why: format!("container {:?} names it twice", lease.holder.name),
        };
        if other.network.name == network.name {
            return Err(twice("network", &network.name));
        }
        if other.interface == interface {
            return Err(twice("interface name", &interface));
        }
    }
    for alias in &request.aliases {
        names::check(alias)?;
    }
    let dhcp = (network.ipam_options.driver == Ipam::Dhcp).then(|| Dhcp {
        client: identity::client_id(&lease.holder, &network, &interface),
        hostname: identity::hostname(&lease.holder, request.hostname.as_deref()),
        granted: None,
        outcome: String::new(),
    });
    let addresses = addresses(networks, request, &network)?;
    let holder = &lease.holder;
    // A DHCP server may know its clients by it.
    let seed = dhcp.as_ref().map_or(&holder.name, |dhcp| &dhcp.client);
    let mac = mac(request, &network, seed, &interface, addresses.first())?;
    let gateways = if network.internal || network.options.no_default_route {
        Vec::new()
    } else {
        network.gateways().map(|(address, _)| address).collect()
    };
    Ok(Attachment {
        host_interface: host_interface(networks, holder, request, &network, &interface)?,
        interface,
        addresses,
        gateways,
        mac: mac.to_string(),
        aliases: request.aliases.clone(),
        resolvers: request.resolvers.clone(),
        dhcp,
        network,
    })
}

/// The interface's MAC address: as asked for, else by its IP address, else by `seed`,
/// which tells whose it is; the parent's, where the driver gives it that.
fn mac(
    request: &Request,
    network: &Network,
    seed: &str,
    interface: &str,
    address: Option<&Address>,
) -> Result<Mac> {
    if !network.has_own_macs() {
        let parent = parent::find(&mut link::socket()?, network)?;
        if let Some(mac) = &request.mac {
            log::warn!(
                "the MAC address {mac} has no effect: interfaces of network {:?} have that of their parent {}",
                network.name,
                parent.name
            );
        }
        return Ok(parent.mac.map_or_else(|| Mac::of_interface(seed, interface), Mac));
    }
    match (&request.mac, address) {
        (Some(text), _) => text.parse(),
        (None, Some(address)) => Ok(Mac::of(address.address)),
        (None, None) => Ok(Mac::of_interface(seed, interface)),
    }
}

/// The first of eth0, eth1, … that no other network of the container has.
fn free_interface(lease: &Lease) -> String {
    let is_taken = |name: &String| lease.attachments.iter().any(|other| other.interface == *name);
    let mut names = (0..).map(|number| format!("eth{number}"));
    names.find(|name| !is_taken(name)).unwrap_or_default()
}

/// The name of the host's end of the pair: the one asked for, else the same for the same
/// container and interface, so that a release finds it after any crash.
///
/// Without such an end it is the name that the container's interface has at first.
fn host_interface(
    networks: &Networks,
    holder: &Holder,
    request: &Request,
    network: &Network,
    interface: &str,
) -> Result<String> {
    let is_pair = network.driver == Driver::Bridge;
    if let Some(name) = &request.host_interface {
        if is_pair {
            check_host_interface(networks, name)?;
            return Ok(name.clone());
        }
        log::warn!(
            "container {:?}: host_interface_name={name} has no effect, network {:?} has no interfaces on the host",
            holder.name,
            network.name
        );
    }
    let sum = Sha256::digest(format!("{} {interface}", holder.id));
    let mut name = format!("{}{}", if is_pair { "veth" } else { "mv" }, hexadecimal(&sum));
    name.truncate(LONGEST_NAME);
    Ok(name)
}

/// Refuses a name that an interface has, or may have any moment: a release removes the
/// interface of that name.
fn check_host_interface(networks: &Networks, name: &str) -> Result<()> {
    check_interface(name)?;
    let mut holder = None;
    for lease in networks.leases()? {
        if lease.attachments.iter().any(|attachment| attachment.host_end() == Some(name)) {
            holder = Some(networks.describe(&lease.holder.id));
        }
    }
    for network in networks.list()? {
        if network.network_interface == name {
            holder = Some(format!("network {:?}", network.name));
        }
    }
    if holder.is_none() && link::index(&link::socket()?, name)?.is_some() {
        holder = Some("the host".to_owned());
    }
    match holder {
        None => Ok(()),
        Some(holder) => Err(Error::Invalid {
            what: "host_interface_name",
            value: name.to_owned(),
            why: format!("{holder} has an interface of this name already; choose another"),
        }),
    }
}

fn addresses(networks: &Networks, request: &Request, network: &Network) -> Result<Vec<Address>> {
    let fixed: Vec<IpAddr> = request.ip.into_iter().chain(request.ip6).collect();
    if network.subnets.is_empty() && !fixed.is_empty() {
        return Err(Error::Invalid {
            what: "address",
            value: fixed.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            why: format!("network {:?} has no addresses of ours to give out", network.name),
        });
    }
    if let Some(stray) = fixed.iter().find(|ip| !network.subnets.iter().any(|s| s.subnet.contains(**ip))) {
        let subnets: Vec<String> = network.subnets.iter().map(|subnet| subnet.subnet.to_string()).collect();
        return Err(Error::Invalid {
            what: "address",
            value: stray.to_string(),
            why: format!("network {:?} has {}", network.name, subnets.join(" and ")),
        });
    }
    let mut taken = fixed.clone();
    if network.own_bridge().is_none() && !network.subnets.is_empty() {
        // The host may be on the same link.
        taken.extend(interface::addresses(&mut link::socket()?)?);
    }
    network
        .subnets
        .iter()
        .map(|subnet| {
            let wanted = fixed.iter().find(|ip| subnet.subnet.contains(**ip));
            let address = match wanted {
                Some(wanted) => fixed_address(networks, network, subnet, *wanted)?,
                None => networks.claims.free_address(&network.name, subnet, &taken)?.ok_or_else(|| {
                    Error::NoAddress {
                        network: network.name.clone(),
                        range: match subnet.lease_range {
                            Some(range) => format!("{}-{}", range.start_ip, range.end_ip),
                            None => subnet.subnet.to_string(),
                        },
                    }
                })?,
            };
            Ok(Address { address, subnet: subnet.subnet })
        })
        .collect()
}

fn fixed_address(
    networks: &Networks,
    network: &Network,
    subnet: &SubnetConfig,
    address: IpAddr,
) -> Result<IpAddr> {
    let (first, last) = subnet.subnet.host_offsets();
    let holder = if subnet.gateway == Some(address) {
        Some("the host: it is the gateway".to_owned())
    } else if !(first..=last).contains(&subnet.subnet.offset(address)) {
        Some("nobody: it is the network's own or its broadcast address".to_owned())
    } else {
        networks.claims.address_holder(&network.name, address)?.map(|id| networks.describe(&id))
    };
    match holder {
        None => Ok(address),
        Some(holder) => Err(Error::AddressInUse { network: network.name.clone(), address, holder }),
    }
}

/// The name servers of the networks that answer names. Where one can't, the log says why, and the container does
/// without: its network is no worse for it.
pub(crate) fn set_name_servers(networks: &Networks, lease: &mut Lease) {
    let answering: Vec<&Network> = lease
        .attachments
        .iter()
        .map(|attachment| &attachment.network)
        .filter(|network| network.dns_enabled)
        .collect();
    lease.dns_servers.clear();
    lease.search.clear();
    if answering.is_empty() {
        return;
    }
    if !networks.names.available() {
        log::warn!(
            "aardvark-dns is not installed: container {:?} can't resolve the names of its neighbours",
            lease.holder.name
        );
        return;
    }
    let mut servers = Vec::new();
    for network in answering {
        match networks.name_servers(network) {
            Ok(addresses) => servers.extend(addresses),
            Err(why) => log::warn!(
                "container {:?} can't resolve the names of its neighbours on network {:?}: {why}; without need of \
                 names write DisableDNS=true (--disable-dns) for the network",
                lease.holder.name,
                network.name
            ),
        }
    }
    if !servers.is_empty() {
        lease.search = vec![DNS_DOMAIN.to_owned()];
    }
    lease.dns_servers = servers;
}

/// Whether the host can publish ports of the container; says in the log if not.
fn publishes(lease: &Lease) -> bool {
    let can = lease
        .attachments
        .iter()
        .any(|attachment| attachment.network.own_bridge().is_some() && !attachment.addresses.is_empty());
    if !can {
        let names: Vec<_> = lease.attachments.iter().map(|attachment| &*attachment.network.name).collect();
        log::warn!(
            "container {:?} publishes ports, but its packets on {} don't pass through this host: others reach \
             it at its own address",
            lease.holder.name,
            names.join(" and ")
        );
    }
    can
}

/// Checks a published port, and chooses the host's port if it is left open.
fn choose_ports(
    networks: &Networks,
    chosen: &[PortMapping],
    port: &PortMapping,
    held: &[SocketAddr],
) -> Result<PortMapping> {
    let fits = |first: u16| u32::from(first) + u32::from(port.range) - 1 <= u32::from(u16::MAX);
    if port.range == 0 || port.container_port == 0 || !fits(port.container_port) {
        return Err(Error::Invalid {
            what: "published port",
            value: port.to_string(),
            why: "ports are 1 to 65535".to_owned(),
        });
    }
    if port.host_ip == Some(IpAddr::V6(Ipv6Addr::LOCALHOST)) {
        log::warn!(
            "published port {port}: the kernel can't carry packets for ::1 to a container; publish 127.0.0.1 instead"
        );
    }
    if port.host_port != 0 {
        check_ports(networks, chosen, port, held)?;
        return Ok(port.clone());
    }
    for _ in 0..SUGGESTIONS {
        let first = host_port::suggest(port.protocol, port.host_ip)?;
        if let Some(chosen) = unless_in_use(networks, chosen, port, first)? {
            return Ok(chosen);
        }
    }
    // Nearly all are taken: one after the other.
    let (first, last) = host_port::range();
    for first in first..=last {
        if let Some(chosen) = unless_in_use(networks, chosen, port, first)? {
            return Ok(chosen);
        }
    }
    Err(Error::NoPort {
        port: port.container_port,
        protocol: port.protocol,
        address: port.host_ip,
        first,
        last,
    })
}

/// The mapping with this host port, if that is free.
fn unless_in_use(
    networks: &Networks,
    chosen: &[PortMapping],
    port: &PortMapping,
    first: u16,
) -> Result<Option<PortMapping>> {
    let candidate = PortMapping { host_port: first, ..port.clone() };
    match check_ports(networks, chosen, &candidate, &[]) {
        Ok(()) => Ok(Some(candidate)),
        Err(Error::PortInUse { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `held` are sockets of the host that wait for this very container.
fn check_ports(
    networks: &Networks,
    chosen: &[PortMapping],
    port: &PortMapping,
    held: &[SocketAddr],
) -> Result<()> {
    let end = |port: &PortMapping| u32::from(port.host_port) + u32::from(port.range);
    let in_use = |number, holder| Error::PortInUse {
        address: port.host_ip,
        port: number,
        protocol: port.protocol,
        holder,
    };
    if end(port) > 1 << 16 {
        return Err(in_use(u16::MAX, "nobody: the row ends above 65535".to_owned()));
    }
    if let Some(other) = chosen.iter().find(|other| {
        other.protocol == port.protocol
            && claims::overlap(other.host_ip, port.host_ip)
            && u32::from(other.host_port) < end(port)
            && u32::from(port.host_port) < end(other)
    }) {
        let number = port.host_port.max(other.host_port);
        return Err(in_use(number, format!("this container's own {other}")));
    }
    for step in 0..port.range {
        let number = port.host_port + step;
        let holder = networks.claims.port_holder(port.protocol, number, port.host_ip)?;
        if let Some(id) = holder {
            return Err(in_use(number, networks.describe(&id)));
        }
        let waits = |socket: &SocketAddr| {
            socket.port() == number && (socket.ip().is_unspecified() || Some(socket.ip()) == port.host_ip)
        };
        if !held.iter().any(waits) {
            let is_kept =
                |address| is_left_to_resolver(&networks.list().unwrap_or_default(), number, address);
            host_port::check(port.protocol, number, port.host_ip, &is_kept)?;
        }
    }
    Ok(())
}

/// Whether a port is the one on which our name server listens at this address: a container
/// that is a name server too leaves it its packets, on bridges of ours.
pub(crate) fn is_left_to_resolver(networks: &[Network], port: u16, address: IpAddr) -> bool {
    let is_ours = |network: &&Network| network.dns_enabled && network.own_bridge().is_some();
    let mut gateways = networks.iter().filter(is_ours).flat_map(Network::gateways);
    port == DNS_PORT && gateways.any(|(gateway, _)| gateway == address)
}
