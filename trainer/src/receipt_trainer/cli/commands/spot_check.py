"""`layoutlm-cli spot-check`."""

from __future__ import annotations

import secrets
from collections import Counter
from itertools import groupby
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receipt_trainer.cli.pick_receipt import draw
from receipt_trainer.cli.render.progress import show_problems
from receipt_trainer.cli.render.tables import plain_table
from receipt_trainer.cli.trained import Reader, dataset_options, label_notes, model_options, open_reader
from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.predictions import PredictedWord
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.reports import formatting

_MAX_MISMATCHES = 10


@click.command("spot-check")
@model_options
@dataset_options
@click.option("--receipt", "wanted", metavar="KEY", help="This receipt, by key or name, instead of a random one.")
@click.option("--seed", type=click.IntRange(min=0), help="Draw the receipt by this seed; by default another each time.")
def command(
    model: str,
    device: str,
    precision: str,
    dataset: str,
    dynamo_table: str | None,
    wanted: str | None,
    seed: int | None,
) -> None:
    """Show one labelled receipt, word by word: its VALID labels, and what the model reads."""

    from receipt_trainer.models.layoutlm.export import find_model

    find_model(model)
    problems = ProblemLog()
    seed = secrets.randbelow(2**31) if seed is None else seed
    receipt = draw(dataset, dynamo_table, wanted, seed, problems)
    reader = open_reader(model, device, precision)
    console = Console()
    drawn = "" if wanted else f"; drawn by --seed {seed}"
    said = f"{receipt.name or receipt.key} ({receipt.source or 'own'}), key {receipt.key}{drawn}"
    console.print(said, markup=False, highlight=False, soft_wrap=True)
    for note in label_notes([receipt], reader.space):
        console.print(f"note: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    words, gold_scores = _predictions(reader, receipt)
    for part in (_word_table(words), _label_table(words), _mismatch_table(words, gold_scores)):
        console.print()
        console.print(part)
    show_problems(problems)


def _predictions(reader: Reader, receipt: Receipt) -> tuple[tuple[PredictedWord, ...], list[float]]:
    """Every word, and the probability that the model gave its gold label."""
    from receipt_trainer.data.decode import choose
    from receipt_trainer.models.layoutlm.predictor import receipt_predictions

    split, found = reader.read([receipt])
    chosen = choose(found.probabilities, split.words, reader.space)
    (prediction,) = receipt_predictions(split.words, found.probabilities, chosen, reader.space)
    gold_scores = found.probabilities[range(len(chosen)), split.words.gold]
    return prediction.words, [float(score) for score in gold_scores]


def _word_table(words: tuple[PredictedWord, ...]) -> Table:
    table = plain_table("line", "word", "gold", "predicted", "score", "")
    for column in table.columns[1:4]:
        column.justify = "left"
    for line, group in groupby(words, key=lambda word: word.line):
        for at, word in enumerate(group):
            wrong = word.gold != word.pred
            labels = (Text("" if label == OUTSIDE and not wrong else label) for label in (word.gold, word.pred))
            score = "" if word.score is None else f"{word.score:.2f}"
            text = Text(formatting.one_line(word.text, 28))
            mark = Text("<- wrong" if wrong else "", "red")
            table.add_row("" if at else str(line), text, *labels, score, mark, style="bold" if wrong else "")
    return table


def _label_table(words: tuple[PredictedWord, ...]) -> Table:
    gold = Counter(word.gold for word in words)
    found = Counter(word.pred for word in words)
    correct = Counter(word.gold for word in words if word.gold == word.pred)
    table = plain_table("words", "gold", "predicted", "correct", "precision", "recall")
    for label in [*sorted({*gold, *found} - {OUTSIDE}), OUTSIDE]:
        precision = correct[label] / found[label] if found[label] else None
        recall = correct[label] / gold[label] if gold[label] else None
        counts = (str(count[label]) for count in (gold, found, correct))
        table.add_row(
            Text(formatting.one_line(label, 32)), *counts, formatting.score(precision), formatting.score(recall)
        )
    return table


def _mismatch_table(words: tuple[PredictedWord, ...], gold_scores: list[float]) -> Any:
    """The mistakes that the model is surest of: either it has something to learn, or the label is wrong."""

    wrong = [(word, score) for word, score in zip(words, gold_scores, strict=True) if word.gold != word.pred]
    if not wrong:
        return Text("Every prediction equals its label.")
    wrong.sort(key=lambda pair: -(pair[0].score or 0.0))
    table = plain_table(
        f"{len(wrong)} mismatches, the most confident first", "line", "gold", "score", "predicted", "score"
    )
    for column in (table.columns[2], table.columns[4]):
        column.justify = "left"
    for word, gold_score in wrong[:_MAX_MISMATCHES]:
        scores = (f"{gold_score:.2f}", f"{word.score or 0.0:.2f}")
        text = Text(formatting.one_line(word.text, 28))
        table.add_row(text, str(word.line), Text(word.gold), scores[0], Text(word.pred), scores[1])
    if len(wrong) > _MAX_MISMATCHES:
        table.add_row(Text(f"and {len(wrong) - _MAX_MISMATCHES} more", "dim"))
    return table
