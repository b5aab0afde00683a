"""A network with nothing in it but loopback, the metadata service's address, and AWS's names."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

IMDS_ADDRESS = "169.254.169.254"
REGION = "us-east-1"

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_SERVICES = ("autoscaling", "dynamodb", "ec2", "logs", "monitoring", "s3", "sqs", "ssm", "sts")


def enter() -> None:
    """Take this thread, and all that it starts from now on, into a network and a table of mounts of its own.

    Both go with the process, however it ends.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, f"unshare: {os.strerror(error)}")
    for command in (
        ("mount", "--make-rprivate", "/"),
        ("ip", "link", "set", "lo", "up"),
        ("ip", "address", "add", f"{IMDS_ADDRESS}/32", "dev", "lo"),
    ):
        subprocess.run(command, check=True, timeout=60)


def hosts(buckets: Iterable[str]) -> str:
    """Lines of /etc/hosts: AWS's endpoints as botocore's own rules name them, buckets as hosts of their own."""
    names = [f"{service}.{REGION}.amazonaws.com" for service in _SERVICES]
    for end in ("s3.amazonaws.com", f"s3.{REGION}.amazonaws.com"):
        names += [end, *(f"{bucket}.{end}" for bucket in buckets)]
    return "127.0.0.1 localhost\n" + "".join(f"127.0.0.1 {name}\n" for name in dict.fromkeys(names))


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for AWS's names that is its own authority, and its key."""
    certificate, key = folder / "aws.pem", folder / "aws.key"
    ends = ("amazonaws.com", f"{REGION}.amazonaws.com", "s3.amazonaws.com", f"s3.{REGION}.amazonaws.com")
    names = ",".join(f"DNS:{prefix}{end}" for end in ends for prefix in ("", "*."))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=AWS stand-in"]
    command += ["-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return certificate, key


class TlsFront:
    """Port 443 of loopback: what comes there goes, decrypted, to the embedded AWS."""

    def __init__(self, certificate: Path, key: Path, target: str) -> None:
        """Listen; `target` is the URL of the embedded AWS."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        parts = urlsplit(target)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._listener = socket.create_server(("127.0.0.1", 443), backlog=64)
        threading.Thread(target=self._accept, name="tls-front", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            raw,
            self._context.wrap_socket(raw, server_side=True) as client,
            socket.create_connection(self._target) as server,
        ):
            while True:  # in one thread: OpenSSL allows no two at one connection
                ready = [client] if client.pending() else select.select([client, server], [], [])[0]
                for source in ready:
                    if not (data := source.recv(65_536)):
                        return
                    (server if source is client else client).sendall(data)

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()
