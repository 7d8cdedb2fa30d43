//! The way to a registry: TLS and whom to trust, IPv6, proxies.
//!
//! Proxies come from the environment, which belongs to the whole process: the pulls with them are
//! made by this program started again, see [`Elsewhere`].

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use sampan_image::Error;

use crate::authority::Authority;
use crate::fixture::{Machine, TestImage};
use crate::server::{Reply, Server, answer};

/// A machine that allows nothing but what is trusted.
fn strict() -> Machine {
    let machine = Machine { retries: 0, ..Machine::new() };
    machine.write("etc/containers/registries.conf", "");
    machine
}

fn registry(authority: &Authority, address: &str, clients: bool) -> Server {
    let image = TestImage::small();
    authority.serve(address, clients, move |request| answer(&image, request))
}

#[test]
fn the_systems_cas_are_found_where_distributions_keep_them() {
    if Elsewhere::is_here() {
        return;
    }
    let Some(authority) = Authority::new() else { return };
    let server = registry(&authority, "127.0.0.1:0", false);
    let name = format!("{}/x", server.address);
    let test = "the_systems_cas_are_found_where_distributions_keep_them";
    let message = Elsewhere::new(test, &name, "").pull(&[]).unwrap_err();
    assert!(message.contains("certs.d"), "{message}");
    for bundle in [
        // Debian and Ubuntu; RHEL, its older place, its newer ones; SUSE; Alpine.
        "etc/ssl/certs/ca-certificates.crt",
        "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "etc/pki/tls/certs/ca-bundle.crt",
        "etc/ssl/ca-bundle.pem",
        "etc/ssl/cert.pem",
    ] {
        let elsewhere = Elsewhere::new(test, &name, "");
        std::fs::remove_file(elsewhere.machine.directory.path().join("etc/ssl/certs/ca-certificates.crt"))
            .unwrap();
        elsewhere.machine.write(bundle, &format!("# Comments are allowed\n{}", authority.read("ca.crt")));
        elsewhere.pull(&[]).unwrap_or_else(|error| panic!("{bundle}: {error}"));
    }
    let elsewhere = Elsewhere::new(test, &name, "");
    elsewhere.pull(&[("SSL_CERT_FILE", &authority.path("ca.crt").display().to_string())]).unwrap();
}

#[test]
fn a_registry_has_cas_of_its_own_by_host_and_port() {
    let Some(authority) = Authority::new() else { return };
    let server = registry(&authority, "127.0.0.1:0", false);
    let name = format!("{}/x", server.address);
    let ca = authority.read("ca.crt");
    for directory in ["etc/containers/certs.d", "etc/docker/certs.d"] {
        let machine = strict();
        machine.write(&format!("{directory}/{}/any-name.crt", server.address), &ca);
        machine.pull(&name).unwrap_or_else(|error| panic!("{directory}: {error}"));
        // Of another port, or with another ending.
        let machine = strict();
        machine.write(&format!("{directory}/127.0.0.1/ca.crt"), &ca);
        machine.write(&format!("{directory}/{}/ca.pem", server.address), &ca);
        assert!(matches!(machine.pull_refused(&name), Error::Unreachable { .. }));
    }
    // The first directory alone counts.
    let machine = strict();
    machine.write(&format!("etc/containers/certs.d/{}/readme", server.address), "");
    machine.write(&format!("etc/docker/certs.d/{}/ca.crt", server.address), &ca);
    machine.pull_refused(&name);
}

#[test]
fn a_users_own_certificates_come_first() {
    if Elsewhere::is_here() {
        return;
    }
    let Some(authority) = Authority::new() else { return };
    let server = registry(&authority, "127.0.0.1:0", false);
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join(".config/containers/certs.d").join(&server.address);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::copy(authority.path("ca.crt"), directory.join("ca.crt")).unwrap();
    let elsewhere =
        Elsewhere::new("a_users_own_certificates_come_first", &format!("{}/x", server.address), "");
    elsewhere.pull(&[("HOME", &home.path().display().to_string())]).unwrap();
    elsewhere.pull(&[("HOME", "/nonexistent")]).unwrap_err();
}

