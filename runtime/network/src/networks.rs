//! [`Networks`]: the door to everything here.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::claims::Claims;
use crate::config::{Config, Network};
use crate::converge::{Converged, Namespaces};
use crate::definition::{check_name, default_network, define, keep};
use crate::dhcp::{self, Renewal};
use crate::driver::Driver;
use crate::error::{Error, Result};
use crate::files::{self, Durability, Lock};
use crate::firewall::{Firewall, elements, firewalld};
use crate::foreign::Foreign;
use crate::kernel::{link, namespace, netlink::Batch, sysctl};
use crate::lease::{Holder, Lease, Request};
use crate::names::Names;
use crate::pool::{Defaults, Neighbours};
use crate::port::PortMapping;
use crate::reclaim::{Gone, Obituaries};
use crate::{attach, connect, converge, names, on_demand, parent, release, reserve};

/// Where networks are kept.
pub const DEFAULT_CONFIG_DIR: &str = "/var/lib/sampan/networks";

/// Where leases are kept until the next boot; names for the DNS server lie beside
/// it, in `dns`.
pub const DEFAULT_RUNTIME_DIR: &str = "/run/sampan/network";

/// The digits of an id that are shown in lists.
const SHORT_ID: usize = 12;

/// The networks of this host, and who holds what of them.
///
/// Any number of processes may use the same directories at once.
#[derive(Debug)]
pub struct Networks {
    pub(crate) config_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
    pub(crate) claims: Claims,
    pub(crate) names: Names,
    /// Asked when the lease of another stands in a start's way.
    pub(crate) obituaries: Obituaries,
    /// Asked when a network is made: a start reads no more files than it needs.
    defaults: fn() -> Result<Defaults>,
}

impl Networks {
    /// Opens the two directories, and makes them if need be.
    ///
    /// # Errors
    /// [`Error::File`] if a directory can't be made.
    pub fn open(config_dir: &Path, runtime_dir: &Path) -> Result<Self> {
        files::make_directory(config_dir)?;
        files::make_directory(&runtime_dir.join("leases"))?;
        Ok(Self {
            config_dir: config_dir.to_owned(),
            runtime_dir: runtime_dir.to_owned(),
            claims: Claims::new(runtime_dir),
            names: Names::new(runtime_dir),
            obituaries: Obituaries::default(),
            defaults: || Ok(Defaults::default()),
        })
    }

    /// Lets the host itself resolve the names of containers, if systemd-resolved runs on it.
    #[must_use]
    pub fn with_names_on_host(mut self, wanted: bool) -> Self {
        self.names.on_host = wanted;
        self
    }

    /// Lets a start take what leases of containers name that are gone: their cleanup was killed. `gone` is asked about the
    /// holder of a lease that stands in the way, and gives its word only if nobody is in the holder's namespace, and
    /// nobody with the holder's id will ever be, or at least not for as long as its word is kept. Without it a lease
    /// waits for the next start of the same name.
    #[must_use]
    pub fn with_obituaries(mut self, gone: impl Fn(&Holder) -> Option<Gone> + Send + Sync + 'static) -> Self {
        self.obituaries = Obituaries(Box::new(gone));
        self
    }

    /// Lets the administrator choose the default network's name and where subnets come from. It is asked when a network
    /// is made or not found; its error is then that of the call.
    #[must_use]
    pub fn with_defaults(mut self, defaults: fn() -> Result<Defaults>) -> Self {
        self.defaults = defaults;
        self
    }

    /// The name of the network that containers join when they name none.
    ///
    /// # Errors
    /// Those of the function that [`with_defaults`](Self::with_defaults) was given.
    pub fn default_name(&self) -> Result<String> {
        (self.defaults)().map(|defaults| defaults.network)
    }

    /// Makes a network. The kernel learns of it when the first container joins.
    ///
    /// With `ignore_existing`, a network of that name is no error:
    /// [`converge`](Self::converge) brings it to what is asked for now, and the log
    /// says what waits.
    ///
    /// # Errors
    /// [`Error::NetworkExists`]; [`Error::Invalid`], [`Error::Overlap`] and
    /// [`Error::NoSubnet`] for what can't be made.
    pub fn create(&self, config: &Config, ignore_existing: bool) -> Result<Network> {
        check_name(&config.name)?;
        if !ignore_existing && self.read(&config.name)?.is_some() {
            return Err(Error::NetworkExists(config.name.clone()));
        }
        let converged = self.converge(config, &|_| None)?;
        if !ignore_existing && !converged.is_new {
            return Err(Error::NetworkExists(config.name.clone()));
        }
        if !converged.waiting.is_empty() {
            log::warn!("{converged}");
        }
        Ok(converged.network)
    }

