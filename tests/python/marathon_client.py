"""An unmodified marathon-python against Tepui's Marathon: every call that it has and that works against Marathon 1.11.

usage: marathon_client.py MARATHON_URL
Calls on which the client itself fails against Marathon 1.11 are left out: list_groups, list_queue with entries, rollback_group, event subscriptions,
and deployment events in object mode.
"""

import collections
import collections.abc
import sys
import threading
import time

collections.Iterable = collections.abc.Iterable  # gone since Python 3.10; the client is left as it is

from marathon import MarathonClient  # noqa: E402
from marathon.exceptions import ConflictError, MarathonHttpError, NotFoundError  # noqa: E402
from marathon.models import MarathonApp, MarathonHealthCheck  # noqa: E402


def until(what, condition, seconds=60):
    deadline = time.time() + seconds
    while not (value := condition()):
        assert time.time() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return value


def raises(error, call):
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was not raised")


def main():
    client = MarathonClient(sys.argv[1], timeout=20)
    assert b"pong" in client.ping(), client.ping()
    info = client.get_info()
    assert info.name == "marathon" and info.version == "1.11.24", info
    assert client.get_leader()["leader"]

    seen, attached = [], threading.Event()

    def follow():
        types = ["event_stream_attached", "api_post_event", "status_update_event", "app_terminated_event", "health_status_changed_event"]
        for event in client.event_stream(event_types=types):
            seen.append(event)
            attached.set()

    threading.Thread(target=follow, daemon=True).start()
    assert attached.wait(60), "the event stream was not attached"

    web = MarathonApp(
        cmd="exec perl -MIO::Socket::INET -e '$s=IO::Socket::INET->new(LocalPort=>$ENV{PORT0},Listen=>9,ReuseAddr=>1) or die;"
        'while($c=$s->accept){while(<$c>){last if /^\\r?$/}print $c "HTTP/1.0 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok";close $c}\'',
        cpus=0.1,
        mem=32,
        instances=1,
        labels={"team": "blue"},
        env={"GREETING": "hello"},
        health_checks=[MarathonHealthCheck(protocol="HTTP", path="/", port_index=0, interval_seconds=1, grace_period_seconds=20)],
    )
    created = client.create_app("/clients/web", web)
    assert created.id == "/clients/web" and created.instances == 1, created
    raises(ConflictError, lambda: client.create_app("/clients/web", web))
    until("one healthy task", lambda: client.get_app("/clients/web").tasks_healthy == 1)
    until("the end of the deployment", lambda: not client.list_deployments())

    apps = client.list_apps(cmd="perl", label="team==blue", embed_tasks=True)
    assert [app.id for app in apps] == ["/clients/web"], apps
    assert client.list_apps(app_id="nothing") == []
    task = client.list_tasks("/clients/web")[0]
    assert task.state == "TASK_RUNNING" and task.ports and task.health_check_results[0].alive, task
    assert [one.id for one in client.list_tasks()] == [task.id]

    client.scale_app("/clients/web", instances=3)
    until("three healthy tasks", lambda: client.get_app("/clients/web").tasks_healthy == 3)
    until("the end of scaling", lambda: not client.list_deployments())
    client.scale_app("/clients/web", delta=-2)
    until("one task", lambda: len(client.list_tasks("/clients/web")) == 1)
    until("the end of scaling", lambda: not client.list_deployments())

    updated = client.get_app("/clients/web")
    updated.env = {"GREETING": "good day"}
    client.update_app("/clients/web", updated)
    until("the end of the update", lambda: not client.list_deployments())
    assert client.get_app("/clients/web").env == {"GREETING": "good day"}
    until("a healthy task of the new version", lambda: client.get_app("/clients/web").tasks_healthy == 1)
    assert len(client.list_versions("/clients/web")) >= 2
    old = client.get_version("/clients/web", client.list_versions("/clients/web")[-1])
    assert old.env == {"GREETING": "hello"}, old.env
    client.rollback_app("/clients/web", client.list_versions("/clients/web")[-1])
    until("the end of the rollback", lambda: not client.list_deployments())
    assert client.get_app("/clients/web").env == {"GREETING": "hello"}

    before = {one.id for one in client.list_tasks("/clients/web")}
    client.restart_app("/clients/web")
    until("the end of the restart", lambda: not client.list_deployments())
    until("another task", lambda: not before & {one.id for one in client.list_tasks("/clients/web")})

    victim = until("a running task", lambda: [one for one in client.list_tasks("/clients/web") if one.state == "TASK_RUNNING"])[0]
    killed = client.kill_task("/clients/web", victim.id)
    assert killed.id == victim.id, killed
    until("its replacement", lambda: [one for one in client.list_tasks("/clients/web") if one.id != victim.id and one.state == "TASK_RUNNING"])
    assert client.kill_tasks("/clients/web", host="nowhere") == []

    many = [MarathonApp(id="/clients/a", cmd="exec sleep 100", cpus=0.1, mem=32), MarathonApp(id="/clients/b", cmd="exec sleep 100", cpus=0.1, mem=32)]
    client.update_apps(many)
    until("both", lambda: client.get_app("/clients/a").tasks_running == client.get_app("/clients/b").tasks_running == 1)
    client.kill_given_tasks([one.id for one in client.list_tasks("/clients/a")])

    from marathon.models import MarathonGroup

    nested = MarathonGroup(id="/clients/group", apps=[MarathonApp(id="one", cmd="exec sleep 100", cpus=0.1, mem=32)])
    assert client.create_group(nested)["deploymentId"]
    until("the group's app", lambda: client.get_app("/clients/group/one").tasks_running == 1)
    until("the end of the group's deployment", lambda: not client.list_deployments())
    client.scale_group("/clients/group", 2)
    until("two tasks", lambda: client.get_app("/clients/group/one").tasks_running == 2)
    until("the end of the group's scaling", lambda: not client.list_deployments())
    assert client.get_group("/clients/group").apps[0].id == "/clients/group/one"
    client.delete_group("/clients/group", force=True)
    raises(NotFoundError, lambda: client.get_group("/clients/group"))

    refusal = raises(MarathonHttpError, lambda: client.create_app("/clients/both", MarathonApp(cmd="true", args=["true"])))
    assert refusal.status_code == 422 and "Object is not valid" in str(refusal), refusal
    raises(NotFoundError, lambda: client.get_app("/clients/none"))

    for app in ("/clients/web", "/clients/a", "/clients/b"):
        client.delete_app(app, force=True)
    until("no apps", lambda: not client.list_apps())
    until("no tasks", lambda: not client.list_tasks())
    until("the event of the app's end", lambda: any(event.event_type == "app_terminated_event" for event in list(seen)))
    types = {event.event_type for event in seen}
    assert {"api_post_event", "status_update_event", "health_status_changed_event"} <= types, types
    assert client.get_metrics()["gauges"]
    print("all calls work")


main()
