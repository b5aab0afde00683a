"""Models of text, and LayoutLM as it is published, as the start of a run: from their folder to what is read."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.contract.package import TOKENIZER_FILE
from receipt_trainer.data.encode import encode
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.sources.load import load_receipts
from receipt_trainer.errors import UserError
from receipt_trainer.inference.package import open_package
from receipt_trainer.inference.reader import PackageReader, PackageTokenizer
from receipt_trainer.models.layoutlm.collator import PackingCollator
from receipt_trainer.models.layoutlm.export import load_model, save_model
from receipt_trainer.models.layoutlm.model import build, load_tokenizer, resolve
from receipt_trainer.models.layoutlm.predictor import predict
from tests.fork_server import Program
from tests.models.layoutlm.starts import ALL, TEXT, bert
from tests.models.layoutlm.test_packing import examples_of, packed_logits, padded_logits
from tests.strikes import LOSS, strike
from tests.training.runs import curve, train_command

SPACE = LabelSpace(("MERCHANT_NAME", "DATE"))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind."""
    torch.manual_seed(3)
    return {name: make(tmp_path_factory.mktemp("start") / name.replace(" ", "-")) for name, make in ALL.items()}


def built(folder: Path, space: LabelSpace = SPACE, **training: Any) -> Any:
    start = resolve(str(folder))
    return build(start, space, load_tokenizer(start), TrainingConfig(**training))


@pytest.mark.parametrize("kind", TEXT)
def test_without_boxes_it_is_the_model_of_text(folders: dict[str, Path], kind: str) -> None:
    """With the 2-D position embeddings at 0, the states of all tokens of packed examples are those that transformers'
    own model computes for each text alone; so are those of an ordinary padded batch."""
    theirs = AutoModel.from_pretrained(folders[kind], add_pooling_layer=False).eval()
    ours = built(folders[kind]).eval()
    for axis in "xyhw":
        torch.nn.init.zeros_(getattr(ours.layoutlm.embeddings, f"{axis}_position_embeddings").weight)
    draw = np.random.default_rng(0)
    lengths = [7, 60, 3, 300, 12, 12]
    examples = examples_of(lengths)
    examples.input_ids[:] = draw.integers(5, ours.config.vocab_size, len(examples.input_ids))
    batch = PackingCollator(examples)(range(len(lengths)))
    batch.pop("labels")
    with torch.inference_mode():
        states = ours(**batch, output_hidden_states=True).hidden_states[-1][0].split(lengths)
        for number, (length, found) in enumerate(zip(lengths, states, strict=True)):
            ids = batch["input_ids"][:, examples.offsets[number] :][:, :length]
            wanted = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
        packed, padded = (way(examples, [1, 3, 4], ours) for way in (packed_logits, padded_logits))
    for one, other in zip(packed, padded, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_biases_by_distance_learn_as_with_ordinary_padding(folders: dict[str, Path], checkpointing: bool) -> None:
    """The gradients of MPNet's biases, and of the rest, are those of padded batches; also where activations are
    recomputed."""
    gradients = []
    for way in (packed_logits, padded_logits):
        torch.manual_seed(0)
        model = built(folders["mpnet"], dropout=0.0, attention_dropout=0.0).train()
        if checkpointing and way is packed_logits:
            model.activation_checkpointing_enable()
        examples = examples_of([7, 60, 3, 90])
        torch.cat(way(examples, [0, 1, 2, 3], model)).square().mean().backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None})
    assert float(gradients[0]["relative_attention_bias.weight"].abs().max()) > 0
    for name, wanted in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], wanted, atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind != "bert"])
