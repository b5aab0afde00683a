"""Stands for a process that a fork server makes, as `launch.py SOCKET ARGUMENT...`: it passes SIGTERM, SIGTSTP and
SIGCONT on and ends as the process ends, and the process ends with it. It imports little, as it is started often."""

import json
import os
import signal
import socket
import sys

connection = socket.socket(socket.AF_UNIX)
connection.connect("\0" + sys.argv[1])
request = json.dumps({"argv": sys.argv[2:], "environ": dict(os.environ), "cwd": os.getcwd()}).encode() + b"\n"  # noqa: PTH109
sent = socket.send_fds(connection, [request], [0, 1, 2])
connection.sendall(request[sent:])
pid = int(connection.recv(8, socket.MSG_WAITALL))
signal.signal(signal.SIGTERM, lambda number, _: os.kill(pid, number))
signal.signal(signal.SIGTSTP, lambda number, _: os.kill(pid, signal.SIGSTOP))
signal.signal(signal.SIGCONT, lambda number, _: os.kill(pid, number))
code = int(connection.recv(8) or 1)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
