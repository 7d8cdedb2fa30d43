//! The table of rules: everything that a diagnostic can be about.
//!
//! A rule's id stands in every diagnostic, in the output of `sampan check` and in the comments that
//! silence it, so it never changes its meaning. To add a rule, add a row here and name it where the
//! diagnostic is made.

use super::Severity;

/// One kind of thing that can be wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is called everywhere: lower-case words with dashes.
    pub id: &'static str,
    /// How bad it usually is; a single case may be worse or milder, as its engine sees it.
    pub severity: Severity,
    /// The codes of the same rule in the public Quadlet linters: `QSRnnn` in quadlet-lsp, `QLnnn` in
    /// quadlet-lint.
    pub codes: &'static [&'static str],
    /// What is wrong, as a short headline.
    pub title: &'static str,
    /// Why it matters and what to do about it, in a few sentences.
    pub explanation: &'static str,
}

impl Rule {
    /// Whether only a machine can break it, so that it is tried on request alone.
    pub fn needs_host(&self) -> bool {
        [
            &MISSING_FILE,
            &PORT_IN_USE,
            &SUBNET_IN_USE,
            &NO_SUBORDINATE_IDS,
            &UNKNOWN_USER,
            &MISSING_CREDENTIAL,
            &MISSING_IMAGE,
            &UNEXPOSED_PORT,
            &UNIT_OF_OTHERS,
            &OLD_SYSTEM,
            &PODMAN_ACTIVE,
        ]
        .contains(&self)
    }
}

/// The rule of an id.
pub fn find(id: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.id == id)
}

