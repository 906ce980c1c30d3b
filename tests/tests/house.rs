//! The house rules that a compiler does not hold: which way the arrows between crates point, that cores are pure, that there is one version of
//! each thing we chose, and that every licence is one we accept. ARCHITECTURE.md says why.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;

/// Each crate of the workspace with the crates of the workspace that it may depend on, tests and build scripts aside.
const ARROWS: &[(&str, &[&str])] = &[
    ("tepui-model", &[]),
    ("tepui-proto", &["tepui-model"]),
    ("tepui-grpc", &["tepui-proto"]),
    ("tepui-http", &["tepui-proto"]),
    ("tepui-coordination", &["tepui-model", "tepui-proto"]),
    (
        "tepui-sdk",
        &[
            "tepui-model",
            "tepui-proto",
            "tepui-grpc",
            "tepui-coordination",
        ],
    ),
    ("tepui-master-core", &["tepui-model", "tepui-proto"]),
    ("tepui-agent-core", &["tepui-model", "tepui-proto"]),
    ("tepui-images", &[]),
    ("tepui-marathon-core", &["tepui-model", "tepui-proto"]),
    (
        "tepui-master",
        &[
            "tepui-model",
            "tepui-proto",
            "tepui-grpc",
            "tepui-http",
            "tepui-coordination",
            "tepui-master-core",
        ],
    ),
    (
        "tepui-agent",
        &[
            "tepui-model",
            "tepui-proto",
            "tepui-grpc",
            "tepui-http",
            "tepui-coordination",
            "tepui-agent-core",
            "tepui-images",
        ],
    ),
    (
        "tepui-marathon",
        &[
            "tepui-model",
            "tepui-proto",
            "tepui-http",
            "tepui-sdk",
            "tepui-coordination",
            "tepui-marathon-core",
        ],
    ),
    (
        "tepui-sdk-testing",
        &[
            "tepui-model",
            "tepui-proto",
            "tepui-grpc",
            "tepui-sdk",
            "tepui-coordination",
            "tepui-master",
        ],
    ),
    (
        "tepui-simulation",
        &[
            "tepui-model",
            "tepui-proto",
            "tepui-master-core",
            "tepui-agent-core",
            "tepui-marathon-core",
        ],
    ),
    (
        "tepui-bench",
        &[
            "tepui-model",
            "tepui-proto",
            "tepui-master-core",
            "tepui-grpc",
            "tepui-coordination",
            "tepui-sdk",
        ],
    ),
    (
        "tepui",
        &[
            "tepui-model",
            "tepui-proto",
            "tepui-grpc",
            "tepui-coordination",
            "tepui-sdk",
            "tepui-master",
            "tepui-agent",
            "tepui-marathon",
            "tepui-bench",
        ],
    ),
    (
        "tepui-tests",
        &[
            "tepui-model",
            "tepui-proto",
            "tepui-grpc",
            "tepui-coordination",
            "tepui-sdk",
        ],
    ),
];

/// What a pure crate may not reach, by any path.
const IMPURE: &[&str] = &[
    "tokio",
    "tonic",
    "hyper",
    "warp",
    "mio",
    "socket2",
    "redb",
    "zookeeper-client",
    "nix",
    "rand",
    "getrandom",
    "tracing-subscriber",
];
const PURE: &[&str] = &[
    "tepui-model",
    "tepui-proto",
    "tepui-master-core",
    "tepui-agent-core",
    "tepui-marathon-core",
];

/// What the sources of a pure crate may not name.
const IMPURE_WORDS: &[&str] = &[
    "std::net",
    "std::fs",
    "std::thread",
    "std::process",
    "Instant::now",
    "SystemTime::now",
    "std::env::var",
    "HashMap::new().iter",
];

/// The licences that may come with the binary.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "0BSD",
    "Unlicense",
    "BSL-1.0",
    "MIT-0",
    "CC0-1.0",
    "bzip2-1.0.6",
    "Apache-2.0 WITH LLVM-exception",
];

fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
        let output = Command::new(cargo)
            .args([
                "metadata",
                "--format-version",
                "1",
                "--locked",
                "--filter-platform",
                "x86_64-unknown-linux-gnu",
                "--manifest-path",
                manifest,
            ])
            .output()
            .expect("cargo runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
    })
}

fn packages() -> &'static [Value] {
    metadata()["packages"].as_array().expect("packages")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

/// The workspace's own packages.
fn own() -> impl Iterator<Item = &'static Value> {
    packages()
        .iter()
        .filter(|package| package["source"].is_null())
}

/// Names of the packages that a package depends on outside of tests and build scripts.
fn normal_dependencies(package: &Value) -> BTreeSet<&str> {
    let dependencies = package["dependencies"].as_array().expect("dependencies");
    dependencies
        .iter()
        .filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| text(dependency, "name"))
        .collect()
}

/// Every package that a package reaches in the resolved graph, outside of tests and build scripts, by name.
fn reached(package: &Value) -> BTreeSet<&'static str> {
    let names: BTreeMap<&str, &str> = packages()
        .iter()
        .map(|package| (text(package, "id"), text(package, "name")))
        .collect();
    reached_ids(package)
        .into_iter()
        .map(|id| names[id])
        .collect()
}

