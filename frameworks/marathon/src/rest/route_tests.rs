//! Tables: what requests want.

use super::*;

fn of(method: &Method, target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parts = Parts {
        method,
        path,
        query,
        content_type: None,
        body: Bytes::from_static(b"{}"),
        client_ip: "1.2.3.4".into(),
    };
    format!("{:?}", route(&parts))
}

#[test]
fn requests_are_understood() {
    let (get, put, post, delete, patch) = (
        Method::GET,
        Method::PUT,
        Method::POST,
        Method::DELETE,
        Method::PATCH,
    );
    for (method, target, expected) in [
        (&get, "/ping", "Ping"),
        (&get, "/", "Home"),
        (&get, "/v2/apps", "Apps { cmd: None"),
        (&get, "/v2/apps/?embed=apps.tasks", "tasks: true"),
        (
            &get,
            "/v2/apps?id=a%20b&cmd=x+y",
            "cmd: Some(\"x y\"), id: Some(\"a b\")",
        ),
        (&get, "/v2/apps//prod/web", "App { id: \"/prod/web\""),
        (&get, "/v2/apps/%2Fprod%2Fweb", "App { id: \"/prod/web\""),
        (&get, "/v2/apps/*", "AppsBelow { group: \"/\""),
        (&get, "/v2/apps/prod/*", "AppsBelow { group: \"/prod\""),
        (
            &get,
            "/v2/apps/prod/*/tasks",
            "TasksBelow { group: \"/prod\"",
        ),
        (
            &get,
            "/v2/apps/prod/web/tasks",
            "AppTasks { id: \"/prod/web\"",
        ),
        (&get, "/v2/apps/web/versions", "Versions { id: \"/web\""),
        (
            &get,
            "/v2/apps/web/versions/2015-01-01T00:00:00.000Z",
            "version: \"2015-01-01T00:00:00.000Z\"",
        ),
        (
            &get,
            "/v2/tasks?status=running&status[]=staging",
            "[\"running\", \"staging\"]",
        ),
        (
            &post,
            "/v2/apps?force=True",
            "CreateApp { body: b\"{}\", force: true, origin: Origin { client_ip: \"1.2.3.4\", uri: \"/v2/apps?force=True\"",
        ),
        (
            &post,
            "/v2/apps/web/restart",
            "RestartApp { id: \"/web\", force: false",
        ),
        (&put, "/v2/apps/web", "partial: true, create: true"),
        (
            &put,
            "/v2/apps/web?partialUpdate=false",
            "partial: false, create: true",
        ),
        (&patch, "/v2/apps/web", "partial: true, create: false"),
        (&put, "/v2/apps", "UpdateApps"),
        (
            &delete,
            "/v2/apps/web",
            "DeleteApp { id: \"/web\", force: true",
        ),
        (
            &delete,
            "/v2/apps/web?force=False",
            "DeleteApp { id: \"/web\", force: false",
        ),
        (
            &delete,
            "/v2/apps/web/tasks?host=h&scale=true",
            "KillAppTasks { id: \"/web\", host: Some(\"h\"), scale: true",
        ),
        (
            &delete,
            "/v2/apps/web/tasks/t.1",
            "KillAppTask { id: \"/web\", task_id: \"t.1\"",
        ),
        (
            &post,
            "/v2/tasks/delete?wipe=true",
            "KillTasks { body: b\"{}\", scale: false, wipe: true",
        ),
        (&get, "/v2/deployments", "Deployments"),
        (
            &delete,
            "/v2/deployments/d?force=true",
            "CancelDeployment { id: \"d\", force: true",
        ),
        (
            &get,
            "/v2/queue?embed=lastUnusedOffers",
            "last_unused_offers: true",
        ),
        (&delete, "/v2/queue/a/b/delay", "ResetDelay { id: \"/a/b\""),
        (&delete, "/v2/leader", "Abdicate"),
        (
            &get,
            "/v2/events?event_type=a&event_type=b",
            "Events { types: [\"a\", \"b\"]",
        ),
        (&post, "/v2/info", "status: 405"),
        (&post, "/v2/deployments", "status: 405"),
        (&delete, "/v2/apps", "status: 405"),
        (&get, "/v2/pods", "Pods"),
        (&Method::HEAD, "/v2/pods", "status: 200"),
        (
            &post,
            "/v2/pods?force=true",
            "CreatePod { body: b\"{}\", force: true",
        ),
        (&get, "/v2/pods//a/b", "Pod { id: \"/a/b\""),
        (&put, "/v2/pods/a/b", "UpdatePod { id: \"/a/b\""),
        (
            &delete,
            "/v2/pods/a/b",
            "DeletePod { id: \"/a/b\", force: false",
        ),
        (&get, "/v2/pods/::status", "PodStatuses"),
        (&get, "/v2/pods/a/b::status", "PodStatus { id: \"/a/b\""),
        (&get, "/v2/pods/a/b::versions", "PodVersions { id: \"/a/b\""),
        (
            &get,
            "/v2/pods/a::versions/2015-01-01T00:00:00.000Z",
            "PodVersion { id: \"/a\", version: \"2015-01-01T00:00:00.000Z\"",
        ),
        (
            &delete,
            "/v2/pods/a::instances/a.instance-1?wipe=true",
            "KillPodInstance { id: \"/a\", instance: \"a.instance-1\", wipe: true",
        ),
        (
            &delete,
            "/v2/pods/a::instances",
            "KillPodInstances { id: \"/a\", body: b\"{}\", wipe: false",
        ),
        (&patch, "/v2/pods/a", "status: 405"),
        (&delete, "/v2/pods", "status: 405"),
        (&get, "/v2/pods/a::nothing", "status: 404"),
        (&get, "/v2/groups", "Group { id: \"/\""),
        (&get, "/v2/groups/a/b", "Group { id: \"/a/b\""),
        (&get, "/v2/groups/a/apps", "GroupApps { id: \"/a\""),
        (&get, "/v2/groups/versions", "GroupVersions { id: \"/\""),
        (
            &get,
            "/v2/groups/a/versions/2015-01-01T00:00:00.000Z",
            "GroupVersion { id: \"/a\"",
        ),
        (
            &put,
            "/v2/groups/a?dryRun=true",
            "UpdateGroup { id: \"/a\", body: b\"{}\", force: false, dry_run: true",
        ),
        (&patch, "/v2/groups", "status: 405"),
        (
            &delete,
            "/v2/groups/a?force=true",
            "DeleteGroup { id: \"/a\", force: true",
        ),
        (&get, "/v3/apps/a/b/explain", "Explain { id: \"/a/b\""),
        (
            &get,
            "/v3/apps/a/b/history?limit=2&task=t",
            "EndedTasks { id: \"/a/b\", of_pod: false",
        ),
        (&get, "/v3/pods/a/history", "of_pod: true"),
        (
            &get,
            "/v3/apps/a/history?cause=moved,killed&cause=restarted&status=killed",
            "status: [\"TASK_KILLED\"], causes: [Moved, Killed, Restarted]",
        ),
        (&get, "/v3/pods/a/history?limit=0", "status: 422"),
        (&get, "/v3/pods/a/history?cause=failed", "status: 422"),
        (&get, "/v3/pods/a/history?causes=moved", "status: 422"),
        (
            &get,
            "/v3/apps/a/history?state=killed",
            "there is no parameter `state`",
        ),
        (&get, "/v3/plan", "status: 405"),
        (
            &Method::POST,
            "/v3/plan",
            "Plan { body: b\"{}\", partial: true",
        ),
        (
            &Method::POST,
            "/v3/apply?deadlineSeconds=60&partialUpdate=false",
            "partial: false, force: false, deadline_seconds: Some(60)",
        ),
        (&Method::POST, "/v3/apply?deadlineSeconds=-1", "status: 422"),
        (
            &Method::PUT,
            "/v3/deployments/x/deadline?seconds=5",
            "Deadline { id: \"x\", seconds: Some(5)",
        ),
        (&Method::PUT, "/v3/deployments/x/deadline", "status: 422"),
        (&get, "/v3/deployments", "Deployments"),
        (&get, "/config/", "Config"),
        (&get, "/logging", "Loggers"),
        (&post, "/logging", "Log(b\"{}\")"),
        (&put, "/logging", "status: 405"),
        (&get, "/help", "Elsewhere(\"api-console/index.html\")"),
        (&get, "/help/", "Elsewhere(\"../api-console/index.html\")"),
        (
            &get,
            "/api-console",
            "Elsewhere(\"api-console/index.html\")",
        ),
        (&get, "/api-console/", "Console(Index)"),
        (&get, "/api-console/index.html", "Console(Index)"),
        (&get, "/api-console/console.js", "Console(Script)"),
        (&get, "/api-console/else", "status: 404"),
        (&post, "/help", "status: 405"),
        (&get, "/public/api/openapi.json", "OpenApi"),
        (&get, "/public/api/v2/schema/App.json", "Schema(\"App\")"),
        (&get, "/public/api/v2/apps.raml", "status: 404"),
        (&get, "/v3/else", "status: 404"),
        (&get, "/nothing", "status: 404"),
    ] {
        let found = of(method, target);
        assert!(found.contains(expected), "{method} {target}: {found}");
    }
}

#[test]
fn a_path_tells_its_methods() {
    for (path, want) in [
        ("/v2/info", "GET, HEAD, OPTIONS"),
        ("/v2/pods", "GET, HEAD, POST, OPTIONS"),
        ("/logging", "GET, HEAD, POST, OPTIONS"),
        ("/api-console/", "GET, HEAD, OPTIONS"),
        ("/v2/apps/a", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
        ("/v3/deployments/x/deadline", "PUT, DELETE, OPTIONS"),
        ("/nothing", ""),
    ] {
        assert_eq!(allowed(path), want, "{path}");
    }
}

#[test]
fn bodies_must_be_json_or_yaml() {
    for (content_type, refused) in [
        ("application/json", false),
        ("application/yaml; charset=utf-8", false),
        ("Text/X-Yaml", false),
        ("application/json; charset=utf-8", false),
        ("text/plain", true),
    ] {
        let parts = Parts {
            method: &Method::POST,
            path: "/v2/apps",
            query: "",
            content_type: Some(content_type),
            body: Bytes::from_static(b"{}"),
            client_ip: String::new(),
        };
        assert_eq!(
            matches!(route(&parts), Wanted::Answer(Response { status: 415, .. })),
            refused,
            "{content_type}"
        );
    }
}