#[test]
fn a_client_shows_its_certificate_to_the_registry_alone() {
    let Some(authority) = Authority::new() else { return };
    let server = registry(&authority, "127.0.0.1:0", true);
    let directory = format!("etc/containers/certs.d/{}", server.address);
    let name = format!("{}/x", server.address);
    let machine = strict();
    machine.write(&format!("{directory}/ca.crt"), &authority.read("ca.crt"));
    machine.pull_refused(&name);
    machine.write(&format!("{directory}/me.cert"), &authority.read("client.crt"));
    let error = machine.pull_refused(&name);
    assert!(error.to_string().contains("me.key"), "{error}");
    machine.write(&format!("{directory}/me.key"), &authority.read("client.key"));
    machine.pull(&name).unwrap();

    // Storage that would ask for one gets none.
    let (image, storage) = (TestImage::small(), server);
    let port = storage.port();
    let front = authority.serve("127.0.0.1:0", false, move |request| {
        if request.path.contains("/blobs/") {
            let location = format!("https://localhost:{port}{}", request.path);
            return Reply::new(307, b"").with("location", &location);
        }
        answer(&image, request)
    });
    let machine = strict();
    let directory = format!("etc/containers/certs.d/{}", front.address);
    for (file, from) in [("ca.crt", "ca.crt"), ("me.cert", "client.crt"), ("me.key", "client.key")] {
        machine.write(&format!("{directory}/{file}"), &authority.read(from));
    }
    storage.forget();
    machine.pull_refused(&format!("{}/x", front.address));
    assert_eq!(storage.requests(), [] as [String; 0]);
}

#[test]
fn mistakes_in_a_directory_of_certificates_are_named() {
    let Some(authority) = Authority::new() else { return };
    let server = registry(&authority, "127.0.0.1:0", false);
    let (client, key) = (authority.read("client.crt"), authority.read("client.key"));
    for (files, said) in [
        (&[("ca.crt", "not PEM")][..], "no certificate in it"),
        (&[("me.key", "x")], "me.cert is missing"),
        (&[("me.cert", "x")], "me.key"),
        (&[("me.cert", "x"), ("me.key", &key)], "no certificate in it"),
        (&[("me.cert", &client), ("me.key", "x")], "no usable private key"),
        (&[("me.cert", &client), ("me.key", &authority.read("ca.key"))], "do not go together"),
        (
            &[("me.cert", &authority.read("old.crt")), ("me.key", &authority.read("old.key"))],
            "do not go together",
        ),
    ] {
        let machine = strict();
        for (file, text) in files {
            machine.write(&format!("etc/containers/certs.d/{}/{file}", server.address), text);
        }
        let message = machine.pull_refused(&format!("{}/x", server.address)).to_string();
        assert!(message.contains(said) && message.contains("certs.d"), "{message}");
    }
}

#[test]
fn a_redirect_from_https_to_http_is_refused() {
    let Some(authority) = Authority::new() else { return };
    let plain = Server::registry(TestImage::small());
    let (image, address) = (TestImage::small(), plain.address.clone());
    let server = authority.serve("127.0.0.1:0", false, move |request| {
        if request.path.contains("/blobs/") {
            return Reply::new(307, b"").with("location", &format!("http://{address}{}", request.path));
        }
        answer(&image, request)
    });
    // Not even where plain HTTP is allowed: it was not needed so far.
    let machine = Machine { retries: 0, ..Machine::new() };
    let error = machine.pull_refused(&format!("{}/x", server.address));
    assert!(error.to_string().contains("without HTTPS"), "{error}");
    assert_eq!(plain.connections(), 0);
}

