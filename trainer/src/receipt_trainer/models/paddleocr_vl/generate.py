"""Greedy answers of a model to documents, kept while an evaluation is not finished, and the scores of a run's model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import torch
from PIL import Image
from rich.console import Console
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from receipt_trainer.config.paddleocr_vl import EvaluationSection
from receipt_trainer.contract.names import PREDICTIONS_FILE
from receipt_trainer.contract.run_record import AnswerScores, PaddleOcrVlRecord
from receipt_trainer.contract.sinks import MetricsSink, report_progress
from receipt_trainer.data.document import DOCUMENT_SCHEMA, read_strictly
from receipt_trainer.data.document_set import VlExample
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.evaluation.answers import Prediction, parse_prediction, write_predictions
from receipt_trainer.evaluation.documents import Evaluation, evaluate
from receipt_trainer.evaluation.ratio import Share
from receipt_trainer.models.paddleocr_vl.dataset import Side, by_hash
from receipt_trainer.models.paddleocr_vl.encode import encode_prompts
from receipt_trainer.models.paddleocr_vl.model import Loaded
from receipt_trainer.training.console import progress_bar

Progress = Callable[[int, int], None]


def answer(
    loaded: Loaded,
    examples: Sequence[VlExample],
    *,
    max_new_tokens: int = 1024,
    batch_size: int = 1,
    progress: Progress | None = None,
) -> list[str]:
    """The model's answer for each example, without special tokens; at most `max_new_tokens` tokens each.

    Raises:
        UserError: an image cannot be read.
        WorldError: a batch does not fit into the GPU's memory.
    """
    texts: list[str] = []
    for batch, _ in _batches(loaded, examples, max_new_tokens, batch_size):
        texts += batch
        if progress is not None:
            progress(len(texts), len(examples))
    return texts


def predict(
    loaded: Loaded,
    examples: Sequence[VlExample],
    *,
    max_new_tokens: int = 1024,
    batch_size: int = 1,
    clock: Callable[[], float] = perf_counter,
) -> Iterator[Prediction]:
    """The same as predictions, each batch as soon as it is there; images by their absolute paths."""
    ahead = iter(examples)
    for texts, seconds in _batches(loaded, examples, max_new_tokens, batch_size, clock):
        for text in texts:
            example = next(ahead)
            yield Prediction(example.id, str(example.image.resolve()), example.output, text, seconds / len(texts))


def _batches(
    loaded: Loaded,
    examples: Sequence[VlExample],
    max_new_tokens: int,
    batch_size: int,
    clock: Callable[[], float] = perf_counter,
) -> Iterator[tuple[list[str], float]]:
    """Answers of each batch in order, and the seconds that it took with its images."""
    config = _greedy(loaded, max_new_tokens)
    for start in range(0, len(examples), batch_size):
        began = clock()
        texts = _write(loaded, examples[start : start + batch_size], config)
        yield texts, clock() - began


def _greedy(loaded: Loaded, max_new_tokens: int) -> GenerationConfig:
    """The likeliest token each time. Neutral values are named, or transformers takes the model's own instead."""
    tokenizer, own = loaded.processor.tokenizer, loaded.model.generation_config
    stops = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
    ends = sorted({token for token in (*stops, tokenizer.eos_token_id) if token is not None})
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        encoder_repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        min_length=0,
        use_cache=True,
        max_new_tokens=max_new_tokens,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else ends[0],
        # It stands for a piece of the image in the input; written by the model it would stand for none.
        suppress_tokens=[loaded.model.config.image_token_id],
    )


class _Moving(StoppingCriteria):
    """Says at every token that the run gets on; stops nothing. On a CPU a long answer takes many minutes."""

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """(examples,), all false."""
        report_progress("a token of an answer")
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def answer_images(loaded: Loaded, images: Sequence[Image.Image], max_new_tokens: int) -> list[str]:
    """The model's answer for each image, asked as it was trained; in halves where the GPU's memory is short.

    Raises:
        ExampleError: an image has a shape that the model cannot take.
        WorldError: one image alone does not fit into the GPU's memory.
    """
    examples = [VlExample("image", Path(), loaded.prompt, "", "") for _ in images]
    try:
        return _write(loaded, examples, _greedy(loaded, max_new_tokens), images)
    except WorldError:
        if len(images) == 1:
            raise
    half = len(images) // 2
    return [text for part in (images[:half], images[half:]) for text in answer_images(loaded, part, max_new_tokens)]


