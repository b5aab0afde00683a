from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LayoutLMConfig, LayoutLMForTokenClassification

from receipt_trainer.data.encode import IGNORED, Examples
from receipt_trainer.models.layoutlm.collator import PackingCollator, inference_batches
from receipt_trainer.models.layoutlm.packing import PACKED, attention_plan, bucket_lengths, use_packing
from receipt_trainer.training import hardware

NUM_TAGS = 5
VOCABULARY = 40


def stock(attention: str, num_layers: int = 2) -> LayoutLMForTokenClassification:
    """A model of transformers with sharp attention, the same weights whatever the attention's implementation."""
    torch.manual_seed(0)
    config = LayoutLMConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=num_layers,
        num_attention_heads=4,
        intermediate_size=64,
        num_labels=NUM_TAGS,
    )
    model = LayoutLMForTokenClassification(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "query.weight" in name or "key.weight" in name or "classifier" in name:
                weight.mul_(20)
    model.set_attn_implementation(attention)
    return model


PACKED_MODEL = stock("sdpa")
use_packing(PACKED_MODEL)
STOCK = {name: stock(name) for name in ("eager", "sdpa")}


def examples_of(lengths: Sequence[int], seed: int = 0) -> Examples:
    draw = np.random.default_rng(seed)
    total = sum(lengths)
    corners = np.sort(draw.integers(0, 1001, (total, 2, 2)), axis=1).reshape(total, 4)
    counts = np.ones(len(lengths), dtype=np.int32)
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    bbox = corners.astype(np.int32)
    bbox[offsets[:-1]] = 0  # [CLS]
    bbox[offsets[1:] - 1] = 1000  # [SEP]
    return Examples(
        offsets=offsets,
        input_ids=draw.integers(0, VOCABULARY, total).astype(np.int32),
        bbox=bbox,
        targets=np.where(draw.random(total) < 0.7, draw.integers(0, NUM_TAGS, total), IGNORED).astype(np.int32),
        words=np.full(total, -1, dtype=np.int32),
        num_outside=counts,
        num_entity=counts,
    )


def packed_logits(
    examples: Examples, numbers: Sequence[int], model: Any = PACKED_MODEL, *, coarse: bool = False
) -> list[torch.Tensor]:
    batch = PackingCollator(examples, coarse=coarse)(numbers)
    batch.pop("labels")
    return list(model(**batch)["logits"][0].split([int(examples.lengths[n]) for n in numbers]))


def padded_logits(examples: Examples, numbers: Sequence[int], model: Any) -> list[torch.Tensor]:
    """The ordinary way: rows padded to the longest, and a mask."""
    lengths = [int(examples.lengths[n]) for n in numbers]
    shape = (len(numbers), max(lengths))
    ids, boxes = torch.zeros(shape, dtype=torch.long), torch.zeros((*shape, 4), dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.long)
    for row, (number, length) in enumerate(zip(numbers, lengths, strict=True)):
        first = int(examples.offsets[number])
        ids[row, :length] = torch.from_numpy(examples.input_ids[first : first + length].astype(np.int64))
        boxes[row, :length] = torch.from_numpy(examples.bbox[first : first + length].astype(np.int64))
        mask[row, :length] = 1
    logits = model(input_ids=ids, bbox=boxes, attention_mask=mask)["logits"]
    return [logits[row, :length] for row, length in enumerate(lengths)]


some_length = st.one_of(st.just(1), st.integers(1, 40), st.sampled_from([4, 5, 63, 64, 65, 80, 81]))
some_lengths = st.one_of(
    st.lists(some_length, min_size=1, max_size=12),
    st.builds(lambda length, count: [length] * count, some_length, st.integers(2, 20)),
    st.builds(lambda rest: [512, *rest], st.lists(some_length, max_size=4)),
)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@settings(max_examples=20, deadline=None)
@given(lengths=some_lengths, seed=st.integers(0, 2**16))
@torch.inference_mode()
def test_a_packed_row_gives_the_logits_of_its_examples_alone(attention: str, lengths: list[int], seed: int) -> None:
    """Packed logits equal those of transformers' own attention, one example at a time and padded into a batch."""
    examples = examples_of(lengths, seed)
    numbers = list(np.random.default_rng(seed).permutation(len(lengths)))
    packed = packed_logits(examples, numbers)
    padded = padded_logits(examples, numbers, STOCK[attention])
    for place, number in enumerate(numbers):
        alone = padded_logits(examples, [number], STOCK[attention])[0]
        torch.testing.assert_close(packed[place], alone, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(packed[place], padded[place], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lengths", [[1, 1, 7, 7, 7, 30], [512, 3], [20] * 9])
def test_gradients_are_those_of_ordinary_padding(lengths: list[int]) -> None:
    """Every weight gets the same gradient from a packed row as from transformers' sdpa with padding."""
    examples = examples_of(lengths, 3)
    numbers = list(range(len(lengths)))
    weights = torch.randn(sum(lengths), NUM_TAGS, generator=torch.Generator().manual_seed(1))
    gradients = []
    for attention, logits_of in ((PACKED, packed_logits), ("sdpa", padded_logits)):
        model = stock(attention).double()  # the key's bias has a gradient of 0: in single precision it is all noise
        (torch.cat(logits_of(examples, numbers, model)) * weights).sum().backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-9, rtol=1e-9, msg=name)


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(some_length, min_size=2, max_size=10), seed=st.integers(0, 2**16), data=st.data())
@torch.inference_mode()
def test_no_token_sees_another_examples_tokens(lengths: list[int], seed: int, data: st.DataObject) -> None:
    """Other words and boxes in one example leave the logits of all others unchanged."""
    examples = examples_of(lengths, seed)
    changed = data.draw(st.integers(0, len(lengths) - 1))
    span = slice(int(examples.offsets[changed]), int(examples.offsets[changed + 1]))
    before = packed_logits(examples, range(len(lengths)))
    examples.input_ids[span] = (examples.input_ids[span] + 7) % VOCABULARY
    examples.bbox[span] = examples.bbox[span][:, [0, 1, 2, 3]] // 2
    after = packed_logits(examples, range(len(lengths)))
    assert not torch.equal(before[changed], after[changed])
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        if number != changed:
            torch.testing.assert_close(new, old, atol=1e-6, rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(1, 512), min_size=1, max_size=60))
