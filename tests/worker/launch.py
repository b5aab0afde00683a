"""Stands for a training process: passes its streams, environment and signals to one that is forked by the hatchery."""

import array
import json
import os
import signal
import socket
import sys

connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: connection.sendall(b"T"))
request = json.dumps({"argv": sys.argv[2:], "environment": dict(os.environ)}).encode() + b"\n"
sent = connection.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
connection.sendall(request[sent:])
code = int(connection.makefile().readline() or 1)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