#[test]
fn another_scheme_gets_no_credentials() {
    let Some(authority) = Authority::new() else { return };
    let tls = authority.serve("127.0.0.1:0", false, |_| Reply::new(404, b""));
    let address = tls.address.clone();
    let server = Server::start(move |request| match request.header("authorization") {
        None => Reply::new(401, b"").with("www-authenticate", "Basic realm=\"x\""),
        Some(_) => Reply::new(307, b"").with("location", &format!("https://{address}{}", request.path)),
    });
    let credentials = Some(sampan_image::Credentials { user: "user".into(), password: "sesame".into() });
    Machine { credentials, retries: 0, ..Machine::new() }.pull_refused(&format!("{}/x", server.address));
    assert!(!tls.all().is_empty());
    assert!(tls.all().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn ipv6_addresses_are_registries() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        eprintln!("SKIP: there is no IPv6 here");
        return;
    };
    let image = TestImage::small();
    let server =
        Server::start_on(listener, |stream| Ok(Box::new(stream)), move |request| answer(&image, request));
    let machine = Machine::new();
    machine.write("etc/containers/registries.conf", "[[registry]]\nlocation = \"[::1]\"\ninsecure = true\n");
    let name = format!("[::1]:{}/x:1", server.port());
    assert_eq!(machine.pull(&name).unwrap().names, [name]);
    assert_eq!(server.all()[0].header("host").unwrap(), format!("[::1]:{}", server.port()));

    let Some(authority) = Authority::new() else { return };
    let server = registry(&authority, "[::1]:0", false);
    let machine = strict();
    machine
        .write(&format!("etc/containers/certs.d/[::1]:{}/ca.crt", server.port()), &authority.read("ca.crt"));
    machine.pull(&format!("[::1]:{}/x", server.port())).unwrap();
}

/// A proxy that makes tunnels to wherever it likes.
struct Tunnels {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Tunnels {
    /// Leads every name to one address; refuses with a status, or wants this authorization.
    fn start(target: &str, status: u16, authorization: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, target) = (Arc::clone(&heads), target.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, target) = (Arc::clone(&seen), target.clone());
                std::thread::spawn(move || tunnel(stream, &target, status, authorization, &seen));
            }
        });
        Self { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn tunnel(
    mut stream: TcpStream,
    target: &str,
    status: u16,
    authorization: Option<&str>,
    seen: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    seen.lock().unwrap().push(head.clone());
    let allowed = authorization.is_none_or(|wanted| head.contains(wanted));
    let status = if allowed { status } else { 407 };
    write!(stream, "HTTP/1.1 {status} X\r\n\r\n").ok()?;
    if status != 200 {
        return None;
    }
    let mut server = TcpStream::connect(target).ok()?;
    let (mut up, mut down) = (server.try_clone().ok()?, stream.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut reader, &mut up);
        let _ = up.shutdown(std::net::Shutdown::Write);
    });
    let mut buffer = [0; 8192];
    loop {
        match server.read(&mut buffer).ok()? {
            0 => return down.shutdown(std::net::Shutdown::Both).ok(),
            count => down.write_all(&buffer[..count]).ok()?,
        }
    }
}

/// A pull by this program, started again for one test with another environment.
struct Elsewhere {
    test: &'static str,
    order: String,
    machine: Machine,
}

impl Elsewhere {
    const ORDER: &'static str = "SAMPAN_TEST_ELSEWHERE";

    /// `ca` is trusted; names may be in `registries.conf` by [`Machine::write`].
    fn new(test: &'static str, source: &str, ca: &str) -> Self {
        let machine = strict();
        machine.write("etc/ssl/certs/ca-certificates.crt", ca);
        let order = format!("{}\n{source}", machine.directory.path().display());
        Self { test, order, machine }
    }

    /// As the one who was started: pulls, says how it went, and is done.
    fn is_here() -> bool {
        let Ok(order) = std::env::var(Self::ORDER) else { return false };
        let (root, source) = order.split_once('\n').unwrap();
        let root = std::path::Path::new(root);
        let registries = sampan_image::Registries::load(root).unwrap();
        let policy = sampan_image::Policy::accept_anything();
        let credentials = sampan_image::Credentials { user: "user".into(), password: "sesame".into() };
        let options = sampan_image::PullOptions {
            retries: 0,
            credentials: Some(&credentials),
            ..sampan_image::PullOptions::new(&registries, &policy)
        };
        let store = sampan_image::Store::open(&root.join("elsewhere")).unwrap();
        let source = sampan_image::Source::parse(source, &registries).unwrap();
        match sampan_image::pull(&store, &source, &options) {
            Ok(image) => println!("\nelsewhere: pulled {}", image.names[0]),
            Err(error) => println!("\nelsewhere: {error}"),
        }
        true
    }

