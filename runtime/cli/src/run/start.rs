//! The start itself, one step after the other, up to a container that is ready and waits.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use oci_spec::runtime::{Mount, MountBuilder};
use sampan_container::activation::Sockets;
use sampan_container::state::{self, Healthcheck, State, Status};
use sampan_container::{Creation, Held, Parent, create, defaults, process, seccomp};
use sampan_network::{Holder, Lease, loopback_up};

use super::claim::Claim;
use super::files::{self, Facts};
use super::image::Base;
use super::member::Membership;
use super::network::{self, Network, Plan};
use super::options::Options;
use super::relay::{self, Relay};
use super::security::{self, Security};
use super::service_user::{self, ServiceUser};
use super::unit::Unit;
use super::user_namespace::Mappings;
use super::volumes::{self, Ground};
use super::{
    environment, expose, health, limits, output, scope, secrets, selinux, signal, spec, user_namespace,
};
use crate::Coded;
use crate::blame::{Blamed as _, Key};
use crate::containers_conf::ContainersConf;
use crate::context::Context;
use crate::dhcp;
use crate::network::definition;
use crate::on_demand;
use crate::release::LEASED;

/// A container that is set up, holds its program back, and is written down as running.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) held: Held,
    pub(crate) relay: Option<Relay>,
    pub(crate) health: Option<Healthcheck>,
    pub(crate) stop_signal: i32,
}

/// What a container is started in.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    /// The service, if there is one.
    pub(crate) unit: Option<&'a Unit>,
    /// Whether the container becomes our child instead of systemd's.
    pub(crate) is_ours: bool,
    /// What systemd has passed for the container's program.
    pub(crate) sockets: Sockets,
}

