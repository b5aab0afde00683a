"""Is the model good, where does it fail, what next: a run in a few sentences, for its page and for the terminal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.predictions import PredictedWord, ReceiptPrediction
from receipt_trainer.contract.run_record import AnyRecord, LayoutLMRecord, PaddleOcrVlRecord, RunRecord, Score
from receipt_trainer.data.dedup import letters
from receipt_trainer.evaluation.receipt_fields import KEYS, FieldOutcome, ReadField, all_right, count_outcomes
from receipt_trainer.reports import formatting, summary
from receipt_trainer.reports.word_errors import confusion_of, judge_word, top_confusions

GENERATED: Final = frozenset({"synthetic", "synthetic-vl"})
"""Sources of `data.synthetic`, which takes an extra to import."""
CHANCE: Final = 10
"""Fewer validation receipts say little more than chance does."""
FEW: Final = 30
"""With fewer, one receipt moves a score by several percent."""
FEW_VALUES: Final = 10
"""A label's score from fewer values says little."""
_FEW_WORDS: Final = 50
"""A label with fewer training words may just be too rare."""
POOR: Final = 0.2
"""F1 below which single errors say nothing."""
MODEST: Final = 0.5
"""F1 below which a model's errors are its own, and say nothing of the labels."""
SURE: Final = 0.95
"""A wrong word of which the model was so sure may bear the wrong label."""
MAX_STEPS: Final = 4


class Step(NamedTuple):
    """What to do next, and the part of the page that shows why ("#confusion")."""

    text: str
    anchor: str


class Assessment(NamedTuple):
    """A run in sentences.

    Attributes:
        score: the number, on how many receipts, whether they are generated.
        support: how far to believe it; "" where there is nothing to say.
        worst: the labels that are read worst, at most three; empty for documents.
        steps: what to do, the most important first.
    """

    score: str
    support: str
    worst: list[tuple[str, Score]]
    steps: list[Step]


def advise(
    record: AnyRecord,
    predictions: Sequence[ReceiptPrediction] | None = None,
    fields: Sequence[ReadField] = (),
    seen: Collection[str] = (),
) -> Assessment:
    """The advice of a run.

    Args:
        predictions: of the validation receipts; without them confusions are those of the record.
        fields: of the validation receipts or documents; without them values give no advice.
        seen: the letters of merchants of training receipts.
    """
    if isinstance(record, PaddleOcrVlRecord):
        return _of_documents(record, fields)
    number = num_validation(record, predictions)
    head = summary.headline(record)
    score = "There is no score yet: nothing was evaluated."
    if head.score is not None:
        name = "F1" if record.overall else "The best F1 so far is"
        values = f" ({head.score.support:,} values)" if head.score.support else ""
        score = f"{name} {formatting.score(head.score.f1)} on {_said_receipts(record, predictions)}{values}."
    rows = [(label, one) for label, one in summary.label_scores(record) if one.support and one.f1 < 1]
    worst = sorted(rows, key=lambda row: (row[1].f1, -row[1].support))[:3]
    found = [*_steps(record, predictions or (), number), *_of_new_merchants(by_merchant(fields, seen))]
    steps = sorted(found, key=lambda pair: -pair[0])
    support = _support(number) if head.score is not None else ""
    if not support and len(record.epoch_metrics) > 1 and record.overall:
        support = "The kept epoch was chosen on these receipts: expect a little less on new ones."
    return Assessment(score, support, worst, [step for _, step in steps[:MAX_STEPS]])


def num_validation(record: RunRecord, predictions: Sequence[ReceiptPrediction] | None = None) -> int | None:
    """Validation receipts or documents; None where nobody has counted them."""
    if isinstance(record, LayoutLMRecord) and record.split is not None:
        return record.split.validation_count
    if predictions is not None:
        return len(predictions)
    counted = _counts(record, "validation")
    found = counted.get("receipts", counted.get("documents"))
    return found if isinstance(found, int) else None


def generated_share(record: RunRecord, predictions: Sequence[ReceiptPrediction] | None = None) -> float:
    """Share of the validation receipts, 0..1, that were generated, as far as their sources say."""
    sources = _counts(record, "validation").get("receipts_by_source")
    if not isinstance(sources, dict) or not all(isinstance(count, int) for count in sources.values()):
        sources = Counter(receipt.source for receipt in predictions or ())
    total = sum(sources.values())
    return sum(count for source, count in sources.items() if source in GENERATED) / total if total else 0.0


def _counts(record: RunRecord, side: str) -> dict[str, Any]:
    found = record.dataset_counts.get(side)
    return found if isinstance(found, dict) else {}


