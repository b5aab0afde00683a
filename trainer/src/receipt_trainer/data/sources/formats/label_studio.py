"""Label Studio: tasks with regions (rectangle, labels, transcription) in percent; both of its JSON exports, and ours.

Annotations are people's: their labels are VALID. Predictions are machines': PENDING, proposed by their model_version.
What our own export says beyond that stands in the task's data under `receipt_trainer`, which Label Studio keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from receipt_trainer.data.page_words import DocumentWords, PageWord, PageWords
from receipt_trainer.data.problems import ProblemKind
from receipt_trainer.data.receipt import Receipt, WordLabel
from receipt_trainer.data.sources.clean import is_name, number, parse_review
from receipt_trainer.data.sources.formats.pages import (
    GRID,
    FileReading,
    Format,
    PageBuilder,
    at,
    corners,
    document,
    items,
    labels_of,
    records,
    text_of,
)

OURS: Final = "receipt_trainer"
PREDICTED: Final = "prediction"
"""Who proposed a prediction's labels where it has no model_version."""
LABELS: Final[dict[str, str]] = {}
"""Labels are those of the project: their names are kept."""

_LABELLED: Final = ("rectanglelabels", "labels", "polygonlabels", "brushlabels")


def is_tasks(value: Any) -> bool:
    """Whether it is a task, or a list of tasks, with annotations or predictions of regions."""
    task = at(value, 0) if isinstance(value, list) else value
    if not isinstance(task, dict):
        return False
    results = [at(task, key, 0) for key in ("annotations", "predictions", "completions")]
    return isinstance(task.get("data"), dict) and any(isinstance(at(each, "result"), list) for each in results)


def read(reading: FileReading, value: Any) -> Iterator[DocumentWords]:
    """A document a task."""
    for n, task in enumerate(value if isinstance(value, list) else [value]):
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            reading.problems.add(ProblemKind.BAD_RECORD, reading.path.name, f"task {n}", "no data")
            continue
        if at(task, "data", OURS, "version") == 1:
            yield _of_ours(reading, task, n)
        else:
            yield _of_others(reading, task, n)


def _name(reading: FileReading, task: dict[str, Any], n: int) -> str:
    for key in ("id", "image", "ocr", "captioning", "url"):
        given = at(task, "data", key)
        if isinstance(given, str) and given.strip():
            last = given.partition("?d=")[2] or given.partition("?")[0]
            stem = last.replace("\\", "/").rpartition("/")[2]
            name = stem if key == "id" else stem.rpartition(".")[0] or stem
            if is_name(name):
                return name
    given = task.get("id")
    return f"task {given}" if isinstance(given, int | str) and is_name(f"task {given}") else f"{reading.name} {n}"


def _regions(result: Any) -> dict[str, dict[str, Any]]:
    """The regions of an annotation or prediction by id: x, y, width, height in percent, texts, labels, page size."""
    found: dict[str, dict[str, Any]] = {}
    for n, part in enumerate(records(result)):
        value = part.get("value")
        if not isinstance(value, dict) or not {"x", "y", "width", "height"} & set(value):
            continue
        identity = part.get("id")
        region = found.setdefault(identity if isinstance(identity, str) else f"#{n}", {"labels": [], "text": None})
        region |= {side: value[side] for side in ("x", "y", "width", "height") if side in value}
        region |= {key: part[key] for key in ("original_width", "original_height", "item_index") if key in part}
        text = value.get("text", at(part, "meta", "text"))
        text = " ".join(filter(None, map(text_of, text))) if isinstance(text, list) else text
        region["text"] = text if isinstance(text, str) and text.strip() else region["text"]
        for key in _LABELLED:
            region["labels"] += [name for name in items(value.get(key)) if isinstance(name, str)]
    return found


def _chosen(task: dict[str, Any]) -> list[dict[str, Any]]:
    """The annotations that count: not cancelled, the newest."""
    given = [each for key in ("annotations", "completions") for each in records(task.get(key))]
    kept = [each for each in given if not each.get("was_cancelled")]
    kept.sort(key=lambda each: text_of(each.get("updated_at")) or text_of(each.get("created_at")))
    return kept[-1:]


