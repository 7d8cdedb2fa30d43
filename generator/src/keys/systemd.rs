//! The directives of systemd in the sections that a Quadlet file hands over as they are: `[Unit]`,
//! `[Service]` and `[Install]`.
//!
//! systemd.directives(7) lists them; systemd.unit(5), systemd.service(5), systemd.exec(5),
//! systemd.kill(5) and systemd.resource-control(5) say what they take. The table goes up to systemd
//! 258. What systemd can't read in them it ignores with a line in its log, so that a slip costs
//! nobody's start, and is found late.

use crate::syntax::values;
use Value::*;

/// One directive.
#[derive(Clone, Copy, Debug)]
pub struct Directive {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub value: Value,
    /// The first version of systemd that knows it, if that is newer than 252; else 0.
    pub since: u16,
    /// For a directive that is only read for the sake of old units: what to write instead, empty if
    /// nothing does the same.
    pub instead: Option<&'static str>,
}

impl Directive {
    const fn new(name: &'static str, value: Value) -> Self {
        Self { name, value, since: 0, instead: None }
    }

    const fn since(mut self, version: u16) -> Self {
        self.since = version;
        self
    }

    const fn old(name: &'static str, instead: &'static str) -> Self {
        Self { name, value: Any, since: 0, instead: Some(instead) }
    }
}

/// What a directive takes, as far as it can be told from the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Not looked at.
    Any,
    /// yes or no, as in systemd.syntax(7).
    Boolean,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A time span of systemd.time(7); a bare number is seconds.
    Seconds,
    /// An unsigned number.
    Number,
    /// A size with an upper-case unit, a percentage or `infinity`.
    Memory,
    /// A percentage.
    Percent,
    /// 1 to 10000, or `idle`.
    Weight,
    /// A signal's name or number.
    Signal,
    /// Names of units, separated by blanks.
    Units,
}

impl Value {
    /// Whether only the last assignment counts.
    pub fn is_single(self) -> bool {
        !matches!(self, Any | Units)
    }

    /// What is taken, in words.
    pub fn describe(self) -> String {
        match self {
            Any => String::new(),
            Boolean => "yes or no".to_owned(),
            Choice(words) => format!("one of {}", words.join(", ")),
            Seconds => "a time such as 30s or 5min, or infinity".to_owned(),
            Number => "a number".to_owned(),
            Memory => "a size with an upper-case unit such as 512M, a percentage, or infinity".to_owned(),
            Percent => "a percentage such as 150%".to_owned(),
            Weight => "a number from 1 to 10000".to_owned(),
            Signal => "a signal such as SIGTERM".to_owned(),
            Units => "names of units".to_owned(),
        }
    }

    /// Whether systemd can read a value. An empty one resets, and one with a specifier is only known
    /// at run time.
    pub fn fits(self, text: &str) -> bool {
        if text.is_empty() || (text.contains('%') && !matches!(self, Memory | Percent)) {
            return true;
        }
        match self {
            Any | Units => true,
            Boolean => values::boolean(text).is_some(),
            Choice(words) => {
                words.contains(&text) || (words.contains(&"yes") && values::boolean(text).is_some())
            }
            Seconds => values::time_span(text).is_some(),
            Number => text.parse::<u32>().is_ok(),
            Memory => text == "infinity" || is_percentage(text) || is_size(text),
            Percent => is_percentage(text),
            Weight => {
                text == "idle" || text.parse::<u16>().is_ok_and(|weight| (1..=10_000).contains(&weight))
            }
            Signal => super::Shape::Signal.fits(text),
        }
    }
}

fn is_percentage(text: &str) -> bool {
    text.strip_suffix('%').is_some_and(|number| number.parse::<f64>().is_ok())
}

/// A number, perhaps with a fraction, and one of the units that systemd knows.
fn is_size(text: &str) -> bool {
    let number = text.strip_suffix(['E', 'P', 'T', 'G', 'M', 'K', 'B']).unwrap_or(text).trim_end();
    !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && number.parse::<f64>().is_ok()
}

