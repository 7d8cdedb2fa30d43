//! The keys of `[Container]` in `.container` files.

use super::{Emit::*, Shape::*, table};

const PULL: super::Shape = OneOf(&["always", "missing", "never", "newer"]);

table! { "Container";
    // What runs.
    IMAGE "Image" 4.4 Text, Own("IMAGE"), Any,
        "The image to run, best with its registry; may be a .image or .build file. Either this or Rootfs= is needed.";
    ROOTFS "Rootfs" 4.5 Text, Own("--rootfs"), Any,
        "A directory to run instead of an image; with \":O\" behind it, changes go to an overlay.";
    EXEC "Exec" 4.4 Command, Own("words after the image"), Any,
        "The command to run and its arguments, instead of the image's own.";
    ENTRYPOINT "Entrypoint" 5.0 TextOrEmpty, Joined("--entrypoint"), Any,
        "The program to run instead of the image's entry point, as a path or a JSON array; empty for none.";
    CONTAINER_NAME "ContainerName" 4.4 Text, Own("--name"), Any,
        "The container's name. The default is \"systemd-%N\", for templates \"systemd-%p_%i\".";
    SERVICE_NAME "ServiceName" 5.3 Text, Own("name of the generated service"), Any,
        "The name of the generated service, without \".service\". The default is the file's name.";
    POD "Pod" 5.0 Text, Own("--pod"), Any,
        "The .pod file whose pod the container joins.";
    START_WITH_POD "StartWithPod" 5.3 Boolean, Own("Wants= and Before= in the pod's service"), Any,
        "Whether the container is started together with its pod. The default is yes.";
    PULL_POLICY "Pull" 4.6 Text, Flag("--pull"), PULL,
        "When the image is pulled: always, missing (the default), never or newer.";
    AUTO_UPDATE "AutoUpdate" 4.6 Text, Prefixed("--label", "io.containers.autoupdate="), OneOf(&["registry", "local", "disabled", "image"]),
        "How the image is updated: registry looks for a newer one there, local in the local store.";
    RETRY "Retry" 5.5 Text, Flag("--retry"), Integer,
        "How often a failed pull is tried again.";
    RETRY_DELAY "RetryDelay" 5.5 Text, Flag("--retry-delay"), Duration,
        "How long to wait before a failed pull is tried again.";
    // Its environment.
    ENVIRONMENT "Environment" 4.4 Pairs, Flag("--env"), Any,
        "Environment variables of the container.";
    ENVIRONMENT_FILE "EnvironmentFile" 4.4 Arguments, Own("--env-file"), Any,
        "A file with environment variables, one NAME=VALUE per line; a relative path starts at the unit file's directory.";
    ENVIRONMENT_HOST "EnvironmentHost" 4.4 Boolean, Flag("--env-host"), Any,
        "Whether the container sees the service's whole environment.";
    HTTP_PROXY "HttpProxy" 5.7 Boolean, Flag("--http-proxy"), Any,
        "Whether the proxy variables of the host are passed on. The default is yes.";
    SECRET "Secret" 4.5 Arguments, Flag("--secret"), Any,
        "A secret for the container: NAME[,type=mount|env][,target=…][,uid=…][,gid=…][,mode=…]. It is a file in /run/secrets, or a variable of the environment. Under sampan it comes from the credential NAME of the service: LoadCredential=, LoadCredentialEncrypted= or SetCredential= in [Service], else the file NAME in /etc/credstore.";
    WORKING_DIR "WorkingDir" 4.6 Text, Flag("--workdir"), Any,
        "The working directory in the container.";
    TIMEZONE "Timezone" 4.4 Text, Flag("--tz"), Any,
        "The time zone in the container, or local for the host's.";
    HOST_NAME "HostName" 4.6 Text, Flag("--hostname"), Any,
        "The host name in the container.";
    LABEL "Label" 4.4 Pairs, Flag("--label"), Any,
        "Labels of the container.";
    ANNOTATION "Annotation" 4.4 Pairs, Flag("--annotation"), Any,
        "OCI annotations of the container.";
    // Users.
    USER "User" 4.4 Text, Own("--user"), Any,
        "The user, by name or number, that the container's program runs as.";
    GROUP "Group" 4.4 Text, Own("--user USER:GROUP"), Any,
        "The group that the container's program runs as; needs User=.";
    GROUP_ADD "GroupAdd" 5.1 Lines, Flag("--group-add"), Any,
        "A further group of the container's program, or keep-groups.";
    USER_NS "UserNS" 4.5 Text, Flag("--userns"), Any,
        "The user namespace mode: auto, keep-id, nomap, host, each with its options.";
    UID_MAP "UIDMap" 4.8 Words, Flag("--uidmap"), Any,
        "A mapping of user ids, CONTAINER:HOST:SIZE.";
    GID_MAP "GIDMap" 4.8 Words, Flag("--gidmap"), Any,
        "A mapping of group ids, CONTAINER:HOST:SIZE.";
    SUB_UID_MAP "SubUIDMap" 4.8 Text, Flag("--subuidname"), Any,
        "The name whose range in /etc/subuid the user ids are mapped from.";
    SUB_GID_MAP "SubGIDMap" 4.8 Text, Flag("--subgidname"), Any,
        "The name whose range in /etc/subgid the group ids are mapped from.";
    REMAP_USERS "RemapUsers" 4.4 Text, Own("--userns"), Any,
        "Deprecated, use UserNS=. How users are mapped: manual, auto or keep-id.";
    REMAP_UID "RemapUid" 4.4 Words, Own("--uidmap or --userns"), Any,
        "Deprecated, use UIDMap=. User id mappings for RemapUsers=.";
    REMAP_GID "RemapGid" 4.4 Words, Own("--gidmap or --userns"), Any,
        "Deprecated, use GIDMap=. Group id mappings for RemapUsers=.";
    REMAP_UID_SIZE "RemapUidSize" 4.4 Number, Own("--userns auto:size="), Any,
        "Deprecated, use UserNS=. How many ids RemapUsers=auto maps.";
    // Storage.
    VOLUME "Volume" 4.4 Lines, Own("--volume"), Any,
        "A directory or volume to mount: [SOURCE:]DESTINATION[:OPTIONS]; the source may be a .volume file or start with \".\" for the unit file's directory.";
    MOUNT "Mount" 4.5 Arguments, Own("--mount"), Any,
        "A mount in the long form: type=TYPE,source=…,destination=…[,OPTION]…; the source may be a .volume, .image or .artifact file.";
    TMPFS "Tmpfs" 4.5 Lines, Flag("--tmpfs"), Any,
        "A tmpfs to mount: DESTINATION[:OPTIONS].";
    READ_ONLY "ReadOnly" 4.4 Boolean, Flag("--read-only"), Any,
        "Whether the root file system is read-only.";
    READ_ONLY_TMPFS "ReadOnlyTmpfs" 4.8 Boolean, Flag("--read-only-tmpfs"), Any,
        "Whether a read-only container has a writable tmpfs at /dev, /dev/shm, /run, /tmp and /var/tmp. The default is yes.";
    VOLATILE_TMP "VolatileTmp" 4.4 Boolean, Own("--tmpfs /tmp:rw,size=512M,mode=1777"), Any,
        "Deprecated, use Tmpfs=. Whether /tmp is a tmpfs, unless the container is read-only.";
    SHM_SIZE "ShmSize" 4.7 Text, Flag("--shm-size"), Size,
        "The size of /dev/shm.";
    // Network.
    NETWORK "Network" 4.4 Lines, Own("--network"), Any,
        "A network that the container joins: host, none, bridge, a name, or a .network or .container file, with options behind a colon.";
    NETWORK_ALIAS "NetworkAlias" 5.2 Lines, Flag("--network-alias"), Any,
        "A further name of the container in its networks.";
    IP "IP" 4.5 Text, Flag("--ip"), Ipv4,
        "A fixed IPv4 address in the container's network.";
    IP6 "IP6" 4.5 Text, Flag("--ip6"), Ipv6,
        "A fixed IPv6 address in the container's network.";
    PUBLISH_PORT "PublishPort" 4.4 Lines, Flag("--publish"), PublishedPort,
        "A port of the container to publish on the host.";
    ACTIVATION "Activation" sampan Text, Own("a .socket unit and systemd-socket-proxyd(8)"), OneOf(&["always", "on-demand"]),
        "When the container is started: always (the default) as its [Install] section says, or on-demand at the first connection to one of its published TCP ports. Then [Install] is that of the socket NAME.socket.";
    IDLE_TIMEOUT_KEY "IdleTimeout" sampan Text, Own("a timer that looks at connections"), TimeSpan,
        "How long a container with Activation=on-demand may have no connection that is in use before it is stopped; a time span of systemd.time(7), or infinity for never. The default is 5min.";
    EXPOSE_HOST_PORT "ExposeHostPort" 4.4 Lines, Own("--expose"), Port,
        "A port, or range of ports, that the container is said to listen on.";
    ADD_HOST "AddHost" 5.3 Lines, Flag("--add-host"), Any,
        "A line for /etc/hosts, as NAME:ADDRESS.";
    DNS "DNS" 4.7 Lines, Flag("--dns"), Address,
        "A name server for the container, or none to leave resolv.conf alone.";
    DNS_OPTION "DNSOption" 4.7 Lines, Flag("--dns-option"), Any,
        "An option for the container's resolv.conf.";
    DNS_SEARCH "DNSSearch" 4.7 Lines, Flag("--dns-search"), Any,
        "A search domain of the container.";
    // Security.
    NO_NEW_PRIVILEGES "NoNewPrivileges" 4.4 Boolean, WhenTrue(&["--security-opt=no-new-privileges"]), Any,
        "Whether programs in the container can't gain privileges, as by set-user-id files.";
    SECURITY_LABEL_DISABLE "SecurityLabelDisable" 4.5 Boolean, WhenTrue(&["--security-opt", "label=disable"]), Any,
        "Whether SELinux does not separate the container.";
    SECURITY_LABEL_NESTED "SecurityLabelNested" 4.6 Boolean, WhenTrue(&["--security-opt", "label=nested"]), Any,
        "Whether SELinux labels work inside the container, so that it can separate its own containers.";
    SECURITY_LABEL_TYPE "SecurityLabelType" 4.5 Text, Prefixed("--security-opt", "label=type:"), Any,
        "The SELinux process type of the container.";
    SECURITY_LABEL_FILE_TYPE "SecurityLabelFileType" 4.5 Text, Prefixed("--security-opt", "label=filetype:"), Any,
        "The SELinux type of the container's files.";
    SECURITY_LABEL_LEVEL "SecurityLabelLevel" 4.5 Text, Prefixed("--security-opt", "label=level:"), Any,
        "The SELinux level of the container.";
    APP_ARMOR "AppArmor" 5.8 Text, Prefixed("--security-opt", "apparmor="), Any,
        "The AppArmor profile of the container.";
    SECCOMP_PROFILE "SeccompProfile" 4.4 TextOrEmpty, Prefixed("--security-opt", "seccomp="), Any,
        "The file with the seccomp profile, or unconfined for none.";
    MASK "Mask" 4.6 Arguments, Prefixed("--security-opt", "mask="), Any,
        "Paths, separated by colons, that the container can't see.";
    UNMASK "Unmask" 4.6 Arguments, Prefixed("--security-opt", "unmask="), Any,
        "Paths, separated by colons, that are masked by default and shall be seen, or ALL.";
    DROP_CAPABILITY "DropCapability" 4.4 Words, Own("--cap-drop"), Any,
        "Capabilities to take away from the default set, or all.";
    ADD_CAPABILITY "AddCapability" 4.4 Words, Own("--cap-add"), Any,
        "Capabilities to add to the default set.";
    ADD_DEVICE "AddDevice" 4.4 Words, Own("--device"), Any,
        "A device of the host: [-]HOST[:CONTAINER][:PERMISSIONS]; with \"-\" it is left out if the host doesn't have it.";
    SYSCTL "Sysctl" 4.6 Words, Flag("--sysctl"), Any,
        "Kernel parameters of the container's namespaces, as NAME=VALUE.";
    // Resources.
    MEMORY "Memory" 5.5 Text, Flag("--memory"), Size,
        "The most memory that the container may use.";
    PIDS_LIMIT "PidsLimit" 4.7 Text, Flag("--pids-limit"), Integer,
        "The most processes that the container may have; -1 for no limit.";
    ULIMIT "Ulimit" 4.7 Lines, Flag("--ulimit"), Any,
        "A resource limit, NAME=SOFT[:HARD], or host for the service's own limits.";
    CGROUPS_MODE "CgroupsMode" 5.3 Text, Own("--cgroups"), OneOf(&["enabled", "disabled", "no-conmon", "split"]),
        "Where the container's control group is. The default is split: inside the service's.";
    CPUS "CPUs" sampan Text, Service("CPUQuota"), Processors,
        "How many processors the container may use at most, with a fraction if need be.";
    CPU_WEIGHT "CPUWeight" sampan Text, Service("CPUWeight"), Weight,
        "The container's share of processor time where it is scarce. The default is 100.";
    CPU_SET "CPUSet" sampan Text, Service("AllowedCPUs"), CpuSet,
        "The processors that the container may run on.";
    MEMORY_HIGH "MemoryHigh" sampan Text, Service("MemoryHigh"), Limit,
        "How much memory the container may use before it is slowed down and made to give memory back.";
    MEMORY_LOW "MemoryLow" sampan Text, Service("MemoryLow"), Limit,
        "How much memory is taken from the container only when others have none to give.";
    MEMORY_MIN "MemoryMin" sampan Text, Service("MemoryMin"), Limit,
        "How much memory is never taken from the container.";
    MEMORY_SWAP_MAX "MemorySwapMax" sampan Text, Service("MemorySwapMax"), Limit,
        "How much swap the container may use; unlike Podman's --memory-swap this doesn't count memory.";
    IO_WEIGHT "IOWeight" sampan Text, Service("IOWeight"), Weight,
        "The container's share of disk time where it is scarce. The default is 100.";
    IO_DEVICE_WEIGHT "IODeviceWeight" sampan Lines, Service("IODeviceWeight"), DeviceWeight,
        "The container's share of one disk's time, instead of IOWeight=.";
    IO_READ_BANDWIDTH_MAX "IOReadBandwidthMax" sampan Lines, Service("IOReadBandwidthMax"), DeviceRate,
        "How many bytes a second the container may read from a disk.";
    IO_WRITE_BANDWIDTH_MAX "IOWriteBandwidthMax" sampan Lines, Service("IOWriteBandwidthMax"), DeviceRate,
        "How many bytes a second the container may write to a disk.";
    IO_READ_IOPS_MAX "IOReadIOPSMax" sampan Lines, Service("IOReadIOPSMax"), DeviceRate,
        "How many read operations a second the container may ask of a disk.";
    IO_WRITE_IOPS_MAX "IOWriteIOPSMax" sampan Lines, Service("IOWriteIOPSMax"), DeviceRate,
        "How many write operations a second the container may ask of a disk.";
    // The process, its health and its log.
    RUN_INIT "RunInit" 4.4 Boolean, Flag("--init"), Any,
        "Whether a small init process runs in the container, which reaps zombies and forwards signals.";
    STOP_SIGNAL "StopSignal" 5.2 Text, Flag("--stop-signal"), Signal,
        "The signal that stops the container.";
    STOP_TIMEOUT "StopTimeout" 5.0 Text, Flag("--stop-timeout"), Integer,
        "How many seconds the container has to stop before it is killed.";
    NOTIFY "Notify" 4.4 Text, Own("--sdnotify"), Any,
        "Who tells systemd that the service is ready: no (the default) when the container runs, yes for the program itself, healthy for its health check.";
    RELOAD_CMD "ReloadCmd" 5.5 Command, Own("ExecReload= runs it in the container"), Any,
        "The command that systemctl reload runs in the container.";
    RELOAD_SIGNAL "ReloadSignal" 5.5 Text, Own("ExecReload= sends it"), Signal,
        "The signal that systemctl reload sends to the container.";
    LOG_DRIVER "LogDriver" 4.5 TextOrEmpty, Flag("--log-driver"), Any,
        "Where the container's output goes. The default is the journal.";
    LOG_OPT "LogOpt" 5.2 Words, Flag("--log-opt"), Any,
        "Options of the log driver.";
    HEALTH_CMD "HealthCmd" 4.5 Text, Flag("--health-cmd"), Any,
        "The command that tells whether the container is healthy; none to switch the image's off.";
    HEALTH_INTERVAL "HealthInterval" 4.5 Text, Flag("--health-interval"), Duration,
        "How often health is checked; disable for never. The default is 30s.";
    HEALTH_TIMEOUT "HealthTimeout" 4.5 Text, Flag("--health-timeout"), Duration,
        "How long a check may take.";
    HEALTH_RETRIES "HealthRetries" 4.5 Text, Flag("--health-retries"), Integer,
        "How many failed checks in a row make the container unhealthy.";
    HEALTH_START_PERIOD "HealthStartPeriod" 4.5 Text, Flag("--health-start-period"), Duration,
        "How long after the start failed checks don't count.";
    HEALTH_ON_FAILURE "HealthOnFailure" 4.5 Text, Flag("--health-on-failure"), OneOf(&["none", "kill", "restart", "stop"]),
        "What happens to an unhealthy container: none, kill, restart or stop.";
    HEALTH_LOG_DESTINATION "HealthLogDestination" 5.3 Text, Flag("--health-log-destination"), Any,
        "Where the results of checks are kept: local, a directory, or events_logger.";
    HEALTH_MAX_LOG_COUNT "HealthMaxLogCount" 5.3 Text, Flag("--health-max-log-count"), Integer,
        "How many results are kept.";
    HEALTH_MAX_LOG_SIZE "HealthMaxLogSize" 5.3 Text, Flag("--health-max-log-size"), Integer,
        "How many characters of a result are kept.";
    HEALTH_STARTUP_CMD "HealthStartupCmd" 4.5 Text, Flag("--health-startup-cmd"), Any,
        "The command that tells whether the container has started; regular checks begin when it succeeds.";
    HEALTH_STARTUP_INTERVAL "HealthStartupInterval" 4.5 Text, Flag("--health-startup-interval"), Duration,
        "How often the startup check runs.";
    HEALTH_STARTUP_RETRIES "HealthStartupRetries" 4.5 Text, Flag("--health-startup-retries"), Integer,
        "How many failed startup checks restart the container.";
    HEALTH_STARTUP_SUCCESS "HealthStartupSuccess" 4.5 Text, Flag("--health-startup-success"), Integer,
        "How many successful startup checks are needed.";
    HEALTH_STARTUP_TIMEOUT "HealthStartupTimeout" 4.5 Text, Flag("--health-startup-timeout"), Duration,
        "How long a startup check may take.";
    // Arguments that have no key.
    CONTAINERS_CONF_MODULE "ContainersConfModule" 4.8 Lines, Own("--module"), Any,
        "A containers.conf(5) module to load.";
    GLOBAL_ARGS "GlobalArgs" 4.8 Arguments, Own("arguments before the subcommand"), Any,
        "Arguments that are put before the subcommand, for options that have no key.";
    PODMAN_ARGS "PodmanArgs" 4.4 Arguments, Own("arguments after the other options"), Any,
        "Arguments that are put behind all other options, for options that have no key.";
}