/// Makes the container.
///
/// # Errors
/// Any step's; the caller gives back what was taken.
pub(crate) fn start(
    options: &Options,
    context: &Context,
    conf: &ContainersConf,
    base: &Base,
    claim: &Claim,
    surroundings: Surroundings<'_>,
) -> anyhow::Result<Started> {
    let Surroundings { unit, is_ours, sockets } = surroundings;
    // What can be wrong with the options is found before anything is made.
    let member = Membership::find(options, context)?;
    let mut plan = match member.as_ref().and_then(Membership::plan) {
        Some(shared) => shared,
        None => {
            let resolvers = files::resolv_conf::servers(&options.names, conf)?;
            network::check_names(&options.net, &options.names)?;
            network::plan(
                &options.net,
                conf.network.default_name(),
                &resolvers,
                options.hostname.as_deref(),
                context,
            )?
        }
    };
    let security = Security::read(options, conf)?;
    let health = health::read(options, base.healthcheck())?;
    if options.sdnotify == "healthy" && health.is_none() {
        return Err(anyhow!("there is no health check that could make it ready: add HealthCmd="))
            .blame("Notify", "");
    }
    let image = base.config();
    let exposed = image.and_then(|config| config.exposed_ports().clone()).unwrap_or_default();
    expose::publish(&mut plan, options, &exposed)?;
    let stop_signal = stop_signal(options, image)?;
    let read_only = options.read_only.unwrap_or(conf.containers.read_only.unwrap_or(false));
    let image_volumes = image.and_then(|config| config.volumes().clone()).unwrap_or_default();
    let shared_volumes = member.as_ref().map_or(&[][..], |member| &member.pod().volumes);
    let requests = volumes::requests(options, conf, shared_volumes, &image_volumes, read_only)?;
    let mut environment = environment::assemble(
        options,
        conf,
        image.and_then(|config| config.env().as_deref()).unwrap_or_default(),
    )?;
    environment::describe(&mut environment, &sockets);

    let mut state = first_state(options, claim, unit, base);
    state.pod = member.as_ref().map(Membership::reference);
    claim.container().write(&state)?;
    let layer = context.writable_layer(claim.name());
    // Held until the ranges stand in the Spec, where the next start looks for ranges in use.
    let ranges = user_namespace::lock(&options.users, context.runroot())?;
    let service_user = ServiceUser::current(options)?;
    let mappings = match &member {
        Some(member) => member.mappings(),
        None => user_namespace::mappings(&options.users, context, service_user)?,
    };
    // A layer that goes with the container needs no protection from a power cut.
    let label = selinux::file_label(&security.label, Path::new("/"));
    let root = base.mount(&layer, options.rm, label.as_deref(), mappings.as_ref())?;
    let kept = service_user::kept_user(options, service_user)?;
    let user = spec::user(root.as_fd(), options, image, kept, mappings.as_ref())?;

    let lease = reserve(&plan, options, context, claim)?;
    let hostname = match member.as_ref().and_then(Membership::hostname) {
        Some(shared) => shared.to_owned(),
        None => hostname(options, conf, claim),
    };
    let directory = claim.container().path();
    let relay = (is_ours && options.sdnotify == "container" && unit.is_some())
        .then(|| Relay::open(directory))
        .transpose()?;

    let ground = Ground {
        root: root.as_fd(),
        volumes: &context.volumes(),
        artifacts: &|name| crate::artifact::find(name, context),
        anonymous: &layer.join("volumes"),
        user: on_host(mappings.as_ref(), user.uid, user.gid),
    };
    let (user_mounts, records) = volumes::place(&requests, &ground)?;
    let is_taken = |place: &Path| user_mounts.iter().any(|mount| mount.destination() == place);
    let facts = facts(&hostname, claim, options, &lease);
    let shares_names = member.is_some() && !matches!(plan.network, Network::Joined(_));
    if !shares_names {
        files::write_names(directory, &options.names, conf, &facts.borrow(&plan.network, root.as_fd()))?;
    }
    let names = member.as_ref().filter(|_| shares_names).map_or(directory, Membership::path);
    let is_others = |place: &Path| plan.names.iter().any(|mount| mount.destination() == place);
    let mut mounts = files::name_mounts(names, &|place| is_taken(place) || is_others(place))?;
    mounts.extend(plan.names.iter().filter(|mount| !is_taken(mount.destination())).cloned());
    mounts.extend(files::write_own(
        directory,
        options,
        conf,
        &facts.borrow(&plan.network, root.as_fd()),
        &is_taken,
    )?);
    // The container's root may write them, in a user namespace too.
    files::give(directory, on_host(mappings.as_ref(), 0, 0))?;
    if let Some(member) = &member {
        mounts.extend(member.shm()?.filter(|mount| !is_taken(mount.destination())));
    }
    // The user's own come first: `/run` as a tmpfs must not hide `/run/.containerenv`.
    mounts.splice(0..0, user_mounts);
    mounts.extend(secrets::place(
        &options.secret,
        directory,
        &|uid, gid| on_host(mappings.as_ref(), uid, gid),
        &mut environment,
    )?);
    if let Some(relay) = &relay {
        mounts.push(notify_mount(relay)?);
        environment.insert("NOTIFY_SOCKET".into(), Relay::address());
    }

    let spec = spec::build(spec::Decisions {
        options,
        conf,
        image,
        security: &security,
        network: &plan.network,
        member: member.as_ref(),
        mappings: mappings.as_ref(),
        user: &user,
        hostname: &hostname,
        environment,
        mounts,
        read_only,
    })?;
    describe(&mut state, &spec, spec::labels(options, image)?, records, hostname);
    (state.networks, state.ports) = match &member {
        Some(member) if shares_names => (member.pod().networks.clone(), member.pod().ports.clone()),
        _ => network::shown(&lease),
    };
    state.stop_signal = Some(signal::name(stop_signal));
    state.healthcheck.clone_from(&health);
    claim.container().write_spec(&spec)?;
    drop(ranges);
    claim.container().write(&state)?;

    limits::apply(options, state.unit.as_deref())?;
    let capabilities = spec.process().as_ref().and_then(|p| p.capabilities().as_ref()?.bounding().clone());
    let profile = security.profile();
    security::remember_profile(&profile, directory)?;
    let filter = seccomp::load(&profile, &capabilities.unwrap_or_default(), &context.seccomp_cache())?;
    let streams = output::arrange(options, unit.is_some(), base.links_to_output())?;
    if let Some(copier) = streams.copier {
        std::fs::write(directory.join(output::COPIER), copier.to_string()).context("noting the copier")?;
    }
    let of_image = root.try_clone().context("duplicating the root's descriptor")?;
    let mut creation = Creation::new(&spec, root);
    creation.parent = if is_ours { Parent::Caller } else { Parent::Systemd };
    creation.filter = filter;
    creation.sockets = sockets;
    creation.default_rlimits = defaults::rlimits();
    creation.id = claim.id();
    creation.bundle = directory;
    let held = create(creation);
    streams.give_back()?;
    let mut held = held?;
    // The links are made while the process assembles its mounts.
    if let Some(granted) = connect(&plan, context, &lease, &held)? {
        // Only now are the addresses known. The files keep their places: the process mounts them meanwhile.
        let facts = self::facts(&state.hostname, claim, options, &granted);
        files::write_names(directory, &options.names, conf, &facts.borrow(&plan.network, of_image.as_fd()))?;
        state.networks = network::shown(&granted).0;
        dhcp::begin(&granted, state.unit.as_deref(), claim.name(), context);
    }
    if let Some(member) = member.as_ref().filter(|_| shares_names) {
        member.announce(context, &state)?;
    }
    held.wait_ready().map_err(|error| blame_program(error, &state.command))?;

    state.pid = Some(held.pid());
    state.start_time = Some(process::start_time(held.pid())?);
    state.started = Some(jiff::Timestamp::now().to_string());
    state.status = Status::Running;
    claim.container().write(&state)?;
    Ok(Started { held, relay, health, stop_signal })
}