/// The directives of a section; `None` if systemd has no such section in a service.
pub fn section(name: &str) -> Option<&'static [Directive]> {
    match name {
        "Unit" => Some(UNIT),
        "Service" => Some(SERVICE),
        "Install" => Some(INSTALL),
        _ => None,
    }
}

/// A directive of a section.
pub fn find(section_name: &str, name: &str) -> Option<&'static Directive> {
    let directives = section(section_name)?;
    directives.binary_search_by(|directive| directive.name.cmp(name)).ok().map(|at| &directives[at])
}

/// The section that a directive belongs to, one that isn't merely read for the sake of old units.
pub fn section_of(name: &str) -> Option<&'static str> {
    let current = |section: &&str| find(section, name).is_some_and(|directive| directive.instead.is_none());
    ["Unit", "Service", "Install"].into_iter().find(current)
}

const TYPE: &[&str] = &["simple", "exec", "forking", "oneshot", "dbus", "notify", "notify-reload", "idle"];
const RESTART: &[&str] =
    &["no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"];
const KILL_MODE: &[&str] = &["control-group", "mixed", "process", "none"];
const NOTIFY_ACCESS: &[&str] = &["none", "main", "exec", "all"];
const OOM_POLICY: &[&str] = &["continue", "stop", "kill"];
const EXIT_TYPE: &[&str] = &["main", "cgroup"];
const RESTART_MODE: &[&str] = &["normal", "direct", "debug"];
const PROTECT_SYSTEM: &[&str] = &["yes", "no", "full", "strict"];
const PROTECT_HOME: &[&str] = &["yes", "no", "read-only", "tmpfs"];
const PROTECT_PROC: &[&str] = &["noaccess", "invisible", "ptraceable", "default"];
const PROC_SUBSET: &[&str] = &["all", "pid"];
const DEVICE_POLICY: &[&str] = &["auto", "closed", "strict"];
const COLLECT_MODE: &[&str] = &["inactive", "inactive-or-failed"];
const JOB_MODE: &[&str] = &[
    "fail",
    "replace",
    "replace-irreversibly",
    "isolate",
    "flush",
    "ignore-dependencies",
    "ignore-requirements",
    "triggering",
    "restart-dependencies",
];
const KEYRING_MODE: &[&str] = &["inherit", "private", "shared"];
const MANAGED_OOM: &[&str] = &["auto", "kill"];
const OOM_PREFERENCE: &[&str] = &["none", "avoid", "omit"];
const FAILURE_MODE: &[&str] = &["terminate", "abort", "kill"];
const PRESERVE: &[&str] = &["yes", "no", "restart"];
const UTMP_MODE: &[&str] = &["init", "login", "user"];
const ACTION: &[&str] = &[
    "none",
    "reboot",
    "reboot-force",
    "reboot-immediate",
    "poweroff",
    "poweroff-force",
    "poweroff-immediate",
    "exit",
    "exit-force",
    "soft-reboot",
    "soft-reboot-force",
    "kexec",
    "kexec-force",
    "halt",
    "halt-force",
    "halt-immediate",
];

