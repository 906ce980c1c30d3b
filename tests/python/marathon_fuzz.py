"""What schemathesis needs to reach deep into Marathon: things that are there, and requests that name them.

A hook module (SCHEMATHESIS_HOOKS). Every so many calls it sees to it that a group with an app, an app that waits for ever, and a pod are
there, and looks up their versions, tasks, instances and deployments. Of every two requests to an operation one is turned to these, and of every
two pairs of bodies one is made such that the rules over several fields hold, of which JSON Schema knows nothing.

Set FUZZ_STATUSES to a file: what each operation was answered, how often, is written there as JSON.
"""

import atexit
import collections
import json
import os
import time
import zlib

import hypothesis
import requests
import schemathesis

EVERY = 40  # calls
PATIENCE = 60  # seconds
ANSWER = 30  # seconds
APP = {"id": "app", "cmd": "sleep 1000", "cpus": 0.01, "mem": 8, "instances": 1, "labels": {"team": "a"}}
WAITS = {"id": "waits", "cmd": "sleep 1000", "cpus": 1e9, "mem": 8, "backoffSeconds": 0}
POD = {
    "id": "/fuzz/pod",
    "containers": [{"name": "c", "exec": {"command": {"shell": "sleep 1000"}}, "resources": {"cpus": 0.01, "mem": 8}}],
    "executorResources": {"cpus": 0.1, "mem": 32, "disk": 10},
}

AUTOSCALING = {"minInstances": 1, "maxInstances": 2, "metric": {"type": "cpu"}, "target": 70}
POLICY = {
    "restarts": {"schedule": "*/5 3 * * mon-fri", "utcOffset": "+02:00", "maxAgeSeconds": 3600},
    "rebalance": {"over": ["@zone", "hostname"]},
    "disruptionBudget": {"maxUnavailable": "50%", "windows": [{"days": ["sat"], "from": "22:00", "to": "04:00"}]},
}
GRANTED = {"/autoscaling": AUTOSCALING, "/policy": POLICY}

# Requests that succeed are seen to here. Hypothesis' own search for them breaks off with an IndexError of its own now and then.
hypothesis.target = lambda *_, **__: None

session = requests.Session()
calls = 0
waits = 0
there = {}
statuses = collections.defaultdict(collections.Counter)
turns = collections.Counter()


def get(base, path):
    answer = session.get(base + path, timeout=ANSWER)
    return answer.json() if answer.status_code == 200 else None


def put(base, path, body):
    answer = session.put(f"{base}{path}?force=true", json=body, timeout=ANSWER)
    if not answer.ok:
        raise AssertionError(f"PUT {path} of what is to be there: {answer.status_code} {answer.text}")


def prepare(base):
    """Makes what is missing, takes what else there is away, and looks up the names of what is there."""
    global waits
    if not there.get("deployments"):
        # One that was cancelled by force leaves the app as it is: only another definition makes another deployment.
        waits += 1
    apps = [APP, WAITS | {"labels": {"turn": str(waits)}}]
    put(base, "/v2/groups", {"apps": [], "groups": [{"id": "/fuzz", "apps": apps, "groups": []}]})
    for pod in get(base, "/v2/pods") or []:
        if pod["id"] != "/fuzz/pod":
            session.delete(f"{base}/v2/pods{pod['id']}?force=true", timeout=ANSWER)
    put(base, "/v2/pods/fuzz/pod", POD)
    tasks = get(base, "/v2/apps/fuzz/app/tasks") or {}
    status = get(base, "/v2/pods/fuzz/pod::status") or {}
    there.update(
        app_versions=(get(base, "/v2/apps/fuzz/app/versions") or {}).get("versions", []),
        pod_versions=get(base, "/v2/pods/fuzz/pod::versions") or [],
        root_versions=get(base, "/v2/groups/versions") or [],
        group_versions=get(base, "/v2/groups/fuzz/versions") or [],
        tasks=[task["id"] for task in tasks.get("tasks", [])],
        instances=[one["id"] for one in status.get("instances", [])],
        deployments=[one["id"] for one in get(base, "/v2/deployments") or []],
    )


def some(base, kind):
    """The name of one that is there now; waits for a task, or an instance, to be launched."""
    until = time.monotonic() + PATIENCE
    while True:
        prepare(base)
        if there[kind]:
            return there[kind][-1]
        if time.monotonic() > until:
            paths = ["/v2/pods/fuzz/pod::status", "/v2/deployments", "/v2/queue", "/v3/apps/fuzz/pod/explain", "/v2/tasks"]
            looked = "\n".join(f"{path}: {json.dumps(get(base, path))}" for path in paths)
            raise AssertionError(f"waited {PATIENCE} s in vain for one of {kind}\n{looked}")
        time.sleep(0.1)