@torch.inference_mode()
def _write(
    loaded: Loaded,
    examples: Sequence[VlExample],
    config: GenerationConfig,
    images: Sequence[Image.Image] | None = None,
) -> list[str]:
    batch: Any = encode_prompts(loaded.processor, examples, images).to(loaded.device)
    try:
        tokens = loaded.model.generate(
            **batch, generation_config=config, stopping_criteria=StoppingCriteriaList([_Moving()])
        )
    except torch.OutOfMemoryError:
        raise WorldError(
            f"{len(examples)} documents at once do not fit into the GPU's memory: use a smaller --batch-size"
        ) from None
    written = tokens[:, batch["input_ids"].shape[1] :]
    texts: list[str] = loaded.processor.tokenizer.batch_decode(
        written, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return texts


class Unfinished:
    """A file that begins with what was asked of whom, and grows by a line an answer."""

    def __init__(self, predictions: Path, asked: Mapping[str, Any]) -> None:
        """
        Args:
            predictions: the file that the answers become; this one stands beside it.
            asked: all that answers depend on besides the documents, JSON values.
        """
        self.path = predictions.with_name(f".{predictions.name}.unfinished")
        self._head = json.dumps(asked, sort_keys=True)

    def answered(self, examples: Sequence[VlExample]) -> dict[str, Prediction]:
        """Answers to these examples that are there already, by id; none if something else was asked."""
        try:
            head, *lines = self.path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError):
            return {}
        if head != self._head:
            return {}
        documents = {example.id: (str(example.image.resolve()), example.output) for example in examples}
        found = (prediction for line in lines if (prediction := _whole(line)) is not None)
        return {one.id: one for one in found if documents.get(one.id) == (one.image, one.gold)}

    def keep(self, known: Iterable[Prediction], coming: Iterable[Prediction]) -> Iterator[Prediction]:
        """Write and pass on what is known, then what comes, each answer before it is passed on."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        listed = list(known)
        with self.path.open("w", encoding="utf-8", errors="replace") as stream:
            stream.write(f"{self._head}\n")
            for predictions in (listed, coming):
                for prediction in predictions:
                    stream.write(json.dumps(asdict(prediction), ensure_ascii=False) + "\n")
                    stream.flush()
                    yield prediction

    def remove(self) -> None:
        """The answers are in their place."""
        self.path.unlink(missing_ok=True)


def _whole(line: str) -> Prediction | None:
    """None for a line that was cut off."""
    try:
        return parse_prediction(line, "")
    except UserError:
        return None


def files_of(*folders: str | Path | None) -> list[list[Any]]:
    """Names, sizes and times of the files of models that are folders: another training under the same name shows."""
    found: list[list[Any]] = []
    for folder in folders:
        if folder is None or not Path(folder).is_dir():
            continue
        files = sorted(path for path in Path(folder).rglob("*") if path.suffix in (".safetensors", ".json"))
        found += [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    return found


METRICS: Final[Mapping[str, str]] = {
    "field_accuracy": "fields",
    "teds": "teds",
    "numeric_accuracy": "numeric",
    "parse_share": "parse",
}
"""Names in the record and in the jobs table, with those of an evaluation's scores."""

