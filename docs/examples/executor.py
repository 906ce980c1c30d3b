#!/usr/bin/env python3
"""An executor on Mesos' v1 HTTP API, with nothing but Python: it runs the command that follows on its line every second, until it is told to
kill its task."""

import base64
import http.client
import json
import os
import subprocess
import sys
import threading
import time
import uuid

IDS = {
    "framework_id": {"value": os.environ["MESOS_FRAMEWORK_ID"]},
    "executor_id": {"value": os.environ["MESOS_EXECUTOR_ID"]},
}


def post(call):
    connection = http.client.HTTPConnection(os.environ["MESOS_AGENT_ENDPOINT"])
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    connection.request("POST", "/api/v1/executor", json.dumps({**IDS, **call}), headers)
    answer = connection.getresponse()
    if answer.status not in (200, 202):
        sys.exit(f"the agent answered {answer.status}: {answer.read().decode()}")
    return answer


def update(task_id, state):
    status = {
        "task_id": task_id,
        "state": state,
        "source": "SOURCE_EXECUTOR",
        "timestamp": time.time(),
        "uuid": base64.b64encode(uuid.uuid4().bytes).decode(),
    }
    post({"type": "UPDATE", "update": {"status": status}})


def run(task_id):
    update(task_id, "TASK_RUNNING")
    while True:
        subprocess.run(sys.argv[1:], check=False)
        time.sleep(1)


def events(answer):
    """Each is its length in a line, and then itself."""
    while True:
        line = b""
        while not line.endswith(b"\n"):
            letter = answer.read(1)
            if not letter:
                return
            line += letter
        yield json.loads(answer.read(int(line)))


subscribe = {"unacknowledged_tasks": [], "unacknowledged_updates": []}
for event in events(post({"type": "SUBSCRIBE", "subscribe": subscribe})):
    if event["type"] == "LAUNCH":
        threading.Thread(target=run, args=[event["launch"]["task"]["task_id"]], daemon=True).start()
    elif event["type"] == "KILL":
        # When this is answered the agent has it; there is nothing else to do here.
        update(event["kill"]["task_id"], "TASK_KILLED")
        break
    elif event["type"] == "SHUTDOWN":
        break
