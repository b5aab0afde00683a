"""Greedy answers of a model to documents; those of an interrupted evaluation are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from receipt_trainer.contract.sinks import report_progress
from receipt_trainer.data.document_set import VlExample
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.evaluation.answers import Prediction, parse_prediction
from receipt_trainer.models.paddleocr_vl.encode import encode_prompts
from receipt_trainer.models.paddleocr_vl.model import Loaded

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


@torch.inference_mode()
def _write(loaded: Loaded, examples: Sequence[VlExample], config: GenerationConfig) -> list[str]:
    batch: Any = encode_prompts(loaded.processor, examples).to(loaded.device)
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
