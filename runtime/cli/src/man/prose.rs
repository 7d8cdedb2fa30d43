//! What people have to say about each kind of unit file: the parts of the pages that no table has.
//!
//! In these texts `*word*` is bold and `_word_` is italic, each up to the next mark of its kind.

use clap_mangen::roff::{Inline, bold, italic, roman};
use sampan_generator::keys::UnitType;

/// Small complete files, and what they are for.
#[derive(Debug)]
pub(super) struct Example {
    /// What the files do.
    pub(super) about: &'static str,
    /// Names and texts.
    pub(super) files: &'static [(&'static str, &'static str)],
}

/// The folders that are searched, by who runs the units.
pub(super) const FOLDERS: &[(&str, &[&str])] = &[
    (
        "Folders for the system, with those below them; the first file of a name counts:",
        &[
            "/etc/sampan/systemd",
            "/run/containers/systemd",
            "/etc/containers/systemd",
            "/usr/share/containers/systemd",
        ],
    ),
    (
        "Folders for users:",
        &[
            "~/.config/sampan/systemd",
            "/etc/sampan/systemd/users, /etc/sampan/systemd/users/UID",
            "$XDG_RUNTIME_DIR/containers/systemd",
            "~/.config/containers/systemd",
            "/etc/containers/systemd/users, /etc/containers/systemd/users/UID",
            "/usr/share/containers/systemd/users, /usr/share/containers/systemd/users/UID",
        ],
    ),
];

/// The head of the options.
pub(super) const OPTIONS: &str = "Of a key that takes one value the last assignment counts; an empty one unsets it. Of a key that may be \
     given several times all assignments count; an empty one forgets those before it. \"Since\" is the first \
     release of Podman whose Quadlet reads the key.";

/// Sections that systemd reads.
pub(super) const OF_SYSTEMD: &[&str] = &[
    "These sections go into the unit as they are, see systemd.unit(5) and systemd.service(5): _Restart=_, \
     _TimeoutStartSec=_, _MemoryMax=_ and all the rest work as in any service. Names of unit files in \
     the dependencies of [Unit], such as _After=db.container_, are replaced by those of their services.",
    "[Install] takes effect when the unit is generated: with _WantedBy=multi-user.target_ the service starts \
     at boot. *systemctl enable* is not needed, and can't be used.",
];

/// The head of the differences.
pub(super) const DIFFERENCES: &str = "Files for podman-systemd.unit(5) work unchanged. With the setting *engine=\"podman\"* the units are those \
     that Podman's Quadlet writes; else these things differ:";

/// Differences that hold for all kinds.
pub(super) const COMMON_DIFFERENCES: &[&str] = &[
    "A file with a mistake becomes a service of the right name that fails when it is started and says what is \
     wrong and where. Podman writes no unit, and the reason is in the log of the generator.",
    "An unknown key is reported and ignored. Podman leaves the whole file out.",
    "Two files that become the same service are an error of the second one. Podman overwrites the first.",
];

/// A text with its marks made into fonts.
pub(super) fn inline(text: &str) -> Vec<Inline> {
    let mut inlines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['*', '_']) {
        let mark = &rest[at..=at];
        // A mark without its second half is a character.
        let Some(end) = rest[at + 1..].find(mark).filter(|end| *end > 0) else { break };
        let word = &rest[at + 1..at + 1 + end];
        inlines.push(roman(&rest[..at]));
        inlines.push(if mark == "*" { bold(word) } else { italic(word) });
        rest = &rest[at + end + 2..];
    }
    inlines.push(roman(rest));
    inlines
}

/// What such a file describes, for the page's first section.
pub(super) fn subject(kind: UnitType) -> &'static str {
    match kind {
        UnitType::Container => "a container that runs as a service",
        UnitType::Network => "a network that containers join",
        UnitType::Volume => "a named volume of containers",
        UnitType::Image => "an image that is pulled before it is used",
        UnitType::Build => "an image that is built before it is used",
        UnitType::Pod => "containers that share namespaces",
        UnitType::Kube => "containers described in Kubernetes YAML",
        UnitType::Artifact => "an OCI artifact that is pulled before it is used",
    }
}