def aim(case):
    """Turns a request to what is there."""
    base = case.operation.base_url
    path, given = case.operation.path, case.path_parameters or {}
    pods = path.startswith(("/v2/pods", "/v3/pods"))
    for name in given:
        if name == "group" or path.startswith("/v2/groups") and name == "id":
            given[name] = "fuzz"
        elif name == "schema":
            given[name] = "AppDefinition"
        elif name == "id":
            given[name] = "fuzz/waits" if path.startswith("/v2/queue") else "fuzz/pod" if pods else "fuzz/app"
        else:
            kind = {"taskId": "tasks", "instanceId": "instances", "deploymentId": "deployments"}.get(name)
            if name == "version":
                kind = "root_versions" if path == "/v2/groups/versions/{version}" else None
                kind = kind or ("group_versions" if "groups" in path else "pod_versions" if pods else "app_versions")
            given[name] = some(base, kind)
    if path.endswith("/history"):
        # Any text is none that is understood.
        for name in ("since", "status"):
            (case.query or {}).pop(name, None)
    if any(parameter.name == "force" for parameter in case.operation.query):
        # A deployment that waits for ever is under way.
        case.query = {**(case.query or {}), "force": "true"}
    body = case.body
    if isinstance(body, dict) and "ids" in body:
        body["ids"] = [some(base, "tasks")]
    if pods and isinstance(body, dict) and "id" in body and "id" in given:
        body["id"] = "/" + given["id"]


def mend_app(app):
    """Makes the rules over several fields hold."""
    app["cmd"] = "sleep 1000"
    for key in ("args", "uris", "ports", "ipAddress", "executor", "role", "acceptedResourceRoles", "check", "residency", "version"):
        app.pop(key, None)
    if app.get("gpus"):
        app["gpus"] = 0
    if isinstance(app.get("instances"), int):
        app["instances"] %= 3
    for key in ("container", "networks", "dependencies", "constraints", "resourceLimits", "readinessChecks", "healthChecks", "unreachableStrategy"):
        if zlib.crc32(repr(app.get(key)).encode()) % 3:
            app.pop(key, None)


def mend(body):
    if isinstance(body, list):
        for one in body:
            mend(one)
    elif isinstance(body, dict) and "containers" in body:
        body.pop("networks", None)
        body.pop("role", None)
        for container in body["containers"] if isinstance(body["containers"], list) else []:
            if isinstance(container, dict):
                container.pop("healthCheck", None)
                container.pop("volumeMounts", None)
        body.pop("volumes", None)
    elif isinstance(body, dict) and not {"apps", "groups", "scaleBy", "ids", "enforceRole"} & set(body):
        mend_app(body)
    elif isinstance(body, dict):
        if isinstance(body.get("apps"), list):
            for app in body["apps"]:
                if isinstance(app, dict):
                    mend_app(app)
        if {"apps", "groups", "dependencies", "enforceRole"} & set(body):
            body.pop("version", None)
            body.pop("scaleBy", None)


@schemathesis.hook
def before_call(context, case, kwargs):
    global calls
    label = case.operation.label
    granted = any(200 <= status < 400 for status in statuses[label])
    if calls % EVERY == 0 or not granted:
        prepare(case.operation.base_url)
    calls += 1
    turn = turns[label]
    turns[label] += 1
    if turn % 2 == 0:
        aim(case)
        for end, body in GRANTED.items():
            if case.operation.path.endswith(end) and case.method.upper() == "PUT":
                case.body = body
    if turn // 2 % 2 == 0 and not case.operation.path.endswith(tuple(GRANTED)):
        mend(case.body)
        if case.method.upper() == "POST" and isinstance(case.body, dict) and case.operation.path != "/v2/tasks/delete":
            # What is created must not be there.
            case.body["id"] = f"/made/it-{calls}"


@schemathesis.hook
def after_call(context, case, response):
    statuses[case.operation.label][response.status_code] += 1


@atexit.register
def tell():
    if os.environ.get("FUZZ_STATUSES"):
        with open(os.environ["FUZZ_STATUSES"], "w") as file:
            json.dump(statuses, file, indent=1, sort_keys=True)
