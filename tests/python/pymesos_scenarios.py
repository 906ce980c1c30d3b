"""An unmodified pymesos scheduler that goes through what a framework may do beyond plain tasks.

usage: pymesos_scenarios.py MASTER SCENARIO [EXECUTOR_COMMAND]
scenarios: groups, custom-group, volumes, reconciliation, failover
Prints `SCENARIO done` and exits with 0; says what went wrong and exits with 1 otherwise.
"""

import queue
import sys

from pymesos import MesosSchedulerDriver, Scheduler

PATIENCE = 60
ROLE = "python"
LIVE = ("TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING")


class Events(Scheduler):
    """Every callback becomes an entry of a queue, so that a scenario reads from top to bottom."""

    def __init__(self):
        self.queue = queue.Queue()

    def registered(self, driver, framework_id, master):
        self.queue.put(("registered", framework_id["value"]))

    def reregistered(self, driver, master):
        self.queue.put(("reregistered", driver.framework_id))

    def resourceOffers(self, driver, offers):
        self.queue.put(("offers", offers))

    def offerRescinded(self, driver, offer_id):
        self.queue.put(("rescinded", offer_id["value"]))

    def statusUpdate(self, driver, status):
        self.queue.put(("status", status))

    def error(self, driver, message):
        self.queue.put(("error", message))


class Framework:
    def __init__(self, master, **info):
        self.events = Events()
        self.offers, self.statuses = {}, []
        description = {"user": "root", "name": "pymesos scenarios", "role": ROLE, "failover_timeout": 100, **info}
        self.driver = MesosSchedulerDriver(self.events, description, master)
        self.driver.start()

    def pump(self, what):
        """Takes in one callback. Offers and statuses are kept until they are used."""
        try:
            name, content = self.events.queue.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError(f"waited in vain for {what}; offers held: {self.offers}; statuses: {self.statuses}")
        if name == "offers":
            self.offers.update((offer["id"]["value"], offer) for offer in content)
        elif name == "rescinded":
            self.offers.pop(content, None)
        elif name == "status":
            self.statuses.append(content)
        elif name == "error":
            raise AssertionError(f"error: {content}")
        return name, content

    def next(self, kind):
        """The next callback of a kind."""
        while True:
            name, content = self.pump(kind)
            if name == kind:
                return content

    def resources(self):
        return [resource for offer in self.offers.values() for resource in offer["resources"]]

    def until_offered(self, what, enough):
        """Waits until the offers held hold enough together."""
        while not enough(self.resources()):
            self.pump(what)
        return next(iter(self.offers.values()))["agent_id"]

    def accept(self, *operations):
        """Accepts all offers held."""
        ids = [{"value": offer} for offer in self.offers]
        self.offers.clear()
        self.driver.acceptOffers(ids, list(operations), {"refuse_seconds": 0})

    def status(self, what, accept):
        """The first status that is accepted, of those that came and are to come."""
        while True:
            for status in self.statuses:
                if accept(status):
                    self.statuses.remove(status)
                    return status
            self.pump(what)

    def ended(self, tasks, state="TASK_FINISHED"):
        """Waits until all of these tasks have ended so."""
        for task in tasks:
            status = self.status(
                f"the end of {task}", lambda status: status["task_id"]["value"] == task and status["state"] not in LIVE
            )
            assert status["state"] == state, f"{task}: {status}"

    def running(self, task):
        self.status(
            f"{task} to run", lambda status: status["task_id"]["value"] == task and status["state"] == "TASK_RUNNING"
        )

    def reconciled(self, task):
        """The answer about a task."""
        return self.status(
            f"reconciliation of {task}",
            lambda status: status["task_id"]["value"] == task and status.get("reason") == "REASON_RECONCILIATION",
        )


def scalar(name, value, **rest):
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}, **rest}


def amount(resources, name, reserved=False):
    return sum(
        r["scalar"]["value"]
        for r in resources
        if r["name"] == name and ("reservation" in r) == reserved and "disk" not in r
    )


def small(resources):
    return amount(resources, "cpus") >= 1 and amount(resources, "mem") >= 256 and amount(resources, "disk") >= 64


def task(name, agent, command=None, resources=None):
    info = {
        "name": name,
        "task_id": {"value": name},
        "agent_id": agent,
        "resources": resources or [scalar("cpus", 0.1), scalar("mem", 32)],
    }
    if command:
        info["command"] = {"value": command}
    return info


def launch(*tasks):
    return {"type": "LAUNCH", "launch": {"task_infos": list(tasks)}}


def group(executor, *tasks):
    return {"type": "LAUNCH_GROUP", "launch_group": {"executor": executor, "task_group": {"tasks": list(tasks)}}}


def executor(framework, **rest):
    return {
        "framework_id": {"value": framework},
        "resources": [scalar("cpus", 0.1), scalar("mem", 32), scalar("disk", 16)],
        **rest,
    }


def groups(master, _):
    """Task groups on the default executor: all of a group finish; one that fails takes its group with it, and no other."""
    framework = Framework(master)
    id = framework.next("registered")
    agent = framework.until_offered("room for two groups", small)
    first = executor(id, type="DEFAULT", executor_id={"value": "first"})
    second = executor(id, type="DEFAULT", executor_id={"value": "second"})
    framework.accept(
        group(first, task("a1", agent, "true"), task("a2", agent, "sleep 0.1")),
        group(second, task("b1", agent, "exit 3"), task("b2", agent, "exec sleep 1000")),
    )
    framework.ended(["a1", "a2"])
    framework.ended(["b1"], "TASK_FAILED")
    framework.ended(["b2"], "TASK_KILLED")
    framework.driver.stop()


