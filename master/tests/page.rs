//! docs/src/mesos.md is true: every call, event, flag and endpoint that is there has its row, and the rows do not promise more than
//! the master does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tepui_master::{Config, Effect, FLAGS, Master, RunningMaster};
use tepui_proto::mesos::{master, offer, scheduler};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/mesos.md");
const BEGIN: &str =
    "<!-- flags: written by `TEPUI_WRITE_DOCS=1 cargo test -p tepui-master --test page` -->\n";
const END: &str = "<!-- end of flags -->";

fn page() -> String {
    std::fs::read_to_string(PAGE).expect("the page is there")
}

/// First and second column of the table under a heading.
fn rows(page: &str, heading: &str) -> BTreeMap<String, String> {
    let section = page
        .split_once(&format!("{heading}\n"))
        .unwrap_or_else(|| panic!("the page has a heading '{heading}'"))
        .1;
    let mut rows = BTreeMap::new();
    let table = section
        .lines()
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with('|'))
        .skip(2);
    for line in table {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let name = cells.next().expect("a first cell").trim_matches('`');
        let state = cells.next().expect("a second cell").trim_matches('|');
        let twice = rows.insert(name.to_owned(), state.trim().to_owned());
        assert_eq!(twice, None, "{heading}: {name} has one row");
    }
    rows
}

/// The names of an enum's values, which are numbered without large gaps.
fn names<E: TryFrom<i32>>(name: impl Fn(&E) -> &'static str) -> Vec<&'static str> {
    (0..100)
        .filter_map(|number| E::try_from(number).ok())
        .map(|value| name(&value))
        .collect()
}

#[test]
fn every_call_operation_and_event_has_its_row() {
    let page = page();
    for (heading, mut expected) in [
        (
            "## Scheduler API: calls of `POST /api/v1/scheduler`",
            names(scheduler::call::Type::as_str_name),
        ),
        (
            "### Operations of ACCEPT",
            names(offer::operation::Type::as_str_name),
        ),
        ("### Events", names(scheduler::event::Type::as_str_name)),
        (
            "## Operator API: calls of `POST /api/v1`",
            names(master::call::Type::as_str_name),
        ),
    ] {
        if !heading.contains("calls") {
            expected.retain(|name| *name != "UNKNOWN");
        }
        expected.sort_unstable();
        let found: Vec<_> = rows(&page, heading).into_keys().collect();
        assert_eq!(found, expected, "{heading}");
    }
}

#[test]
fn the_flags_are_listed_as_the_code_has_them() {
    let mut table = String::from("| flag | default | effect |\n| --- | --- | --- |\n");
    let mut flags: Vec<_> = FLAGS.iter().collect();
    flags.sort_by_key(|flag| flag.name);
    for flag in flags {
        let aliases: String = flag
            .aliases
            .iter()
            .map(|alias| format!(", `--{alias}`"))
            .collect();
        let default = flag.default.map_or_else(String::new, |value| {
            format!("`{}`", value.replace('|', "\\|"))
        });
        let effect = match flag.effect {
            Effect::Used => flag.help.to_owned(),
            Effect::Ignored(why) => format!("without effect: {why}"),
            Effect::Refused(why) => format!("refused: {why}"),
        };
        let _ = writeln!(
            table,
            "| `--{}`{aliases} | {default} | {effect} |",
            flag.name
        );
    }
    let page = page();
    let (before, rest) = page.split_once(BEGIN).expect("the mark before the flags");
    let (listed, after) = rest.split_once(END).expect("the mark after the flags");
    if std::env::var_os("TEPUI_WRITE_DOCS").is_some() {
        let written = format!("{before}{BEGIN}{table}{END}{after}");
        std::fs::write(Path::new(PAGE), written).expect("the page can be written");
    } else {
        assert_eq!(listed, table, "run the command that the page names");
    }
}

async fn ask(master: &RunningMaster, method: &str, path: &str, body: String) -> (u16, String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<bytes::Bytes>>();
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", master.addr()))
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .body(Full::from(body))
        .expect("a request");
    let answer = client.request(request).await.expect("an answer");
    let status = answer.status().as_u16();
    // Streams do not end; of them the head is enough.
    let text = match answer.headers().get("content-length") {
        Some(_) => answer
            .into_body()
            .collect()
            .await
            .map(|body| body.to_bytes()),
        None => Ok(bytes::Bytes::new()),
    };
    let text = text.expect("a body");
    (status, String::from_utf8_lossy(&text).into_owned())
}

async fn running() -> RunningMaster {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let mut config = Config::for_tests();
    config.log_file = Some(log.path().to_owned());
    let master = Master::start(config).await.expect("a free port");
    master.until_leading().await;
    master
}

#[tokio::test]
async fn rows_of_the_operator_api_say_what_is_answered() {
    let master = running().await;
    for (call, state) in rows(&page(), "## Operator API: calls of `POST /api/v1`") {
        let body = serde_json::json!({"type": call, call.to_lowercase(): {}}).to_string();
        let (status, text) = ask(&master, "POST", "/api/v1", body).await;
        let answered = matches!(status, 200 | 202 | 400 | 404 | 409);
        assert_eq!(answered, state != "not there", "{call}: {status} {text}");
    }
}

#[tokio::test]
async fn rows_of_the_endpoints_say_what_is_there() {
    let master = running().await;
    for (path, state) in rows(&page(), "## Endpoints") {
        for prefix in ["", "/master"] {
            if path.contains('(') && !prefix.is_empty() {
                continue;
            }
            let (status, text) =
                ask(&master, "GET", &format!("{prefix}{path}"), String::new()).await;
            let there = matches!(status, 200 | 307 | 400 | 405);
            assert_eq!(
                there,
                state != "not there",
                "{prefix}{path}: {status} {text}"
            );
        }
    }
}
