"""`layoutlm-cli evaluate`: a trained model scored on labelled receipts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from rich.console import Console

from receipt_trainer.cli.options import dataset_options, model_options
from receipt_trainer.cli.render.progress import progress_bar, show_problems
from receipt_trainer.cli.render.tables import print_confusions, print_scores
from receipt_trainer.cli.trained import Reader, label_notes, labelled, load_with_progress, open_reader
from receipt_trainer.contract import names
from receipt_trainer.contract.predictions import ReceiptPrediction
from receipt_trainer.contract.run_record import Confusion, Score, load_record
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.split import read_split_file
from receipt_trainer.errors import UserError
from receipt_trainer.files import replacing


@click.command("evaluate")
@model_options
@dataset_options
@click.option("--split-file", metavar="FILE", help="Score only the receipts that this run.json or list of keys names.")
@click.option("--output", type=click.Path(path_type=Path), help="Write all scores to this file (JSON).")
@click.option("--predictions", type=click.Path(path_type=Path), help="Write every word's label and prediction here.")
def evaluate_command(
    model: str,
    device: str,
    precision: str,
    dataset: str,
    dynamo_table: str | None,
    split_file: str | None,
    output: Path | None,
    predictions: Path | None,
) -> None:
    """Score a trained model on the VALID labels of receipts: entities by seqeval, and confusions of words.

    A label counts as O where the model does not know it, or where the receipt's source does not annotate it.
    """

    from receipt_trainer.models.layoutlm.export import find_model

    find_model(model)  # mistakes first: loading the model takes seconds
    problems = ProblemLog()
    loaded = load_with_progress(dataset, dynamo_table, problems)
    receipts = labelled(loaded, dataset)
    notes = [] if len(loaded) == len(receipts) else [f"{len(loaded) - len(receipts)} receipts without a VALID label"]
    receipts = _held_out(receipts, split_file, notes) if split_file else receipts
    notes += _trained_on(model, dataset) if not split_file else []
    with ExitStack() as stack:  # opened before the work: an output that cannot be written costs no evaluation
        streams = [stack.enter_context(replacing(path)) if path else None for path in (output, predictions)]
        result, rows = _evaluate(open_reader(model, device, precision), receipts)
        result = {"model": model, "dataset": dataset, "split_file": split_file} | result
        result["notes"] += notes
        result["problems"] = problems.as_dict()
        if streams[0]:
            streams[0].write(json.dumps(_plain(result), indent=1, ensure_ascii=False) + "\n")
        if streams[1]:
            streams[1].writelines(row.model_dump_json() + "\n" for row in rows)
    _print_scores(Console(), result)
    show_problems(problems)


def _held_out(receipts: Sequence[Receipt], split_file: str, notes: list[str]) -> list[Receipt]:
    """The receipts that the file names; those it names that are not there become a note."""

    wanted = set(read_split_file(Path(split_file)))
    found = [receipt for receipt in receipts if receipt.key in wanted or receipt.name in wanted]
    if not found:
        raise UserError(f"{split_file}: none of the {len(wanted)} receipts it names is in the data set with a label")
    missing = wanted - {receipt.key for receipt in found} - {receipt.name for receipt in found}
    if missing:
        notes.append(f"{len(missing)} receipts of {split_file} are not in the data set or have no VALID label")
    return found


def _trained_on(model: str, dataset: str) -> list[str]:
    """A warning if the model has seen these receipts: scores on what was trained on say nothing."""

    for path in (Path(model) / names.RUN_FILE, Path(model).resolve().parent / names.RUN_FILE):
        try:
            record = load_record(path)
        except (OSError, ValueError):
            continue
        if _parts(str(record.data_config.get("dataset_name", ""))) & _parts(dataset):
            return [
                f"the model was trained on receipts of this data set, so the scores flatter it; "
                f"--split-file {path} scores only those it did not train on"
            ]
    return []


def _parts(dataset: str) -> set[str]:
    """The data sets of a list, so that one file is one data set by whatever path."""
    parts = filter(None, map(str.strip, dataset.split(",")))
    return {part if part == "dynamodb" else str(Path(part).resolve()) for part in parts}


def _evaluate(reader: Reader, receipts: Sequence[Receipt]) -> tuple[dict[str, Any], list[ReceiptPrediction]]:
    from receipt_trainer.data.decode import choose
    from receipt_trainer.models.layoutlm import metrics
    from receipt_trainer.models.layoutlm.predictor import receipt_predictions

    space = reader.space
    with progress_bar("predicting", None) as progress:
        split, found = reader.read(receipts, progress)
    chosen = choose(found.probabilities, split.words, space)
    words = split.words
    overall, per_label = metrics.score(words, chosen, space)
    result = {
        "device": reader.device,
        "precision": reader.precision,
        "labels": list(space.labels),
        "counts": {
            "receipts": len(words),
            "lines": sum(1 for receipt in receipts for _ in receipt.lines()),
            "words": len(words.texts),
            "labelled_words": int((words.gold > 0).sum()),
            "words_right": int((words.gold == chosen).sum()),
            "entities": overall.support,
        },
        "word_accuracy": round(float((words.gold == chosen).mean()), 6),
        "overall": overall,
        "per_label": per_label,
        "per_source": metrics.score_by_source(words, chosen, space),
        "confusion": metrics.confusion(words, chosen, space),
        "notes": label_notes(receipts, space),
    }
    return result, list(receipt_predictions(words, found.probabilities, chosen, space))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _print_scores(console: Any, result: dict[str, Any]) -> None:
    per_source: dict[str, Score] = result["per_source"]
    confusion: Confusion = result["confusion"]
    counts = result["counts"]
    said = (
        f"{counts['receipts']:,} receipts, {counts['words']:,} words, {counts['entities']:,} entities; "
        f"{result['word_accuracy']:.1%} of the words right; {result['device']}, {result['precision']}"
    )
    console.print(said, highlight=False, soft_wrap=True)
    for note in result["notes"]:
        console.print(f"note: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    console.print()
    print_scores(console, "label", result["per_label"].items(), result["overall"])
    if len(per_source) > 1:
        console.print()
        print_scores(console, "source", per_source.items())
    console.print()
    print_confusions(console, confusion)
