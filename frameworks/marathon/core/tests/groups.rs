//! What somebody sees who works with groups, on a cluster in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::{Cluster, body, delete, update};
use serde_json::{Value, json};
use tepui_marathon_core::{
    ApiCall, Response,
    view::{GroupEmbed, Query},
};

const PROD: &str = r#"{"id":"/prod","apps":[{"id":"web","cmd":"serve","cpus":0.1,"mem":32,"dependencies":["db"]},
    {"id":"db","cmd":"store","cpus":0.1,"mem":32}],"groups":[{"id":"batch","apps":[{"id":"job","cmd":"work","cpus":0.1,"mem":32,"instances":2}]}]}"#;

fn post(cluster: &mut Cluster, base: &str, document: &str) -> Response {
    cluster.call(ApiCall::CreateGroup {
        base: base.to_owned(),
        body: document.to_owned().into(),
        force: false,
    })
}

fn put(cluster: &mut Cluster, id: &str, document: &str, dry_run: bool) -> Response {
    cluster.call(ApiCall::UpdateGroup {
        id: id.to_owned(),
        body: document.to_owned().into(),
        force: false,
        dry_run,
    })
}

fn remove(cluster: &mut Cluster, id: &str) -> Response {
    cluster.call(ApiCall::DeleteGroup {
        id: id.to_owned(),
        force: false,
    })
}

fn get(cluster: &Cluster, id: &str) -> (u16, Value) {
    cluster.get(&Query::Group {
        id: id.to_owned(),
        embed: GroupEmbed::parse([]),
    })
}

fn versions(cluster: &mut Cluster, id: &str) -> Value {
    body(&cluster.call(ApiCall::GroupVersions { id: id.to_owned() }))
}

fn instances(cluster: &Cluster, id: &str) -> Value {
    cluster.app(id)["instances"].clone()
}