/// Defines the rules: a constant for each, and `ALL` with all of them in order.
macro_rules! rules {
    ($($name:ident $id:literal $severity:ident [$($code:literal)*] $title:literal, $explanation:literal;)*) => {
        $(
            #[doc = $title]
            pub static $name: Rule = Rule {
                id: $id,
                severity: Severity::$severity,
                codes: &[$($code),*],
                title: $title,
                explanation: $explanation,
            };
        )*

        /// Every rule, in the order in which they are listed.
        pub static ALL: &[&Rule] = &[$(&$name),*];

        #[cfg(test)]
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

rules! {
    // Files and their syntax.
    UNREADABLE "unreadable" Error []
        "A file or directory can't be read",
        "The file or directory exists but can't be opened or read, or it is a link to nothing. Nothing in it takes effect.";
    SEARCH_PATH "search-path" Warning []
        "A search directory is left out",
        "QUADLET_UNIT_DIRS holds an entry that is no absolute path, or no home directory is known. The directories behind it are not read.";
    BAD_SETTINGS "bad-settings" Warning []
        "The settings file has a mistake",
        "/etc/sampan/sampan.toml can't be read or parsed, so the generator works as if it did not exist.";
    PODMAN_ACTIVE "podman-active" Warning []
        "Podman's own generator is active",
        "Two generators that write the same units tear each other's files. While Podman's generator is active, the directories that both read are left to it. Put files for sampan into /etc/sampan/systemd, or mask Podman's generator.";
    DIRECTORY_LOST "directory-lost" Warning []
        "One broken file makes Podman lose its whole directory",
        "Podman's generator reads no other file of a directory in which one file has a syntax error. Mend that file, or move it away.";
    NOT_UTF8 "not-utf8" Warning []
        "The file is not UTF-8 text",
        "Unit files are UTF-8. Other bytes are replaced by a placeholder character before anything else happens. Save the file as UTF-8.";
    BAD_CHARACTER "bad-character" Error []
        "A line holds a NUL byte",
        "systemd refuses lines with NUL bytes, which no editor shows. Remove the byte.";
    BAD_LINE "bad-line" Error ["QL001"]
        "A line is neither a section, a key nor a comment",
        "Each line is \"[Section]\", \"Key=Value\", a comment that starts with # or ;, or the continuation of a line that ends in a backslash. A line that is none of these loses the unit.";
    BAD_SECTION "bad-section" Error []
        "A section header is not well formed",
        "A section header is a name in square brackets, alone on its line.";
    KEY_WITHOUT_SECTION "key-without-section" Error ["QL002"]
        "A key stands before the first section",
        "Every key belongs to the section above it. Begin the file with a section such as [Container].";
    MISSING_SECTION "missing-section" Error ["QSR001"]
        "The file has no section of its own kind",
        "A .container file needs a [Container] section, and so on.";
    SWALLOWED_LINE "swallowed-line" Warning []
        "A key became part of the value above it",
        "The line above ends in a backslash, so this one is not a key of its own but more of that value. Remove the backslash.";
    // Sections and keys.
    UNKNOWN_SECTION "unknown-section" Warning ["QL010" "QL050"]
        "The section has no meaning in this file",
        "A Quadlet file has a section of its own kind, and [Unit], [Service], [Install] and [Quadlet]. Others are ignored; a section whose name starts with X- is ignored on purpose.";
    UNKNOWN_KEY "unknown-key" Warning ["QSR003" "QL030"]
        "The section has no such key",
        "The key is misspelled or belongs to another section, and is ignored. Podman refuses the whole file for it.";
    REPEATED_KEY "repeated-key" Warning ["QL020"]
        "A key with a single value stands twice",
        "Only the last assignment of the file counts, so this one has no effect. Remove one of them.";
    OWN_KEY "own-key" Error []
        "The key is one of sampan's own",
        "Podman's Quadlet refuses a file for a key that it doesn't know. Use systemd's own directive in [Service] in files for both.";
    EMPTY_VALUE "empty-value" Warning ["QSR002"]
        "A key has no value",
        "An empty value takes back the values before it, such as those of the file in a drop-in. Where there are none, the line does nothing.";
    DEPRECATED_KEY "deprecated-key" Warning []
        "The key is deprecated",
        "The key still works but has a better successor, which the message names.";
    MISSING_KEY "missing-key" Error ["QSR025" "QSR026" "QL060"]
        "A key that the file needs is missing",
        "A container needs Image= or Rootfs=, an artifact Artifact=, a build ImageTag= and File= or SetWorkingDirectory=, an image Image=, Kubernetes YAML Yaml=.";
    MISSING_COMPANION "missing-companion" Error ["QL061"]
        "A key is set without the one that it belongs to",
        "The key only makes sense together with another one: Gateway= with Subnet=, Group= with User=, Type= with Device=. Add the other key.";
    CONFLICTING_KEYS "conflicting-keys" Error ["QL070"]
        "Two keys exclude each other",
        "Both keys say the same thing in different ways, such as Image= and Rootfs= or ReloadCmd= and ReloadSignal=. Remove one of them.";
    TOO_MANY_VALUES "too-many-values" Error []
        "The key takes fewer values here",
        "The key may be given several times, but not in this combination.";
    // Values.
    BAD_BOOLEAN "bad-boolean" Error []
        "The value is neither yes nor no",
        "Write yes or no (systemd also knows true, false, on, off, 1 and 0). Podman takes anything else for no.";
    BAD_NUMBER "bad-number" Error []
        "The value is no number",
        "The key takes a whole number.";
    BAD_CHOICE "bad-choice" Error ["QSR005" "QL040"]
        "The value is none of those that the key knows",
        "The key takes one of a few words, which the message lists.";
    BAD_SIZE "bad-size" Error []
        "The value is no size",
        "Write a number with a unit of b, k, m, g or t, such as 512m.";
    BAD_DURATION "bad-duration" Error []
        "The value is no time",
        "Write a time such as 30s or 1m30s.";
    BAD_SIGNAL "bad-signal" Error []
        "The value is no signal",
        "Write a signal's name or number, such as SIGTERM; see signal(7).";
    BAD_PORT "bad-port" Error ["QSR010"]
        "The value is no port",
        "Write [IP:][HOSTPORT[-END]:]CONTAINERPORT[-END][/tcp|/udp|/sctp], such as 8080:80.";
    BAD_ADDRESS "bad-address" Error []
        "The value is no IP address",
        "Write an IPv4 address such as 10.90.0.2 or an IPv6 address such as fd00::2, as the key demands.";
    BAD_SUBNET "bad-subnet" Error []
        "The value is no network",
        "Write a network in CIDR notation, such as 10.90.0.0/24.";
    BAD_ASSIGNMENT "bad-assignment" Error ["QSR007" "QSR008" "QSR009"]
        "A NAME=VALUE pair is not well formed",
        "Environment=, Annotation=, Label= and their like take words NAME=VALUE. A value with blanks needs quotes around the whole word: \"NAME=a value\".";
    BAD_SECRET "bad-secret" Error ["QSR012"]
        "A secret is not well formed",
        "Write NAME[,type=mount|env][,target=…][,uid=…][,gid=…][,mode=…].";
    BAD_VOLUME "bad-volume" Error ["QSR015"]
        "A volume is not well formed",
        "Write [SOURCE:]DESTINATION[:OPTIONS]. The source is an absolute path, a path that starts with \".\" for the unit file's directory, a .volume file or the name of a volume; the destination is absolute.";
    SAME_DESTINATION "same-destination" Error []
        "Two mounts have the same destination",
        "Only one thing can be mounted at a place of the container. The container does not start.";
    BAD_MOUNT "bad-mount" Error []
        "A mount in the long form is not well formed",
        "Write type=TYPE,source=…,destination=…[,OPTION]…; a field with a comma is enclosed in double quotes.";
    BAD_NETWORK "bad-network" Error []
        "An option of a network is wrong",
        "Network=NAME:OPTION=VALUE[,…] knows ip=, ip6=, mac=, alias=, interface_name= and host_interface_name=.";
    BAD_DRIVER "bad-driver" Error []
        "A network's driver, and what belongs to it, don't fit",
        "Driver= is bridge, macvlan or ipvlan, IPAMDriver= is host-local, dhcp or none. macvlan and ipvlan are on an interface of the host, whose link has addresses and servers of its own: Subnet= names them, or with macvlan a DHCP server does. The network can't be made as it is written.";
    BAD_DRIVER_OPTION "bad-driver-option" Error []
        "Options= has an option that the driver doesn't know, or a wrong value",
        "All drivers know mtu, metric, no_default_route, mode and, with IPAMDriver=dhcp, arp_probe; bridge knows isolate, vlan and vrf too, macvlan parent and bclim, ipvlan parent. The network can't be made as it is written.";
    BAD_USER_NS "bad-user-ns" Error ["QSR016"]
        "UserNS= is wrong",
        "Write auto[:size=…,uidmapping=…,gidmapping=…], keep-id[:uid=…,gid=…], nomap or host.";
    BAD_MAPPING "bad-mapping" Error []
        "A mapping of ids is not well formed",
        "Write CONTAINER:HOST:SIZE, such as 0:100000:65536.";
    BAD_RESOURCE_NAME "bad-resource-name" Error ["QSR020"]
        "A name is not possible",
        "The name of a container, pod, network or volume starts with a letter or digit and goes on with these and _ . -.";
    BAD_CAPABILITY "bad-capability" Error []
        "There is no such capability",
        "capabilities(7) lists the names; several are separated by blanks.";
    BAD_SYSCTL "bad-sysctl" Error []
        "The kernel parameter can't be set for a container",
        "Write NAME=VALUE. A container has its own parameters of its namespaces only: net.*, fs.mqueue.* and those of System V IPC.";
    BAD_ULIMIT "bad-ulimit" Error []
        "A resource limit is not well formed",
        "Write NAME=SOFT[:HARD], such as nofile=1024:4096, or host.";
    BAD_DEVICE "bad-device" Error []
        "A device is not well formed",
        "Write [-]HOST[:CONTAINER][:PERMISSIONS], such as /dev/fuse:rw, or a CDI name.";
    BAD_JSON "bad-json" Error []
        "A value that starts like a JSON array is none",
        "Write [\"program\", \"argument\"] with double quotes, or the command without brackets.";
    BAD_ESCAPE "bad-escape" Warning []
        "A backslash makes no escape",
        "The backslash is kept as it stands; Podman drops the whole value. Write two backslashes for one.";
    OPEN_QUOTE "open-quote" Error []
        "A quote is never closed",
        "Everything up to the end of the value belongs to the quoted word. Close the quote, or escape it with a backslash.";
    EMPTY_WORD "empty-word" Warning []
        "Podman loses everything from an empty word on",
        "sampan passes an empty argument on; Podman drops it and all behind it.";
    IMAGE_NOT_QUALIFIED "image-not-qualified" Warning ["QSR004"]
        "The image's name does not say its registry",
        "A short name may mean another image on another machine. Write the full name, such as docker.io/library/nginx.";
    BAD_DEVICE_LIMIT "bad-device-limit" Error []
        "The value is no path with a weight or rate",
        "Write the path of a device, or of a file on it, a blank, and a weight from 1 to 10000 or a rate such as 10M.";
    BAD_PATH "bad-path" Error []
        "A path must be absolute",
        "systemd and the container know no directory that a relative path could start from. Write it with a \"/\" at its start, or start it with a specifier such as %h.";
    NO_SHELL "no-shell" Warning []
        "A shell's operator in a command that no shell reads",
        "Exec= runs the program itself: && and > are passed on as arguments. Write /bin/sh -c \"…\" for a line of shell.";
    STOP_TIMEOUT "stop-timeout" Warning []
        "systemd kills the service before StopTimeout= is over",
        "systemd waits TimeoutStopSec= (by default 90 seconds) for a service to stop. It must be longer than the container's own time.";
    NEVER_UPDATED "never-updated" Warning []
        "AutoUpdate=registry can't find a newer image",
        "An image that is named by its digest, or that was built on this host, has no newer version in a registry.";
    ON_DEMAND "on-demand" Error []
        "The container can't be started on demand",
        "Activation=on-demand waits for connections to published TCP ports of the host while the container doesn't run: it needs a network of its own, PublishPort= with a port of the host, and a service that stays.";
    PORT_WITHOUT_EFFECT "port-without-effect" Warning []
        "PublishPort= has no effect with this network",
        "With the host's network, without a network or with another container's there is nothing to publish.";
    STATIC_ADDRESS "static-address" Error []
        "A fixed address does not fit the networks",
        "IP= and IP6= need exactly one network, and one that has addresses of its own.";
    PORT_IN_POD "port-in-pod" Error ["QSR018"]
        "A container in a pod publishes a port",
        "Ports belong to the pod: write PublishPort= in the [Pod] section of the .pod file.";
    KEY_OF_POD "key-of-pod" Error ["QSR019"]
        "A container in a pod has a key that belongs to the pod",
        "Containers of a pod share its network, host name, /dev/shm and users. Write the key in the [Pod] section of the .pod file.";
    // Specifiers.
    UNKNOWN_SPECIFIER "unknown-specifier" Warning ["QSR023"]
        "systemd has no such specifier",
        "systemd.unit(5) lists the specifiers. An unknown one is passed on as it stands; write %% for a percent sign.";
    SLASH_BEFORE_SPECIFIER "slash-before-specifier" Warning ["QSR022"]
        "A \"/\" stands before a specifier that is an absolute path",
        "Specifiers such as %h and %t start with a \"/\" of their own.";
    NO_INSTANCE "no-instance" Warning []
        "%i in a file that is no template",
        "The instance is what stands behind the @ of a unit's name. In a unit without @ the specifier is empty.";
    // What systemd reads.
    NEWER_SYSTEMD "newer-systemd" Note []
        "The key needs a newer systemd than the oldest supported one",
        "Older versions ignore the key. Rocky and RHEL 9 have systemd 252, Rocky and RHEL 10 have 257.";
    BAD_DEPENDENCY "bad-dependency" Warning ["QSR021"]
        "A dependency is no unit",
        "Units are named with their type, such as db.service or network-online.target; Quadlet files as they are, such as db.container. systemd ignores anything else.";
    NO_EFFECT "no-effect" Warning []
        "The key has no effect in a generated unit",
        "Generated units are not enabled by systemctl(1); their [Install] section takes effect at once.";
    WRONG_TARGET "wrong-target" Warning []
        "A user's systemd has no such target",
        "multi-user.target belongs to the system. A user's services are started by default.target.";
    TEMPLATE_INSTALL "template-install" Warning []
        "A template is to be started without an instance",
        "WantedBy= in a template needs DefaultInstance=, or a link for each instance, such as web@one.container.";
    TEMPLATE_REFERENCE "template-reference" Warning []
        "A dependency names a template",
        "systemd can't start a template, only an instance of it, such as db@main.container.";
    ONESHOT_RESTART "oneshot-restart" Error []
        "systemd refuses Restart= for this service",
        "A service of Type=oneshot can't be restarted when it has succeeded: Restart=always and on-success are refused.";
    OVERRIDDEN_KEY "overridden-key" Warning []
        "A directive of [Service] counts instead of the key",
        "The key becomes a directive that [Service] sets as well, and what stands in [Service] counts. Remove one of the two.";
    SERVICE_USER "service-user" Error ["QSR024"]
        "User=, Group= or DynamicUser= in [Service]",
        "These change the user that the engine itself runs as, which only a container under sampan can do without root. The user in the container is User= in [Container].";
    KILL_MODE "kill-mode" Error []
        "KillMode= would leave processes behind",
        "With KillMode=process or none a half-made container stays behind when its service is stopped. Remove the key.";
    SERVICE_TYPE "service-type" Error []
        "Type= is not possible for a container",
        "A container's service is of Type=notify, or of Type=oneshot for a command that ends.";
    SANDBOX "sandbox" Error []
        "A setting of [Service] keeps the container from being made",
        "These settings of systemd.exec(5) also hold for the program that makes the container, and take away what it needs: namespaces, or the call that keeps paths inside of the container. The container is confined anyway; the message says how to get more of it.";
    OWN_EXEC_START "own-exec-start" Error []
        "ExecStart= is what the generator writes",
        "The container's command is Exec= in [Container]; a command that runs before it is ExecStartPre=.";
    BAD_SERVICE_NAME "bad-service-name" Error []
        "systemd takes no unit of this name",
        "A unit's name has letters, digits and : - _ . \\ @ only, and at most 255 of them.";
    BAD_INSTALL_NAME "bad-install-name" Warning []
        "[Install] names a path instead of a unit",
        "WantedBy=, RequiredBy=, UpheldBy= and Alias= take names of units, such as multi-user.target. No link is made for a path.";
    // Several files.
    MISSING_REFERENCE "missing-reference" Error ["QSR006" "QSR013" "QSR014" "QSR017" "QL090"]
        "There is no Quadlet file of this name",
        "The value names a .container, .network, .volume, .pod, .image, .build or .artifact file that no search directory has.";
    UNKNOWN_RESOURCE "unknown-resource" Error []
        "The name of what another file makes is not known",
        "The other file has an error, or a name that only systemd can resolve. Mend it, or give it a name without specifiers.";
    BAD_POD "bad-pod" Error []
        "Pod= does not name a .pod file",
        "Pod= takes the name of a .pod file, such as Pod=app.pod.";
    NETWORK_OPTIONS "network-options" Error []
        "Options where another container's network is joined",
        "A container that joins another one's network gets all of it; write the name alone.";
    SAME_SERVICE "same-service" Error []
        "Two files become the same service",
        "Only one of the files can have the service's name, the other is left out. Rename one, or give it another ServiceName=.";
    SAME_NAME "same-name" Error []
        "Two files give the same name to what they make",
        "Of two containers with one name, the one that starts later removes the other. Two networks or volumes with one name are one.";
    SAME_PORT "same-port" Error []
        "Two units publish the same port of the host",
        "The one that starts later fails. It is a warning where at least one of them is not started at boot, and nothing where they exclude each other by Conflicts=.";
    SAME_ADDRESS "same-address" Error []
        "Two units have the same fixed address",
        "The one that starts later fails. It is a warning where at least one of them is not started at boot.";
    SAME_SUBNET "same-subnet" Error []
        "Two networks have the same addresses",
        "Two bridges of one host can't have overlapping subnets.";
    ADDRESS_OUTSIDE "address-outside" Error []
        "An address is not one of its network",
        "A fixed address, a gateway and a range lie in a Subnet= of the network.";
    DEPENDENCY_CYCLE "dependency-cycle" Error []
        "Units wait for each other",
        "systemd breaks a cycle of After= and Before= by not starting one of the units. References to other files (Network=, Volume=, Image=, Pod=) wait for them, and a target waits for what it wants.";
    ORPHAN_DROP_IN "orphan-drop-in" Warning []
        "Drop-ins that belong to no file",
        "A drop-in directory is named after its file and ends in .d, as web.container.d; the files in it end in .conf.";
    NAME_INSTEAD_OF_FILE "name-instead-of-file" Warning []
        "A network or volume is named where its file is meant",
        "Volume=data:/x mounts a volume of the name \"data\", not the one that data.volume makes, which is called \"systemd-data\" by default. And only the file's name makes the container wait for its service.";
    UNKNOWN_FILE_TYPE "unknown-file-type" Warning []
        "The type of a file is misspelled",
        "Quadlet files end in .container, .network, .volume, .pod, .kube, .image, .build or .artifact; others are not read.";
    SHADOWED_FILE "shadowed-file" Note []
        "Another file of the same name counts",
        "Of files with one name the first in the order of the search directories counts, the others have no effect.";
    NOT_IN_SAMPAN "not-in-sampan" Error []
        "Podman can do this, sampan can't",
        "The container does not start. Write it in another way, which the message names, or set engine = \"podman\" in /etc/sampan/sampan.toml.";
    TOO_MANY "too-many" Warning []
        "A file has more mistakes than are told",
        "Of each file a hundred errors and a hundred warnings are told. Mend those first, and look again.";
    // The generator's output, and the start of a unit.
    NOT_WRITTEN "not-written" Error []
        "A unit or link can't be written",
        "systemd's generator directory can't be written to, or another generator has taken the name already.";
    NOT_STARTED "not-started" Error []
        "A unit can't be started because of this line",
        "Only the start showed it: a source of a mount that does not exist, a port that is in use. The message says which.";
    // What only the machine shows.
    MISSING_FILE "missing-file" Error []
        "A file or device of the host does not exist",
        "The unit needs it at its start. It is a warning for paths that may come into being at run time, below /run and /tmp.";
    PORT_IN_USE "port-in-use" Error []
        "The port of the host is in use",
        "Something else listens there, so the port can't be published.";
    SUBNET_IN_USE "subnet-in-use" Error []
        "The host reaches these addresses in another way",
        "A network of containers that overlaps a route of the host cuts the host off from the other network.";
    NO_SUBORDINATE_IDS "no-subordinate-ids" Error []
        "There are no subordinate ids to map users to",
        "UserNS=auto takes ids from the ranges of \"containers\" in /etc/subuid and /etc/subgid, subuid(5).";
    UNKNOWN_USER "unknown-user" Error []
        "The host has no such user or group",
        "systemd can't start a service as a user that does not exist.";
    MISSING_CREDENTIAL "missing-credential" Error []
        "A secret that the host does not have",
        "Under sampan a secret is a credential of the service, systemd.exec(5): a file of its name in /etc/credstore, or what LoadCredential=, LoadCredentialEncrypted= or SetCredential= in [Service] name.";
    MISSING_IMAGE "missing-image" Error []
        "The host does not have the image, and nothing pulls it",
        "With a pull policy of never the image must be there before the start.";
    UNEXPOSED_PORT "unexposed-port" Note ["QSR011"]
        "The image does not say that it listens on this port",
        "EXPOSE in a Containerfile is documentation; but a port that it doesn't name is often a slip.";
    UNIT_OF_OTHERS "unit-of-others" Error []
        "Another unit has the same name",
        "A unit in /etc/systemd/system or /run/systemd/system counts more than a generated one; one in /usr/lib/systemd/system counts less, and is replaced.";
    OLD_SYSTEM "old-system" Error []
        "The host is too old",
        "sampan needs Linux 5.14 and control groups of version 2.";
    // Comments that silence rules.
    BAD_SUPPRESSION "bad-suppression" Warning []
        "A comment silences a rule that does not exist",
        "Write \"# sampan: ignore=RULE[,RULE]\" directly above a line, or before the first section for the whole file.";
    UNUSED_SUPPRESSION "unused-suppression" Warning []
        "A comment silences a rule that is not broken",
        "What the comment was for is mended, or the comment is in the wrong place. Remove it.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_rule_has_an_id_of_its_own_and_is_documented() {
        let mut seen = HashSet::new();
        for (rule, name) in ALL.iter().zip(NAMES) {
            assert!(seen.insert(rule.id), "{} twice", rule.id);
            assert_eq!(rule.id, name.to_lowercase().replace('_', "-"));
            assert!(!rule.title.ends_with('.') && rule.title.len() > 10, "{}: {}", rule.id, rule.title);
            assert!(rule.explanation.ends_with('.') && rule.explanation.len() > 20, "{}", rule.id);
        }
        assert!(find("unknown-key").is_some() && find("nonsense").is_none());
    }

    #[test]
    fn every_rule_of_the_public_linters_has_one_here() {
        let known: HashSet<&str> = ALL.iter().flat_map(|rule| rule.codes).copied().collect();
        let quadlet_lsp = (1..=26).map(|number| format!("QSR{number:03}"));
        let quadlet_lint = ["001", "002", "010", "020", "030", "040", "050", "060", "061", "070", "090"];
        for code in quadlet_lsp.chain(quadlet_lint.map(|number| format!("QL{number}"))) {
            assert!(known.contains(code.as_str()), "{code}");
        }
    }
}