/// The same by id: name and version.
fn reached_ids(package: &Value) -> BTreeSet<&'static str> {
    let nodes = metadata()["resolve"]["nodes"].as_array().expect("nodes");
    let nodes: BTreeMap<&str, &Value> = nodes.iter().map(|node| (text(node, "id"), node)).collect();
    let mut seen = BTreeSet::new();
    let mut queue = vec![text(package, "id")];
    while let Some(id) = queue.pop() {
        let Some(node) = nodes.get(id) else { continue };
        for dependency in node["deps"].as_array().expect("deps") {
            let kinds = dependency["dep_kinds"].as_array().expect("dep_kinds");
            let id = text(dependency, "pkg");
            // Build-time and procedural-macro code does not end up in the crate.
            let normal = kinds.iter().any(|kind| kind["kind"].is_null());
            if normal && !is_procedural_macro(id) && seen.insert(id) {
                queue.push(id);
            }
        }
    }
    seen
}

fn is_procedural_macro(id: &str) -> bool {
    packages().iter().any(|package| {
        text(package, "id") == id
            && package["targets"]
                .as_array()
                .expect("targets")
                .iter()
                .any(|target| target["kind"][0] == "proc-macro")
    })
}

#[test]
fn arrows_between_crates_point_one_way() {
    let own_names: BTreeSet<&str> = own().map(|package| text(package, "name")).collect();
    let listed: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        own_names, listed,
        "every crate of the workspace has its row in ARROWS"
    );
    for package in own() {
        let name = text(package, "name");
        let (_, allowed) = ARROWS
            .iter()
            .find(|(listed, _)| *listed == name)
            .expect("listed");
        for dependency in normal_dependencies(package).intersection(&own_names) {
            assert!(
                allowed.contains(dependency),
                "{name} may not depend on {dependency}"
            );
        }
    }
}

#[test]
fn pure_crates_reach_no_runtime_and_no_io() {
    for package in own().filter(|package| PURE.contains(&text(package, "name"))) {
        let reached = reached(package);
        assert!(
            reached.len() > 1 || text(package, "name") == "tepui-model",
            "the graph was read"
        );
        for impure in IMPURE {
            assert!(
                !reached.contains(impure),
                "{} reaches {impure}",
                text(package, "name")
            );
        }
    }
}

#[test]
fn pure_crates_name_no_clock_and_no_io() {
    for package in own().filter(|package| PURE.contains(&text(package, "name"))) {
        let root = std::path::Path::new(text(package, "manifest_path"))
            .parent()
            .expect("a folder")
            .join("src");
        let mut files = 0;
        for (path, content) in sources(&root) {
            files += 1;
            let code = content.split("#[cfg(test)]").next().unwrap_or("");
            for word in IMPURE_WORDS {
                assert!(!code.contains(word), "{} names {word}", path.display());
            }
        }
        assert!(files > 0, "{} has sources", root.display());
    }
}

fn sources(folder: &std::path::Path) -> Vec<(std::path::PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)
        .expect("a source folder")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            // Test modules may touch the world; they are folders or files called so.
            if path.file_name().is_some_and(|name| name != "tests") {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_stem().is_some_and(|stem| stem != "tests")
        {
            let content = std::fs::read_to_string(&path).expect("a readable source file");
            found.push((path, content));
        }
    }
    found
}

#[test]
fn what_we_chose_is_there_once() {
    let direct: BTreeSet<&str> = own()
        .flat_map(normal_dependencies)
        .filter(|name| !name.starts_with("tepui"))
        .collect();
    assert!(direct.contains("tokio"), "the graph was read");
    // What ends up in the binary; tests may bring what they like.
    let linked: BTreeSet<&str> = own()
        .filter(|package| text(package, "name") == "tepui")
        .flat_map(reached_ids)
        .collect();
    assert!(linked.len() > 100, "the graph was read");
    for name in direct {
        let versions: BTreeSet<&str> = packages()
            .iter()
            .filter(|package| text(package, "name") == name && linked.contains(text(package, "id")))
            .map(|package| text(package, "version"))
            .collect();
        let excused = deny_toml_skips(name);
        assert!(
            versions.len() <= 1 + excused,
            "{name} is there in versions {versions:?}; deny.toml excuses {excused} of them"
        );
    }
}

/// How many old versions of a crate deny.toml lists, with the reason, as brought in by others.
fn deny_toml_skips(name: &str) -> usize {
    let deny = include_str!("../../deny.toml");
    deny.lines()
        .filter(|line| {
            line.trim_start().starts_with("{ crate") && line.contains(&format!("\"{name}@"))
        })
        .count()
}

#[test]
fn every_licence_is_accepted() {
    for package in packages()
        .iter()
        .filter(|package| !package["source"].is_null())
    {
        let licence = text(package, "license").replace('/', " OR ");
        let accepted = licence.replace(['(', ')'], "").split(" OR ").any(|choice| {
            choice
                .split(" AND ")
                .all(|one| LICENCES.contains(&one.trim()))
        });
        assert!(
            accepted,
            "{} {} has licence `{licence}`",
            text(package, "name"),
            text(package, "version")
        );
    }
}
