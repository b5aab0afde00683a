from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Trainer

from receipt_trainer.models.layoutlm.collator import PackedBatches, PackingCollator
from receipt_trainer.models.layoutlm.predictor import predict
from receipt_trainer.models.layoutlm.trainer import ReceiptTrainer
from tests.models.layoutlm.test_packing import examples_of
from tests.models.layoutlm.test_predictor import MODEL, SPACE, encoded, receipt


def test_positions_restart_in_every_example() -> None:
    """The first token of each example is at position 0, whatever lies before it in the row."""
    lengths = [3, 1, 5]
    batch = PackingCollator(examples_of(lengths))([2, 0, 1])
    assert batch["position_ids"][0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 0]
    assert batch["input_ids"].shape == batch["labels"].shape == (1, 9)
    assert batch["bbox"].shape == (1, 9, 4)


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=9), data=st.data())
def test_a_row_holds_its_examples_one_after_the_other(lengths: list[int], data: st.DataObject) -> None:
    """Tokens, boxes and labels are those of the chosen examples in the chosen order, each whole."""
    examples = examples_of(lengths)
    numbers = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=12))
    batch = PackingCollator(examples)(numbers)
    whole = {"input_ids": examples.input_ids, "bbox": examples.bbox, "labels": examples.targets}
    for name, values in whole.items():
        rows = [values[examples.offsets[n] : examples.offsets[n + 1]] for n in numbers]
        assert batch[name][0].tolist() == np.concatenate(rows).tolist()
    assert batch["position_ids"][0].tolist() == [place for n in numbers for place in range(lengths[n])]


@given(
    lengths=st.lists(st.integers(2, 512), min_size=1, max_size=300),
    batch_tokens=st.integers(16, 4096),
    ranks=st.integers(1, 4),
    epoch=st.integers(0, 99),
)
def test_batches_by_tokens_are_balanced(lengths: list[int], batch_tokens: int, ranks: int, epoch: int) -> None:
    """Cut by tokens, every example comes once, no batch is empty, their number is fixed and fits the processes, and
    none is longer than its share and one example."""
    sizes = np.array(lengths, dtype=np.int64)
    batches = PackedBatches(
        np.arange(len(sizes)), None, 1, lengths=sizes, batch_tokens=batch_tokens, ranks=min(ranks, len(sizes))
    )
    batches.set_epoch(epoch)
    drawn = list(batches)
    assert len(drawn) == len(batches)
    assert len(drawn) % min(ranks, len(sizes)) == 0
    assert all(drawn)
    assert sorted(number for batch in drawn for number in batch) == list(range(len(sizes)))
    if len(drawn) * 2 < len(sizes):
        assert max(int(sizes[batch].sum()) for batch in drawn) <= sizes.sum() / len(drawn) + sizes.max()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 99), numbers=st.permutations(list(range(6))))
def test_augmentation_depends_on_seed_epoch_and_example_alone(seed: int, epoch: int, numbers: list[int]) -> None:
    """An example's moved boxes are the same in any batch; they stay ordered on the page, specials where they are."""
    lengths = [9, 2, 30, 5, 12, 3]
    examples = examples_of(lengths, 5)
    collator = PackingCollator(examples, augment=True, seed=seed)
    collator.epoch = epoch
    together = dict(zip(numbers, collator(numbers)["bbox"][0].split([lengths[n] for n in numbers]), strict=True))
    for number in numbers:
        boxes = collator([number])["bbox"][0]
        assert torch.equal(boxes, together[number])
        assert boxes[0].tolist() == [0] * 4
        assert boxes[-1].tolist() == [1000] * 4
        assert int(boxes.min()) >= 0
        assert int(boxes.max()) <= 1000
        assert bool((boxes[:, 0] <= boxes[:, 2]).all())
        assert bool((boxes[:, 1] <= boxes[:, 3]).all())


def test_augmentation_moves_by_a_few_percent_and_anew_each_epoch() -> None:
    """Boxes move by at most a tenth of the page, differently in the next epoch, and not at all when it is off."""
    examples = examples_of([40], 5)
    collator = PackingCollator(examples, augment=True, seed=1)
    plain = PackingCollator(examples)([0])["bbox"]
    first = collator([0])["bbox"]
    collator.epoch = 1
    second = collator([0])["bbox"]
    assert 0 < int((first - plain).abs().max()) <= 101
    assert not torch.equal(first, second)
    assert torch.equal(plain[0], torch.from_numpy(examples.bbox.astype(np.int64)))


def test_training_and_prediction_keep_from_cudnn_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both run with cuDNN's attention switched off, which plans anew for every shape of a packed batch."""
    seen: list[bool] = []

    def look(*_: object, **__: object) -> torch.Tensor:
        seen.append(torch.backends.cuda.cudnn_sdp_enabled())
        return torch.zeros(())

    monkeypatch.setattr(Trainer, "train", look)
    ReceiptTrainer.train(object.__new__(ReceiptTrainer))
    predict(MODEL, encoded([receipt([["a", "b"]], "DATE")]), SPACE, loss=look)
    assert seen == [False, False]
