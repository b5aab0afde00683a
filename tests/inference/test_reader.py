"""Words read by a package's model alone."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import Unigram

from receipt_trainer.contract.package import PackageManifest
from receipt_trainer.data.decode import whole_lines
from receipt_trainer.data.encode import encode
from receipt_trainer.data.receipt import Receipt, Word
from receipt_trainer.data.synthetic import generate
from receipt_trainer.inference import reader as readers
from receipt_trainer.inference.package import Package
from receipt_trainer.inference.reader import PackageReader, parts, read_tokenizer
from receipt_trainer.models.layoutlm.export import SavedModel, load_model
from receipt_trainer.models.layoutlm.predictor import predict


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Small matrices gain nothing from threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def saved(run: Path) -> SavedModel:
    """The run's model in torch."""
    return load_model(str(run))


@pytest.fixture(scope="module")
def exact(run: Path) -> PackageReader:
    """The run's package in fp32."""
    return PackageReader.open(run, "fp32")


def in_torch(saved: SavedModel, receipt: Receipt) -> Any:
    return predict(
        saved.model, encode([receipt], saved.space, saved.tokenizer, saved.config), saved.space
    ).probabilities


def receipt(lines: list[list[str]]) -> Receipt:
    words = [
        Word(text, (0.01 * (n % 90), 0.001 * row, 0.01 * (n % 90) + 0.05, 0.001 * row + 0.01), row)
        for row, line in enumerate(lines)
        for n, text in enumerate(line)
    ]
    return Receipt("image", 1, tuple(words))


def test_the_reader_says_what_torch_says(saved: SavedModel, exact: PackageReader) -> None:
    """In fp32 the probabilities of `predict` within 1e-5, and all of its labels; words in the receipt's order."""
    receipts = list(generate(5, 31))
    for one, read in zip(receipts, exact.read(receipts), strict=True):
        wanted = in_torch(saved, one)
        assert np.abs(read.probabilities - wanted).max() < 1e-5
        assert (read.labels == wanted.argmax(axis=1)).all()


texts = st.text(min_size=1, max_size=9) | st.sampled_from(["\ufe0f", "\u200b", "7" * 600, "a", "É", "日本"])


@settings(max_examples=25, deadline=None)
@given(lines=st.lists(st.lists(texts, min_size=1, max_size=12), min_size=1, max_size=6))
def test_odd_receipts_are_read_as_torch_reads_them(
    saved: SavedModel, exact: PackageReader, lines: list[list[str]]
) -> None:
    """One word, words without tokens, words longer than a window, any script: equal to torch."""
    one = receipt(lines)
    (read,) = exact.read([one])
    assert np.abs(read.probabilities - in_torch(saved, one)).max() < 1e-4


def test_a_receipt_of_4000_words_is_read_in_bounded_parts(saved: SavedModel, exact: PackageReader) -> None:
    """No call of the model has more than its bound of tokens, and each word gets the labels of torch."""
    one = receipt([[f"w{n}"] * 20 for n in range(200)])
    examples = encode([one], exact.space, exact.tokenizer, exact.manifest.windows).examples
    calls = [int(examples.lengths[numbers].sum()) for numbers in parts(examples)]
    assert max(calls) <= readers.MAX_TOKENS
    assert len(calls) > 10
    (read,) = exact.read([one])
    assert read.probabilities.shape == (4000, 4)
    assert np.abs(read.probabilities - in_torch(saved, one)).max() < 1e-4


def test_a_package_of_before_is_read_as_it_was_made(run: Path, exact: PackageReader) -> None:
    """Its manifest says nothing of lines: each word stays what it is alone, so that its own sample and its calibration
    hold. Today's reads the words of a line together."""
    values = exact.manifest.model_dump(exclude={"name_change_cost"})
    before = PackageReader(Package(exact.package.folder, PackageManifest.model_validate(values)), "fp32")
    receipts = list(generate(3, 5))
    for one, alone, together in zip(receipts, before.read_raw(receipts), exact.read_raw(receipts), strict=True):
        lines = np.array([word.line for word in one.words], dtype=np.int32)
        assert together == pytest.approx(whole_lines(alone, lines, [0, len(lines)], exact.space), abs=1e-6)
        assert not np.allclose(alone, together, atol=1e-3)


def test_no_word_no_probabilities(exact: PackageReader) -> None:
    """A receipt without words has none, and does not trouble those beside it."""
    nothing, something = exact.read([receipt([]), receipt([["a"]])])
    assert nothing.probabilities.shape == (0, 4)
    assert something.probabilities.shape == (1, 4)


def test_threads_share_a_reader(exact: PackageReader) -> None:
    """Four threads at once get what one gets alone."""
    receipts = list(generate(8, 6))
    alone = [read.probabilities for read in exact.read(receipts)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda one: exact.read([one])[0].probabilities, receipts))
    assert all((one == other).all() for one, other in zip(alone, together, strict=True))


def test_a_receipt_is_read_alone(run: Path) -> None:
    """In int8 a receipt's answer does not depend on those read with it."""
    small = PackageReader.open(run, "int8")
    receipts = list(generate(3, 8))
    together = small.read(receipts)
    assert all(
        (small.read([one])[0].probabilities == read.probabilities).all()
        for one, read in zip(receipts, together, strict=True)
    )


def test_reading_needs_no_torch(run: Path) -> None:
    """A process that opens a package and reads its sample has imported neither torch nor transformers."""
    program = f"""
import sys
from receipt_trainer.inference.reader import PackageReader
PackageReader.open({str(run)!r}).verify()
print(*sorted({{"torch", "transformers", "huggingface_hub", "onnx", "boto3"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_scores_of_pieces_are_those_of_the_file(tmp_path: Path) -> None:
    """To the last bit, as transformers takes them: of two cuts that weigh the same, both then choose one."""
    draw = random.Random(7)
    pieces = [("<unk>", 0.0), *((chr(0x4E00 + number), -20 * draw.random()) for number in range(2000))]
    path = tmp_path / "tokenizer.json"
    Tokenizer(Unigram(pieces, 0, False)).save(str(path))
    written = json.loads(path.read_bytes())["model"]
    assert [tuple(piece) for piece in written["vocab"]] == pieces
    assert json.loads(read_tokenizer(path).to_str())["model"] == written
    assert json.loads(Tokenizer.from_file(str(path)).to_str())["model"] != written, "no longer needed"
