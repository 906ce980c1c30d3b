"""An unmodified pymesos executor: each task runs and finishes at once; messages are sent back."""

import time

from pymesos import Executor, MesosExecutorDriver


class Echo(Executor):
    def launchTask(self, driver, task):
        for state in ("TASK_RUNNING", "TASK_FINISHED"):
            driver.sendStatusUpdate({"task_id": task["task_id"], "state": state, "timestamp": time.time()})

    def launchTaskGroup(self, driver, tasks):
        for task in tasks:
            self.launchTask(driver, task)

    def frameworkMessage(self, driver, message):
        driver.sendFrameworkMessage(message)


MesosExecutorDriver(Echo()).run()