def test_the_plan_places_every_token_once(lengths: list[int]) -> None:
    """Gathering into buckets and back is the identity, and no bucket is padded by more than its step."""
    plan = attention_plan(lengths)
    tokens = torch.arange(sum(lengths))
    assert torch.equal(tokens[plan["gather"]][plan["inverse"]], tokens)
    assert sorted(plan["bias"].unique().tolist()) in ([0.0], [-math.inf, 0.0])
    assert int((plan["bias"] == 0).sum()) == sum(lengths)
    assert sum(rows * length for rows, length, _ in plan["buckets"]) == len(plan["gather"])
    sizes = np.array(lengths)
    padding = bucket_lengths(sizes) - sizes
    assert ((padding >= 0) & (padding < np.where(sizes <= 64, 4, 16))).all()


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(1, 512), min_size=1, max_size=60))
def test_the_coarse_plan_has_few_buckets(lengths: list[int]) -> None:
    """For a GPU every token is placed once as well, in at most 6 buckets whose lengths are powers of two from 16."""
    plan = attention_plan(lengths, coarse=True)
    tokens = torch.arange(sum(lengths))
    assert torch.equal(tokens[plan["gather"]][plan["inverse"]], tokens)
    assert len(plan["buckets"]) <= 6
    assert {length for _, length, _ in plan["buckets"]} <= {16, 32, 64, 128, 256, 512}
    sizes = np.array(lengths)
    padded = bucket_lengths(sizes, coarse=True)
    assert (padded >= sizes).all()
    assert (padded < np.maximum(17, 2 * sizes)).all()


@settings(max_examples=20, deadline=None)
@given(lengths=some_lengths, seed=st.integers(0, 2**16))
def test_the_coarse_plan_changes_no_result(lengths: list[int], seed: int) -> None:
    """Logits and every weight's gradient are those of the fine plan, whose buckets are padded less."""
    examples = examples_of(lengths, seed)
    numbers = range(len(lengths))
    weights = torch.randn(sum(lengths), NUM_TAGS, generator=torch.Generator().manual_seed(seed))
    results = []
    for coarse in (False, True):
        PACKED_MODEL.zero_grad()
        logits = torch.cat(packed_logits(examples, numbers, coarse=coarse))
        (logits * weights).mean().backward()
        gradients = [None if p.grad is None else p.grad.clone() for p in PACKED_MODEL.parameters()]
        results.append([logits.detach(), *gradients])
    PACKED_MODEL.zero_grad()
    for fine, coarser in zip(*results, strict=True):
        if fine is not None or coarser is not None:
            torch.testing.assert_close(coarser, fine, atol=1e-5, rtol=1e-4)