fn on_host(mappings: Option<&Mappings>, uid: u32, gid: u32) -> (u32, u32) {
    mappings.map_or((uid, gid), |mappings| mappings.on_host(uid, gid))
}

fn stop_signal(options: &Options, image: Option<&oci_spec::image::Config>) -> anyhow::Result<i32> {
    let image = image.and_then(|config| config.stop_signal().as_deref()).filter(|text| !text.is_empty());
    let text = options.stop_signal.as_deref().or(image).unwrap_or("SIGTERM");
    signal::parse(text).blame("StopSignal", "")
}

fn first_state(options: &Options, claim: &Claim, unit: Option<&Unit>, base: &Base) -> State {
    let (image, rootfs) = match base {
        Base::Directory(path) => (None, Some(path.clone())),
        Base::Image(image, _) => {
            let name = image_name(&options.arguments[0], &image.names);
            (Some(state::Image { name, id: image.id.clone(), digest: image.digest.to_string() }), None)
        }
    };
    State {
        oci_version: "1.2.0".to_owned(),
        id: claim.id().to_owned(),
        name: claim.name().to_owned(),
        status: Status::Creating,
        created: jiff::Timestamp::now().to_string(),
        unit: unit.map_or_else(scope::own, |unit| unit.name.clone()),
        invocation_id: unit.map(|unit| unit.invocation_id.clone()),
        bundle: claim.container().path().to_owned(),
        image,
        rootfs,
        stop_timeout: options.stop_timeout,
        remove: options.rm,
        ..State::default()
    }
}

/// The image's full name, where the user has written a part of it; a path stays what it is. An image may have several
/// tags, and it is an update's business which of them was asked for.
fn image_name(asked: &str, names: &[String]) -> String {
    let asked = asked.strip_prefix("docker://").unwrap_or(asked);
    let ends = [asked.to_owned(), format!("{asked}:latest")];
    let is_whole = |name: &&String| ends.contains(name);
    let is_end = |name: &&String| ends.iter().any(|end| name.ends_with(&format!("/{end}")));
    let found = names.iter().find(is_whole).or_else(|| names.iter().find(is_end));
    found.or_else(|| names.iter().find(|name| name.contains(asked))).map_or(asked, String::as_str).to_owned()
}

/// The container's own name, as Podman does it: without one the first digits of its identifier.
fn hostname(options: &Options, conf: &ContainersConf, claim: &Claim) -> String {
    match (&options.hostname, options.uts.as_deref()) {
        (Some(name), _) => name.clone(),
        (None, Some("host")) => {
            nix::unistd::gethostname().ok().and_then(|n| n.into_string().ok()).unwrap_or_default()
        }
        (None, _) if conf.containers.container_name_as_hostname == Some(true) => {
            claim.name().chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).collect()
        }
        (None, _) => claim.id()[..12].to_owned(),
    }
}

fn reserve(plan: &Plan, options: &Options, context: &Context, claim: &Claim) -> anyhow::Result<Lease> {
    let holder = Holder { id: claim.id().to_owned(), name: claim.name().to_owned() };
    let Network::Joined(requests) = &plan.network else { return Ok(Lease::empty(holder)) };
    let requests = network::with_hostname(requests, options.hostname.as_deref());
    requests.iter().for_each(|request| definition::follow(&request.network, context));
    // Noted first: whoever cleans up after us must know that there may be a lease.
    std::fs::write(claim.container().path().join(LEASED), "").context("noting the lease")?;
    let networks = context.networks()?;
    let lease = match options.on_demand.as_slice() {
        [] => networks.reserve(&holder, &requests, &plan.ports),
        sockets => networks.reserve_on_demand(&holder, &requests, &plan.ports, &on_demand::held(sockets)?),
    };
    lease.map_err(|error| network::blame(error, &options.net))
}

