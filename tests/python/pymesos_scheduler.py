"""An unmodified pymesos scheduler: runs N tasks to TASK_FINISHED, as command tasks or on a pymesos executor.

usage: pymesos_scheduler.py MASTER N [EXECUTOR_COMMAND]
Prints `finished N` and exits with 0 when all are finished; says what went wrong and exits with 1 otherwise.
"""

import sys
import threading

from pymesos import MesosSchedulerDriver, Scheduler, encode_data

CPUS, MEM = 0.1, 32


class Runner(Scheduler):
    def __init__(self, wanted, executor):
        self.wanted, self.executor = wanted, executor
        self.launched, self.finished, self.messages = 0, set(), set()
        self.failure = None
        self.done = threading.Event()

    def fail(self, why):
        self.failure = self.failure or why
        self.done.set()

    def resourceOffers(self, driver, offers):
        for offer in offers:
            amounts = {r["name"]: r["scalar"]["value"] for r in offer["resources"] if r["type"] == "SCALAR"}
            room = int(min(amounts.get("cpus", 0) / CPUS + 1e-6, amounts.get("mem", 0) / MEM + 1e-6))
            if self.executor:
                room -= 1  # the executor's own resources
            tasks = [self.task(offer) for _ in range(max(0, min(room, self.wanted - self.launched)))]
            if tasks:
                driver.launchTasks(offer["id"], tasks)
            else:
                driver.declineOffer(offer["id"])

    def task(self, offer):
        self.launched += 1
        task = {
            "task_id": {"value": f"task-{self.launched}"},
            "name": f"task {self.launched}",
            "agent_id": offer["agent_id"],
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": CPUS}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": MEM}},
            ],
        }
        if self.executor:
            task["executor"] = {
                "executor_id": {"value": "python"},
                "framework_id": offer["framework_id"],
                "name": "pymesos executor",
                "command": {"value": self.executor},
                "resources": [
                    {"name": "cpus", "type": "SCALAR", "scalar": {"value": CPUS}},
                    {"name": "mem", "type": "SCALAR", "scalar": {"value": 128}},
                ],
                "data": encode_data(b"greeting"),
            }
        else:
            task["command"] = {"value": "true"}
        return task

    def statusUpdate(self, driver, status):
        task, state = status["task_id"]["value"], status["state"]
        if state == "TASK_FINISHED":
            self.finished.add(task)
            if self.executor:
                driver.sendFrameworkMessage(status["executor_id"], status["agent_id"], encode_data(task.encode()))
        elif state not in ("TASK_STAGING", "TASK_STARTING", "TASK_RUNNING"):
            self.fail(f"{task} is {state}: {status.get('reason')} {status.get('message')}")
        self.look()

    def frameworkMessage(self, driver, executorId, slaveId, message):
        self.messages.add(message)
        self.look()

    def look(self):
        if len(self.finished) == self.wanted and (not self.executor or self.messages):
            self.done.set()

    def error(self, driver, message):
        self.fail(message)


def main():
    master, wanted = sys.argv[1], int(sys.argv[2])
    runner = Runner(wanted, sys.argv[3] if len(sys.argv) > 3 else None)
    driver = MesosSchedulerDriver(runner, {"user": "root", "name": "pymesos"}, master)
    driver.start()
    ended = runner.done.wait(150)
    driver.stop()
    if runner.failure or not ended:
        print(runner.failure or f"only {len(runner.finished)} of {wanted} finished", file=sys.stderr)
        sys.exit(1)
    print(f"finished {len(runner.finished)}")


main()
