"""Stands for the pulumi CLI on the embedded AWS: the commands of a journey, with this project's own in-process program.

An `up` creates on the embedded AWS what the program registers, and of what costs and is only recorded one each; a
`destroy` makes the embedded AWS empty, and fails as often as PULUMI_STAND_IN_FAILS says. State is where
PULUMI_BACKEND_URL points, as with the real one.
"""

from __future__ import annotations

import os
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

ENV_FAILS = "PULUMI_STAND_IN_FAILS"
"""How many times `destroy` fails before it gets through."""


def main(words: list[str]) -> int:
    """Exit code of one command; words as a shell gives them."""
    words = [word for word in words if word not in ("--non-interactive", "--yes", "--json", "--clear-pending-creates")]
    if "--stack" in words:
        at = words.index("--stack")
        chosen = words[at + 1]
        del words[at : at + 2]
    else:
        chosen = words[2] if words[:2] in (["stack", "init"], ["stack", "rm"]) else ""
    folder = Path(urlsplit(os.environ["PULUMI_BACKEND_URL"]).path)
    state = folder / f"{chosen}.json"
    with (folder / "typed.txt").open("a") as typed:
        typed.write(f"{' '.join(words)}\n")
    match words:
        case ["version"]:
            print("v0.0.0-stand-in")
        case ["install"] | ["cancel"] | ["refresh"]:
            pass
        case ["stack", "ls"]:
            print("\n".join(one.stem for one in folder.glob("e2e-*.json")))
        case ["stack", "init", _]:
            state.write_text("{}")
        case ["stack", "output"]:
            print(state.read_text())
        case ["stack", "rm", _]:
            state.unlink()
            Path(f"Pulumi.{chosen}.yaml").unlink()
        case ["up"]:
            state.write_text(up(chosen))
        case ["destroy"]:
            return destroy(folder)
        case _:
            print(f"error: the stand-in knows no {words}", file=sys.stderr)
            return 255
    return 0


def up(stack: str) -> str:
    """The outputs, as JSON."""
    from receipt_trainer.local.emulator import LocalCloud
    from receipt_trainer.local.resources import provision
    from tests import rest_of_account

    cloud = LocalCloud(empty=True)
    cloud.endpoint = os.environ["AWS_ENDPOINT_URL"]
    outputs = provision(Path.cwd(), cloud, stack=stack).outputs
    rest_of_account.make(cloud.client, outputs.project, outputs.environment)
    return outputs.model_dump_json(indent=1)


def destroy(folder: Path) -> int:
    """Make the embedded AWS empty; exit code 255 as long as it is to fail."""
    typed = (folder / "typed.txt").read_text().splitlines()
    if sum(line.startswith("destroy") for line in typed) <= int(os.environ.get(ENV_FAILS, "0")):
        print("error: ResourceDependencyException: something depends on it", file=sys.stderr)
        return 255
    make_empty(os.environ["AWS_ENDPOINT_URL"])
    return 0


def make_empty(endpoint: str) -> None:
    """Delete all that the embedded AWS has."""
    request = urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")  # noqa: S310
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
