"""Jobs of each family, typed, and their files: one form for all commands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

from pydantic import Discriminator, Field, Tag, TypeAdapter, ValidationError

from receipt_trainer.config.base import explain
from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.config.paddleocr_vl import BASE_MODEL, BASES, RECIPE, SHORT_NAMES, VlDataConfig, VlTrainingConfig
from receipt_trainer.config.yaml import line_of, read_mapping
from receipt_trainer.contract import names
from receipt_trainer.contract.job import FAMILIES, Family, JobSpec, published_family, too_long
from receipt_trainer.errors import UserError

Lines = Mapping[tuple[str, ...], int]
"""The line of each key of a file, by the keys that lead there."""


class LayoutLMJob(JobSpec[TrainingConfig, DataConfig]):
    """A job of the first family."""

    family: Literal["layoutlm"] = "layoutlm"
    training_config: TrainingConfig = Field(default_factory=TrainingConfig)
    data_config: DataConfig = Field(default_factory=DataConfig)


class PaddleOcrVlJob(JobSpec[VlTrainingConfig, VlDataConfig]):
    """A job of the second family."""

    family: Literal["paddleocr-vl"] = "paddleocr-vl"
    model: str = Field(BASE_MODEL, min_length=1, description="Hub name or folder of the base model")
    training_config: VlTrainingConfig = Field(default_factory=VlTrainingConfig)


_EXPONENT: Final = re.compile(r"[\d.+-]+[eE][\d+-]+")
"""A number such as 1e-4, which YAML gives as text without quotes, too."""
_SECTIONS: Final = ("training_config", "data_config")
_JOBS: Final[Mapping[Family, type[LayoutLMJob] | type[PaddleOcrVlJob]]] = {
    "layoutlm": LayoutLMJob,
    "paddleocr-vl": PaddleOcrVlJob,
}
_KEYS: Final[Mapping[str, tuple[set[str], set[str]]]] = {
    "training_config": ({*TrainingConfig.model_fields}, {*VlTrainingConfig.model_fields, *SHORT_NAMES}),
    "data_config": ({*DataConfig.model_fields}, {*VlDataConfig.model_fields}),
}
"""Keys of each section in the first family and in the second."""

_PUBLISHERS: Final[Mapping[Family, str]] = {"layoutlm": "microsoft/layoutlm", "paddleocr-vl": BASE_MODEL.lower()}
"""What the hub names of each family's published models begin with, in small letters."""

_OF_TRAINING: Final = ("lora", "loss", "evaluation", "experiment")
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "model_name_or_path": ("model",),
    "training": ("training_config",),
    **{name: ("training_config", name) for name in _OF_TRAINING},
    **{name: ("data_config", name) for name in VlDataConfig.model_fields},
}
"""Where in a job file the keys of the second family's configurations of version 0.1.0 stand."""


def own_keys(values: Mapping[str, Any]) -> dict[Family, list[str]]:
    """The keys of a job's two configurations that only one family has, by the family."""
    found: dict[Family, list[str]] = {family: [] for family in FAMILIES}
    for section, (first, second) in _KEYS.items():
        given = values.get(section)
        for key in given if isinstance(given, Mapping) else ():
            if key in first - second:
                found["layoutlm"].append(key)
            elif key in second - first:
                found["paddleocr-vl"].append(key)
    return found


def family_of(values: Any, expected: Family = "layoutlm") -> Family:
    """The family of a job in plain values, as files, rows and messages have them.

    It is what they say. Those of version 0.1.0 could not: then a key that only one family has decides, else the name of
    the published model, else it is the `expected` one. No folder is looked at, so that every machine answers the same.
    Every complete job of the second family has such a key, `dataset_path`.
    """
    if not isinstance(values, Mapping):
        return values.family if isinstance(values, JobSpec) else expected
    if values.get("family") in FAMILIES:
        return cast(Family, values["family"])
    found = own_keys(values)
    if found["paddleocr-vl"] or found["layoutlm"]:
        return "paddleocr-vl" if found["paddleocr-vl"] else "layoutlm"
    return "paddleocr-vl" if published_family(str(values.get("model") or "")) == "paddleocr-vl" else expected


AnyJob = Annotated[
    Annotated[LayoutLMJob, Tag("layoutlm")] | Annotated[PaddleOcrVlJob, Tag("paddleocr-vl")], Discriminator(family_of)
]
"""A job of any family, distinguished by `family`."""

_ANY: Final[TypeAdapter[AnyJob]] = TypeAdapter(AnyJob)