    /// What was said, as an error if it was not "pulled".
    fn pull(&self, environment: &[(&str, &str)]) -> Result<String, String> {
        let _ = std::fs::remove_dir_all(self.machine.directory.path().join("elsewhere"));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("network::{}", self.test), "--nocapture"]);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"] {
            command.env_remove(name);
        }
        command.env_remove("SSL_CERT_FILE").env(Self::ORDER, &self.order).envs(environment.iter().copied());
        let output = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
        let said = output.lines().find_map(|line| line.strip_prefix("elsewhere: ")).unwrap_or(&output);
        if said.starts_with("pulled") { Ok(said.to_owned()) } else { Err(said.to_owned()) }
    }
}

#[test]
fn a_proxy_leads_to_the_registry() {
    if Elsewhere::is_here() {
        return;
    }
    let Some(authority) = Authority::new() else { return };
    let server = registry(&authority, "127.0.0.1:0", false);
    let tunnels = Tunnels::start(&server.address, 200, Some("Basic dXNlcjpodW50ZXIy"));
    let ca = authority.read("ca.crt");
    let elsewhere = Elsewhere::new("a_proxy_leads_to_the_registry", "registry.example:5000/x", &ca);
    let proxy = format!("http://user:hunter2@{}", tunnels.address);
    for name in ["HTTPS_PROXY", "https_proxy"] {
        assert_eq!(elsewhere.pull(&[(name, &proxy)]).unwrap(), "pulled registry.example:5000/x:latest");
    }
    let heads = tunnels.heads();
    assert!(
        heads.iter().all(|head| head.starts_with("CONNECT registry.example:5000 HTTP/1.1\r\n")),
        "{heads:?}"
    );
    assert!(
        !server.all().is_empty() && server.all().iter().all(|r| r.header("proxy-authorization").is_none())
    );
    // Another password: refused, in words without it.
    let message = elsewhere.pull(&[("HTTPS_PROXY", &proxy.replace("hunter2", "sesam3"))]).unwrap_err();
    assert!(message.contains("other credentials") && message.contains(&tunnels.address), "{message}");
    assert!(!message.contains("sesam3"), "{message}");
}

#[test]
fn a_proxy_that_is_not_for_the_registry_is_left_alone() {
    if Elsewhere::is_here() {
        return;
    }
    let Some(authority) = Authority::new() else { return };
    let server = registry(&authority, "127.0.0.1:0", false);
    let tunnels = Tunnels::start(&server.address, 200, None);
    let ca = authority.read("ca.crt");
    let test = "a_proxy_that_is_not_for_the_registry_is_left_alone";
    let elsewhere = Elsewhere::new(test, "registry.invalid:5000/x", &ca);
    let proxy = format!("http://{}", tunnels.address);
    for other in [
        &[("HTTP_PROXY", proxy.as_str())][..],
        &[("HTTPS_PROXY", &proxy), ("NO_PROXY", "other,.invalid")],
        &[("https_proxy", &proxy), ("no_proxy", "registry.invalid:5000")],
        &[("HTTPS_PROXY", &proxy), ("NO_PROXY", "*")],
    ] {
        let message = elsewhere.pull(other).unwrap_err();
        assert!(message.contains("registry.invalid:5000 cannot be reached"), "{message}");
    }
    // This machine itself is never behind a proxy.
    let elsewhere = Elsewhere::new(test, &format!("{}/x", server.address), &ca);
    elsewhere.pull(&[("HTTPS_PROXY", &proxy)]).unwrap();
    assert_eq!(tunnels.heads(), [] as [String; 0]);
}

