//! The commands for unit files, run as programs against a small root: nothing of the machine is read or
//! changed, and no systemd is asked.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FOLDER: &str = "etc/containers/systemd";
const GENERATED: &str = "run/systemd/generator";
const WEB: &str =
    "[Container]\nImage=localhost/web:1\nPublishPort=80:80\n\n[Install]\nWantedBy=multi-user.target\n";

/// A root directory, and a folder for files that are not installed.
struct Place {
    root: tempfile::TempDir,
    work: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().unwrap(), work: tempfile::tempdir().unwrap() };
        fs::create_dir_all(place.root.path().join(FOLDER)).unwrap();
        place
    }

    /// A path below the root.
    fn path(&self, path: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(path)
    }

    /// A path of an installed file.
    fn installed(&self, name: &str) -> PathBuf {
        self.path(FOLDER).join(name)
    }

    fn install(&self, name: &str, text: &str) {
        write(&self.installed(name), text);
    }

    /// Writes a file that is not installed.
    fn file(&self, name: &str, text: &str) {
        write(&self.work.path().join(name), text);
    }

    /// Runs `sampan VERB --root-directory … WORDS` in the folder of files that are not installed.
    fn run(&self, verb: &str, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sampan"));
        command.args(verb.split(' ')).arg("--root-directory").arg(self.root.path()).args(words);
        for variable in ["QUADLET_UNIT_DIRS", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
            command.env_remove(variable);
        }
        command.current_dir(self.work.path()).output().unwrap()
    }

    /// The same; the exit code must be this one. Standard output and standard error.
    fn exits(&self, code: i32, verb: &str, words: &[&str]) -> (String, String) {
        let output = self.run(verb, words);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "sampan {verb} {words:?}\n{stdout}\n{stderr}");
        (stdout, stderr)
    }

    /// Does what a reload of systemd would do.
    fn reload(&self) {
        let folder = self.path(GENERATED);
        let _ = fs::remove_dir_all(&folder);
        let roots = vec![sampan_generator::Root::whole(self.path(FOLDER))];
        let options = sampan_generator::Options {
            engine: sampan_generator::Engine::Sampan,
            user: false,
            roots,
            overlay: sampan_generator::Overlay::new(),
        };
        let mut output = sampan_generator::background::Background::new(&folder);
        sampan_generator::generate(&options, &mut |unit| output.write(&unit));
        assert!(output.finish().is_empty());
    }

    /// All files below the folder of unit files.
    fn listing(&self) -> Vec<String> {
        let mut names = Vec::new();
        let base = self.path(FOLDER);
        let mut folders = vec![base.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => names.push(path.strip_prefix(&base).unwrap().to_str().unwrap().to_owned()),
                }
            }
        }
        names.sort();
        names
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn generate_prints_units_and_links() {
    let place = Place::new();
    place.install("web.container", WEB);
    for name in ["web", "web.container", "web.service", place.installed("web.container").to_str().unwrap()] {
        let (unit, _) = place.exits(0, "generate", &[name]);
        assert!(unit.starts_with("# web.service\n# Automatically generated"), "{unit}");
        assert!(unit.contains("--publish 80:80"), "{unit}");
        assert!(unit.ends_with("# link: multi-user.target.wants/web.service -> ../web.service\n"), "{unit}");
    }
    place.install("container.d/10.conf", "[Container]\nLable=a=b\n");
    assert!(place.exits(0, "generate", &["web"]).1.contains("did you mean \"Label\""));
    fs::remove_dir_all(place.installed("container.d")).unwrap();
    let (podman, _) = place.exits(0, "generate", &["--engine", "podman", "web"]);
    assert!(podman.contains("ExecStart=/usr/bin/podman run"), "{podman}");
    let (_, error) = place.exits(125, "generate", &["wbe"]);
    assert!(error.contains("did you mean web?"), "{error}");
}

#[test]
fn generate_reads_files_that_are_not_installed_with_those_beside_them() {
    let place = Place::new();
    place.file("shop.container", "[Container]\nImage=localhost/shop:1\nNetwork=shop.network\nImge=x\n");
    place.file("shop.network", "[Network]\n");
    place.file("sub/other.container", "not even a unit file");
    let (unit, remarks) = place.exits(0, "generate", &["shop.container"]);
    assert!(unit.contains("--network systemd-shop"), "{unit}");
    assert!(remarks.contains("did you mean \"Image\"") && !remarks.contains("other"), "{remarks}");
    place.file("bad.container", "[Container]\nImage=x\nPublishPort=a:b:c:d\n");
    let (stub, error) = place.exits(1, "generate", &["./bad.container"]);
    assert!(stub.contains("# bad.service") && error.contains("PublishPort="), "{stub}{error}");
}