@dataclass(frozen=True, slots=True)
class JobFile:
    """A job file, read.

    Attributes:
        notes: what is written as version 0.1.0 had it, and what to write today; a sentence each.
        output_dir: the run's folder, which the second family's configurations of version 0.1.0 could name.
    """

    spec: AnyJob
    notes: tuple[str, ...] = ()
    output_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class JobValues:
    """The content of a file of any form, as plain values of a job file, not yet validated.

    Attributes:
        expected: the family of a file that does not say its own, and does not show it.
        has_base: it names its base by version, whose recipe counts where nothing else is said.
    """

    path: Path
    values: dict[str, Any]
    lines: Lines
    expected: Family = "layoutlm"
    notes: tuple[str, ...] = ()
    output_dir: Path | None = None
    has_base: bool = False

    def parse(self) -> AnyJob:
        """The job; UserError: the first wrong field with its line, or a part that is too long."""
        said = self.values.get("family")
        if said is not None and said not in FAMILIES:
            raise UserError(f"{self._at('family')}: family: must be {' or '.join(FAMILIES)}, not {said!r}")
        found = own_keys(self.values)
        if said is None and all(found.values()):
            told = " and ".join(f"{keys[0]} of {family}" for family, keys in found.items())
            raise UserError(f"{self.path}: it has keys of both families, {told}: add a line such as 'family: layoutlm'")
        job = _JOBS[family_of(self.values, self.expected)]
        try:
            spec = job.model_validate(_on_recipe(self.values) if self.has_base else self.values)
        except ValidationError as error:
            item = error.errors()[0]
            below = 1 if item["loc"][:1] and item["loc"][0] in _SECTIONS else 0
            raise UserError(f"{self._at(*item['loc'])}: {explain(job, item, below)}") from None
        other = next((one for one in FAMILIES if one != spec.family), spec.family)
        if spec.model.lower().startswith(_PUBLISHERS[other]):
            where = self._at("model" if "model" in self.values else "family")
            raise UserError(f"{where}: model: {spec.model} is of the family {other}, and the job of {spec.family}")
        if (problem := too_long(spec)) is not None:
            raise UserError(f"{self._at(*problem[0])}: {'.'.join(problem[0])} {problem[1]}")
        return spec

    def _at(self, *keys: int | str) -> str:
        return f"{self.path}:{line_of(self.lines, tuple(str(key) for key in keys))}"


def load_job_file(path: Path, *, expected: Family | None = None, changes: Mapping[str, Any] | None = None) -> JobFile:
    """Read and validate a job file (YAML) of any family.

    Args:
        expected: the family that the command trains; a file that does not say its family is taken for one of it.
        changes: values of the command line, laid over those of the file before they are validated.

    Raises:
        UserError: no such file, not YAML, another family, or a wrong key or value, with the line of the key.
    """
    found = read_job_values(path, expected)
    job = replace(found, values=laid_over(found.values, changes or {})).parse()
    if expected is not None and job.family != expected:
        command = "receipt-trainer vl train" if job.family == "paddleocr-vl" else "layoutlm-cli train"
        raise UserError(f"{path}: the job is of the family {job.family} (model {job.model}); `{command}` trains it")
    return JobFile(job, (*found.notes, *_unquoted(found, job)), found.output_dir)


def _unquoted(found: JobValues, job: AnyJob) -> list[str]:
    """A sentence on each number, and each true or false, that stands in quotes."""
    read = job.model_dump()
    notes = []
    for keys, line in found.lines.items():
        given, taken = _at(found.values, keys), _at(read, keys)
        if isinstance(given, str) and isinstance(taken, int | float) and not _EXPONENT.fullmatch(given):
            notes.append(f"{found.path}:{line}: {keys[-1]}: {given!r} in quotes is read as {str(taken).lower()}")
    return notes


