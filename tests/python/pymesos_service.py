#!/usr/bin/env python3
"""An unmodified pymesos executor that Marathon runs an app on: what follows on its command line is served over HTTP on the task's first port."""

import http.server
import json
import os
import sys
import threading

from pymesos import Executor, MesosExecutorDriver


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(self.server.facts).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Service(Executor):
    def launchTask(self, driver, task):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT0"])), Answer)
        server.facts = {
            "words": sys.argv[1:],
            "task": task["task_id"]["value"],
            "executor": driver.executor_id["value"],
            "colour": os.environ.get("COLOUR"),
            "app": os.environ["MARATHON_APP_ID"],
            "fields": sorted(key for key in ("command", "container", "data") if key in task),
        }
        threading.Thread(target=server.serve_forever, daemon=True).start()
        driver.sendStatusUpdate({"task_id": task["task_id"], "state": "TASK_RUNNING"})

    def killTask(self, driver, task_id):
        # It returns when the agent has it.
        driver.sendStatusUpdate({"task_id": task_id, "state": "TASK_KILLED", "message": "told to go"})
        os._exit(0)


MesosExecutorDriver(Service()).run()