def _said_receipts(record: RunRecord, predictions: Sequence[ReceiptPrediction] | None) -> str:
    number, share = num_validation(record, predictions), generated_share(record, predictions)
    kind = "generated validation" if share == 1 else "validation"
    some = f", {formatting.percent(share)} of them generated" if 0 < share < 1 else ""
    return f"{_many(number, f'{kind} receipt')}{some}" if number is not None else f"{kind} receipts"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _support(number: int | None, noun: str = "receipt") -> str:
    if number is None:
        return f"On how many {noun}s is not recorded."
    if number < CHANCE:
        return f"{_many(number, f'validation {noun}')}: this number is little more than chance."
    if number < FEW:
        return f"{number} {noun}s are few: each is {formatting.percent(1 / number)} of this number."
    return ""


def _steps(
    record: LayoutLMRecord, predictions: Sequence[ReceiptPrediction], number: int | None
) -> Iterator[tuple[float, Step]]:
    """Steps with their weight."""
    epochs = record.epoch_metrics
    score = record.overall or (epochs[-1] if epochs else None)
    if score is not None and score.f1 < POOR:
        steps = f" after {_many(epochs[-1].step, 'step')}" if epochs else ""
        found = "has learned little" if score.f1 else "has found no value"
        yield 100, Step(f"It {found}{steps}: train longer (--epochs), on more receipts.", "#curves")
    if number is not None and number < CHANCE:
        text = f"Only {_many(number, 'receipt')} held out: label more receipts, or validate on others (--eval-dataset)."
        yield 90, Step(text, "#data")
    if generated_share(record, predictions) == 1:
        yield 45, Step("Generated receipts show that all works; train on your own to see what it is worth.", "#data")
    if (
        len(epochs) > 1
        and record.status == "complete"
        and epochs[-1].f1 >= POOR
        and epochs[-1].f1 > max(row.f1 for row in epochs[:-1]) + 0.005
    ):
        rise = f"{formatting.score(epochs[-2].f1)} to {formatting.score(epochs[-1].f1)}"
        more = f"--epochs {formatting.number(round(2 * epochs[-1].epoch))}"
        yield 80, Step(f"F1 still rose in the last epoch ({rise}): train longer, say {more}.", "#curves")
    if len(epochs) == 1 and record.status == "complete" and epochs[-1].f1 >= POOR:
        yield 80, Step("Only one epoch was scored: train for more (--epochs), until F1 rises no longer.", "#curves")
    if score is not None and score.f1 >= MODEST:
        yield from _of_confusions(record, predictions)
    if score is not None and score.f1 >= POOR:
        yield from _of_rare_labels(record)
    sure = num_sure_errors(predictions)
    if sure > 1 and score is not None and score.f1 >= MODEST:
        share = formatting.percent(SURE)
        text = f"{sure} words are wrong although the model was at least {share} sure: check their labels."
        yield 55, Step(text, "#sure")
    dropped = [row for row in summary.problem_rows(record.dataset_counts) if row.fate == "left out"]
    if dropped:
        named = ", ".join(f"{row.number} {row.kind}" for row in dropped[:3])
        yield 57, Step(f"Parts of the data were left out ({named}): mend them.", "#problems")
    if predictions and not any(judge_word(word).is_error for receipt in predictions for word in receipt.words):
        yield (
            40,
            Step("Every word was read right: validate on more receipts, from shops that it has not seen.", "#data"),
        )


def num_sure_errors(predictions: Sequence[ReceiptPrediction]) -> int:
    """Wrong words of which the model was at least `SURE`."""
    return sum(is_sure_error(word) for receipt in predictions for word in receipt.words)


def is_sure_error(word: PredictedWord) -> bool:
    """Whether a word is wrong, and the model was at least `SURE`."""
    return word.score is not None and word.score >= SURE and judge_word(word).is_error


def _of_confusions(record: LayoutLMRecord, predictions: Sequence[ReceiptPrediction]) -> Iterator[tuple[float, Step]]:
    confusion = confusion_of(record, predictions)
    for rank, (gold, pred, count) in enumerate(top_confusions(confusion, 2) if confusion else ()):
        if count < 2:
            continue
        pairs = [
            (at, word.text)
            for at, receipt in enumerate(predictions)
            for word in receipt.words
            if word.scored and (word.gold, word.pred) == (gold, pred)
        ]
        most, where = _mostly([text for _, text in pairs]), Counter(at for at, _ in pairs).most_common(1)
        if gold == OUTSIDE:
            text = f"Words without a label are read as {pred} {count}x{most}: is their label missing?"
        elif pred == OUTSIDE:
            text = f"{gold} is missed {count}x{most}: is it labelled everywhere?"
        else:
            text = f"{gold} is read as {pred} {count}x{most}: are they labelled one way?"
        yield 75 - 5 * rank, Step(text, f"#errors-{where[0][0] + 1}" if where else "#confusion")