/// The directives of `[Unit]`.
pub static UNIT: &[Directive] = &[
    Directive::new("After", Units),
    Directive::new("AllowIsolate", Boolean),
    Directive::new("AssertACPower", Any),
    Directive::new("AssertArchitecture", Any),
    Directive::new("AssertCPUFeature", Any),
    Directive::new("AssertCPUPressure", Any),
    Directive::new("AssertCPUs", Any),
    Directive::new("AssertCapability", Any),
    Directive::new("AssertControlGroupController", Any),
    Directive::new("AssertCredential", Any),
    Directive::new("AssertDirectoryNotEmpty", Any),
    Directive::new("AssertEnvironment", Any),
    Directive::new("AssertFileIsExecutable", Any),
    Directive::new("AssertFileNotEmpty", Any),
    Directive::new("AssertFirstBoot", Any),
    Directive::new("AssertGroup", Any),
    Directive::new("AssertHost", Any),
    Directive::new("AssertIOPressure", Any),
    Directive::new("AssertKernelCommandLine", Any),
    Directive::new("AssertKernelModuleLoaded", Any).since(258),
    Directive::new("AssertKernelVersion", Any),
    Directive::new("AssertMemory", Any),
    Directive::new("AssertMemoryPressure", Any),
    Directive::new("AssertNeedsUpdate", Any),
    Directive::new("AssertOSRelease", Any),
    Directive::new("AssertPathExists", Any),
    Directive::new("AssertPathExistsGlob", Any),
    Directive::new("AssertPathIsDirectory", Any),
    Directive::new("AssertPathIsEncrypted", Any),
    Directive::new("AssertPathIsMountPoint", Any),
    Directive::new("AssertPathIsReadWrite", Any),
    Directive::new("AssertPathIsSymbolicLink", Any),
    Directive::new("AssertSecurity", Any),
    Directive::new("AssertUser", Any),
    Directive::new("AssertVersion", Any).since(258),
    Directive::new("AssertVirtualization", Any),
    Directive::new("Before", Units),
    Directive::old("BindTo", "BindsTo"),
    Directive::new("BindsTo", Units),
    Directive::new("CollectMode", Choice(COLLECT_MODE)),
    Directive::new("ConditionACPower", Any),
    Directive::new("ConditionArchitecture", Any),
    Directive::new("ConditionCPUFeature", Any),
    Directive::new("ConditionCPUPressure", Any),
    Directive::new("ConditionCPUs", Any),
    Directive::new("ConditionCapability", Any),
    Directive::new("ConditionControlGroupController", Any),
    Directive::new("ConditionCredential", Any),
    Directive::new("ConditionDirectoryNotEmpty", Any),
    Directive::new("ConditionEnvironment", Any),
    Directive::new("ConditionFileIsExecutable", Any),
    Directive::new("ConditionFileNotEmpty", Any),
    Directive::new("ConditionFirmware", Any),
    Directive::new("ConditionFirstBoot", Any),
    Directive::new("ConditionGroup", Any),
    Directive::new("ConditionHost", Any),
    Directive::new("ConditionIOPressure", Any),
    Directive::new("ConditionKernelCommandLine", Any),
    Directive::new("ConditionKernelModuleLoaded", Any).since(258),
    Directive::new("ConditionKernelVersion", Any),
    Directive::new("ConditionMemory", Any),
    Directive::new("ConditionMemoryPressure", Any),
    Directive::new("ConditionNeedsUpdate", Any),
    Directive::new("ConditionOSRelease", Any),
    Directive::new("ConditionPathExists", Any),
    Directive::new("ConditionPathExistsGlob", Any),
    Directive::new("ConditionPathIsDirectory", Any),
    Directive::new("ConditionPathIsEncrypted", Any),
    Directive::new("ConditionPathIsMountPoint", Any),
    Directive::new("ConditionPathIsReadWrite", Any),
    Directive::new("ConditionPathIsSymbolicLink", Any),
    Directive::new("ConditionSecurity", Any),
    Directive::new("ConditionUser", Any),
    Directive::new("ConditionVersion", Any).since(258),
    Directive::new("ConditionVirtualization", Any),
    Directive::new("Conflicts", Units),
    Directive::new("DefaultDependencies", Boolean),
    Directive::new("Description", Any),
    Directive::new("Documentation", Any),
    Directive::new("FailureAction", Choice(ACTION)),
    Directive::new("FailureActionExitStatus", Any),
    Directive::new("IgnoreOnIsolate", Boolean),
    Directive::old("IgnoreOnSnapshot", ""),
    Directive::new("JobRunningTimeoutSec", Seconds),
    Directive::new("JobTimeoutAction", Choice(ACTION)),
    Directive::new("JobTimeoutRebootArgument", Any),
    Directive::new("JobTimeoutSec", Seconds),
    Directive::new("JoinsNamespaceOf", Units),
    Directive::new("OnFailure", Units),
    Directive::old("OnFailureIsolate", "OnFailureJobMode"),
    Directive::new("OnFailureJobMode", Choice(JOB_MODE)),
    Directive::new("OnSuccess", Units),
    Directive::new("OnSuccessJobMode", Choice(JOB_MODE)),
    Directive::new("PartOf", Units),
    Directive::old("PropagateReloadFrom", "ReloadPropagatedFrom"),
    Directive::old("PropagateReloadTo", "PropagatesReloadTo"),
    Directive::new("PropagatesReloadTo", Units),
    Directive::new("PropagatesStopTo", Units),
    Directive::new("RebootArgument", Any),
    Directive::new("RefuseManualStart", Boolean),
    Directive::new("RefuseManualStop", Boolean),
    Directive::new("ReloadPropagatedFrom", Units),
    Directive::new("Requires", Units),
    Directive::new("RequiresMountsFor", Any),
    Directive::old("RequiresOverridable", "Requires"),
    Directive::new("Requisite", Units),
    Directive::old("RequisiteOverridable", "Requisite"),
    Directive::new("SourcePath", Any),
    Directive::new("StartLimitAction", Choice(ACTION)),
    Directive::new("StartLimitBurst", Number),
    Directive::old("StartLimitInterval", "StartLimitIntervalSec"),
    Directive::new("StartLimitIntervalSec", Seconds),
    Directive::new("StopPropagatedFrom", Units),
    Directive::new("StopWhenUnneeded", Boolean),
    Directive::new("SuccessAction", Choice(ACTION)),
    Directive::new("SuccessActionExitStatus", Any),
    Directive::new("SurviveFinalKillSignal", Boolean).since(255),
    Directive::new("Upholds", Units),
    Directive::new("Wants", Units),
    Directive::new("WantsMountsFor", Any).since(256),
];

