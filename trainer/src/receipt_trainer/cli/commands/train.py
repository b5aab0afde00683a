"""`layoutlm-cli train`, `label-counts`, `export` and `report`: data, run and package of the first family; reports."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receipt_trainer.cli.options import PATH, data_config_options, run_target_options, training_config_options
from receipt_trainer.cli.render.tables import plain_table, progress_bar
from receipt_trainer.cli.training import checked_job_name, configure, new_job_name, train
from receipt_trainer.config.base import parse
from receipt_trainer.config.job_file import LayoutLMJob
from receipt_trainer.config.layoutlm import FEW_STEPS, SIMULATED_MERCHANTS, DataConfig, TrainingConfig
from receipt_trainer.contract import names
from receipt_trainer.contract.package import KNOWN_FILE, SERVE_DIR
from receipt_trainer.contract.run_record import LayoutLMRecord, PackageOutcome, load_record
from receipt_trainer.data.problems import problem_lines
from receipt_trainer.data.sources.load import TABLE, require_files
from receipt_trainer.data.split import read_split_file
from receipt_trainer.errors import UserError
from receipt_trainer.models.layoutlm.places import TINY, WITHOUT_NETWORK, find_model, find_start
from receipt_trainer.reports import formatting
from receipt_trainer.reports.run_folder import load_run, print_run, write_report
from receipt_trainer.training.console import quiet_libraries, say, say_loading

if TYPE_CHECKING:
    from receipt_trainer.data.encode import Examples


@click.command("train")
@click.option("--job-name", help="Names the run and its folder; 1 to 64 of A-Z a-z 0-9 . _ -")
@training_config_options
@data_config_options
@click.option("--output-dir", type=PATH, help=f"Run folder ({names.DEFAULT_OUTPUT_ROOT}/JOB).")
@click.option("--dataset-snapshot-save", type=PATH, help="Save the encoded data set here.")
@click.option("--dataset-snapshot-load", type=PATH, help="Train on an encoded data set.")
@run_target_options
@click.option("--progress/--no-progress", default=True, help="Show progress on a terminal.")
def command(**flags: Any) -> None:
    """Fine-tune LayoutLM on labelled receipts; a run that was interrupted resumes where it was.

    Ctrl+C or SIGTERM end after the current step with a checkpoint; another one, a second later, ends at once. Leaves
    model/, run.json, predictions.jsonl, report.html and tensorboard/ in the run's folder.
    """
    spec, training, data = configure(flags)
    if flags["dataset_snapshot_load"] and (flags["dataset_name"] or flags["eval_dataset"]):
        raise UserError("--dataset-snapshot-load brings its receipts along; leave out --dataset and --eval-dataset")
    asked = flags["job_name"] or (spec.job_name if spec else None)
    if not asked and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("--job-name is needed where several processes train together")
    name = checked_job_name(asked or new_job_name("run"))
    model = flags["model"] or (spec.model if spec else names.DEFAULT_MODEL)
    if flags["dataset_snapshot_load"] is None:
        _require_data(data, flags["dynamo_table"])
    elif not flags["dataset_snapshot_load"].is_dir():
        raise UserError(f"--dataset-snapshot-load {flags['dataset_snapshot_load']}: no such folder")
    _require_start(model)

    def family() -> Any:
        from receipt_trainer.models.layoutlm.family import LayoutLM

        return LayoutLM(
            model=model,
            training=training,
            data=data,
            receipts_table=flags["dynamo_table"],
            snapshot_save=flags["dataset_snapshot_save"],
            snapshot_load=flags["dataset_snapshot_load"],
            fills_card=fills_card,
        )

    run_dir = flags["output_dir"] or Path(names.DEFAULT_OUTPUT_ROOT) / name
    earlier = None if flags["restart"] else _earlier(run_dir)
    if spec is None:
        training, data = _usual(training, data, earlier)
    fills_card = spec is None and "batch_tokens" not in training.model_fields_set
    if fills_card and earlier and "batch_tokens" in earlier.training_config:
        training = training.model_copy(update={"batch_tokens": earlier.training_config["batch_tokens"]})
        fills_card = False
    train(family, name, run_dir, flags)


def _earlier(run_dir: Path) -> LayoutLMRecord | None:
    """The record of the run in a folder, whose defaults it goes on with; None where there is none."""
    try:
        record = load_record(run_dir / names.RUN_FILE)
    except (OSError, ValueError):
        return None
    return record if isinstance(record, LayoutLMRecord) else None


def _usual(
    training: TrainingConfig, data: DataConfig, there: LayoutLMRecord | None
) -> tuple[TrainingConfig, DataConfig]:
    """What this command takes where nothing is said; a run that is there goes on as it was begun."""
    if "simulated_merchants" not in data.model_fields_set:
        share = there.data_config.get("simulated_merchants", 0.0) if there else SIMULATED_MERCHANTS
        data = data.model_copy(update={"simulated_merchants": share})
    if not {"num_epochs", "max_steps", "min_steps"} & training.model_fields_set:
        steps = there.training_config.get("min_steps", 0) if there else FEW_STEPS
        training = training.model_copy(update={"min_steps": steps})
    return training, data


def _require_start(model: str) -> None:
    """UserError: no such folder. WorldError: the hub is out of reach, and its cache has nothing of the model."""
    if (found := find_start(model)) == model != TINY and not Path(found).exists():
        from receipt_trainer.models import hub

        hub.require(model, WITHOUT_NETWORK)


def _require_data(data: DataConfig, table: str | None) -> None:
    """UserError: a file is not there, or AWS is not set up; found before the imports, which take seconds."""
    for name in filter(None, (data.dataset_name, data.eval_dataset)):
        require_files(name, table=table)
        if TABLE in name.split(","):
            from receipt_trainer.aws import clients

            clients.dynamodb()
    if data.split_file:
        read_split_file(Path(data.split_file))


@click.command(name="report", short_help="Write a run's report.html and show it here.")
@click.argument("run_dir", type=PATH)
@click.option("--terminal/--no-terminal", default=True, help="Print the report here as well.")
def report_command(run_dir: Path, terminal: bool) -> None:
    """Write report.html into RUN_DIR, the folder that holds a run's run.json, and print the report."""
    folder = load_run(run_dir)
    if terminal:
        print_run(folder, Console())
    click.echo(f"report: {write_report(run_dir, folder)}")


