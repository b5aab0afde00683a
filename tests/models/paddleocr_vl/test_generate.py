"""Answers of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from receipt_trainer.data.document_set import VlExample
from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.encode import encode_prompt
from receipt_trainer.models.paddleocr_vl.generate import answer, predict
from receipt_trainer.models.paddleocr_vl.model import Loaded, load
from tests.models.paddleocr_vl.tiny import make_tiny


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load(make_tiny(tmp_path_factory.mktemp("tiny") / "model", seed=3), device="cpu")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Sequence[VlExample]:
    """Images of different shapes and instructions of different lengths: no two prompts are equally long."""
    folder = tmp_path_factory.mktemp("images")
    made, noise = [], np.random.default_rng(0)
    for number, (width, height) in enumerate([(60, 60), (112, 56), (56, 168), (140, 140)]):
        image = Image.fromarray(noise.integers(0, 256, (height, width, 3), dtype=np.uint8))
        image.save(folder / f"{number}.png")
        made.append(VlExample(f"e{number}", folder / f"{number}.png", "Read" + " it" * 3 * number, "", "{}"))
    return made


def by_hand(loaded: Loaded, example: VlExample, count: int) -> list[int]:
    """The likeliest next token, one whole forward pass a token, no cache."""
    batch = dict(encode_prompt(loaded.processor, example))
    written: list[int] = []
    with torch.inference_mode():
        for _ in range(count):
            logits = loaded.model(**batch, use_cache=False).logits[0, -1]
            logits[loaded.model.config.image_token_id] = -torch.inf  # stands for a piece of an image, never for text
            token = int(logits.argmax())
            if token == loaded.processor.tokenizer.eos_token_id:
                break
            written.append(token)
            one = torch.tensor([[token]])
            batch["input_ids"] = torch.cat([batch["input_ids"], one], dim=1)
            batch["attention_mask"] = torch.cat([batch["attention_mask"], torch.ones_like(one)], dim=1)
            batch["mm_token_type_ids"] = torch.cat([batch["mm_token_type_ids"], torch.zeros_like(one)], dim=1)
    return written


def text_of(loaded: Loaded, tokens: list[int]) -> str:
    text: str = loaded.processor.tokenizer.decode(tokens, skip_special_tokens=True)
    return text


def test_answers_are_the_likeliest_tokens(loaded: Loaded, examples: Sequence[VlExample]) -> None:
    """Alone or in a batch padded on the left, an answer is what token by token without a cache gives."""
    expected = [text_of(loaded, by_hand(loaded, example, 12)) for example in examples]
    assert len(set(expected)) > 1
    assert answer(loaded, examples, max_new_tokens=12) == expected
    assert answer(loaded, examples, max_new_tokens=12, batch_size=3) == expected
    assert answer(loaded, examples, max_new_tokens=12, batch_size=4) == expected


def test_sampling_in_the_models_settings_is_ignored(loaded: Loaded, examples: Sequence[VlExample]) -> None:
    """A model that is stored with sampling and penalties answers greedily all the same."""
    expected = answer(loaded, examples, max_new_tokens=8)
    own = loaded.model.generation_config
    own.do_sample, own.repetition_penalty, own.no_repeat_ngram_size, own.min_length = True, 3.0, 1, 99
    try:
        assert [answer(loaded, examples, max_new_tokens=8) for _ in range(2)] == [expected] * 2
    finally:
        own.do_sample, own.repetition_penalty, own.no_repeat_ngram_size, own.min_length = False, 1.0, 0, 0


def test_an_answer_ends_at_its_end_token(loaded: Loaded, examples: Sequence[VlExample]) -> None:
    """In a batch, an answer that ends early stays short while the others go on."""
    tokens = [by_hand(loaded, example, 12) for example in examples]
    end = tokens[1][3]
    cut = [row[: row.index(end)] if end in row else row for row in tokens]
    assert len({len(row) for row in cut}) > 1
    own = loaded.model.generation_config
    before = own.eos_token_id
    try:
        own.eos_token_id = [before, end]
        found = answer(loaded, examples, max_new_tokens=12, batch_size=4)
    finally:
        own.eos_token_id = before
    assert [text.removesuffix(text_of(loaded, [end])) for text in found] == [text_of(loaded, row) for row in cut]


def test_predictions(loaded: Loaded, examples: Sequence[VlExample]) -> None:
    """They have the truth, an image that is found from everywhere, and their part of the batch's time."""
    ticks = iter([0.0, 6.0, 10.0, 11.0])
    found = list(predict(loaded, examples, max_new_tokens=4, batch_size=3, clock=lambda: next(ticks)))
    assert [one.id for one in found] == [example.id for example in examples]
    assert [one.seconds for one in found] == [2.0, 2.0, 2.0, 1.0]
    assert all(Path(one.image).is_absolute() and Path(one.image).is_file() for one in found)
    assert [one.text for one in found] == answer(loaded, examples, max_new_tokens=4)


def test_progress(loaded: Loaded, examples: Sequence[VlExample]) -> None:
    """Told once a batch."""
    told: list[tuple[int, int]] = []
    answer(loaded, examples, max_new_tokens=1, batch_size=3, progress=lambda *at: told.append(at))
    assert told == [(3, 4), (4, 4)]


def test_an_image_that_is_none(loaded: Loaded, tmp_path: Path) -> None:
    """It is named."""
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"x\.png: not a readable image"):
        answer(loaded, [VlExample("x", tmp_path / "x.png", "Read", "", "{}")])


def test_the_image_token_is_never_written(
    loaded: Loaded, examples: Sequence[VlExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that likes the image token best writes the next best one instead: another token would need an image."""
    head = loaded.model.lm_head
    token = loaded.model.config.image_token_id
    before = answer(loaded, examples[:1], max_new_tokens=4)

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        logits = torch.nn.functional.linear(hidden, head.weight)
        logits[..., token] += 1e4
        return logits

    monkeypatch.setattr(head, "forward", forward)
    assert answer(loaded, examples[:1], max_new_tokens=4) == before
