"""The embedded AWS's own process: a moto server on a free port of the loopback, gone when its parent is.

Run as `python -m receipt_trainer.local.server`: prints its port on stdout, then serves until its standard input ends.
"""

from __future__ import annotations

import logging
import os
import select
import sys
from typing import Final

_PARENT_CHECK_S: Final = 1.0


def main() -> None:
    """Serve until the parent is gone."""
    parent = os.getppid()
    from moto.moto_server.werkzeug_app import MotoRequestHandler
    from moto.server import ThreadedMotoServer

    from receipt_trainer.local import moto_patches

    moto_patches.install()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    MotoRequestHandler.protocol_version = "HTTP/1.1"  # connections stay open, as with AWS
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    _wait_for_end(parent)
    # No orderly stop: nothing is worth saving, and a request that hangs must not keep the process alive.
    os._exit(0)


def _wait_for_end(parent: int) -> None:
    """Until standard input ends: the kernel closes it when the parent dies, however it dies, on any system.

    The parent's id is looked at too, because a process the parent forked may hold the other end of the pipe open.
    """
    while os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin], [], [], _PARENT_CHECK_S)
        if readable and not os.read(sys.stdin.fileno(), 1):
            return


if __name__ == "__main__":
    main()
