# SPDX-License-Identifier: Apache-2.0
"""A scheduler with its gearman server, as one process that a test may kill: `scheduler_process.py PORT`."""

import signal
import sys

from zuul.web.backends.rpc.gearman_worker import GearmanWorker, start_server
from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler

if __name__ == "__main__":
    server = start_server(port=int(sys.argv[1]))
    worker = GearmanWorker("127.0.0.1", server.port, SandboxScheduler(load(None)).functions, "scheduler")
    worker.start()
    print("ready", flush=True)
    signal.pause()
