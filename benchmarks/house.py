"""The size and shape of the house: files, lines and functions of each room, names that occur twice, packages.

    python -m benchmarks.house [ROOT] [--twice]

ROOT is a checkout (default: this one), so that two versions can be compared. `--twice` lists the names that two modules
or two classes share, and the modules that one other module alone imports.
"""

from __future__ import annotations

import argparse
import ast
import re
import statistics
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

SOURCES = {"receipt_trainer": "trainer/src", "infra": ".", "tests": ".", "benchmarks": "."}


@dataclass
class Module:
    """A source file as it is counted."""

    name: str
    path: Path
    lines: int
    functions: list[int] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)

    @property
    def room(self) -> str:
        """`jobs`, `models.layoutlm`, `infra`, `tests`: a folder of the package, or the whole of everything else."""
        parts = self.name.split(".")
        folders = parts if self.path.name == "__init__.py" else parts[:-1]
        if parts[0] != "receipt_trainer":
            return parts[0]
        return ".".join(folders[1 : 3 if folders[1:2] == ["models"] else 2]) or "(no room)"


def read(path: Path, name: str) -> Module:
    """Count one file."""
    text = path.read_text()
    module = Module(name, path, len(text.splitlines()))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            module.functions.append((node.end_lineno or node.lineno) - node.lineno + 1)
        elif isinstance(node, ast.ClassDef):
            module.classes.append(node.name)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            module.imports |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            module.imports |= {alias.name for alias in node.names}
    return module


def modules_of(root: Path) -> Iterator[Module]:
    """Every Python file of the package, the stack, the tests and the benchmarks."""
    for package, below in SOURCES.items():
        base = root / below
        for path in sorted((base / package).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            yield read(path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts))


def rooms_table(modules: list[Module]) -> Table:
    """A row a room, and the sums."""
    table = Table("room")
    for heading in ("files", "lines", "def", "median", "p90", "max", "class", "lonely"):
        table.add_column(heading, justify="right", no_wrap=True)
    alone = set(imported_once(modules))
    rooms: dict[str, list[Module]] = defaultdict(list)
    for module in modules:
        rooms[module.room].append(module)
    rooms["package"] = [module for module in modules if module.name.split(".")[0] == "receipt_trainer"]
    for room, own in rooms.items():
        lengths = sorted(length for module in own for length in module.functions) or [0]
        p90 = lengths[min(len(lengths) - 1, round(0.9 * (len(lengths) - 1)))]
        counts = (len(own), sum(module.lines for module in own), sum(len(module.functions) for module in own))
        spread = (round(statistics.median(lengths)), p90, lengths[-1])
        rest = (sum(len(module.classes) for module in own), sum(module.name in alone for module in own))
        table.add_row(room, *map(str, (*counts, *spread, *rest)))
    return table


def imported_once(modules: list[Module]) -> Iterator[str]:
    """Modules of the package and of the stack that exactly one other module of them imports."""
    own = [module for module in modules if module.name.split(".")[0] in ("receipt_trainer", "infra")]
    importers = Counter(name for module in own for name in module.imports if name != module.name)
    return (module.name for module in own if importers[module.name] == 1)


def twice(names: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    """Names with the places that bear them, where there are several."""
    places: dict[str, list[str]] = defaultdict(list)
    for name, place in names:
        places[name].append(place)
    return {name: found for name, found in sorted(places.items()) if len(found) > 1}


def full_folders(modules: list[Module], limit: int = 20) -> dict[str, int]:
    """Folders of package and stack with more than `limit` Python files."""
    counts = Counter(str(module.path.parent) for module in modules if module.room != "tests")
    return {folder: count for folder, count in counts.items() if count > limit}


def packages(root: Path, modules: list[Module]) -> tuple[set[str], set[str]]:
    """Packages that the trainer imports, and those that its pyproject.toml declares, by their names on either side."""
    ours = [module for module in modules if module.name.split(".")[0] == "receipt_trainer"]
    imported = {name.split(".")[0] for module in ours for name in module.imports}
    project = tomllib.loads((root / "trainer/pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {re.split(r"[\[<>=~! ;]", line)[0].lower() for line in asked}
    return imported - sys.stdlib_module_names - {"receipt_trainer"}, declared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--twice", action="store_true", help="list names that occur twice, and lonely modules")
    arguments = parser.parse_args()
    console = Console()
    modules = list(modules_of(arguments.root))
    console.print(rooms_table(modules))
    code = [module for module in modules if module.room != "tests" and module.path.name != "__init__.py"]
    same_file = twice((module.name.split(".")[-1], module.name) for module in code)
    same_class = twice((name, module.name) for module in code for name in module.classes)
    imported, declared = packages(arguments.root, modules)
    console.print(f"module names twice: {len(same_file)} · class names twice: {len(same_class)}")
    console.print(f"packages imported: {len(imported)} · declared: {len(declared)}")
    for folder, count in full_folders(modules).items():
        console.print(f"{folder}: {count} files")
    if arguments.twice:
        for name, places in [*same_file.items(), *same_class.items()]:
            console.print(f"{name}: {', '.join(places)}")
        console.print("imported by one module alone:", ", ".join(imported_once(modules)))


if __name__ == "__main__":
    main()