/// What the file becomes, and how it is read.
pub(super) fn description(kind: UnitType) -> Vec<String> {
    let extension = kind.extension();
    let suffix = kind.service_suffix();
    let (about, service) = (about(kind), format!("name{suffix}.service"));
    vec![
        format!(
            "A file _name.{extension}_ becomes the unit _{service}_ at boot and at every *systemctl \
             daemon-reload*. *ServiceName=* gives the unit another name. {about}"
        ),
        "The syntax is that of systemd.syntax(7). Values may hold systemd's specifiers, such as %i, which are \
         resolved when the unit is loaded. Relative paths start at the file's folder where the key says so."
            .to_owned(),
        format!(
            "Drop-ins, _name.{extension}.d/*.conf_ in any of the folders, are read after the file, in the order of \
             their names. So are those of _{extension}.d_, for all files of this kind, and for a file \
             _a-b.{extension}_ those of _a-.{extension}.d_."
        ),
        format!(
            "A file _name@.{extension}_ is a template: it becomes _name{suffix}@.service_, of which *systemctl start \
             name{suffix}@x* starts an instance. A link _name@x.{extension}_ to it makes an instance with drop-ins \
             and links of its own. *DefaultInstance=* in [Install] names the instance that starts at boot."
        ),
        "*sampan generate* prints the unit that a file becomes, *sampan diff* what a reload would change. While \
         Podman's own generator is active, the folders that end in _containers/systemd_ are left to it."
            .to_owned(),
    ]
}

/// What the service of such a file does.
fn about(kind: UnitType) -> &'static str {
    match kind {
        UnitType::Container => {
            "The service runs the container: the first process of the container is the main process of the service. \
             Starting it starts the services of the networks, volumes, images and pods that the file names by their \
             own files."
        }
        UnitType::Network => {
            "The service makes the network if it isn't there. Containers with *Network=*_name.network_ require \
             it and start after it. Its name is systemd-_name_ unless *NetworkName=* says otherwise."
        }
        UnitType::Volume => {
            "The service makes the volume if it isn't there. Containers with *Volume=*_name.volume:/path_ \
             require it and start after it. Its name is systemd-_name_ unless *VolumeName=* says otherwise. \
             Removing the file does not remove the volume."
        }
        UnitType::Image => {
            "The service pulls the image. Containers with *Image=*_name.image_ and volumes of that image require it \
             and start after it."
        }
        UnitType::Build => {
            "The service builds the image. Containers with *Image=*_name.build_ require it and start after it."
        }
        UnitType::Pod => {
            "The service makes the pod and starts the containers whose files have *Pod=*_name.pod_, unless they say \
             *StartWithPod=no*. Stopping it stops them."
        }
        UnitType::Kube => {
            "The service makes the pods that the YAML describes, and has done its work when all containers are up. \
             Each container is a service of its own, _name-container.service_, which systemd supervises and restarts \
             as _restartPolicy_ of the pod says. They end with this service, and it ends with the last of them. Fields \
             that have no effect on a single host are named in the journal with their lines; what can't be \
             honoured makes the start fail, and nothing half-made stays."
        }
        UnitType::Artifact => {
            "The service pulls the artifact. Containers with *Mount=type=artifact,source=*_name.artifact_ require it \
             and start after it."
        }
    }
}

