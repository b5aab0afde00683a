"""Stands for the AWS CLI, which takes a second to start: `s3 sync FOLDER URL --exclude ...` and `s3 cp FILE URL`.

Each file is one PUT to AWS_ENDPOINT_URL. Like the CLI's, its sync goes on after a file that failed, and its words name
the error of S3. Not like it, it sends what is there already, and tries nothing twice.
"""

from __future__ import annotations

import fnmatch
import http.client
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

WORDS = {403: "(AccessDenied) when calling the PutObject operation: Access Denied"}
SIGNED = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
"""The emulator checks no signature, but lets nobody without one write over a file that is there."""


def put(content: bytes, url: str) -> str | None:
    """Send one file; what went wrong, if anything."""
    target, where = urlsplit(os.environ["AWS_ENDPOINT_URL"]), urlsplit(url)
    connection = http.client.HTTPConnection(str(target.hostname), target.port, timeout=10)
    try:
        connection.request("PUT", quote(f"/{where.netloc}{where.path}"), content, {"Authorization": SIGNED})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f'Could not connect to the endpoint URL: "{url}" ({type(error).__name__})'
    finally:
        connection.close()
    if answer.status == 200:
        return None
    said = WORDS.get(answer.status, f"({answer.status}) when calling the PutObject operation: Please reduce your rate")
    return f"An error occurred {said}"


def files(folder: Path, excludes: list[str]) -> Iterator[Path]:
    """What a sync takes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(fnmatch.fnmatchcase(str(path), pattern) for pattern in excludes):
            yield path


def main() -> int:
    if sys.argv[1:] == ["--version"]:
        print("aws-cli/2.0.0 stand-in")
        return 0
    _, action, _, source, url, *more = sys.argv[1:]
    excludes = [pattern for flag, pattern in zip(more[::2], more[1::2], strict=True) if flag == "--exclude"]
    path = Path(source)
    sent = (
        [(path, url)] if action == "cp" else [(one, f"{url}/{one.relative_to(path)}") for one in files(path, excludes)]
    )
    failures = [f"upload failed: {one} to {to} {why}" for one, to in sent if (why := put(one.read_bytes(), to))]
    print("\n".join(failures), file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