#[test]
fn a_group_is_created_in_the_order_of_its_dependencies_read_scaled_rolled_back_and_deleted() {
    let mut cluster = Cluster::new(2);
    let steps = body(&put(&mut cluster, "/prod", PROD, true));
    let action = |action: &str, app: &str| json!({ "action": action, "app": app });
    assert_eq!(
        steps,
        json!({ "steps": [
            { "actions": [action("StartApplication", "/prod/batch/job"), action("StartApplication", "/prod/db"), action("StartApplication", "/prod/web")] },
            { "actions": [action("ScaleApplication", "/prod/batch/job"), action("ScaleApplication", "/prod/db")] },
            { "actions": [action("ScaleApplication", "/prod/web")] },
        ] })
    );
    assert_eq!(get(&cluster, "/prod").0, 404, "a rehearsal changes nothing");
    let created = post(&mut cluster, "/", PROD);
    assert_eq!(
        (created.status, created.location.as_deref()),
        (201, Some("/prod"))
    );
    let (first, again) = (
        body(&created)["version"].clone(),
        post(&mut cluster, "/", PROD),
    );
    assert_eq!(
        (again.status, body(&again)),
        (
            409,
            json!({ "message": "Group /prod is already created. Use PUT to change this group." })
        )
    );
    cluster.run();
    assert_eq!(cluster.deployments(), json!([]));
    let at = |command: &str| {
        let of =
            |info: &tepui_proto::mesos::TaskInfo| info.command.as_ref().unwrap().value() == command;
        cluster.launched.iter().position(of).unwrap()
    };
    assert!(at("store") < at("serve"), "the dependency first");
    let (status, group) = get(&cluster, "/prod");
    assert_eq!(status, 200);
    assert_eq!(
        (
            &group["id"],
            &group["pods"],
            &group["dependencies"],
            &group["enforceRole"],
            &group["version"]
        ),
        (
            &json!("/prod"),
            &json!([]),
            &json!([]),
            &json!(false),
            &first
        )
    );
    assert_eq!(
        group["groups"][0]["apps"][0]["id"],
        json!("/prod/batch/job")
    );
    assert!(
        group["groups"][0].get("enforceRole").is_none()
            && group["apps"][0].get("tasksRunning").is_none()
    );
    assert_eq!(versions(&mut cluster, "/prod"), json!([first]));

    let scaled = put(&mut cluster, "/prod", r#"{"scaleBy":1.5}"#, false);
    assert_eq!(scaled.status, 200);
    cluster.run();
    let counts =
        |cluster: &Cluster| ["/prod/web", "/prod/batch/job"].map(|id| instances(cluster, id));
    assert_eq!(counts(&cluster), [json!(2), json!(3)], "rounded up");
    assert_eq!(cluster.running("/prod/batch/job").len(), 3);
    let before = cluster.running("/prod/db");

    cluster.fail_over();
    cluster.run();
    let back = format!(r#"{{"version":{first}}}"#);
    assert_eq!(
        put(&mut cluster, "/prod", &back, false).status,
        200,
        "also by another leader"
    );
    cluster.run();
    assert_eq!(counts(&cluster), [json!(1), json!(2)]);
    assert!(
        before.contains(&cluster.running("/prod/db")[0]),
        "nothing that fits is restarted"
    );

    assert_eq!(remove(&mut cluster, "/prod/batch").status, 200);
    cluster.run();
    assert_eq!(
        (
            get(&cluster, "/prod/batch").0,
            cluster.running("/prod/batch/job").len()
        ),
        (404, 0)
    );
    assert_eq!(
        put(&mut cluster, "/prod", &back, false).status,
        200,
        "a deleted app comes back"
    );
    cluster.run();
    assert_eq!(cluster.running("/prod/batch/job").len(), 2);
    let past = cluster.call(ApiCall::GroupVersion {
        id: "/prod".into(),
        version: first.as_str().unwrap().into(),
    });
    assert_eq!(body(&past)["groups"][0]["apps"][0]["instances"], json!(2));

    assert_eq!(remove(&mut cluster, "/").status, 200);
    cluster.run();
    assert_eq!(
        (cluster.tasks.len(), get(&cluster, "/").1["groups"].clone()),
        (0, json!([]))
    );
    let missing = remove(&mut cluster, "/prod");
    assert_eq!(
        (missing.status, body(&missing)),
        (404, json!({ "message": "Group '/prod' does not exist" }))
    );
}

#[test]
fn an_update_replaces_what_it_lists_and_keeps_what_it_does_not_name() {
    let mut cluster = Cluster::new(1);
    post(&mut cluster, "/", PROD);
    cluster.run();
    let task = cluster.running("/prod/db");
    let only = r#"{"apps":[{"id":"db","cmd":"store","cpus":0.1,"mem":32},{"id":"/prod/new","cmd":"run it","cpus":0.1,"mem":32}]}"#;
    assert_eq!(put(&mut cluster, "/prod", only, false).status, 200);
    cluster.run();
    let apps = get(&cluster, "/prod").1["apps"].clone();
    let ids: Vec<&Value> = apps
        .as_array()
        .unwrap()
        .iter()
        .map(|app| &app["id"])
        .collect();
    assert_eq!(ids, [&json!("/prod/db"), &json!("/prod/new")]);
    assert_eq!(cluster.running("/prod/db"), task);
    assert_eq!(
        cluster.running("/prod/batch/job").len(),
        2,
        "groups were not named"
    );
    assert_eq!(
        put(&mut cluster, "/prod", r#"{"groups":[]}"#, false).status,
        200
    );
    cluster.run();
    assert_eq!(get(&cluster, "/prod/batch").0, 404);
    // An app's group comes with it and stays when it goes.
    cluster.create(r#"{"id":"/new/sub/app","cmd":"sleep 1","cpus":0.1,"mem":32}"#);
    cluster.run();
    cluster.call(delete("/new/sub/app"));
    cluster.run();
    assert_eq!(get(&cluster, "/new/sub").0, 200);
    cluster.fail_over();
    assert_eq!(get(&cluster, "/new/sub").0, 200);
}

#[test]
fn what_cannot_be_is_refused_in_marathons_words() {
    let mut cluster = Cluster::new(1);
    post(&mut cluster, "/", PROD);
    cluster.run();
    for (document, path, error) in [
        (
            r#"{"apps":[{"id":"a","cmd":"sleep 1","cpus":0}]}"#,
            "/apps(0)/cpus",
            "error.min",
        ),
        (
            r#"{"groups":[{"id":"g","apps":[{"id":"a"}]}]}"#,
            "/groups(0)/apps(0)",
            "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
        ),
        (
            r#"{"apps":[{"id":"/other/a","cmd":"sleep 1"}]}"#,
            "/apps(0)/id",
            "Identifier is not child of '/prod'",
        ),
        (
            r#"{"groups":[{"apps":[]}]}"#,
            "/groups(0)/id",
            "not defined",
        ),
        (
            r#"{"groups":[{"id":"sub","enforceRole":true}]}"#,
            "/groups(0)/enforceRole",
            "enforceRole can only be set for top-level groups, and /prod/sub is not top-level",
        ),
        (
            r#"{"scaleBy":2,"apps":[]}"#,
            "/scaleBy",
            "not allowed in conjunction with other properties.",
        ),
        (
            r#"{"version":"2020-01-01T00:00:00.000Z","scaleBy":2}"#,
            "/version",
            "not allowed in conjunction with other properties.",
        ),
        (r#"{"scaleBy":-1}"#, "/scaleBy", "error.min"),
        (
            r#"{"dependencies":["/prod"]}"#,
            "/",
            "Dependency graph has cyclic dependencies.",
        ),
        (
            r#"{"groups":[{"id":"web"}]}"#,
            "/",
            "Groups and Applications may not have the same identifier.",
        ),
        (
            r#"{"enforceRole":true,"apps":[]}"#,
            "/",
            "enforceRole cannot be modified in a request that adds, removes or modifies services; please make these changes in separate requests.",
        ),
    ] {
        let refused = put(&mut cluster, "/prod", document, false);
        let details = body(&refused)["details"].clone();
        let found = details.as_array().into_iter().flatten().any(|detail| {
            detail["path"] == path && detail["errors"].as_array().unwrap().contains(&json!(error))
        });
        assert!(
            refused.status == 422 && found,
            "{document}: {} {details}",
            refused.status
        );
    }
    let unknown = put(
        &mut cluster,
        "/prod",
        r#"{"version":"2015-01-01T00:00:00.000Z"}"#,
        false,
    );
    assert_eq!(unknown.status, 422);
    assert_eq!(cluster.running("/prod/web").len(), 1, "nothing was changed");
    let clash = post(&mut cluster, "/prod", r#"{"id":"web"}"#);
    assert_eq!(
        body(&clash),
        json!({ "message": "An app with the path /prod/web already exists." })
    );
}

#[test]
fn groups_that_depend_on_groups_come_after_them_and_the_locked_ones_want_force() {
    let mut cluster = Cluster::new(0);
    let app = |id: &str| format!(r#"{{"id":"{id}","cmd":"sleep 1","cpus":0.1,"mem":32}}"#);
    let document = format!(
        r#"{{"groups":[{{"id":"a","dependencies":["../b"],"apps":[{}]}},{{"id":"b","apps":[{}]}}]}}"#,
        app("x"),
        app("y")
    );
    let steps = body(&put(&mut cluster, "/", &document, true));
    assert_eq!(steps["steps"][1]["actions"][0]["app"], json!("/b/y"));
    assert_eq!(steps["steps"][2]["actions"][0]["app"], json!("/a/x"));
    // The circle is closed by an app that does not change.
    put(&mut cluster, "/", &document, false);
    let circle = put(&mut cluster, "/b", r#"{"dependencies":["/a"]}"#, false);
    assert_eq!(circle.status, 422);
    let locked = remove(&mut cluster, "/b");
    assert_eq!(locked.status, 409);
    assert_eq!(body(&locked)["deployments"].as_array().unwrap().len(), 1);
    let forced = cluster.call(ApiCall::DeleteGroup {
        id: "/b".to_owned(),
        force: true,
    });
    assert_eq!(forced.status, 200);
}

#[test]
fn a_group_that_enforces_its_role_gives_it_to_new_apps_and_refuses_others() {
    let mut cluster = Cluster::new(1);
    let patch = |cluster: &mut Cluster, id: &str, document: &str| {
        cluster.call(ApiCall::PatchGroup {
            id: id.to_owned(),
            body: document.to_owned().into(),
        })
    };
    assert_eq!(
        patch(&mut cluster, "/dev", r#"{"enforceRole":true}"#).status,
        404
    );
    post(
        &mut cluster,
        "/",
        r#"{"id":"/dev","groups":[{"id":"sub"}]}"#,
    );
    assert_eq!(
        patch(&mut cluster, "/dev/sub", r#"{"enforceRole":true}"#).status,
        422
    );
    let patched = patch(&mut cluster, "/dev", r#"{"enforceRole":true}"#);
    assert_eq!(
        (patched.status, patched.body.len(), patched.deployment_id),
        (200, 0, None)
    );
    assert_eq!(get(&cluster, "/dev").1["enforceRole"], json!(true));
    cluster.create(r#"{"id":"/dev/sub/a","cmd":"sleep 1","cpus":0.1,"mem":32}"#);
    cluster.run();
    assert_eq!(cluster.app("/dev/sub/a")["role"], json!("dev"));
    let environment = cluster.launched[0]
        .command
        .clone()
        .unwrap()
        .environment
        .unwrap();
    assert!(
        environment
            .variables
            .iter()
            .any(|one| { one.name == "MARATHON_APP_ENFORCE_GROUP_ROLE" && one.value() == "TRUE" })
    );
    let refused = cluster.create(r#"{"id":"/dev/b","cmd":"sleep 1","role":"*"}"#);
    assert_eq!(
        body(&refused)["details"],
        json!([{ "path": "/role", "errors": ["got *, expected one of: [dev]"] }])
    );
}

#[test]
fn undoing_a_deployment_undoes_its_groups_and_leaves_what_others_added() {
    let mut cluster = Cluster::new(0);
    let created = post(&mut cluster, "/", PROD);
    let id = created.deployment_id.unwrap();
    cluster.create(r#"{"id":"/prod/other/app","cmd":"sleep 1"}"#);
    let undone = cluster.call(ApiCall::CancelDeployment { id, force: false });
    assert_eq!(undone.status, 200);
    cluster.run();
    assert_eq!(get(&cluster, "/prod/batch").0, 404);
    assert_eq!(
        get(&cluster, "/prod").1["groups"][0]["id"],
        json!("/prod/other")
    );
    assert_eq!(
        cluster
            .call(update("/prod/other/app", r#"{"instances":0}"#, true))
            .status,
        200
    );
}