def _predicted(task: dict[str, Any]) -> list[tuple[str, dict[str, dict[str, Any]]]]:
    found = []
    for each in records(task.get("predictions")):
        who = text_of(each.get("model_version")).strip() or PREDICTED
        found.append((who, _regions(each.get("result"))))
    return found


def _of_others(reading: FileReading, task: dict[str, Any], n: int) -> DocumentWords:
    """A task of somebody's project: regions of the newest annotation, or of the predictions where there is none."""
    name = _name(reading, task, n)
    annotations, predictions = [_regions(each.get("result")) for each in _chosen(task)], _predicted(task)
    base = annotations[0] if annotations else {}
    if not annotations:
        for _, regions in predictions:
            base = base | {identity: region for identity, region in regions.items() if identity not in base}
    pages: dict[int, PageBuilder] = {}
    for identity, region in base.items():
        index = region.get("item_index")
        page = pages.setdefault(
            index if isinstance(index, int) and 0 <= index < 10_000 else 0, PageBuilder(reading, name)
        )
        width, height = number(region.get("original_width")), number(region.get("original_height"))
        page.width, page.height = (page.width or width or GRID), (page.height or height or GRID)
        labels = tuple(each for label in region["labels"] for each in labels_of(label, LABELS)) if annotations else ()
        for who, regions in predictions:
            names = at(regions.get(identity), "labels") or []
            proposed = [each for name in names for each in labels_of(name, LABELS, "PENDING", who)]
            labels += tuple(each for each in proposed if each.name not in {label.name for label in labels})
        page.add(region["text"], _points(region, page.width, page.height), labels=labels, is_line=True)
    for number_, page in pages.items():
        page.number = number_ + 1
    return document(name, pages.values() or [PageBuilder(reading, name)])


def _points(region: dict[str, Any], width: float, height: float) -> list[tuple[float, float]] | None:
    x, y, w, h = (number(region.get(side)) for side in ("x", "y", "width", "height"))
    if x is None or y is None or w is None or h is None:
        return None
    return corners(x * width / 100, y * height / 100, w * width / 100, h * height / 100)


def _of_ours(reading: FileReading, task: dict[str, Any], n: int) -> DocumentWords:
    """A task of our export: what people changed in it counts, all else is as it was.

    A label that was VALID and stands no longer in the annotation is INVALID. One that was proposed, or is new, is VALID
    if a person's annotation has it.
    """
    ours = at(task, "data", OURS)
    name = text_of(ours.get("id")) or _name(reading, task, n)
    width, height = number(ours.get("width")) or GRID, number(ours.get("height")) or GRID
    chosen, predictions = _chosen(task), _predicted(task)
    regions = _regions(chosen[0].get("result")) if chosen else {}
    if not chosen:
        for _, proposed in predictions:
            regions = proposed | regions
    stored = ours.get("words") if isinstance(ours.get("words"), dict) else {}
    words, is_judged_anew = [], set(regions) != set(stored)
    for identity, region in regions.items():
        known = stored.get(identity)
        points = _points(region, 1.0, 1.0)
        if points is None or not text_of(region["text"]):
            kind = ProblemKind.BAD_BOX if points is None else ProblemKind.EMPTY_TEXT
            reading.problems.add(kind, name, f"region {identity}", region["text"])
            continue
        before = [WordLabel(*each) for each in items(at(known, "labels")) if _is_label(each)]
        labels = _judged(before, region["labels"]) if chosen else tuple(before)
        is_judged_anew |= labels != tuple(before)
        line, extra = at(known, "line"), at(known, "extra")
        x0, y0, x1, y1 = *points[0], *points[2]
        words.append(
            PageWord(
                region["text"],
                (x0 * width, y0 * height, x1 * width, y1 * height),
                line if isinstance(line, int) and abs(line) < 10**8 else None,
                number(at(known, "confidence")),
                labels,
                extra if isinstance(extra, dict) else {},
            )
        )
    page = PageWords(1, width, height, tuple(words))
    more = {key: given for key in ("source", "split", "image_id") if (given := text_of(ours.get(key)))}
    receipt_id = ours.get("receipt_id")
    extra = ours.get("extra")
    return DocumentWords(
        name,
        (page,),
        **more,
        receipt_id=receipt_id if isinstance(receipt_id, int) and 0 < receipt_id < 10**9 else 1,
        extra=extra if isinstance(extra, dict) else {},
        review=None if is_judged_anew else parse_review(ours.get("review")),
    )