@click.command("export")
@click.argument("run", type=PATH)
def export_command(run: Path) -> None:
    """Make the model package of a trained run: model/serve/, which `receipt-trainer read` needs.

    Every run makes its own at its end; this is for runs of older versions, and for those whose run.json says why it
    could not be made. RUN is the run's folder. How dates and amounts are written, and which merchants are known, is
    taken from the package that is replaced; without one, from the validation receipts.
    """
    model_dir = find_model(str(run))
    path = next(
        (folder / names.RUN_FILE for folder in (run, run.resolve().parent) if (folder / names.RUN_FILE).is_file()), None
    )
    record = _record(path) if path else None
    say_loading()
    from receipt_trainer.models.layoutlm.serve_export import export_run

    quiet_libraries()
    manifest = export_run(path.parent if path else model_dir, record)
    if path and record is not None:
        record.package = PackageOutcome.of(manifest, f"{names.MODEL_DIR}/{SERVE_DIR}")
        record.write(path)
    scores = manifest.scores
    said = [f"{manifest.precision} model" + (f" ({scores.reason})" if scores.reason else "")]
    said += [f"{scores.same_labels:.1%} of the words have the same label in int8 and fp32"]
    if scores.f1_fp32 is not None and scores.f1_int8 is not None:
        f1 = f"F1 {scores.f1_int8:.4f} in int8 and {scores.f1_fp32:.4f} in fp32"
        said += [f"{f1} on {scores.num_validation} validation receipts"]
    said += ["confidences are calibrated" if manifest.calibration.calibrated else "confidences are not calibrated"]
    if KNOWN_FILE in manifest.files:
        said += ["date orders, amounts and known merchants are those of its training receipts"]
    else:
        said += ["date orders and amounts are those of its validation receipts, as it does not have the others"]
    click.echo(f"{model_dir / 'serve'}: " + "; ".join(said))


def _record(path: Path) -> LayoutLMRecord:
    try:
        record = load_record(path)
    except (OSError, ValueError):
        raise UserError(f"{path} is not a run record") from None
    if not isinstance(record, LayoutLMRecord):
        raise UserError(f"{path}: a run of the family {record.family}; packages are made of LayoutLM runs")
    return record