_AMOUNT: Final = re.compile(r"\W*\d[\d.,]*[.,]\d\d\W*")


def _mostly(texts: Sequence[str]) -> str:
    """What most of the words have in common; "" if nothing does."""
    if not texts:
        return ""
    by_form = Counter(text.casefold() for text in texts)
    form, count = by_form.most_common(1)[0]
    if count > 1 and 3 * count >= len(texts):
        return f", {'always' if count == len(texts) else 'mostly'} \u201c{formatting.one_line(form, 20)}\u201d"
    if 3 * sum(bool(_AMOUNT.fullmatch(text)) for text in texts) >= 2 * len(texts):
        return ", mostly amounts"
    return ", mostly numbers" if 3 * sum(any(map(str.isdigit, text)) for text in texts) >= 2 * len(texts) else ""


def _of_rare_labels(record: LayoutLMRecord) -> Iterator[tuple[float, Step]]:
    """Labels that are read worse than others and that training saw seldom."""
    words = _counts(record, "train").get("words_by_label")
    if not isinstance(words, dict) or record.overall is None:
        return
    rare = [
        (label, words[label])
        for label, one in summary.label_scores(record)
        if isinstance(words.get(label), int) and words[label] < _FEW_WORDS and one.f1 < record.overall.f1
    ]
    if rare:
        named = ", ".join(f"{label} ({_many(count, 'word')})" for label, count in rare[:3])
        yield 65, Step(f"Training saw little of {named}: label more receipts that have it.", "#labels")


def by_merchant(fields: Sequence[ReadField], seen: Collection[str]) -> list[tuple[int, int]]:
    """(all of `KEYS` right, receipts) of merchants that training has not seen, and of the others; empty without `seen`
    or without one of both.
    """
    known = "\n".join(seen)
    new = {
        field.receipt: letters(field.truth) not in known
        for field in fields
        if field.name == "merchant" and letters(field.truth)
    }
    parts = [all_right([field for field in fields if new.get(field.receipt) is is_new]) for is_new in (True, False)]
    return parts if known and all(tried for _, tried in parts) else []


def _of_new_merchants(parts: Sequence[tuple[int, int]]) -> Iterator[tuple[float, Step]]:
    if not parts or min(tried for _, tried in parts) < 3:
        return
    (right, tried), (others, rest) = parts
    if others / rest - right / tried > 0.1:
        text = (
            f"Merchants that training has not seen are worse ({right} of {tried} receipts right, {others} of {rest} of"
        )
        yield 72, Step(f"{text} the others): label receipts of more merchants.", "#fields")


def _of_documents(record: PaddleOcrVlRecord, fields: Sequence[ReadField]) -> Assessment:
    kept, number = record.vl.scores, num_validation(record)
    if kept is None or kept.field_accuracy is None:
        return Assessment("There is no score yet: no answer was scored.", "", [], [])
    number = kept.documents or number
    many = _many(number, "validation document") if number is not None else "validation documents"
    score = f"{formatting.percent(kept.field_accuracy)} of the fields right on {many}."
    steps = []
    if number is not None and number < CHANCE:
        steps.append(Step(f"Only {_many(number, 'document')} scored: hold out more.", "#data"))
    if kept.parse_share is not None and kept.parse_share < 1:
        share = formatting.percent(1 - kept.parse_share)
        steps.append(Step(f"{share} of the answers are no JSON: train longer, or allow longer answers.", "#worst"))
    lost = [
        (counts[FieldOutcome.WRONG] + counts[FieldOutcome.MISSING], counts.total() - counts[FieldOutcome.EXTRA], name)
        for name, counts in count_outcomes(fields).items()
    ]
    for count, total, name in sorted(lost, key=lambda row: -row[0])[:2]:
        if count:
            text = f"{name} is wrong or missing on {count:,} of {_many(total, 'document')}: train on more like them."
            steps.append(Step(text, "#worst"))
    if record.vl.left_out:
        steps.append(Step(f"{_many(len(record.vl.left_out), 'document')} too long and left out.", "#data"))
    return Assessment(score, _support(number, "document"), [], steps[:MAX_STEPS])


def field_view(fields: Sequence[ReadField], names: Sequence[str]) -> dict[str, Any]:
    """Fields right, wrong and missing by receipt; `names` are those of the receipts."""
    right, tried = all_right(fields)
    return {
        "field_counts": list(count_outcomes(fields).items()),
        "keys": KEYS,
        "num_all_right": right,
        "num_with_keys": tried,
        "wrong_fields": [
            (field, names[field.receipt])
            for field in fields
            if field.name in KEYS and field.outcome is not FieldOutcome.RIGHT
        ],
    }