def test_the_whole_way(
    folders: dict[str, Path], layoutlm_cli: Program, receipts_file: Path, tmp_path: Path, kind: str
) -> None:
    """Four steps, killed in the third and continued, end in the weights of a run that nobody disturbed, bit by bit.
    Its package holds the start's tokenizer, cuts the same windows and gives each word the probabilities of torch."""
    runs, more = {}, ("--model", folders[kind], "--lr", 3e-4)
    for name in ("whole", "killed"):
        runs[name], log = tmp_path / name, tmp_path / f"{name}.log"
        command = train_command(
            receipts_file, runs[name], *more, max_steps=4, save_steps=2, export_package=str(name == "whole").lower()
        )
        if name == "killed":
            assert layoutlm_cli.run(command, log, strike("before", 6, LOSS)) == -signal.SIGKILL, log.read_text()
        assert layoutlm_cli.run(command, log) == 0, log.read_text()
    assert curve(runs["whole"]) == curve(runs["killed"])
    weights = [load_file(run / "model" / "model.safetensors") for run in runs.values()]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name

    package, saved = open_package(runs["whole"]), load_model(str(runs["whole"]))
    tokenizer = load_tokenizer(resolve(str(folders[kind])))
    receipts = load_receipts(str(receipts_file), ProblemLog())
    windows = package.manifest.windows
    wanted = encode(receipts, saved.space, tokenizer, windows)
    read = encode(receipts, saved.space, PackageTokenizer(package.file(TOKENIZER_FILE), package.manifest), windows)
    assert np.array_equal(read.examples.input_ids, wanted.examples.input_ids)
    assert len(np.unique(wanted.examples.input_ids)) > 100
    assert not np.isin(wanted.examples.input_ids, [tokenizer.unk_token_id]).all()
    assert tokenizer.decode(wanted.examples.input_ids[:200]).lower().count(receipts[0].words[0].text.lower()) > 0
    torch_says = predict(saved.model, wanted, saved.space).probabilities
    package_says = np.concatenate(
        [one.probabilities for one in PackageReader.open(runs["whole"], "fp32").read(receipts)]
    )
    np.testing.assert_allclose(package_says, torch_says, atol=1e-4)


def test_a_trained_model_with_biases_by_distance(folders: dict[str, Path], tmp_path: Path) -> None:
    """It starts a run with other labels, biases included; plain transformers, which would leave them out, refuses."""
    folder = tmp_path / "model"
    model, tokenizer = built(folders["mpnet"]), load_tokenizer(resolve(str(folders["mpnet"])))
    save_model(model, tokenizer, SPACE, DataConfig(), folder)
    start = resolve(str(tmp_path))
    assert start.kind == "layoutlm"
    again = built(tmp_path, LabelSpace(("TIME",)))
    assert torch.equal(again.relative_attention_bias.weight, model.relative_attention_bias.weight)
    plain = "import sys, transformers; transformers.AutoModelForTokenClassification.from_pretrained(sys.argv[1])"
    told = subprocess.run([sys.executable, "-c", plain, folder], capture_output=True, text=True, check=False)
    assert (told.returncode, "layoutlm-relative" in told.stderr) == (1, True), told.stderr


def test_words_of_a_roberta_have_their_space(folders: dict[str, Path]) -> None:
    """Each word is encoded as one that follows a space, which is how RoBERTa has seen nearly all words."""
    tokenizer = load_tokenizer(resolve(str(folders["roberta"])))
    (first,) = tokenizer(["12.50"], add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(first) == " 12.50"


def change(folder: Path, **values: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | values))
    return folder


def test_weights_that_are_not_there_are_not_drawn(tmp_path: Path) -> None:
    """A start of which a layer is missing is refused by the name of a weight; transformers itself would draw it."""
    for name in ("bert", "layoutlm"):
        folder = ALL[name](tmp_path / name)
        if name == "layoutlm":
            weights = torch.load(folder / "pytorch_model.bin")
            (folder / "pytorch_model.bin").unlink()
        else:
            weights = load_file(folder / "model.safetensors")
        kept = {key: value.contiguous() for key, value in weights.items() if ".layer.1.output" not in key}
        save_file({key: value.clone() for key, value in kept.items()}, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(UserError, match=r"4 of them are missing or of another shape, such as .*layer\.1\.output"):
            built(folder)


def test_what_a_layoutlm_cannot_be_is_refused(tmp_path: Path) -> None:
    """A decoder, positions that are no table, and examples longer than the table are refused, each in one line."""
    folder = bert(tmp_path / "start", max_position_embeddings=130)
    with pytest.raises(UserError, match="decoder"):
        built(change(folder, is_decoder=True))
    with pytest.raises(UserError, match="relative_key, not absolute"):
        built(change(folder, is_decoder=False, position_embedding_type="relative_key"))
    start = resolve(str(change(folder, position_embedding_type="absolute")))
    start.require_length(DataConfig(max_length=130, window_stride=32))
    with pytest.raises(UserError, match=r"reads 130 tokens .* is 512: set max_length=130 and window_stride=32"):
        start.require_length(DataConfig(window_stride=200))
