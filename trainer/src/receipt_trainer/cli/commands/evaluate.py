"""`layoutlm-cli evaluate` and `spot-check`: a trained model beside the labels of many receipts, or of one."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receipt_trainer.aws import clients
from receipt_trainer.cli.options import dataset_options, model_options
from receipt_trainer.cli.render.tables import plain_table, print_note, progress_bar, show_problems
from receipt_trainer.cli.trained import TrainedModel, label_notes, labelled, load_with_progress, open_reader
from receipt_trainer.contract import names
from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.predictions import PredictedWord, ReceiptPrediction
from receipt_trainer.contract.run_record import Confusion, Score, load_record
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.dynamodb.assemble import assemble
from receipt_trainer.data.sources.dynamodb.read import labelled_keys, query_receipt
from receipt_trainer.data.sources.load import TABLE
from receipt_trainer.data.split import read_split_file
from receipt_trainer.errors import UserError
from receipt_trainer.files import replacing
from receipt_trainer.models.layoutlm.places import find_model
from receipt_trainer.reports import formatting
from receipt_trainer.reports.terminal import confusion_table, score_table
from receipt_trainer.training.console import say

_MAX_MISMATCHES: Final = 10


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

    find_model(model)  # mistakes first: loading the model takes seconds
    problems = ProblemLog()
    loaded = load_with_progress(dataset, dynamo_table, problems)
    receipts = labelled(loaded, dataset, problems)
    notes = [] if len(loaded) == len(receipts) else [f"{len(loaded) - len(receipts)} receipts without a VALID label"]
    receipts = _held_out(receipts, split_file, notes) if split_file else receipts
    notes += _trained_on(model, dataset) if not split_file else []
    with ExitStack() as stack:  # opened before the work: an output that cannot be written costs no evaluation
        streams = [stack.enter_context(replacing(path)) if path else None for path in (output, predictions)]
        result, rows = _score(open_reader(model, device, precision), receipts)
        result = {"model": model, "dataset": dataset, "split_file": split_file} | result
        result["notes"] += notes
        result["problems"] = problems.as_dict()
        if streams[0]:
            text = json.dumps(result, indent=1, ensure_ascii=False, default=lambda scores: scores.model_dump())
            streams[0].write(text + "\n")
        if streams[1]:
            streams[1].writelines(row.model_dump_json() + "\n" for row in rows)
    _show_scores(Console(), result)
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


def _score(reader: TrainedModel, receipts: Sequence[Receipt]) -> tuple[dict[str, Any], list[ReceiptPrediction]]:
    from receipt_trainer.data.decode import choose, receipt_predictions
    from receipt_trainer.models.layoutlm import metrics

    space = reader.space
    with progress_bar("predicting", None) as progress:
        split, found = reader.read(receipts, progress)
    chosen = choose(found.probabilities, split.words, space)
    words = split.words
    num_scored = int(words.scored.sum())
    left_out = {"words_left_out": len(words.texts) - num_scored} if num_scored < len(words.texts) else {}
    overall, per_label = metrics.score(words, chosen, space)
    result = {
        "device": reader.device,
        "precision": reader.precision,
        "labels": list(space.labels),
        "counts": {
            "receipts": len(words),
            "lines": sum(1 for receipt in receipts for _ in receipt.lines()),
            "words": len(words.texts),
            **left_out,
            "labelled_words": int((words.gold > 0).sum()),
            "words_right": int((words.gold == chosen).sum()),
            "entities": overall.support,
        },
        "word_accuracy": round(float((words.gold == chosen).sum()) / max(1, num_scored), 6),
        "overall": overall,
        "per_label": per_label,
        "per_source": metrics.score_by_source(words, chosen, space),
        "confusion": metrics.confusion(words, chosen, space),
        "notes": label_notes(receipts, space),
    }
    return result, list(receipt_predictions(words, found.probabilities, chosen, space))


def _show_scores(console: Any, result: dict[str, Any]) -> None:
    per_source: dict[str, Score] = result["per_source"]
    confusion: Confusion = result["confusion"]
    counts = result["counts"]
    said = (
        f"{counts['receipts']:,} receipts, {counts['words']:,} words, {counts['entities']:,} entities; "
        f"{result['word_accuracy']:.1%} of the words right; {result['device']}, {result['precision']}"
    )
    console.print(said, highlight=False, soft_wrap=True)
    for note in result["notes"]:
        print_note(console, note)
    console.print()
    console.print(score_table("label", result["per_label"].items(), result["overall"]))
    if len(per_source) > 1:
        console.print()
        console.print(score_table("source", per_source.items()))
    console.print()
    console.print(confusion_table(confusion) or "No word was read wrongly.")


@click.command("spot-check")
@model_options
@dataset_options
@click.option("--receipt", "wanted", metavar="KEY", help="This receipt, by key or name, instead of a random one.")
@click.option("--seed", type=click.IntRange(min=0), help="Draw the receipt by this seed; by default another each time.")
def spot_check_command(
    model: str,
    device: str,
    precision: str,
    dataset: str,
    dynamo_table: str | None,
    wanted: str | None,
    seed: int | None,
) -> None:
    """Show one labelled receipt, word by word: its VALID labels, and what the model reads."""
    find_model(model)
    problems = ProblemLog()
    seed = secrets.randbelow(2**31) if seed is None else seed
    receipt = draw(dataset, dynamo_table, wanted, seed, problems)
    reader = open_reader(model, device, precision)
    console = Console()
    drawn = "" if wanted else f"; drawn by --seed {seed}"
    say(console, f"{receipt.name or receipt.key} ({receipt.source or 'own'}), key {receipt.key}{drawn}")
    for note in label_notes([receipt], reader.space):
        print_note(console, note)
    words, gold_scores = _predictions(reader, receipt)
    for part in (_word_table(words), _label_table(words), _mismatch_table(words, gold_scores)):
        console.print()
        console.print(part)
    show_problems(problems)


def draw(dataset: str, table: str | None, wanted: str | None, seed: int, problems: ProblemLog) -> Receipt:
    """A receipt with a VALID label: the one that is wanted by key or name, or one that the seed chooses.

    Raises:
        UserError: there is none, or none of that key or name.
    """
    random = Random(seed)  # noqa: S311 - a sample, not a secret
    if dataset.strip() == TABLE and table and (known := _from_table(table, wanted, random, problems)) is not None:
        return known
    receipts = labelled(load_with_progress(dataset, table, problems), dataset, problems)
    if wanted is None:
        return random.choice(receipts)
    found = [receipt for receipt in receipts if wanted in (receipt.key, receipt.name)]
    if not found:
        raise UserError(f"--receipt {wanted}: no receipt of {dataset} with a VALID label has that key or name")
    if len(found) > 1:
        keys = ", ".join(receipt.key for receipt in found[:5])
        raise UserError(f"--receipt {wanted}: {len(found)} receipts have that name; say which by its key: {keys}")
    return found[0]


def _from_table(table: str, wanted: str | None, random: Random, problems: ProblemLog) -> Receipt | None:
    """One query instead of one a receipt: the index has the keys. None for a name, which only the receipts know."""
    client = clients.dynamodb()
    keys = labelled_keys(client, table, problems)
    chosen = random.sample(keys, len(keys)) if wanted is None else [key for key in keys if str(key) == wanted]
    found = (assemble(key, query_receipt(client, table, key), problems) for key in chosen)
    return next((receipt for receipt in found if receipt is not None and receipt.is_labelled()), None)


def _predictions(reader: TrainedModel, receipt: Receipt) -> tuple[tuple[PredictedWord, ...], list[float]]:
    """Every word, and the probability that the model gave its gold label."""
    from receipt_trainer.data.decode import choose, receipt_predictions

    split, found = reader.read([receipt])
    chosen = choose(found.probabilities, split.words, reader.space)
    (prediction,) = receipt_predictions(split.words, found.probabilities, chosen, reader.space)
    gold = [at if known else best for at, known, best in zip(split.words.gold, split.words.scored, chosen, strict=True)]
    gold_scores = found.probabilities[range(len(chosen)), gold]
    return prediction.words, [float(score) for score in gold_scores]


def _word_table(words: Sequence[PredictedWord]) -> Table:
    table = plain_table("line", "word", "gold", "predicted", "score", "", left=(1, 2, 3))
    for line, group in groupby(words, key=lambda word: word.line):
        for at, word in enumerate(group):
            wrong = word.gold != word.pred
            labels = (Text("" if label == OUTSIDE and not wrong else label) for label in (word.gold, word.pred))
            score = "" if word.score is None else f"{word.score:.2f}"
            text = Text(formatting.one_line(word.text, 28))
            mark = Text("<- wrong", "red") if wrong else Text("" if word.scored else "not scored", "dim")
            table.add_row("" if at else str(line), text, *labels, score, mark, style="bold" if wrong else "")
    return table


def _label_table(words: Sequence[PredictedWord]) -> Table:
    words = [word for word in words if word.scored]
    gold = Counter(word.gold for word in words)
    found = Counter(word.pred for word in words)
    correct = Counter(word.gold for word in words if word.gold == word.pred)
    table = plain_table("words", "gold", "predicted", "correct", "precision", "recall")
    for label in [*sorted({*gold, *found} - {OUTSIDE}), OUTSIDE]:
        shares = (correct[label] / count[label] if count[label] else None for count in (found, gold))
        counts = (str(count[label]) for count in (gold, found, correct))
        table.add_row(Text(formatting.one_line(label, 32)), *counts, *map(formatting.score, shares))
    return table


def _mismatch_table(words: Sequence[PredictedWord], gold_scores: list[float]) -> Any:
    """The mistakes that the model is surest of: either it has something to learn, or the label is wrong."""
    wrong = [(word, score) for word, score in zip(words, gold_scores, strict=True) if word.gold != word.pred]
    if not wrong:
        return Text("Every prediction equals its label.")
    wrong.sort(key=lambda pair: -(pair[0].score or 0.0))
    title = f"{len(wrong)} mismatches, the most confident first"
    table = plain_table(title, "line", "gold", "score", "predicted", "score", left=(2, 4))
    for word, gold_score in wrong[:_MAX_MISMATCHES]:
        scores = (f"{gold_score:.2f}", f"{word.score or 0.0:.2f}")
        text = Text(formatting.one_line(word.text, 28))
        table.add_row(text, str(word.line), Text(word.gold), scores[0], Text(word.pred), scores[1])
    if len(wrong) > _MAX_MISMATCHES:
        table.add_row(Text(f"and {len(wrong) - _MAX_MISMATCHES} more", "dim"))
    return table