def test_without_a_plan_the_attention_is_the_plain_one() -> None:
    """A model that keeps our attention still reads ordinary padded batches."""
    examples = examples_of([6, 3, 6])
    ours, theirs = (padded_logits(examples, [0, 1, 2], model) for model in (PACKED_MODEL, STOCK["eager"]))
    torch.testing.assert_close(torch.cat(ours), torch.cat(theirs), atol=1e-5, rtol=1e-5)


def test_selected_logits_are_the_full_ones() -> None:
    """Going on after the last attention with the read tokens alone changes none of their logits and gradients."""
    examples = examples_of([6, 30, 3, 6, 70], 5)
    examples = replace(examples, words=np.where(np.arange(115) % 3 == 1, np.arange(115), -1).astype(np.int32))
    full, part = (PackingCollator(examples, select=select)(range(5)) for select in (False, True))
    words = np.flatnonzero(examples.words >= 0)
    assert torch.equal(part.pop("labels"), full.pop("labels")[:, words])
    gradients = []
    for batch, rows in ((full, torch.from_numpy(words)), (part, slice(None))):
        PACKED_MODEL.zero_grad()
        logits = PACKED_MODEL(**batch)["logits"][0][rows]
        logits.square().sum().backward()
        gradients.append([None if p.grad is None else p.grad.clone() for p in PACKED_MODEL.parameters()])
        gradients[-1].append(logits.detach())
    for ours, theirs in zip(*gradients, strict=True):
        if ours is not None or theirs is not None:
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    PACKED_MODEL.zero_grad()


def test_packed_rows_keep_transformers_from_looking_for_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    """No packed batch is searched for padding tokens: on a GPU every search is a wait."""
    looked: list[int] = []
    monkeypatch.setattr(torch.Tensor, "__contains__", lambda ids, token: bool(looked.append(token)))
    packed_logits(examples_of([6, 3]), [0, 1])
    assert not looked
    PACKED_MODEL(input_ids=torch.ones(1, 3, dtype=torch.long))
    assert looked


@given(on=st.booleans(), fails=st.booleans())
def test_cudnn_attention_is_off_for_a_while(on: bool, fails: bool) -> None:
    """It is off within, whatever it was, and afterwards as it was, also when what ran fails."""
    flags = torch.backends.cuda
    before = flags.cudnn_sdp_enabled()
    flags.enable_cudnn_sdp(on)
    try:
        with pytest.raises(KeyError) if fails else nullcontext(), hardware.without_cudnn_attention():
            assert not flags.cudnn_sdp_enabled()
            if fails:
                raise KeyError
        assert flags.cudnn_sdp_enabled() == on
    finally:
        flags.enable_cudnn_sdp(before)


@given(lengths=st.lists(st.integers(1, 512), min_size=1, max_size=80), max_tokens=st.integers(1, 2000))
def test_inference_covers_every_example_once(lengths: list[int], max_tokens: int) -> None:
    """Each example is in exactly one inference batch, and no batch of several exceeds the bound on tokens."""
    examples = examples_of(lengths)
    drawn = list(inference_batches(examples, max_tokens))
    assert sorted(number for batch in drawn for number in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or sum(lengths[number] for number in batch) <= max_tokens for batch in drawn)


def test_a_compiled_model_gives_the_same_logits() -> None:
    """torch.compile captures the model around our attention, for rows of any length (its code generator left out)."""
    model = stock("sdpa", num_layers=1)
    use_packing(model)
    compiled = torch.compile(model, backend="eager")
    for lengths in ([6, 3, 6], [40, 2, 17, 5]):
        batch = PackingCollator(examples_of(lengths, 5))(range(len(lengths)))
        batch.pop("labels")
        torch.testing.assert_close(compiled(**batch)["logits"], model(**batch)["logits"], atol=1e-5, rtol=1e-5)
