//! `sampan login` and `sampan logout` from outside, with a registry that knows one user.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What must never be seen anywhere but in the file or helper that keeps it.
const PASSWORD: &str = "hunter2-s3cret";
/// `alice:hunter2-s3cret`
const ENCODED: &str = "YWxpY2U6aHVudGVyMi1zM2NyZXQ=";

/// A registry on a free port that wants these credentials; it lives as long as the process.
fn registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever tries TLS first goes away.
            let _ = answer(&stream);
        }
    });
    address
}

fn answer(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose().unwrap_or_default().unwrap_or_default();
    if !first.starts_with("GET ") {
        return Ok(());
    }
    let wanted = format!("basic {ENCODED}");
    let mut known = false;
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let value = line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        known |=
            value.is_some_and(|(name, value)| name == "authorization" && value.eq_ignore_ascii_case(&wanted));
    }
    let head = if known { "200 OK" } else { "401 Unauthorized\r\nwww-authenticate: Basic realm=\"x\"" };
    write!(stream, "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
}

/// A user's surroundings.
struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(home.path("bin")).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn auth(&self) -> PathBuf {
        self.path("auth.json")
    }

    /// Exit status, standard output, standard error.
    fn run(&self, words: &str, input: &str) -> (i32, String, String) {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut child = Command::new(env!("CARGO_BIN_EXE_sampan"))
            .args(words.split_whitespace())
            .env("PATH", path)
            .env("HOME", self.directory.path())
            .env("REGISTRY_AUTH_FILE", self.auth())
            .env("HELPER_HOME", self.directory.path())
            .env_remove("XDG_RUNTIME_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses its options reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (told, complained) = (text(output.stdout), text(output.stderr));
        for shown in [&told, &complained] {
            assert!(!shown.contains(PASSWORD) && !shown.contains(ENCODED), "{words}: {shown}");
        }
        (output.status.code().unwrap(), told, complained)
    }

    fn auths(&self) -> serde_json::Value {
        let text = fs::read(self.auth()).unwrap_or_else(|_| b"{}".to_vec());
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()["auths"].clone()
    }

    /// A credential helper that keeps one file per registry, and notes how it was called.
    fn install_helper(&self, name: &str) {
        let script = r#"#!/bin/sh
echo "$0 $*" >>"$HELPER_HOME/calls"
echo "noise with $(cat "$HELPER_HOME/kept" 2>/dev/null)" >&2
case $1 in
store) cat >"$HELPER_HOME/kept" ;;
get) [ -f "$HELPER_HOME/kept" ] && cat "$HELPER_HOME/kept" || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) cat >/dev/null; rm -f "$HELPER_HOME/kept" ;;
list) [ -f "$HELPER_HOME/kept" ] && echo "{\"$HELPER_REGISTRY\": \"alice\"}" || echo "{}" ;;
esac
"#;
        executable(&self.path("bin").join(format!("docker-credential-{name}")), script);
    }
}

