import ast
import configparser
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from receipt_trainer.data.sources.record import to_line
from receipt_trainer.data.synthetic import generate

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "trainer" / "src"
HEAVY = ("torch", "transformers", "datasets", "pyarrow", "numpy", "matplotlib", "moto")
LAUNCHER = "receipt_trainer.cli"

UPWARDS = {
    ("receipt_trainer.jobs.submit", LAUNCHER): "the documented `python -m receipt_trainer.jobs.submit`",
}
"""The one string that names what comes later, with the reason; only a program that is started reads it."""


def _loaded(program: str, *arguments: str) -> set[str]:
    """Names of the modules that a fresh interpreter has after `program`."""
    program += "\nimport json, sys\nprint(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_what_the_base_install_uses_needs_no_training_packages() -> None:
    """A laptop without torch can import all that submits, stores, configures, moves receipts and looks at a stack."""
    rooms = ("contract", "config", "aws", "jobs", "worker", "fleet", "doctor")
    wanted = [name for name in modules() if name.split(".")[1:2] and name.split(".")[1] in rooms]
    wanted += [f"receipt_trainer.{name}" for name in ("data.labels", "data.sources.jsonl", "local.session", "__main__")]
    assert not set(HEAVY) & _loaded(f"import importlib\nfor name in {wanted!r}: importlib.import_module(name)")


def test_a_run_from_a_file_loads_nothing_of_aws(tmp_path: Path) -> None:
    """`layoutlm-cli train` on JSON lines trains and reports without boto3: rows and files leave by sinks alone."""
    dataset = tmp_path / "receipts.jsonl"
    dataset.write_text("".join(to_line(receipt) + "\n" for receipt in generate(5, seed=1)))
    train = [
        "train",
        "--dataset",
        str(dataset),
        "--model",
        "tiny",
        *("--epochs", "1", "--set", "export_package=false"),
        "--output-dir",
        str(tmp_path / "x"),
    ]
    program = f"import sys\nsys.argv[1:] = {[*train, '--job-name', 'x']!r}\nfrom receipt_trainer.cli import layoutlm\n"
    loaded = _loaded(program + "try: layoutlm.main()\nexcept SystemExit as end: assert not end.code, end")
    assert (tmp_path / "x" / "report.html").is_file()
    rooms = {name.split(".")[1] for name in loaded if name.startswith("receipt_trainer.")}
    assert "training" in rooms
    assert not {"aws", "jobs"} & rooms
    assert not {"boto3", "botocore"} & loaded


def layers() -> list[set[str]]:
    """The rooms as import-linter has them, from the top down."""
    rules = configparser.ConfigParser()
    rules.read(ROOT / ".importlinter")
    rows = rules["importlinter:contract:rooms"]["layers"].split("\n")
    return [{room.strip() for room in row.split("|")} for row in rows if row.strip()]


def modules() -> dict[str, Path]:
    """Every module of the package with its file."""
    found = {}
    for path in (SOURCES / "receipt_trainer").rglob("*.py"):
        parts = path.relative_to(SOURCES).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def named_modules(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Modules that strings of a file name, docstrings aside; the package itself after `-m` is the command line."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple | ast.List):
            texts = [item.value if isinstance(item, ast.Constant) else None for item in node.elts]
            if ("-m", "receipt_trainer") in itertools.pairwise(texts):
                yield LAUNCHER
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in docstrings:
            continue
        for dotted in re.findall(r"\breceipt_trainer(?:\.\w+)+", node.value):
            while dotted not in known and "." in dotted:
                dotted = dotted.rsplit(".", 1)[0]
            if dotted != "receipt_trainer":
                yield dotted


def test_a_string_that_names_a_module_keeps_the_layers() -> None:
    """No room starts or loads one that comes later by its name in a string, as `-m` and import_module take it."""
    known, order = modules(), layers()
    depth = {room: number for number, row in enumerate(order) for room in row}
    upwards = set()
    for module, path in known.items():
        room = module.split(".")[1] if "." in module else "__main__"
        for named in named_modules(path, known):
            if depth[named.split(".")[1]] < depth[room]:
                upwards.add((module, named))
    assert upwards == set(UPWARDS)