#[test]
fn diff_is_empty_until_something_would_change() {
    let place = Place::new();
    place.install("web.container", WEB);
    place.install("old.volume", "[Volume]\n");
    place.reload();
    assert_eq!(place.exits(0, "diff", &[]).0, "");
    // A comment has no effect, nor has the order of keys.
    place.install(
        "web.container",
        &WEB.replace(
            "Image=localhost/web:1\nPublishPort=80:80",
            "# x\nPublishPort=80:80\nImage=localhost/web:1",
        ),
    );
    assert_eq!(place.exits(0, "diff", &[]).0, "");

    place.install(
        "web.container",
        &format!(
            "{}\n[Service]\nMemoryMax=1G\n",
            WEB.replace("80:80", "8080:80").replace("multi-user", "basic")
        ),
    );
    fs::remove_file(place.installed("old.volume")).unwrap();
    place.install("new.network", "[Network]\n");
    let (text, _) = place.exits(1, "diff", &[]);
    let root = place.path(FOLDER);
    let root = root.display();
    assert_eq!(
        text,
        format!(
            "+ new-network.service ({root}/new.network)\n\
             - old-volume.service ({root}/old.volume): whether it runs is unknown\n\
             ~ web.service ({root}/web.container): whether it runs is unknown\n\
             \x20   [Install]\n    - WantedBy=multi-user.target\n    + WantedBy=basic.target\n\
             \x20   [Service]\n    + MemoryMax=1G\n    ExecStart=\n\
             \x20       - --publish 80:80\n        + --publish 8080:80\n\
             + link basic.target.wants/web.service -> ../web.service\n\
             - link multi-user.target.wants/web.service -> ../web.service\n\
             \nTo apply: systemctl daemon-reload\n"
        )
    );
    let (only, _) = place.exits(1, "diff", &["new.network"]);
    assert!(only.contains("new-network") && !only.contains("web"), "{only}");
    assert!(place.exits(2, "diff", &["--user"]).1.contains("XDG_RUNTIME_DIR is not set"));
    assert!(place.exits(2, "diff", &["nothing"]).1.contains("is called nothing"));

    let (json, _) = place.exits(1, "diff", &["--format", "json", "web"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["units"][0]["change"], "changed");
    assert_eq!(json["units"][0]["running"], serde_json::Value::Null);
    assert_eq!(json["units"][0]["directives"][2]["added"][0], "--publish 8080:80");
    assert_eq!(json["links"][0]["link"], "basic.target.wants/web.service");
}

#[test]
fn install_puts_a_folder_in_place_with_all_that_belongs_to_it() {
    let place = Place::new();
    place.file(
        "shop/web.container",
        "[Container]\nImage=localhost/web:1\nNetwork=shop.network\nEnvironmentFile=./web.env\n",
    );
    place.file("shop/shop.network", "[Network]\n");
    place.file("shop/web.env", "A=1\n");
    place.file("shop/web.container.d/10-port.conf", "[Container]\nPublishPort=80:80\n");
    place.file("shop/job@.container", "[Container]\nImage=localhost/job:1\n");
    place.file("shop/.git/config", "");
    symlink("job@.container", place.work.path().join("shop/job@a.container")).unwrap();
    let (paths, next) = place.exits(0, "install", &["shop"]);
    let files = [
        "shop/.shop.app",
        "shop/job@.container",
        "shop/job@a.container",
        "shop/shop.network",
        "shop/web.container",
        "shop/web.container.d/10-port.conf",
        "shop/web.env",
    ];
    assert_eq!(place.listing(), files);
    assert_eq!(paths.lines().count(), 6, "{paths}");
    assert!(next.contains("systemctl daemon-reload && systemctl start"), "{next}");
    assert_eq!(fs::read_link(place.installed("shop/job@a.container")).unwrap(), Path::new("job@.container"));
    assert!(place.exits(0, "install", &["shop"]).1.contains("unchanged"));

    // A new version without one of the files.
    place.file("shop/web.env", "A=2\n");
    fs::remove_file(place.work.path().join("shop/job@a.container")).unwrap();
    let (_, error) = place.exits(125, "install", &["shop"]);
    assert!(
        error.contains("web.env exists and differs") || error.contains(".shop.app exists and differs"),
        "{error}"
    );
    assert!(error.contains("--replace"), "{error}");
    assert_eq!(fs::read_to_string(place.installed("shop/web.env")).unwrap(), "A=1\n");
    place.exits(0, "install", &["--replace", "shop"]);
    assert_eq!(fs::read_to_string(place.installed("shop/web.env")).unwrap(), "A=2\n");
    assert!(!place.listing().contains(&"shop/job@a.container".to_owned()));
}

#[test]
fn install_refuses_all_files_if_one_has_an_error() {
    let place = Place::new();
    place.file("good.container", WEB);
    place.file("bad.container", "[Container]\nImage=x\nVolume=none.volume:/x\n");
    let (_, error) = place.exits(125, "install", &["good.container", "bad.container"]);
    assert!(error.contains("bad.container:3") && error.contains("nothing was installed"), "{error}");
    assert!(place.listing().is_empty());
    // What is missing may be installed already, or come with it.
    place.file("none.volume", "[Volume]\n");
    place.exits(0, "install", &["bad.container", "none.volume"]);
    assert_eq!(place.listing(), ["bad.container", "none.volume"]);
}

#[test]
fn install_refuses_what_would_break_or_be_hidden() {
    let place = Place::new();
    place.install("sub/web.container", WEB);
    place.file("web.container", WEB);
    let (_, error) = place.exits(125, "install", &["web.container"]);
    assert!(error.contains("would have no effect beside"), "{error}");
    place.file("www.container", &WEB.replace("[Container]", "[Container]\nServiceName=web"));
    let (_, error) = place.exits(125, "install", &["www.container"]);
    assert!(error.contains("becomes web.service as well"), "{error}");
    let (_, error) = place.exits(125, "install", &["https://example.com/web.container"]);
    assert!(error.contains("curl -fLO https://example.com/web.container"), "{error}");
    place.file("readme.txt", "");
    assert!(place.exits(125, "install", &["readme.txt"]).1.contains("no unit file"));
    assert_eq!(place.listing(), ["sub/web.container"]);
}

#[test]
fn install_leaves_podmans_folder_to_podman() {
    let place = Place::new();
    write(&place.path("usr/lib/systemd/system-generators/podman-system-generator"), "#!");
    place.file("web.container", WEB);
    place.exits(0, "install", &["web.container"]);
    assert!(place.listing().is_empty());
    assert!(place.path("etc/sampan/systemd/web.container").exists());
}

#[test]
fn install_takes_several_units_of_one_file_and_files_beside_a_unit() {
    let place = Place::new();
    let text = format!("# FileName=web\n{WEB}---\n# FileName=data\n[Volume]\n");
    place.file("stack.quadlets", &text);
    place.file("db.container", &WEB.replace("80:80", "81:80"));
    place.file("db.env", "A=1\n");
    place.exits(0, "quadlet install", &["stack.quadlets", "db.container", "db.env"]);
    assert_eq!(
        place.listing(),
        [
            ".db.container.app",
            "db.container",
            "db.env",
            "stack/.stack.app",
            "stack/data.volume",
            "stack/web.container"
        ]
    );
    place.exits(0, "quadlet rm", &["db.container", "stack"]);
    assert!(place.listing().is_empty());
    assert!(!place.installed("stack").exists());
}

#[test]
fn list_and_cat_show_what_counts() {
    let place = Place::new();
    place.install("web.container", WEB);
    place.install("web.container.d/20-b.conf", "[Container]\nLabel=b=2\n");
    place.install("container.d/10-a.conf", "[Container]\nLabel=a=1");
    place.install("shop/shop.network", "[Network]\n");
    place.install("shop/.shop.app", "shop.network\n");
    write(&place.path("usr/share/containers/systemd/web.container"), "[Container]\nImage=hidden\n");
    let (table, _) = place.exits(0, "list", &[]);
    assert!(
        table.starts_with("NAME ") && table.contains("UNIT NAME") && table.contains("APPLICATION"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 3, "{table}");
    let names = |words: &[&str]| place.exits(0, "quadlet ls", words).0;
    assert_eq!(
        names(&["--format", "{{.Name}} {{.UnitName}} {{.App}}"]),
        "shop.network shop-network.service shop\nweb.container web.service \n"
    );
    assert_eq!(names(&["--filter", "name=web*", "--format", "{{.Name}}"]), "web.container\n");
    let json: serde_json::Value = serde_json::from_str(&names(&["--format", "json"])).unwrap();
    assert_eq!(json[1]["Path"], place.installed("web.container").to_str().unwrap());

    let folder = place.path(FOLDER);
    let folder = folder.display();
    let expected = format!(
        "# {folder}/web.container\n{WEB}\n# {folder}/container.d/10-a.conf\n[Container]\nLabel=a=1\n\n\
         # {folder}/web.container.d/20-b.conf\n[Container]\nLabel=b=2\n"
    );
    assert_eq!(place.exits(0, "cat", &["web"]).0, expected);
    assert_eq!(place.exits(0, "quadlet print", &["web.container"]).0, expected);
}

#[test]
fn rm_takes_a_unit_file_with_its_own_drop_ins_alone() {
    let place = Place::new();
    place.install("web.container", WEB);
    place.install("web.container.d/20-b.conf", "[Container]\nLabel=b=2\n");
    place.install("container.d/10-a.conf", "[Container]\nLabel=a=1\n");
    place.install("shop/shop.network", "[Network]\n");
    place.install("shop/.shop.app", "shop.network\n../web.container\n");
    write(&place.path("usr/share/containers/systemd/dist.container"), "[Container]\nImage=dist\n");
    let (_, error) = place.exits(125, "quadlet rm", &["shop.network"]);
    assert!(error.contains("sampan quadlet rm shop"), "{error}");
    let (_, error) = place.exits(125, "quadlet rm", &["dist.container"]);
    assert!(error.contains("ln -s /dev/null"), "{error}");
    assert!(place.exits(125, "quadlet rm", &["none.volume"]).1.contains("no unit file none.volume"));
    place.exits(0, "quadlet rm", &["--ignore", "none.volume"]);
    // A list that names files elsewhere does not reach them.
    assert_eq!(place.exits(0, "quadlet rm", &["shop"]).0, "shop\n");
    assert!(place.installed("web.container").exists());
    assert_eq!(
        place.exits(0, "quadlet rm", &["--reload-systemd=false", "web.container"]).0,
        "web.container\n"
    );
    assert_eq!(place.listing(), ["container.d/10-a.conf"]);
    place.install("a.container", WEB);
    place.install("b.volume", "[Volume]\n");
    assert_eq!(place.exits(0, "quadlet rm", &["--all"]).0, "a.container\nb.volume\n");
    assert!(place.path("usr/share/containers/systemd/dist.container").exists());
}

/// A list of files can't have files elsewhere removed by way of a link.
#[test]
fn rm_and_install_do_not_follow_links_out_of_an_application() {
    let place = Place::new();
    let outside = place.path("outside/precious");
    write(&outside, "1");
    place.install("shop/web.container", WEB);
    place.install("shop/.shop.app", "web.container\nconf/precious\n");
    symlink(place.path("outside"), place.installed("shop/conf")).unwrap();
    // A new version without that file.
    place.file("shop/web.container", &WEB.replace("80:80", "81:80"));
    place.exits(0, "install", &["--replace", "shop"]);
    assert!(outside.exists());
    place.install("shop/.shop.app", "web.container\nconf/precious\n");
    place.exits(0, "quadlet rm", &["shop"]);
    assert!(outside.exists());
    assert!(!place.installed("shop/web.container").exists());
    // Nor a folder of drop-ins that is a link.
    write(&place.path("outside/a.conf"), "[Container]\nLabel=a=1\n");
    place.install("db.container", WEB);
    symlink(place.path("outside"), place.installed("db.container.d")).unwrap();
    place.exits(0, "quadlet rm", &["db.container"]);
    assert!(place.path("outside/a.conf").exists());
    assert!(!place.installed("db.container.d").is_symlink());
}

#[test]
fn install_leaves_lists_of_other_applications_out() {
    let place = Place::new();
    place.file("shop/web.container", WEB);
    place.file("shop/.other.app", "web.container\n");
    place.file("shop/.shop.app", "stale\n");
    place.exits(0, "install", &["shop"]);
    assert_eq!(place.listing(), ["shop/.shop.app", "shop/web.container"]);
    assert_eq!(fs::read_to_string(place.installed("shop/.shop.app")).unwrap(), "web.container\n");
}

/// Root would copy what only root can read.
#[test]
fn install_refuses_links_that_leave_the_tree() {
    let place = Place::new();
    place.file("secret", "s");
    place.file("shop/web.container", WEB);
    place.file("shop/conf/a.env", "A=1\n");
    symlink("conf/a.env", place.work.path().join("shop/b.env")).unwrap();
    place.exits(0, "install", &["shop"]);
    assert_eq!(fs::read_to_string(place.installed("shop/b.env")).unwrap(), "A=1\n");
    symlink("../secret", place.work.path().join("shop/sh")).unwrap();
    let (_, error) = place.exits(125, "install", &["--replace", "shop"]);
    assert!(error.contains("shop/sh is a link that leaves"), "{error}");
    assert!(!place.installed("shop/sh").exists());
}

#[test]
fn rm_of_all_takes_applications_as_a_whole() {
    let place = Place::new();
    place.file("shop/web.container", WEB);
    place.file("shop/shop.network", "[Network]\n");
    place.file("shop/web.env", "A=1\n");
    place.exits(0, "install", &["shop"]);
    place.install("a.volume", "[Volume]\n");
    let (names, _) = place.exits(0, "quadlet rm", &["--all"]);
    let mut names: Vec<_> = names.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["a.volume", "shop"]);
    assert!(place.listing().is_empty() && !place.installed("shop").exists());
}

#[test]
fn rm_takes_a_path_and_an_instance_is_not_its_template() {
    let place = Place::new();
    place.install("a/web.container", WEB);
    place.install("a/job@.container", WEB);
    symlink("job@.container", place.installed("a/job@1.container")).unwrap();
    symlink(place.installed("a"), place.work.path().join("way")).unwrap();
    assert_eq!(place.exits(0, "quadlet rm", &["./way/web.container"]).0, "web.container\n");
    place.exits(0, "quadlet rm", &["way/job@1.container"]);
    assert_eq!(place.listing(), ["a/job@.container"]);
    let (_, error) = place.exits(125, "quadlet rm", &["./way/none.container"]);
    assert!(error.contains("./way/none.container is no installed unit file"), "{error}");
}

/// Not to be told what runs is not the same as that nothing runs.
#[test]
fn rm_keeps_files_when_systemd_can_not_be_asked() {
    let place = Place::new();
    let socket = place.path("bus");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sampan"));
        command.args(["quadlet", "rm", "--user", "--reload-systemd=false", "web.container"]);
        command.env("QUADLET_UNIT_DIRS", place.path(FOLDER));
        command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", socket.display()));
        command
    };
    place.install("web.container", WEB);
    let mut child = run().stderr(std::process::Stdio::piped()).spawn().unwrap();
    // A bus that hangs up.
    drop(listener.accept().unwrap());
    drop(listener);
    let mut error = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut error).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(125), "{error}");
    assert!(error.contains("whether its services run is unknown"), "{error}");
    assert_eq!(place.listing(), ["web.container"]);
    // Nobody listens there any more, so no systemd runs anything.
    let output = run().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(place.listing().is_empty());
}

#[test]
fn rm_of_a_name_with_an_extension_means_the_file() {
    let place = Place::new();
    place.install("sampan-test-none.volume", "[Volume]\n");
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sampan"));
        command.arg("--root").arg(place.path("lib")).arg("--runroot").arg(place.path("run/sampan"));
        command.arg("rm").args(words).env("QUADLET_UNIT_DIRS", place.path(FOLDER)).output().unwrap()
    };
    let output = run(&["sampan-test-none.volume"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "sampan-test-none.volume\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("daemon-reload"));
    assert!(output.status.success() && place.listing().is_empty());
    // Without such a file it is a container, if there is one.
    let container = place.path("run/sampan/containers/sampan-test-none.volume");
    fs::create_dir_all(&container).unwrap();
    place.install("sampan-test-none.volume", "[Volume]\n");
    assert!(run(&["sampan-test-none.volume"]).status.success());
    assert!(container.exists() && place.listing().is_empty());
    let output = run(&["sampan-test-none.volume"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!container.exists());
    // Without an extension it is always a container.
    let output = run(&["sampan-test-none"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("container"));
}