/// Differences of one kind.
pub(super) fn differences(kind: UnitType) -> &'static [&'static str] {
    match kind {
        UnitType::Container => &[
            "The container is a child of systemd: no *conmon* stands between them, standard output is the journal's \
             own stream, and exit status and *Restart=* are the program's own.",
            "*systemctl stop* kills a container at once whose first process has no handler for the stop signal. The \
             unit ends as _inactive_ either way.",
            "Words of *PodmanArgs=* are options of sampan-run(1); one that it doesn't have makes the service fail.",
            "Containers of users (rootless) are not run; *User=*, *Group=* and *DynamicUser=* in [Service] are \
             honoured.",
        ],
        UnitType::Network => &[
            "Podman and sampan have stores of their own: neither sees what the other has made.",
            "A file that is edited is followed. After *systemctl daemon-reload*, the next start of a container on the \
             network, or *systemctl reload* of its service, changes what can change while containers are on it: \
             labels, *Internal=*, *DNS=*, _isolate_ and _mtu_ for all of them; *IPRange=*, further *Subnet=* lines, \
             *DisableDNS=*, _metric_ and _no_default_route_ for those that start from then on. Everything else waits until \
             no container is on the network, and needs no further command; the journal names each key with both \
             values, and the containers. *systemctl restart* of the network's service restarts them all.",
        ],
        UnitType::Volume => {
            &["Podman and sampan have stores of their own: neither sees what the other has made."]
        }
        UnitType::Image => &[
            "Podman and sampan have stores of their own: neither sees what the other has made.",
            "Images are not decrypted: *DecryptionKey=* makes the service fail. Of a module in *ContainersConfModule=*              the keys _retry_ and _retry_delay_ of [engine] count.",
        ],
        UnitType::Pod => {
            &["No infra container runs: the containers share namespaces that no process has to hold."]
        }
        UnitType::Kube => &[
            "No service container and no infra container run: each container is a child of systemd.",
            "_Restart=always_ and _on-success_ become _on-failure_: systemd doesn't have them for a service that is \
             done when it has started, and when a container is restarted is said in the YAML.",
            "_shareProcessNamespace_, _subPath_ of volumes that containers can write to, and fields of the pod that \
             aren't known before it runs, such as _status.podIP_, are refused.",
        ],
        UnitType::Build => &[
            "buildah(1) builds, which has to be installed; what its release has no option for makes the service fail, in \
             its words. It reads one module of *ContainersConfModule=*.",
        ],
        UnitType::Artifact => &["Artifacts are not decrypted: *DecryptionKey=* makes the service fail."],
    }
}

/// Files to start from.
pub(super) fn examples(kind: UnitType) -> &'static [Example] {
    match kind {
        UnitType::Container => CONTAINER,
        UnitType::Network => &[
            Example {
                about: "A network with a fixed range of addresses, whose containers don't reach those of other networks:",
                files: &[(
                    "app.network",
                    "[Network]\nSubnet=10.90.7.0/24\nGateway=10.90.7.1\nOptions=isolate=true\n",
                )],
            },
            Example {
                about: "Containers that are on the link of the host's interface eth0, with addresses of a range that \
                        nobody else there uses. The host itself doesn't reach them:",
                files: &[(
                    "lan.network",
                    "[Network]\nDriver=macvlan\nInterfaceName=eth0\nSubnet=192.0.2.0/24\nGateway=192.0.2.1\n\
                     IPRange=192.0.2.192/27\n",
                )],
            },
        ],
        UnitType::Volume => &[
            Example {
                about: "A volume for a container that runs as another user than root:",
                files: &[("data.volume", "[Volume]\nVolumeName=data\nLabel=backup=daily\n")],
            },
            Example {
                about: "A folder of another machine as a volume:",
                files: &[(
                    "shared.volume",
                    "[Volume]\nType=nfs\nDevice=files.example.com:/srv/shared\nOptions=rw,nfsvers=4\n",
                )],
            },
        ],
        UnitType::Image => &[Example {
            about: "An image from a registry that asks for a password, and a container of it. The image is pulled once, \
                    however many containers name it:",
            files: &[
                (
                    "app.image",
                    "[Image]\nImage=registry.example.com/app:1.4\nAuthFile=/etc/containers/app-auth.json\n",
                ),
                ("app.container", "[Container]\nImage=app.image\n"),
            ],
        }],
        UnitType::Build => &[Example {
            about: "An image that is built from the Containerfile beside the unit file, and a container of it:",
            files: &[
                ("app.build", "[Build]\nImageTag=localhost/app:latest\nSetWorkingDirectory=unit\n"),
                ("app.container", "[Container]\nImage=app.build\n"),
            ],
        }],
        UnitType::Pod => &[Example {
            about: "A server and its cache, which reach each other at localhost:",
            files: &[
                ("shop.pod", "[Pod]\nPublishPort=8080:80\n\n[Install]\nWantedBy=multi-user.target\n"),
                ("shop-web.container", "[Container]\nImage=docker.io/library/nginx:1.29\nPod=shop.pod\n"),
                ("shop-cache.container", "[Container]\nImage=docker.io/library/redis:8\nPod=shop.pod\n"),
            ],
        }],
        UnitType::Kube => &[Example {
            about: "The pods of a YAML file that lies beside the unit file:",
            files: &[(
                "app.kube",
                "[Kube]\nYaml=app.yaml\nPublishPort=8080:80\n\n[Install]\nWantedBy=multi-user.target\n",
            )],
        }],
        UnitType::Artifact => &[Example {
            about: "A model that is kept in a registry, and a container that reads it:",
            files: &[
                ("model.artifact", "[Artifact]\nArtifact=registry.example.com/models/small:3\n"),
                (
                    "answer.container",
                    "[Container]\nImage=registry.example.com/answer:1\n\
                     Mount=type=artifact,source=model.artifact,destination=/model\n",
                ),
            ],
        }],
    }
}