    /// Makes a network, or brings the one of that name to what is asked for now: what
    /// its containers don't stand in the way of at once, the rest as soon as nobody
    /// holds the network. Nothing needs to be asked again for that.
    ///
    /// `namespaces` leads to those containers whose interfaces have to change.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Overlap`] and [`Error::NoSubnet`] for what can't
    /// be made; [`Error::Kernel`] and [`Error::File`], after which another call goes on.
    pub fn converge(&self, config: &Config, namespaces: Namespaces<'_>) -> Result<Converged> {
        let converged = converge::converge(self, config, namespaces)?;
        for change in &converged.changed {
            if change.property == "InterfaceName" {
                firewalld::unbind(&change.before);
            }
        }
        firewalld::bind(std::iter::once(&converged.network));
        Ok(converged)
    }

    /// What a network shall be as soon as nobody holds it; absent if it is so already.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn wanted(&self, name: &str) -> Result<Option<Network>> {
        check_name(name)?;
        converge::wanted(self, name)
    }

    /// What `config` means on this host now; `existing` is what it meant before.
    pub(crate) fn define(&self, config: &Config, existing: Option<&Network>) -> Result<Network> {
        let mut networks = self.list()?;
        networks.extend(converge::all_wanted(self)?);
        networks.retain(|network| network.name != config.name);
        let mut socket = link::socket()?;
        let mut routes = link::routes(&mut socket)?;
        // Its own bridge's routes are no obstacle to it, also those of a change that isn't through.
        if let Some(bridge) = existing.and_then(Network::own_bridge)
            && let Some(own) = link::index(&socket, bridge)?
        {
            routes.retain(|route| route.interface != Some(own));
        }
        let foreign = Foreign::all();
        let defaults = (self.defaults)()?;
        let neighbours =
            Neighbours { networks: &networks, routes: &routes, foreign: &foreign, defaults: &defaults };
        let is_taken = |name: &str| {
            let is_own = existing.is_some_and(|network| network.own_bridge() == Some(name));
            Ok(!is_own && link::index(&socket, name)?.is_some())
        };
        let mut network = match existing {
            None => define(config, &neighbours, is_taken)?,
            Some(existing) => define(&keep(config, existing), &neighbours, is_taken)?,
        };
        if let Some(existing) = existing {
            network.created.clone_from(&existing.created);
        }
        if network.driver != Driver::Bridge && !network.network_interface.is_empty() {
            parent::find(&mut socket, &network)?;
        }
        Ok(network)
    }

    /// The network of this name, or of this id, of which 12 digits suffice. The default
    /// network is made if it doesn't exist yet.
    ///
    /// # Errors
    /// [`Error::NoNetwork`].
    pub fn get(&self, name: &str) -> Result<Network> {
        let missing = || Error::NoNetwork(name.to_owned());
        check_name(name).map_err(|_| missing())?;
        if let Some(network) = self.read(name)? {
            return Ok(network);
        }
        if name == self.default_name()? {
            return self.create(&default_network(name), true);
        }
        if name.len() < SHORT_ID {
            return Err(missing());
        }
        self.list()?.into_iter().find(|network| network.id.starts_with(name)).ok_or_else(missing)
    }

    /// All networks, by name.
    ///
    /// # Errors
    /// [`Error::Damaged`] names a file that isn't a network.
    pub fn list(&self) -> Result<Vec<Network>> {
        let mut networks = Vec::new();
        for file in files::names(&self.config_dir)? {
            if let Some(name) = file.strip_suffix(".json") {
                networks.extend(self.read(name)?);
            }
        }
        Ok(networks)
    }

    /// Where containers of a network that answers names find its server; an address of a bridge of others may come and
    /// go.
    ///
    /// # Errors
    /// In words, why there is none.
    pub fn name_servers(&self, network: &Network) -> std::result::Result<Vec<IpAddr>, String> {
        names::listen::servers(self, network)
    }

    /// Removes a network; with `force` also while containers hold addresses of it,
    /// which then keep them until they end.
    ///
    /// # Errors
    /// [`Error::NoNetwork`]; [`Error::NetworkInUse`] names the containers.
    pub fn remove(&self, name: &str, force: bool) -> Result<()> {
        let _lock = self.lock()?;
        // What it is now: a change of it may have come before us.
        let network = self.read(name)?.ok_or_else(|| Error::NoNetwork(name.to_owned()))?;
        let holders = self.claims.holders(name)?;
        if holders.is_empty() {
            // Nothing is left of it in the kernel unless something crashed.
            release::dismantle(self, &mut Firewall::open()?, &[&network], Vec::new())?;
        } else if !force {
            return Err(Error::NetworkInUse {
                network: name.to_owned(),
                holders: holders.iter().map(|id| self.describe(id)).collect::<Vec<_>>(),
            });
        }
        converge::forget(self, name)?;
        dhcp::memory::forget(self, name)?;
        if let Some(bridge) = network.own_bridge() {
            firewalld::unbind(bridge);
        }
        files::remove(&self.path(name))
    }

    /// The ids of the containers that hold addresses of a network.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn holders(&self, name: &str) -> Result<Vec<String>> {
        self.claims.holders(name)
    }

    /// Reserves addresses and ports for a container, and writes its lease; changes
    /// nothing in the kernel. What the container held before is given back first.
    ///
    /// Without a request, the lease is empty: there is nothing to release.
    ///
    /// # Errors
    /// [`Error::AddressInUse`], [`Error::NoAddress`], [`Error::PortInUse`],
    /// [`Error::PortRefused`], [`Error::NoNetwork`], [`Error::Invalid`].
    pub fn reserve(&self, holder: &Holder, requests: &[Request], ports: &[PortMapping]) -> Result<Lease> {
        reserve::reserve(self, holder, requests, ports, None)
    }

    /// The same for a container that is started on demand: its ports are reserved and lead nowhere until
    /// [`publish`](Self::publish). `held` are the sockets that wait for it on the host meanwhile.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve).
    pub fn reserve_on_demand(
        &self,
        holder: &Holder,
        requests: &[Request],
        ports: &[PortMapping],
        held: &[SocketAddr],
    ) -> Result<Lease> {
        reserve::reserve(self, holder, requests, ports, Some(held))
    }

    /// Lets published ports lead to a container: those to one of its ports, or all. New connections go there from this
    /// moment on. A container without a lease is none with ports.
    ///
    /// # Errors
    /// [`Error::Kernel`], [`Error::File`].
    pub fn publish(&self, id: &str, container_port: Option<u16>) -> Result<()> {
        on_demand::publish(self, id, container_port)
    }

    /// Takes back what [`publish`](Self::publish) did, for all ports. Connections that there are stay.
    ///
    /// # Errors
    /// [`Error::Kernel`], [`Error::File`].
    pub fn withdraw(&self, id: &str) -> Result<()> {
        on_demand::withdraw(self, id)
    }

    /// How long ago the last packet to or from a published TCP port was, as far as the kernel remembers: it knows
    /// connections, and for up to two minutes those that are over. Absent if it remembers none.
    ///
    /// # Errors
    /// [`Error::Kernel`].
    pub fn quiet_for(&self, lease: &Lease) -> Result<Option<Duration>> {
        on_demand::quiet_for(lease)
    }

    /// The lease of a container, if it has one.
    ///
    /// # Errors
    /// [`Error::Damaged`] if its file isn't one.
    pub fn lease(&self, id: &str) -> Result<Option<Lease>> {
        reserve::check_id(id)?;
        files::read_json(&self.lease_path(id))
    }

    /// All leases, by id.
    ///
    /// # Errors
    /// [`Error::Damaged`] names a file that isn't a lease.
    pub fn leases(&self) -> Result<Vec<Lease>> {
        let mut leases = Vec::new();
        for file in files::names(&self.runtime_dir.join("leases"))? {
            if let Some(id) = file.strip_suffix(".json") {
                leases.extend(self.lease(id)?);
            }
        }
        Ok(leases)
    }

    /// Connects a network namespace as the lease says: loopback, links, addresses,
    /// routes, published ports, names. When it returns, packets flow.
    ///
    /// The calling thread enters the namespace for a moment and is back when the
    /// function returns.
    ///
    /// # Errors
    /// [`Error::Kernel`], [`Error::Program`]; call [`release`](Self::release) then.
    pub fn attach(&self, lease: &Lease, netns: BorrowedFd<'_>) -> Result<()> {
        attach::attach(self, lease, netns)
    }

    /// Asks the DHCP servers of a container's networks for more time, or for a new address where they don't give it;
    /// with `only_due` only where a renewal is due. Tells what it came to, network by network; none if there are no
    /// such networks.
    ///
    /// A conversation takes 10 s at the most. `netns` is the container's network namespace.
    ///
    /// # Errors
    /// [`Error::Kernel`] and [`Error::File`]; a server that doesn't answer is none.
    pub fn renew(&self, id: &str, netns: BorrowedFd<'_>, only_due: bool) -> Result<Vec<Renewal>> {
        dhcp::renew(self, id, netns, only_due)
    }

    /// Connects a container that runs, whose network namespace this is, to one more
    /// network; the lease as it is then.
    ///
    /// # Errors
    /// As of [`reserve`](Self::reserve) and [`attach`](Self::attach); nothing of it is
    /// left then. [`Error::Invalid`] for a container without a lease, and one that is
    /// connected already.
    pub fn connect(&self, id: &str, request: &Request, netns: BorrowedFd<'_>) -> Result<Lease> {
        connect::connect(self, id, request, netns)
    }

    /// Takes one network away from a container that runs on; the lease as it is then.
    /// Without its namespace, an interface without an end on the host stays.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a container without a lease, and one that isn't
    /// connected; [`Error::Kernel`], [`Error::File`], after which it can be called again.
    pub fn disconnect(&self, id: &str, network: &str, netns: Option<BorrowedFd<'_>>) -> Result<Lease> {
        connect::disconnect(self, id, network, netns)
    }

    /// Makes the name of a container known in the networks of the pod that it is in, and waits until it is answered.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it can't be a name; [`Error::File`], [`Error::Program`]. A pod without a lease has no
    /// networks: nothing is done.
    pub fn add_member(&self, id: &str, member: &Holder) -> Result<()> {
        reserve::check_id(&member.id)?;
        names::check(&member.name)?;
        self.change_members(id, |members| members.push(member.clone()), &member.id)
    }

    /// Forgets the name of a container that was in a pod. It is no error if it wasn't, or if the pod is gone.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn remove_member(&self, id: &str, member: &str) -> Result<()> {
        self.change_members(id, |_| (), member)
    }

    /// Takes a member out of a lease, lets `change` put something in its place, and waits until the name server knows.
    fn change_members(&self, id: &str, change: impl FnOnce(&mut Vec<Holder>), member: &str) -> Result<()> {
        let pending = {
            let _lock = self.lock()?;
            let Some(mut lease) = self.lease(id)? else { return Ok(()) };
            let before = lease.members.clone();
            lease.members.retain(|other| other.id != member);
            change(&mut lease.members);
            if lease.members != before {
                self.write_lease(&lease)?;
            }
            self.names.publish(&lease)?
        };
        self.names.settle(&pending)
    }

    /// Gives back everything of a container: published ports, links, names,
    /// addresses, and the bridge of a network that nobody holds any more. Does
    /// nothing if there is nothing, and finishes what a crash left half done.
    ///
    /// # Errors
    /// [`Error::Kernel`], [`Error::File`]; the lease stays, so it can be called again.
    pub fn release(&self, id: &str) -> Result<()> {
        release::release(self, id)
    }

    /// Makes the host's firewall right again: the table as the leases say, forwarding, and
    /// firewalld's zone. For a host whose ruleset was flushed or whose firewall was started
    /// later. Packets find a whole table at every moment.
    ///
    /// # Errors
    /// [`Error::Program`], [`Error::Kernel`], [`Error::File`].
    pub fn reload_firewall(&self) -> Result<()> {
        firewalld::bind(self.list()?.iter());
        let lock = self.lock()?;
        let leases = self.leases()?;
        let attachments = leases.iter().flat_map(|lease| &lease.attachments);
        sysctl::forward_packets(attach::forwarded(attachments))?;
        let mut firewall = Firewall::open()?;
        if leases.is_empty() && !firewall.has_table()? {
            // The next container that starts loads it.
            return Ok(());
        }
        firewall.load_table(&elements::of_leases(&leases), &lock)
    }

    /// Waits for the lock on everything below the runtime directory.
    pub(crate) fn lock(&self) -> Result<Lock> {
        Lock::acquire(&self.runtime_dir.join("lock"))
    }

    /// A container in words.
    pub(crate) fn describe(&self, id: &str) -> String {
        match self.lease(id) {
            Ok(Some(lease)) => format!("container {:?}", lease.holder.name),
            _ => format!("container {}", id.get(..12).unwrap_or(id)),
        }
    }

    /// Replaces a lease. The caller holds the lock.
    pub(crate) fn write_lease(&self, lease: &Lease) -> Result<()> {
        files::write_json(&self.lease_path(&lease.holder.id), lease, Durability::Volatile)
    }

    pub(crate) fn lease_path(&self, id: &str) -> PathBuf {
        self.runtime_dir.join("leases").join(format!("{id}.json"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.config_dir.join(format!("{name}.json"))
    }

    pub(crate) fn read(&self, name: &str) -> Result<Option<Network>> {
        check_name(name)?;
        files::read_json(&self.path(name))
    }
}

/// Brings up the loopback interface of a network namespace: what a container
/// without any network (`--network none`) still has.
///
/// # Errors
/// [`Error::Kernel`].
pub fn loopback_up(netns: BorrowedFd<'_>) -> Result<()> {
    let mut socket = namespace::within(netns, link::socket)?;
    let mut batch = Batch::default();
    link::loopback_up(&mut batch);
    socket.run(batch).map(drop)
}