_MARGIN: Final = 1.5
"""Of the longest true answer, how long one may become: what is longer is wrong in any case."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """The documents to score and the model.

    Attributes:
        asked: all that the model depends on, JSON values; answers of another one are not taken for its own.
    """

    run_dir: Path
    section: EvaluationSection
    validation: Side
    asked: Mapping[str, Any]

    @property
    def max_new_tokens(self) -> int:
        """Longest answer, in tokens."""
        return self.section.max_new_tokens or int(self.validation.answers.max() * _MARGIN) + 1

    def documents(self) -> list[VlExample]:
        """Those that are scored, in the order of their file: of too many the ones with the smallest hashes of ids."""
        known = [example for example in self.validation.examples if is_document(example.output)]
        limit = self.section.documents or len(known)
        chosen = {example.id for example in by_hash(known)[:limit]}
        return [example for example in known if example.id in chosen]

    def unfinished(self) -> Unfinished:
        """Where answers are kept while others are still to come."""
        asked = {**self.asked, "max_new_tokens": self.max_new_tokens}
        return Unfinished(self.run_dir / PREDICTIONS_FILE, asked)


def by_answer(examples: Iterable[VlExample]) -> list[VlExample]:
    """By the length of the true answers: a batch waits for its longest one."""
    return sorted(examples, key=lambda example: len(example.output))


def is_document(output: str) -> bool:
    """Whether a true answer is in the canonical form, of which all scores are."""
    return bool(DOCUMENT_SCHEMA["properties"].keys() & (read_strictly(output) or {}).keys())


def score_model(loaded: Loaded, scoring: Scoring, progress: Progress | None = None) -> AnswerScores | None:
    """Let the model answer, write its predictions, and return its scores for the record; None without a document.

    Answers that an interrupted attempt left are not asked for again.

    Raises:
        WorldError: a document does not fit into the GPU's memory.
    """
    examples = scoring.documents()
    if not examples:
        return None
    unfinished = scoring.unfinished()
    known = unfinished.answered(examples)
    rest = by_answer(example for example in examples if example.id not in known)
    found: dict[str, Prediction] = {}
    for prediction in unfinished.keep(known.values(), _answers(loaded, rest, scoring)):
        found[prediction.id] = prediction
        if progress is not None:
            progress(len(found), len(examples))
    predictions = [found[example.id] for example in examples]
    write_predictions(scoring.run_dir / PREDICTIONS_FILE, predictions)
    found_scores = evaluate(predictions, lambda done, total: report_progress(f"{done} of {total} answers scored"))
    more = {"of": len(scoring.validation.examples), "max_new_tokens": scoring.max_new_tokens}
    return summary(found_scores).model_copy(update=more)


def score_run(loaded: Loaded, scoring: Scoring, record: PaddleOcrVlRecord, sink: MetricsSink, console: Console) -> None:
    """`score_model`, with the scores put into the record and passed on; WorldError: as there."""
    sink.log("info", f"the kept model answers {len(scoring.documents())} validation documents, to be scored")
    with progress_bar(console, "answering") as progress:
        record.vl.scores = score_model(loaded, scoring, progress)
    record.timings["scoring_s"] = record.vl.scores.seconds if record.vl.scores else 0.0
    row = metric_row(record)
    for name in METRICS:
        if name in row:
            sink.metric(name, row[name], step=row["step"], epoch=row["epoch"])


def _answers(loaded: Loaded, examples: Sequence[VlExample], scoring: Scoring) -> Iterator[Prediction]:
    """Answers in order, by smaller batches where the memory is short."""
    size, done = scoring.section.batch_size, 0
    while done < len(examples):
        try:
            rest = examples[done:]
            for prediction in predict(loaded, rest, max_new_tokens=scoring.max_new_tokens, batch_size=size):
                done += 1
                yield prediction
        except WorldError:
            if size == 1:
                raise
            size //= 2


def summary(evaluation: Evaluation) -> AnswerScores:
    """The scores as the run record holds them: shares from 0 to 1, None where there was nothing to hit."""
    scores = evaluation.scores
    prefix = "field_region."
    return AnswerScores(
        **{name: scores.get(key, Share()).value for name, key in METRICS.items()},
        present_accuracy=scores.get("presents", Share()).value,
        regions={key.removeprefix(prefix): share.value for key, share in scores.items() if key.startswith(prefix)},
        documents=len(evaluation.documents),
        seconds=round(sum(document.prediction.seconds for document in evaluation.documents), 3),
    )


def metric_row(record: PaddleOcrVlRecord) -> dict[str, Any]:
    """The scores as a row of a training history, at the step of the model that is kept; {} where there are none."""
    scores, best = record.vl.scores or AnswerScores(), record.vl.best
    known = {name: value for name in METRICS if (value := getattr(scores, name)) is not None}
    return {"step": best.step, "epoch": best.epoch, **known} if known and best else {}


def forget_answers(run_dir: Path) -> None:
    """Remove what only an interrupted scoring needs."""
    Unfinished(run_dir / PREDICTIONS_FILE, {}).remove()