/// The directives of `[Service]`.
pub static SERVICE: &[Directive] = &[
    Directive::new("AllowedCPUs", Any),
    Directive::new("AllowedMemoryNodes", Any),
    Directive::new("AmbientCapabilities", Any),
    Directive::new("AppArmorProfile", Any),
    Directive::new("BPFDelegateAttachments", Any).since(258),
    Directive::new("BPFDelegateCommands", Any).since(258),
    Directive::new("BPFDelegateMaps", Any).since(258),
    Directive::new("BPFDelegatePrograms", Any).since(258),
    Directive::new("BPFProgram", Any),
    Directive::new("BindLogSockets", Boolean).since(257),
    Directive::new("BindPaths", Any),
    Directive::new("BindReadOnlyPaths", Any),
    Directive::old("BlockIOAccounting", "IOAccounting"),
    Directive::old("BlockIODeviceWeight", "IODeviceWeight"),
    Directive::old("BlockIOReadBandwidth", "IOReadBandwidthMax"),
    Directive::old("BlockIOWeight", "IOWeight"),
    Directive::old("BlockIOWriteBandwidth", "IOWriteBandwidthMax"),
    Directive::new("BusName", Any),
    Directive::old("BusPolicy", ""),
    Directive::new("CPUAccounting", Boolean),
    Directive::new("CPUAffinity", Any),
    Directive::new("CPUQuota", Percent),
    Directive::new("CPUQuotaPeriodSec", Seconds),
    Directive::new("CPUSchedulingPolicy", Any),
    Directive::new("CPUSchedulingPriority", Any),
    Directive::new("CPUSchedulingResetOnFork", Boolean),
    Directive::old("CPUShares", "CPUWeight"),
    Directive::new("CPUWeight", Weight),
    Directive::new("CacheDirectory", Any),
    Directive::new("CacheDirectoryAccounting", Any).since(258),
    Directive::new("CacheDirectoryMode", Any),
    Directive::new("CacheDirectoryQuota", Any).since(258),
    Directive::old("Capabilities", "AmbientCapabilities"),
    Directive::new("CapabilityBoundingSet", Any),
    Directive::new("ConfigurationDirectory", Any),
    Directive::new("ConfigurationDirectoryMode", Any),
    Directive::new("CoredumpFilter", Any),
    Directive::new("CoredumpReceive", Boolean).since(255),
    Directive::new("DefaultMemoryLow", Memory),
    Directive::new("DefaultMemoryMin", Memory),
    Directive::new("DefaultStartupMemoryLow", Memory),
    Directive::new("Delegate", Any),
    Directive::new("DelegateNamespaces", Any).since(258),
    Directive::new("DelegateSubgroup", Any).since(254),
    Directive::new("DeviceAllow", Any),
    Directive::new("DevicePolicy", Choice(DEVICE_POLICY)),
    Directive::new("DisableControllers", Any),
    Directive::new("DynamicUser", Boolean),
    Directive::new("Environment", Any),
    Directive::new("EnvironmentFile", Any),
    Directive::new("ExecCondition", Any),
    Directive::new("ExecPaths", Any),
    Directive::new("ExecReload", Any),
    Directive::new("ExecSearchPath", Any),
    Directive::new("ExecStart", Any),
    Directive::new("ExecStartPost", Any),
    Directive::new("ExecStartPre", Any),
    Directive::new("ExecStop", Any),
    Directive::new("ExecStopPost", Any),
    Directive::new("ExitType", Choice(EXIT_TYPE)),
    Directive::new("ExtensionDirectories", Any),
    Directive::new("ExtensionImagePolicy", Any).since(254),
    Directive::new("ExtensionImages", Any),
    Directive::old("FailureAction", "FailureAction in [Unit]"),
    Directive::new("FileDescriptorStoreMax", Number),
    Directive::new("FileDescriptorStorePreserve", Choice(PRESERVE)).since(254),
    Directive::new("FinalKillSignal", Signal),
    Directive::new("Group", Any),
    Directive::new("GuessMainPID", Boolean),
    Directive::new("IOAccounting", Boolean),
    Directive::new("IODeviceLatencyTargetSec", Any),
    Directive::new("IODeviceWeight", Any),
    Directive::new("IOReadBandwidthMax", Any),
    Directive::new("IOReadIOPSMax", Any),
    Directive::new("IOSchedulingClass", Any),
    Directive::new("IOSchedulingPriority", Any),
    Directive::new("IOWeight", Weight),
    Directive::new("IOWriteBandwidthMax", Any),
    Directive::new("IOWriteIOPSMax", Any),
    Directive::new("IPAccounting", Boolean),
    Directive::new("IPAddressAllow", Any),
    Directive::new("IPAddressDeny", Any),
    Directive::new("IPCNamespacePath", Any),
    Directive::new("IPEgressFilterPath", Any),
    Directive::new("IPIngressFilterPath", Any),
    Directive::new("IgnoreSIGPIPE", Boolean),
    Directive::new("ImportCredential", Any).since(254),
    Directive::old("InaccessibleDirectories", "InaccessiblePaths"),
    Directive::new("InaccessiblePaths", Any),
    Directive::new("KeyringMode", Choice(KEYRING_MODE)),
    Directive::new("KillMode", Choice(KILL_MODE)),
    Directive::new("KillSignal", Signal),
    Directive::new("LimitAS", Any),
    Directive::new("LimitCORE", Any),
    Directive::new("LimitCPU", Any),
    Directive::new("LimitDATA", Any),
    Directive::new("LimitFSIZE", Any),
    Directive::new("LimitLOCKS", Any),
    Directive::new("LimitMEMLOCK", Any),
    Directive::new("LimitMSGQUEUE", Any),
    Directive::new("LimitNICE", Any),
    Directive::new("LimitNOFILE", Any),
    Directive::new("LimitNPROC", Any),
    Directive::new("LimitRSS", Any),
    Directive::new("LimitRTPRIO", Any),
    Directive::new("LimitRTTIME", Any),
    Directive::new("LimitSIGPENDING", Any),
    Directive::new("LimitSTACK", Any),
    Directive::new("LoadCredential", Any),
    Directive::new("LoadCredentialEncrypted", Any),
    Directive::new("LockPersonality", Boolean),
    Directive::new("LogExtraFields", Any),
    Directive::new("LogFilterPatterns", Any).since(253),
    Directive::new("LogLevelMax", Any),
    Directive::new("LogNamespace", Any),
    Directive::new("LogRateLimitBurst", Number),
    Directive::new("LogRateLimitIntervalSec", Seconds),
    Directive::new("LogsDirectory", Any),
    Directive::new("LogsDirectoryAccounting", Any).since(258),
    Directive::new("LogsDirectoryMode", Any),
    Directive::new("LogsDirectoryQuota", Any).since(258),
    Directive::new("ManagedOOMMemoryPressure", Choice(MANAGED_OOM)),
    Directive::new("ManagedOOMMemoryPressureDurationSec", Seconds).since(257),
    Directive::new("ManagedOOMMemoryPressureLimit", Any),
    Directive::new("ManagedOOMPreference", Choice(OOM_PREFERENCE)),
    Directive::new("ManagedOOMSwap", Choice(MANAGED_OOM)),
    Directive::new("MemoryAccounting", Boolean),
    Directive::new("MemoryDenyWriteExecute", Boolean),
    Directive::new("MemoryHigh", Memory),
    Directive::new("MemoryKSM", Boolean).since(254),
    Directive::old("MemoryLimit", "MemoryMax"),
    Directive::new("MemoryLow", Memory),
    Directive::new("MemoryMax", Memory),
    Directive::new("MemoryMin", Memory),
    Directive::new("MemoryPressureThresholdSec", Seconds).since(254),
    Directive::new("MemoryPressureWatch", Any).since(254),
    Directive::new("MemorySwapMax", Memory),
    Directive::new("MemoryZSwapMax", Memory).since(253),
    Directive::new("MemoryZSwapWriteback", Boolean).since(256),
    Directive::new("MountAPIVFS", Boolean),
    Directive::new("MountFlags", Any),
    Directive::new("MountImagePolicy", Any).since(254),
    Directive::new("MountImages", Any),
    Directive::new("NFTSet", Any).since(255),
    Directive::new("NUMAMask", Any),
    Directive::new("NUMAPolicy", Any),
    Directive::old("NetClass", ""),
    Directive::new("NetworkNamespacePath", Any),
    Directive::new("Nice", Any),
    Directive::new("NoExecPaths", Any),
    Directive::new("NoNewPrivileges", Boolean),
    Directive::new("NonBlocking", Boolean),
    Directive::new("NotifyAccess", Choice(NOTIFY_ACCESS)),
    Directive::new("OOMPolicy", Choice(OOM_POLICY)),
    Directive::new("OOMScoreAdjust", Any),
    Directive::new("OpenFile", Any).since(253),
    Directive::new("PAMName", Any),
    Directive::new("PIDFile", Any),
    Directive::new("PassEnvironment", Any),
    Directive::old("PermissionsStartOnly", ""),
    Directive::new("Personality", Any),
    Directive::new("PrivateBPF", Any).since(258),
    Directive::new("PrivateDevices", Boolean),
    Directive::new("PrivateIPC", Boolean),
    Directive::new("PrivateMounts", Boolean),
    Directive::new("PrivateNetwork", Boolean),
    Directive::new("PrivatePIDs", Any).since(257),
    Directive::new("PrivateTmp", Any),
    Directive::new("PrivateUsers", Any),
    Directive::new("ProcSubset", Choice(PROC_SUBSET)),
    Directive::new("ProtectClock", Boolean),
    Directive::new("ProtectControlGroups", Any),
    Directive::new("ProtectHome", Choice(PROTECT_HOME)),
    Directive::new("ProtectHostname", Any),
    Directive::new("ProtectKernelLogs", Boolean),
    Directive::new("ProtectKernelModules", Boolean),
    Directive::new("ProtectKernelTunables", Boolean),
    Directive::new("ProtectProc", Choice(PROTECT_PROC)),
    Directive::new("ProtectSystem", Choice(PROTECT_SYSTEM)),
    Directive::old("ReadOnlyDirectories", "ReadOnlyPaths"),
    Directive::new("ReadOnlyPaths", Any),
    Directive::old("ReadWriteDirectories", "ReadWritePaths"),
    Directive::new("ReadWritePaths", Any),
    Directive::old("RebootArgument", "RebootArgument in [Unit]"),
    Directive::new("ReloadSignal", Signal).since(253),
    Directive::new("RemainAfterExit", Boolean),
    Directive::new("RemoveIPC", Boolean),
    Directive::new("Restart", Choice(RESTART)),
    Directive::new("RestartForceExitStatus", Any),
    Directive::new("RestartKillSignal", Signal),
    Directive::new("RestartMaxDelaySec", Seconds).since(254),
    Directive::new("RestartMode", Choice(RESTART_MODE)).since(254),
    Directive::new("RestartPreventExitStatus", Any),
    Directive::new("RestartSec", Seconds),
    Directive::new("RestartSteps", Number).since(254),
    Directive::new("RestrictAddressFamilies", Any),
    Directive::new("RestrictFileSystems", Any),
    Directive::new("RestrictNamespaces", Any),
    Directive::new("RestrictNetworkInterfaces", Any),
    Directive::new("RestrictRealtime", Boolean),
    Directive::new("RestrictSUIDSGID", Boolean),
    Directive::new("RootDirectory", Any),
    Directive::new("RootDirectoryStartOnly", Boolean),
    Directive::new("RootEphemeral", Boolean).since(254),
    Directive::new("RootHash", Any),
    Directive::new("RootHashSignature", Any),
    Directive::new("RootImage", Any),
    Directive::new("RootImageOptions", Any),
    Directive::new("RootImagePolicy", Any).since(254),
    Directive::new("RootVerity", Any),
    Directive::new("RuntimeDirectory", Any),
    Directive::new("RuntimeDirectoryMode", Any),
    Directive::new("RuntimeDirectoryPreserve", Choice(PRESERVE)),
    Directive::new("RuntimeMaxSec", Seconds),
    Directive::new("RuntimeRandomizedExtraSec", Seconds),
    Directive::new("SELinuxContext", Any),
    Directive::new("SecureBits", Any),
    Directive::new("SendSIGHUP", Boolean),
    Directive::new("SendSIGKILL", Boolean),
    Directive::new("SetCredential", Any),
    Directive::new("SetCredentialEncrypted", Any),
    Directive::new("SetLoginEnvironment", Boolean).since(255),
    Directive::new("Slice", Any),
    Directive::new("SmackProcessLabel", Any),
    Directive::new("SocketBindAllow", Any),
    Directive::new("SocketBindDeny", Any),
    Directive::new("Sockets", Any),
    Directive::new("StandardError", Any),
    Directive::new("StandardInput", Any),
    Directive::new("StandardInputData", Any),
    Directive::new("StandardInputText", Any),
    Directive::new("StandardOutput", Any),
    Directive::old("StartLimitAction", "StartLimitAction in [Unit]"),
    Directive::old("StartLimitBurst", "StartLimitBurst in [Unit]"),
    Directive::old("StartLimitInterval", "StartLimitIntervalSec in [Unit]"),
    Directive::new("StartupAllowedCPUs", Any),
    Directive::new("StartupAllowedMemoryNodes", Any),
    Directive::old("StartupBlockIOWeight", "StartupIOWeight"),
    Directive::old("StartupCPUShares", "StartupCPUWeight"),
    Directive::new("StartupCPUWeight", Weight),
    Directive::new("StartupIOWeight", Weight),
    Directive::new("StartupMemoryHigh", Memory),
    Directive::new("StartupMemoryLow", Memory),
    Directive::new("StartupMemoryMax", Memory),
    Directive::new("StartupMemorySwapMax", Memory),
    Directive::new("StartupMemoryZSwapMax", Memory),
    Directive::new("StateDirectory", Any),
    Directive::new("StateDirectoryAccounting", Any).since(258),
    Directive::new("StateDirectoryMode", Any),
    Directive::new("StateDirectoryQuota", Any).since(258),
    Directive::new("SuccessExitStatus", Any),
    Directive::new("SupplementaryGroups", Any),
    Directive::old("SysVStartPriority", ""),
    Directive::new("SyslogFacility", Any),
    Directive::new("SyslogIdentifier", Any),
    Directive::new("SyslogLevel", Any),
    Directive::new("SyslogLevelPrefix", Boolean),
    Directive::new("SystemCallArchitectures", Any),
    Directive::new("SystemCallErrorNumber", Any),
    Directive::new("SystemCallFilter", Any),
    Directive::new("SystemCallLog", Any),
    Directive::new("TTYColumns", Any),
    Directive::new("TTYPath", Any),
    Directive::new("TTYReset", Boolean),
    Directive::new("TTYRows", Any),
    Directive::new("TTYVHangup", Boolean),
    Directive::new("TTYVTDisallocate", Boolean),
    Directive::new("TasksAccounting", Boolean),
    Directive::new("TasksMax", Any),
    Directive::new("TemporaryFileSystem", Any),
    Directive::new("TimeoutAbortSec", Seconds),
    Directive::new("TimeoutCleanSec", Seconds),
    Directive::new("TimeoutSec", Seconds),
    Directive::new("TimeoutStartFailureMode", Choice(FAILURE_MODE)),
    Directive::new("TimeoutStartSec", Seconds),
    Directive::new("TimeoutStopFailureMode", Choice(FAILURE_MODE)),
    Directive::new("TimeoutStopSec", Seconds),
    Directive::new("TimerSlackNSec", Any),
    Directive::new("Type", Choice(TYPE)),
    Directive::new("UMask", Any),
    Directive::new("USBFunctionDescriptors", Any),
    Directive::new("USBFunctionStrings", Any),
    Directive::new("UnsetEnvironment", Any),
    Directive::new("User", Any),
    Directive::new("UtmpIdentifier", Any),
    Directive::new("UtmpMode", Choice(UTMP_MODE)),
    Directive::new("WatchdogSec", Seconds),
    Directive::new("WatchdogSignal", Signal),
    Directive::new("WorkingDirectory", Any),
];

