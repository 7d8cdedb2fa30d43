//! Options that containers and pods have in common, as groups that both commands are made of.

/// Which users of the host the users inside are.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Users {
    /// User namespace: host, or auto[:size=N]; with --service-user also keep-id[:uid=N,gid=N] and nomap
    #[arg(long, value_name = "MODE")]
    pub(crate) userns: Option<String>,
    /// User mapping CONTAINER:HOST:COUNT
    #[arg(long, value_name = "MAP")]
    pub(crate) uidmap: Vec<String>,
    /// Group mapping CONTAINER:HOST:COUNT
    #[arg(long, value_name = "MAP")]
    pub(crate) gidmap: Vec<String>,
    /// Take the user mapping from this name's ranges in /etc/subuid
    #[arg(long, value_name = "NAME")]
    pub(crate) subuidname: Option<String>,
    /// Take the group mapping from this name's ranges in /etc/subgid
    #[arg(long, value_name = "NAME")]
    pub(crate) subgidname: Option<String>,
}

/// Networks, addresses and ports.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Networking {
    /// Network: NAME[:ip=…,mac=…,alias=…], bridge, host, none, container:NAME, ns:PATH
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    pub(crate) network: Vec<String>,
    /// Further name on the container's networks
    #[arg(long, value_name = "NAME")]
    pub(crate) network_alias: Vec<String>,
    /// IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<String>,
    /// IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip6: Option<String>,
    /// Hardware address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mac_address: Option<String>,
    /// Publish a port: [[ADDRESS:][HOST[-HOST]]:]CONTAINER[-CONTAINER][/PROTOCOL]
    #[arg(long, short, value_name = "PORT")]
    pub(crate) publish: Vec<String>,
}

/// What stands in /etc/hosts and /etc/resolv.conf.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Naming {
    /// Line for /etc/hosts: NAME[;NAME…]:ADDRESS, or :host-gateway
    #[arg(long, value_name = "HOST:ADDRESS")]
    pub(crate) add_host: Vec<String>,
    /// Leave the image's /etc/hosts alone
    #[arg(long, conflicts_with_all = ["add_host", "hosts_file"])]
    pub(crate) no_hosts: bool,
    /// File that /etc/hosts begins with: a path, `image`, or `none`
    #[arg(long, value_name = "FILE")]
    pub(crate) hosts_file: Option<String>,
    /// Leave the image's /etc/hostname alone
    #[arg(long)]
    pub(crate) no_hostname: bool,
    /// Name server, or `none` to leave the image's resolv.conf alone
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<String>,
    /// Option of resolv.conf(5)
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    pub(crate) dns_option: Vec<String>,
    /// Search domain, or `.` for none
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_search: Vec<String>,
}