def _is_label(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(part, str) for part in value)


def _judged(before: list[WordLabel], now: list[str]) -> tuple[WordLabel, ...]:
    found = {}
    for label in before:
        status = "VALID" if label.name in now else "INVALID" if label.status == "VALID" else label.status
        found[label.name] = WordLabel(label.name, status, label.proposed_by)
    for name in now:
        found.setdefault(name, WordLabel(name))
    return tuple(found.values())


def to_task(receipt: Receipt, image: str) -> dict[str, Any]:
    """A receipt as a task; `read` gives the same receipt back.

    The annotation, where the receipt has a VALID label, is that of people; each of those who proposed PENDING labels
    has a prediction. All words are in each of them, so that texts can be corrected, too.
    """
    words = {f"word-{n}": word for n, word in enumerate(receipt.words)}
    proposers = sorted({each.proposed_by for word in receipt.words for each in word.labels if each.status == "PENDING"})

    def result(status: str, who: str | None = None) -> list[dict[str, Any]]:
        size = {"original_width": receipt.width or 1000, "original_height": receipt.height or 1000, "image_rotation": 0}
        parts: list[dict[str, Any]] = []
        for identity, word in words.items():
            x0, y0, x1, y1 = word.box
            box = {"x": x0 * 100, "y": y0 * 100, "width": (x1 - x0) * 100, "height": (y1 - y0) * 100, "rotation": 0}
            names = [each.name for each in word.labels if each.status == status and who in (None, each.proposed_by)]
            common = {"id": identity, "to_name": "image", **size}
            parts.append(common | {"from_name": "bbox", "type": "rectangle", "value": box})
            parts.append(
                common | {"from_name": "transcription", "type": "textarea", "value": box | {"text": [word.text]}}
            )
            if names:
                parts.append(common | {"from_name": "label", "type": "labels", "value": box | {"labels": names}})
        return parts

    annotations = [{"result": result("VALID")}] if receipt.is_labelled() else []
    predictions = [
        {"model_version": who or PREDICTED, "result": result("PENDING", who)}
        for who in proposers or ([] if annotations else [""])
    ]
    kept = {
        identity: {
            "line": word.line,
            "confidence": word.confidence,
            "labels": [[each.name, each.status, each.proposed_by] for each in word.labels],
            "extra": word.extra,
        }
        for identity, word in words.items()
    }
    ours = {
        key: getattr(receipt, key) for key in ("image_id", "receipt_id", "source", "split", "width", "height", "extra")
    }
    if annotations and receipt.review is not None:
        ours["review"] = asdict(receipt.review)
    ours |= {"version": 1, "id": receipt.name or receipt.key, "words": kept}
    return {"data": {"image": image, OURS: ours}, "annotations": annotations, "predictions": predictions}


LABELING_CONFIG: Final = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <Labels name="label" toName="image">
{labels}
  </Labels>
  <Rectangle name="bbox" toName="image" strokeWidth="2"/>
  <TextArea name="transcription" toName="image" editable="true" perRegion="true" required="true" maxSubmissions="1"
            rows="1" displayMode="region-list"/>
</View>
"""
"""The project's configuration that our export fits; `labels` is a `<Label value="..."/>` a label."""

FORMAT: Final = Format(
    name="label-studio",
    expected="tasks with data and annotations or predictions, whose result has regions",
    is_json=is_tasks,
    read_json=read,
)