/// The directives of `[Install]`.
pub static INSTALL: &[Directive] = &[
    Directive::new("Alias", Units),
    Directive::new("Also", Units),
    Directive::new("DefaultInstance", Any),
    Directive::new("RequiredBy", Units),
    Directive::new("UpheldBy", Units).since(254),
    Directive::new("WantedBy", Units),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        for directives in [UNIT, SERVICE, INSTALL] {
            assert!(directives.is_sorted_by(|a, b| a.name < b.name));
        }
        assert!(find("Service", "Restart").is_some());
        assert_eq!(section_of("StartLimitBurst"), Some("Unit"));
        assert_eq!(section_of("WantedBy"), Some("Install"));
    }

    #[test]
    fn values_as_systemd_reads_them() {
        let fits = |section: &str, name: &str, text: &str| find(section, name).unwrap().value.fits(text);
        for (name, good, bad) in [
            ("Restart", "on-failure", "on-error"),
            ("RestartSec", "5min 20s", "5 minuts"),
            ("TimeoutStartSec", "infinity", "never"),
            ("MemoryMax", "512M", "512m"),
            ("MemoryHigh", "50%", "512MB"),
            ("CPUQuota", "150%", "1.5"),
            ("CPUWeight", "idle", "20000"),
            ("RemainAfterExit", "True", "maybe"),
            ("ProtectSystem", "true", "full-strict"),
            ("KillSignal", "SIGINT", "SIGFOO"),
        ] {
            assert!(fits("Service", name, good), "{name}={good}");
            assert!(!fits("Service", name, bad), "{name}={bad}");
        }
        assert!(fits("Service", "Restart", "%i") && fits("Service", "Restart", ""));
    }
}