@click.command("label-counts")
@data_config_options
@click.option(
    "--model",
    metavar="NAME",
    help=f"Count tokens as this model cuts them ({names.WEIGHTS_PACKAGE} if installed, else tiny).",
)
@click.option("--ratio", "ratios", type=float, multiple=True, help="Simulate this --o-entity-ratio; repeat.")
def label_counts_command(model: str | None, ratios: tuple[float, ...], **flags: Any) -> None:
    """Count receipts, lines, words, tokens and labels on both sides of the split, as training would see them.

    With --ratio (or --o-entity-ratio): the counts that remain after downsampling all-O training examples to it.
    """

    spec, training, data = configure(flags)
    wanted = [ratio for ratio in (data.o_entity_ratio, *ratios) if ratio is not None]
    for ratio in wanted:
        parse(DataConfig, {"o_entity_ratio": ratio}, "--ratio")
    name = model or _default_model(spec)
    _require_data(data, flags["dynamo_table"])
    _require_start(name)
    say_loading()
    from receipt_trainer.data.encode import VIEWS
    from receipt_trainer.data.prepare import prepare
    from receipt_trainer.models.layoutlm.model import load_tokenizer, resolve

    quiet_libraries()
    tokenizer = load_tokenizer(resolve(name))
    with progress_bar("reading receipts", None) as progress:
        prepared = prepare(data, tokenizer, table=flags["dynamo_table"], progress=progress)
    console = Console()
    say(console, f"{data.dataset_name}: examples: {data.examples}, tokens as {name} cuts them")
    if unlabelled := prepared.counts["receipts_without_valid_label"]:
        say(console, f"{unlabelled} receipts without a VALID label are left out")
    console.print(_counts_table(prepared.counts))
    if wanted:
        console.print()
        views = len(VIEWS[data.examples])
        console.print(_ratio_table(prepared.train.examples, dict.fromkeys(wanted), training.seed, views))
    for line in problem_lines(prepared.counts["problems"]):
        say(console, line)


def _default_model(spec: LayoutLMJob | None) -> str:
    """The job file's model, else what can be had without a network."""

    if spec is not None and "model" in spec.model_fields_set:
        return spec.model
    return names.WEIGHTS_PACKAGE if importlib.util.find_spec(names.WEIGHTS_PACKAGE.replace("-", "_")) else "tiny"


def _counts_table(counts: dict[str, Any]) -> Table:
    sides = [counts["train"], counts["validation"]]
    table = plain_table("", "train", "validation")
    for key in ("receipts", "lines", "words", "words_left_out", "tokens", "examples"):
        if any(key in side for side in sides):
            table.add_row(formatting.words_of(key), *(f"{side.get(key, 0):,}" for side in sides))
    table.add_row("O words a labelled word", *(f"{side['o_entity_ratio']:.2f}" for side in sides))
    for group in ("words_by_label", "receipts_by_source"):
        table.add_section()
        table.add_row(Text(formatting.words_of(group), "dim"))
        for name in dict.fromkeys(name for side in sides for name in side[group]):
            counted = (f"{side[group].get(name, 0):,}" for side in sides)
            table.add_row(Text(f"  {formatting.one_line(name, 32)}"), *counted)
    return table


def _ratio_table(examples: Examples, ratios: Iterable[float], seed: int, views: int) -> Table:
    """Count what training with each ratio and this seed would keep; the choice is training's own."""
    from receipt_trainer.data.encode import downsample

    columns = ("examples", "words", "O words", "reached", "tokens", "saved")
    table = plain_table("O:entity ratio", *columns, title="Training side after downsampling")
    tokens = int(examples.lengths.sum())
    for ratio in (None, *ratios):
        kept = downsample(examples, ratio, seed, views)
        outside, entities = int(examples.num_outside[kept].sum()), int(examples.num_entity[kept].sum())
        left = int(examples.lengths[kept].sum())
        table.add_row(
            "all kept" if ratio is None else f"{ratio:g}",
            f"{len(kept):,}",
            f"{outside + entities:,}",
            f"{outside:,}",
            f"{outside / max(1, entities):.2f}",
            f"{left:,}",
            f"{1 - left / max(1, tokens):.1%}",
        )
    return table