/// A program that isn't there is a matter of `Exec=` (or the image), with the exit code that scripts know.
fn blame_program(error: sampan_container::Error, command: &[String]) -> anyhow::Error {
    match error.exit_status() {
        code @ (126 | 127) => {
            let program = command.first().cloned().unwrap_or_default();
            anyhow::Error::from(Coded { code, message: error.to_string() }).context(Key::new("Exec", program))
        }
        _ => error.into(),
    }
}

/// Brings the network to life. Returns the lease where DHCP servers have granted addresses to it.
fn connect(plan: &Plan, context: &Context, lease: &Lease, held: &Held) -> anyhow::Result<Option<Lease>> {
    match &plan.network {
        Network::Host | Network::Path(_) => {}
        Network::None => loopback_up(held.network_namespace()?.as_fd())?,
        Network::Joined(_) => {
            let networks = context.networks()?;
            networks.attach(lease, held.network_namespace()?.as_fd())?;
            if lease.is_dynamic() {
                return Ok(networks.lease(&lease.holder.id)?);
            }
        }
    }
    Ok(None)
}

/// Owned parts of [`Facts`].
#[derive(Debug)]
struct OwnedFacts<'a> {
    hostname: String,
    name: String,
    id: String,
    image: String,
    addresses: Vec<IpAddr>,
    gateways: Vec<IpAddr>,
    dns_servers: Vec<IpAddr>,
    search: Vec<String>,
    lease: &'a Lease,
}

impl OwnedFacts<'_> {
    fn borrow<'a>(&'a self, network: &'a Network, root: BorrowedFd<'a>) -> Facts<'a> {
        Facts {
            hostname: &self.hostname,
            name: &self.name,
            id: &self.id,
            image: &self.image,
            addresses: &self.addresses,
            gateways: &self.gateways,
            dns_servers: &self.dns_servers,
            search: &self.search,
            lease: Some(self.lease),
            network,
            root: Some(root),
        }
    }
}

fn facts<'a>(hostname: &str, claim: &Claim, options: &Options, lease: &'a Lease) -> OwnedFacts<'a> {
    let attachments = &lease.attachments;
    OwnedFacts {
        hostname: hostname.to_owned(),
        name: claim.name().to_owned(),
        id: claim.id().to_owned(),
        image: options.arguments[0].clone(),
        addresses: attachments
            .iter()
            .flat_map(|a| a.addresses.iter().map(|address| address.address))
            .collect(),
        gateways: files::hosts::gateways(lease),
        dns_servers: lease.dns_servers.clone(),
        search: lease.search.clone(),
        lease,
    }
}

fn notify_mount(relay: &Relay) -> anyhow::Result<Mount> {
    Ok(MountBuilder::default()
        .destination(relay::DIRECTORY)
        .typ("bind")
        .source(relay.directory())
        .options(["bind", "ro", "rprivate", "nosuid", "nodev", "noexec"].map(str::to_owned).to_vec())
        .build()?)
}

fn describe(
    state: &mut State,
    spec: &oci_spec::runtime::Spec,
    labels: impl IntoIterator<Item = (String, String)>,
    mounts: Vec<state::UserMount>,
    hostname: String,
) {
    state.command = spec.process().as_ref().and_then(|process| process.args().clone()).unwrap_or_default();
    state.annotations = spec.annotations().clone().unwrap_or_default().into_iter().collect();
    state.labels = labels.into_iter().collect();
    state.mounts = mounts;
    state.hostname = hostname;
}

#[cfg(test)]
mod tests {
    use super::image_name;

    /// `sampan auto-update` asks the registry for this name.
    #[test]
    fn the_tag_that_was_asked_for_is_the_images_name() {
        let names = ["docker.io/library/web:1", "localhost:5000/web:1", "localhost:5000/web:latest"];
        let names = names.map(str::to_owned);
        for (asked, name) in [
            ("localhost:5000/web", "localhost:5000/web:latest"),
            ("localhost:5000/web:1", "localhost:5000/web:1"),
            ("docker://localhost:5000/web", "localhost:5000/web:latest"),
            ("web", "localhost:5000/web:latest"),
            ("web:1", "docker.io/library/web:1"),
            ("oci:/srv/web", "oci:/srv/web"),
        ] {
            assert_eq!(image_name(asked, &names), name, "{asked}");
        }
    }
}