#[test]
fn a_proxy_that_fails_is_named() {
    if Elsewhere::is_here() {
        return;
    }
    let tunnels = Tunnels::start("127.0.0.1:9", 502, None);
    let elsewhere = Elsewhere::new("a_proxy_that_fails_is_named", "registry.example/x", "");
    let message = elsewhere.pull(&[("HTTPS_PROXY", &format!("http://{}", tunnels.address))]).unwrap_err();
    assert!(message.contains(&format!("through the proxy {}", tunnels.address)), "{message}");
    let message = elsewhere.pull(&[("HTTPS_PROXY", "http://127.0.0.1:9")]).unwrap_err();
    assert!(message.contains("through the proxy 127.0.0.1:9"), "{message}");
    for value in ["socks5://user:hunter2@127.0.0.1:9", "http://user:hunter2@", "::"] {
        let message = elsewhere.pull(&[("HTTPS_PROXY", value)]).unwrap_err();
        assert!(message.contains("$HTTPS_PROXY") && !message.contains("hunter2"), "{message}");
    }
}

/// A registry that is not on this machine, as far as its client can tell, and leads to it.
fn leading(authority: &Authority, to: String) -> (Server, Tunnels) {
    let image = TestImage::small();
    let server = authority.serve("127.0.0.1:0", false, move |request| {
        if request.path.contains("/blobs/") {
            return Reply::new(307, b"").with("location", &format!("{to}{}", request.path));
        }
        answer(&image, request)
    });
    let tunnels = Tunnels::start(&server.address, 200, None);
    (server, tunnels)
}

#[test]
fn a_far_registry_leads_to_nothing_near() {
    if Elsewhere::is_here() {
        return;
    }
    let Some(authority) = Authority::new() else { return };
    let near = registry(&authority, "127.0.0.1:0", false);
    let port = near.port();
    for host in
        ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "0.0.0.0"]
    {
        let (_server, tunnels) = leading(&authority, format!("https://{host}:{port}"));
        let ca = authority.read("ca.crt");
        let elsewhere = Elsewhere::new("a_far_registry_leads_to_nothing_near", "registry.example/x", &ca);
        let message = elsewhere.pull(&[("HTTPS_PROXY", &format!("http://{}", tunnels.address))]).unwrap_err();
        assert!(message.contains("address") && message.contains("it leads to"), "{host}: {message}");
    }
    assert_eq!(near.connections(), 0);
}

#[test]
fn a_name_that_means_this_machine_is_near_unless_it_is_allowed() {
    if Elsewhere::is_here() {
        return;
    }
    let Some(authority) = Authority::new() else { return };
    let near = registry(&authority, "127.0.0.1:0", false);
    // A spelling that only the resolver understands, reached without the proxy.
    let (_server, tunnels) = leading(&authority, format!("https://127.1:{}", near.port()));
    let test = "a_name_that_means_this_machine_is_near_unless_it_is_allowed";
    let elsewhere = Elsewhere::new(test, "registry.example/x", &authority.read("ca.crt"));
    let proxy = format!("http://{}", tunnels.address);
    let environment = [("HTTPS_PROXY", proxy.as_str()), ("NO_PROXY", "127.1")];
    let message = elsewhere.pull(&environment).unwrap_err();
    assert!(message.contains("internal address 127.0.0.1 (127.1)"), "{message}");
    assert_eq!(near.connections(), 0);
    elsewhere.machine.write("etc/containers/registries.conf", "[[registry]]\nlocation = \"127.1\"\n");
    // The certificate has no such name; it was asked for.
    elsewhere.pull(&environment).unwrap_err();
    assert!(near.connections() > 0);
}

#[test]
fn a_far_registry_has_no_token_server_near() {
    if Elsewhere::is_here() {
        return;
    }
    let Some(authority) = Authority::new() else { return };
    let near = authority.serve("127.0.0.1:0", false, |_| Reply::new(200, br#"{"token":"t"}"#));
    let realm = format!("Bearer realm=\"https://{}/token\"", near.address);
    let server =
        authority.serve("127.0.0.1:0", false, move |_| Reply::new(401, b"").with("www-authenticate", &realm));
    let tunnels = Tunnels::start(&server.address, 200, None);
    let ca = authority.read("ca.crt");
    let elsewhere = Elsewhere::new("a_far_registry_has_no_token_server_near", "registry.example/x", &ca);
    let message = elsewhere.pull(&[("HTTPS_PROXY", &format!("http://{}", tunnels.address))]).unwrap_err();
    assert!(message.contains("token server") && message.contains("internal address"), "{message}");
    assert_eq!(near.connections(), 0);
}