def custom_group(master, command):
    """A task group on an executor of the framework's own, which gets it in one piece."""
    framework = Framework(master)
    id = framework.next("registered")
    agent = framework.until_offered("room for a group", small)
    own = executor(id, type="CUSTOM", executor_id={"value": "own"}, command={"value": command}, name="pymesos executor")
    own["resources"][1] = scalar("mem", 128)
    framework.accept(group(own, task("c1", agent), task("c2", agent)))
    framework.ended(["c1", "c2"])
    framework.driver.stop()


def volumes(master, _):
    """Reserve, create a volume and use it in one call; use it again; give everything back."""
    framework = Framework(master)
    framework.next("registered")
    agent = framework.until_offered("something to reserve", small)
    held = {"role": ROLE, "reservation": {}}
    cpus, mem, disk = scalar("cpus", 0.5, **held), scalar("mem", 64, **held), scalar("disk", 32, **held)
    volume = dict(disk, disk={"persistence": {"id": "vol"}, "volume": {"mode": "RW", "container_path": "data"}})
    framework.accept(
        {"type": "RESERVE", "reserve": {"resources": [cpus, mem, disk]}},
        {"type": "CREATE", "create": {"volumes": [volume]}},
        launch(task("write", agent, "echo kept > data/file", [cpus, mem, volume])),
    )
    framework.ended(["write"])

    def everything_reserved(resources):
        volumes = [r for r in resources if r.get("disk", {}).get("persistence", {}).get("id") == "vol"]
        return volumes and amount(resources, "cpus", True) >= 0.5 and amount(resources, "mem", True) >= 64

    framework.until_offered("the volume", everything_reserved)
    framework.accept(launch(task("read", agent, 'test "$(cat data/file)" = kept', [cpus, mem, volume])))
    framework.ended(["read"])
    framework.until_offered("the volume again", everything_reserved)
    framework.accept(
        {"type": "DESTROY", "destroy": {"volumes": [volume]}},
        {"type": "UNRESERVE", "unreserve": {"resources": [cpus, mem, disk]}},
    )
    before = [amount([scalar("cpus", 4), scalar("mem", 1024), scalar("disk", 1024)], name) for name in ("cpus", "mem", "disk")]
    framework.until_offered(
        "all of it unreserved",
        lambda resources: [round(amount(resources, name), 3) for name in ("cpus", "mem", "disk")] == before,
    )
    assert not [r for r in framework.resources() if "reservation" in r or "disk" in r], framework.resources()
    framework.driver.stop()


def reconciliation(master, _):
    """Explicit and implicit; what is known, and what is not."""
    framework = Framework(master, capabilities=[{"type": "PARTITION_AWARE"}])
    framework.next("registered")
    agent = framework.until_offered("room", small)
    framework.accept(launch(task("long", agent, "exec sleep 1000"), task("short", agent, "true")))
    framework.ended(["short"])
    framework.running("long")
    framework.driver.reconcileTasks([{"task_id": {"value": "long"}}])
    status = framework.reconciled("long")
    assert status["state"] == "TASK_RUNNING" and "uuid" not in status and status["source"] == "SOURCE_MASTER", status
    framework.driver.reconcileTasks([{"task_id": {"value": "never"}}])
    assert framework.reconciled("never")["state"] == "TASK_UNKNOWN"
    framework.driver.reconcileTasks([])
    assert framework.reconciled("long")["state"] == "TASK_RUNNING"
    framework.driver.killTask({"value": "long"})
    framework.ended(["long"], "TASK_KILLED")
    # The driver acknowledges an end after it has told of it, and until then the master knows the task, and tells nothing of a kill.
    def known():
        framework.driver.reconcileTasks([{"task_id": {"value": "long"}}])
        return framework.reconciled("long")["state"] != "TASK_UNKNOWN"

    while known():
        pass
    # Nobody knows it any more.
    framework.driver.killTask({"value": "long"})
    assert framework.reconciled("long")["state"] == "TASK_UNKNOWN"
    framework.driver.stop()


def failover(master, _):
    """A second scheduler takes the first one's place, and finds its task."""
    first = Framework(master)
    id = first.next("registered")
    agent = first.until_offered("room", small)
    first.accept(launch(task("survivor", agent, "exec sleep 1000")))
    first.running("survivor")
    first.driver.stop(failover=True)
    second = Framework(master, id={"value": id})
    assert second.next("reregistered") == id
    second.driver.reconcileTasks([])
    assert second.reconciled("survivor")["state"] == "TASK_RUNNING"
    second.until_offered("the rest", lambda resources: amount(resources, "cpus") >= 3.9 - 1e-6)
    second.driver.killTask({"value": "survivor"})
    second.ended(["survivor"], "TASK_KILLED")
    second.driver.stop()


SCENARIOS = {
    "groups": groups,
    "custom-group": custom_group,
    "volumes": volumes,
    "reconciliation": reconciliation,
    "failover": failover,
}

try:
    SCENARIOS[sys.argv[2]](sys.argv[1], sys.argv[3] if len(sys.argv) > 3 else None)
except AssertionError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
print(f"{sys.argv[2]} done")