def _at(values: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def read_job_values(path: Path, expected: Family | None = None) -> JobValues:
    """Read a job file, or a configuration of the second family as `vl train` of version 0.1.0 read it.

    Raises:
        UserError: as `receipt_trainer.config.yaml.read_mapping` says.
    """
    values, found = read_mapping(path, "family and job_name")
    lines: Lines = found
    notes: list[str] = []
    output_dir, family = None, expected or "layoutlm"
    if _has_sections(values, expected):
        output_dir, family = values.pop("output_dir", None), "paddleocr-vl"
        values, lines = _from_sections(values, path), _moved(lines)
        notes.append(
            f"{path} has sections as version 0.1.0 read them; a job file has family, job_name, model, training_config "
            "and data_config (see docs/paddleocr-vl.md, Configuration)"
        )
    values = {key: value for key, value in values.items() if value is not None or key not in _SECTIONS}
    values = {section: {} for section in _SECTIONS if section not in values} | values
    family = family_of(values, family)
    if values.get("family") is None and not all(own_keys(values).values()):
        values.pop("family", None)
        notes.append(f"{path} does not say its family and is read as one of {family}: add the line 'family: {family}'")
    given = values["training_config"]
    if family == "paddleocr-vl" and isinstance(given, dict):
        short = {name: full for name, full in SHORT_NAMES.items() if name in given and full not in given}
        notes += [f"{path}: {name} is called {full} in this family" for name, full in short.items()]
        values["training_config"] = {short.get(key, key): value for key, value in given.items()}
        there = {full: line_of(lines, ("training_config", name)) for name, full in short.items()}
        lines = {**lines, **{("training_config", full): line for full, line in there.items()}}
    has_base = family == "paddleocr-vl" and "base" in values
    if has_base:
        values, lines = _with_base(values, lines, path)
    if output_dir is not None and not isinstance(output_dir, str):
        where = f"{path}:{line_of(lines, ('output_dir',))}"
        raise UserError(f"{where}: output_dir: must be the path of a folder, not {output_dir!r}")
    folder = Path(output_dir) if output_dir else None
    return JobValues(path, values, lines, family, tuple(notes), folder, has_base)


def _with_base(values: dict[str, Any], lines: Lines, path: Path) -> tuple[dict[str, Any], Lines]:
    """With the `model` that a file means by `base`, the version of a published one; UserError: none, or both given."""
    version, where = str(values["base"]), f"{path}:{line_of(lines, ('base',))}: base"
    if values.get("model") is not None:
        raise UserError(f"{where}: it stands for the model of that name: give base or model")
    if version not in BASES:
        raise UserError(f"{where}: must be {', '.join(BASES)}, not {version[:40]!r}; for others write model")
    rest = {"family": "paddleocr-vl"} | {key: value for key, value in values.items() if key != "base"}
    return rest | {"model": BASES[version]}, {**lines, ("model",): line_of(lines, ("base",))}


def _on_recipe(values: dict[str, Any]) -> dict[str, Any]:
    """A job's values laid over `RECIPE`; whole models keep their own rate."""
    training = values.get("training_config")
    lora = training.get("lora") if isinstance(training, dict) else None
    of_adapters = ("learning_rate", "lora") if isinstance(lora, dict) and lora.get("enabled") is False else ()
    recipe = {key: value for key, value in RECIPE.items() if key not in of_adapters}
    return laid_over({"training_config": recipe}, values)


def read_job(values: Mapping[str, Any], where: str) -> AnyJob:
    """The job in plain values, as rows, messages and programs have them.

    Raises:
        UserError: one line that names every wrong field.
    """
    whole = {**{section: {} for section in _SECTIONS}, **values}
    try:
        return _ANY.validate_python(whole)
    except ValidationError as error:
        job = _JOBS[family_of(whole)]
        items = [{**item, "loc": item["loc"][1:]} for item in error.errors()]  # behind the union's tag
        raise UserError(f"{where}: {'; '.join(explain(job, item) for item in items)}") from None


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A job's values with others in their place, within its two configurations key by key."""
    merged = {**below, **above}
    for section in _SECTIONS:
        parts = [values.get(section, {}) for values in (below, above)]
        if all(isinstance(part, Mapping) for part in parts):
            merged[section] = _merged(*parts)
    return merged


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _merged(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return merged


def _has_sections(values: Mapping[str, Any], expected: Family | None) -> bool:
    if values.keys() & {"family", "job_name", "model", *_SECTIONS}:
        return False
    return expected == "paddleocr-vl" or bool(values.keys() & _PARTS.keys())


def _from_sections(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """A job file's values for those of a configuration with sections; what is not known stays where it was."""
    found: dict[str, Any] = {section: {} for section in _SECTIONS}
    for key, value in values.items():
        at = _PARTS.get(key, (key,))
        if len(at) == 2:
            if value is not None:
                found[at[0]][at[1]] = value
        elif key == "training" and isinstance(value, Mapping):
            found["training_config"] |= value
        elif value is not None:
            found[at[0]] = value
    experiment = values.get("experiment")
    about = experiment if isinstance(experiment, Mapping) else {}
    found["job_name"] = _job_name(str(about.get("name") or path.stem))
    found["description"] = str(about.get("description") or "")
    return found


def _job_name(wanted: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted)[:64]
    return name if names.is_job_name(name) else "vl"


def _moved(lines: Lines) -> Lines:
    return {(*_PARTS.get(keys[0], keys[:1]), *keys[1:]): line for keys, line in lines.items()}