const CONTAINER: &[Example] = &[
    Example {
        about: "A web server with a network and a volume of its own, restarted when it fails, started at boot:",
        files: &[
            (
                "web.container",
                "[Unit]\nDescription=The web server\n\n[Container]\nImage=docker.io/library/nginx:1.29\n\
                 Network=app.network\nVolume=data.volume:/usr/share/nginx/html\nPublishPort=8080:80\n\n\
                 [Service]\nRestart=on-failure\nMemoryMax=512M\n\n[Install]\nWantedBy=multi-user.target\n",
            ),
            ("app.network", "[Network]\n"),
            ("data.volume", "[Volume]\n"),
        ],
    },
    Example {
        about: "A template, of which *systemctl start worker@mail* starts an instance that works on the queue mail:",
        files: &[(
            "worker@.container",
            "[Container]\nImage=registry.example.com/worker:2.0\nExec=--queue %i\nReadOnly=yes\n\
             DropCapability=all\nNoNewPrivileges=yes\n",
        )],
    },
    Example {
        about: "A job, with a timer _backup.timer_ of systemd's in _/etc/systemd/system_ that starts it:",
        files: &[(
            "backup.container",
            "[Container]\nImage=registry.example.com/backup:1.0\nVolume=/srv:/srv:ro\n\
             Secret=backup-key,type=mount,mode=0400\n\n[Service]\nType=oneshot\nTimeoutStartSec=1h\n",
        )],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_generator::check::{self, Overlay};
    use sampan_generator::{Engine, Root, Severity};

    #[test]
    fn examples_have_no_mistake() {
        for kind in UnitType::ALL {
            for example in examples(kind) {
                let folder = tempfile::tempdir().unwrap();
                for (name, text) in example.files {
                    std::fs::write(folder.path().join(name), text).unwrap();
                }
                for engine in [Engine::Sampan, Engine::Podman] {
                    let roots = vec![Root::whole(folder.path())];
                    let overlay = Overlay::new();
                    let options = check::Options { roots, engine, overlay, ..check::Options::default() };
                    let wrong = |finding: &&sampan_generator::Diagnostic| finding.severity == Severity::Error;
                    let findings = check::check(&options).diagnostics;
                    let first = findings.iter().find(wrong);
                    assert!(first.is_none(), "{first:#?}");
                }
            }
        }
    }

    #[test]
    fn marks_become_fonts() {
        assert_eq!(inline("a *b* _c_ d"), [roman("a "), bold("b"), roman(" "), italic("c"), roman(" d")]);
        assert_eq!(inline("a*b"), [roman("a*b")]);
    }
}
