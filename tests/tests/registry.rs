//! Images from a real registry over TLS: Debian's docker-registry, with a certificate that this machine's authorities did not sign.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE,
    client::{get_json, post},
    cluster::{Cluster, active_agents, deploy},
    process::{Process, free_port},
    until,
};

/// Runs a program to its end.
fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} ({error}): ./test installs it"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}: {said}");
}

/// An authority, and a certificate for `localhost` that it signed.
struct Certificates {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificates {
    fn make(folder: &Path) -> Self {
        let path = |name: &str| folder.join(name).display().to_string();
        let (ca, ca_key) = (path("ca.pem"), path("ca.key"));
        let (asked, key) = (path("registry.csr"), path("registry.key"));
        let (signed, names) = (path("registry.pem"), path("names"));
        let new_key = [
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ];
        let with = |rest: &[&str]| run("openssl", &[&new_key, rest].concat());
        with(&[
            "-x509",
            "-days",
            "2",
            "-subj",
            "/CN=an authority",
            "-keyout",
            &ca_key,
            "-out",
            &ca,
        ]);
        with(&["-subj", "/CN=localhost", "-keyout", &key, "-out", &asked]);
        std::fs::write(&names, "subjectAltName=DNS:localhost\n").unwrap();
        let by = [
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-days",
            "2",
        ];
        let files = ["-in", &asked, "-extfile", &names, "-out", &signed];
        run("openssl", &[&["x509", "-req"], &by[..], &files].concat());
        Self {
            authority: ca.into(),
            certificate: signed.into(),
            key: key.into(),
        }
    }
}

/// Starts the registry; its address by the name that its certificate has.
fn registry(folder: &Path, certificates: &Certificates) -> (Process, String) {
    let port = free_port();
    let config = json!({
        "version": 0.1,
        "log": { "level": "error" },
        "storage": { "filesystem": { "rootdirectory": folder.join("registry") } },
        "http": { "addr": format!("127.0.0.1:{port}"),
            "tls": { "certificate": certificates.certificate, "key": certificates.key } },
    });
    let path = folder.join("registry.yml");
    // JSON is YAML.
    std::fs::write(&path, config.to_string()).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&path);
    let process = Process::start("docker-registry", command);
    until("the registry", PATIENCE, || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    (process, format!("localhost:{port}"))
}

/// Pushes an image with nothing in it but busybox.
fn push(folder: &Path, name: &str) {
    let path = |name: &str| folder.join(name).display().to_string();
    let (layout, bundle) = (path("made"), path("bundle"));
    let image = format!("{layout}:v1");
    run("umoci", &["init", "--layout", &layout]);
    run("umoci", &["new", "--image", &image]);
    let rootless: &[&str] = if nix::unistd::geteuid().is_root() {
        &[]
    } else {
        &["--rootless"]
    };
    run(
        "umoci",
        &[&["unpack"], rootless, &["--image", &image, &bundle]].concat(),
    );
    let bin = Path::new(&bundle).join("rootfs/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", bin.join("sh")).unwrap();
    run("umoci", &["repack", "--image", &image, &bundle]);
    let (from, to) = (format!("oci:{image}"), format!("docker://{name}"));
    run(
        "skopeo",
        &["copy", "--quiet", "--dest-tls-verify=false", &from, &to],
    );
}

fn app(id: &str) -> Value {
    json!({ "id": id, "cmd": "exec busybox sleep 1000", "cpus": 0.1, "mem": 32, "instances": 1,
        "container": { "type": "DOCKER", "docker": { "image": "team/app:1" } } })
}

/// A cluster of one agent whose images come from `registry`, with variables in the agent's environment.
fn with_agent(registry: &str, variables: &[(&str, &str)], check: impl FnOnce(&str)) {
    let mut cluster = Cluster::standalone();
    let master = cluster.master(&[]);
    let flag = format!("--docker_registry=https://{registry}");
    let _agent = cluster.agent_in(variables, &[&flag]);
    let marathon = cluster.marathon(&[]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let _leads = marathon.get("/v2/info");
    check(&marathon.url);
}

#[test]
fn images_come_over_tls_from_whom_the_agent_trusts() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(folder.path());
    let (_registry, address) = registry(folder.path(), &certificates);
    push(folder.path(), &format!("{address}/team/app:1"));

    let trusted = certificates.authority.display().to_string();
    with_agent(&address, &[("SSL_CERT_FILE", &trusted)], |marathon| {
        assert_eq!(deploy(marathon, &app("/trusted"), 1).len(), 1);
    });
    with_agent(&address, &[], |marathon| {
        let created = post(&format!("{marathon}/v2/apps"), &app("/stranger")).expect("an answer");
        assert_eq!(created.status, 201, "{}", created.body);
        let failure = until("a failure", PATIENCE, || {
            let app = get_json(&format!("{marathon}/v2/apps//stranger"))?;
            let message = app["app"]["lastTaskFailure"]["message"].as_str()?;
            Some(message.to_owned())
        });
        assert!(
            failure.contains(&address) && failure.contains("certificate"),
            "{failure}"
        );
    });
}