fn executable(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn in_and_out_again() {
    let (home, registry) = (Home::new(), registry());
    let login = format!("login --tls-verify=false -u alice --password-stdin {registry}");
    let (code, told, _) = home.run(&login, &format!("{PASSWORD}\n"));
    assert_eq!((code, told.as_str()), (0, "Login Succeeded!\n"));
    assert_eq!(home.auths()[&registry]["auth"], ENCODED);
    assert_eq!(fs::metadata(home.auth()).unwrap().permissions().mode() & 0o777, 0o600);

    assert_eq!(home.run(&format!("login --get-login {registry}"), "").1, "alice\n");
    // Below it the registry's credentials count too.
    assert_eq!(home.run(&format!("login --get-login docker://{registry}/team/app"), "").1, "alice\n");
    let (code, told, _) = home.run(&format!("login --tls-verify=false {registry}"), "");
    assert!(code == 0 && told.ends_with(&format!("Already logged in to {registry}\n")), "{told}");

    let (code, told, _) = home.run(&format!("logout {registry}"), "");
    assert_eq!((code, told), (0, format!("Removed login credentials for {registry}\n")));
    assert_eq!(home.auths(), serde_json::json!({}));
    let (code, _, error) = home.run(&format!("logout {registry}"), "");
    assert!(code != 0 && error.contains(&format!("not logged into {registry}")), "{error}");
    assert!(home.run(&format!("login --get-login {registry}"), "").0 != 0);
}

#[test]
fn what_the_registry_refuses_is_not_kept() {
    let (home, registry) = (Home::new(), registry());
    let login = format!("login --tls-verify=false -u alice --password-stdin {registry}");
    let (code, told, error) = home.run(&login, "wrong-passw0rd");
    assert!(code != 0 && told.is_empty(), "{told}");
    assert!(error.contains("refused") && error.contains("nothing was saved"), "{error}");
    assert!(!error.contains("wrong-passw0rd"), "{error}");
    assert!(!home.auth().exists());
    // Nobody can be asked, and TLS isn't given up by itself.
    for (words, says) in [
        (format!("login {registry}"), "--password-stdin"),
        (format!("login --password-stdin {registry}"), "--username"),
        (format!("login -u alice --password-stdin {registry}"), "cannot be reached"),
        (format!("login -u alice --password-stdin {registry}/team:tag"), "tag"),
    ] {
        let (code, _, error) = home.run(&words, PASSWORD);
        assert!(code != 0 && error.contains(says), "{words}: {error}");
    }
    let (_, _, error) =
        home.run(&format!("login --tls-verify=false -u alice --password-stdin {registry}"), "\n");
    assert!(error.contains("no password"), "{error}");
}

#[test]
fn a_namespace_has_credentials_of_its_own() {
    let (home, registry) = (Home::new(), registry());
    let login = format!("login --tls-verify=false -u alice --password-stdin docker://{registry}/team");
    assert_eq!(home.run(&login, PASSWORD).0, 0);
    assert_eq!(home.auths()[format!("{registry}/team")]["auth"], ENCODED);
    assert!(home.run(&format!("login --get-login {registry}"), "").0 != 0);
    assert!(home.run(&format!("logout {registry}"), "").0 != 0);
    assert_eq!(home.run("logout --all", "").1, "Removed login credentials for all registries\n");
    assert_eq!(home.auths(), serde_json::json!({}));
}

#[test]
fn helpers_keep_credentials_and_see_them_on_standard_input_alone() {
    for form in ["credHelpers", "credsStore"] {
        let (home, registry) = (Home::new(), registry());
        home.install_helper("test");
        let configured = match form {
            "credHelpers" => serde_json::json!({form: {&registry: "test"}, "other": 1}),
            _ => serde_json::json!({form: "test", "other": 1}),
        };
        fs::write(home.auth(), configured.to_string()).unwrap();
        let login = format!("login -v --tls-verify=false -u alice --password-stdin {registry}");
        let (code, told, error) = home.run(&login, PASSWORD);
        assert!(code == 0 && told.contains("Used: the credential helper test"), "{told}{error}");
        assert!(fs::read_to_string(home.path("kept")).unwrap().contains(PASSWORD));
        assert_eq!(fs::read_to_string(home.auth()).unwrap(), configured.to_string(), "{form}");
        assert_eq!(home.run(&format!("login --get-login {registry}"), "").1, "alice\n");
        let part = format!("login --tls-verify=false -u alice --password-stdin {registry}/team");
        if form == "credHelpers" {
            let (code, _, error) = home.run(&part, PASSWORD);
            assert!(code != 0 && error.contains("whole registries only"), "{error}");
        }
        assert_eq!(home.run(&format!("logout {registry}"), "").0, 0);
        assert!(!home.path("kept").exists());
        let calls = fs::read_to_string(home.path("calls")).unwrap();
        assert!(calls.contains("docker-credential-test store\n"), "{calls}");
        assert!(!calls.contains(PASSWORD) && !calls.contains(&registry), "{calls}");
    }
}

#[test]
fn a_helper_that_fails_is_named_but_not_quoted() {
    let (home, registry) = (Home::new(), registry());
    executable(
        &home.path("bin/docker-credential-bad"),
        &format!("#!/bin/sh\ncat >/dev/null\necho {PASSWORD}; echo {PASSWORD} >&2\nexit 3\n"),
    );
    for helper in ["bad", "missing", "../../bin/sh"] {
        let configured = serde_json::json!({"credHelpers": {&registry: helper}});
        fs::write(home.auth(), configured.to_string()).unwrap();
        let login = format!("login --tls-verify=false -u alice --password-stdin {registry}");
        let (code, _, error) = home.run(&login, PASSWORD);
        assert!(code != 0 && error.contains(&format!("credential helper {helper:?}")), "{error}");
    }
}
