from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.quantizers.quantizers_utils import should_convert_module

from receipt_trainer.config.job_file import read_job
from receipt_trainer.config.paddleocr_vl import LoraSection, VlTrainingConfig
from receipt_trainer.data.document_set import read_examples
from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.encode import collate, encode
from receipt_trainer.models.paddleocr_vl.family import PaddleOcrVl
from receipt_trainer.models.paddleocr_vl.lora import attach_lora
from receipt_trainer.models.paddleocr_vl.loss import TokenLoss, answer_loss
from receipt_trainer.models.paddleocr_vl.merge import merge
from receipt_trainer.models.paddleocr_vl.model import (
    NOT_QUANTIZED,
    build,
    choose_machine,
    count_parameters,
    load,
    prepare_for_training,
)
from receipt_trainer.training.hardware import Machine
from tests.models.paddleocr_vl.tiny import make_tiny

PREFIX = "base_model.model."
ADAPTED = [
    f"{PREFIX}model.language_model.layers.{layer}.self_attn.{name}.lora_{part}.default.weight"
    for layer in (0, 1)
    for name in ("q_proj", "k_proj", "v_proj", "o_proj")
    for part in ("A", "B")
]


def trainable(model: Any) -> list[str]:
    return sorted(name for name, weight in model.named_parameters() if weight.requires_grad)


@pytest.fixture(scope="module")
def batch(tiny_model: Path, receipts: Path) -> dict[str, Any]:
    processor = load(tiny_model, device="cpu").processor
    rows = [encode(processor, example) for example in read_examples(receipts / "train.jsonl")[:3]]
    made = collate([row for row in rows if row is not None], processor.tokenizer.pad_token_id)
    return {name: value for name, value in made.items() if name != "ids"}


def test_adapters_are_on_the_language_model_alone(tiny_model: Path) -> None:
    """The trainable weights are exactly the adapters of q, k, v and o of every language layer."""
    model = attach_lora(load(tiny_model, device="cpu").model, LoraSection())
    assert trainable(model) == sorted(ADAPTED)


def test_the_vision_tower_only_when_asked(tiny_model: Path) -> None:
    """`include_vision` adds the vision tower's own projections, by its own names."""
    model = attach_lora(load(tiny_model, device="cpu").model, LoraSection(include_vision=True))
    vision = sorted(set(trainable(model)) - set(ADAPTED))
    layer = "model.visual.vision_model.encoder.layers.0.self_attn"
    assert vision == sorted(
        f"{PREFIX}{layer}.{name}.lora_{part}.default.weight"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj")
        for part in ("A", "B")
    )


def test_whole_modules_beside_the_adapters(tiny_model: Path) -> None:
    """`modules_to_save` are trained whole, and only those of that name outside the vision tower."""
    section = LoraSection(target_modules=("q_proj",), modules_to_save=("lm_head", "projector", "norm"))
    model = attach_lora(load(tiny_model, device="cpu").model, section)
    whole = {re.sub(r"\.modules_to_save\.default", "", name) for name in trainable(model) if "lora_" not in name}
    assert whole == {
        f"{PREFIX}{name}"
        for name in (
            *("lm_head.weight", "model.language_model.norm.weight"),
            *(f"model.projector.{part}" for part in ("pre_norm.weight", "pre_norm.bias")),
            *(f"model.projector.linear_{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")),
        )
    }


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (LoraSection(target_modules=("q_proj", "query")), "no 'query' (it has: down_proj, gate_proj, k_proj"),
        (LoraSection(target_modules=("out_proj",)), "the language model has no 'out_proj'"),
        (LoraSection(modules_to_save=("head",)), "no module 'head'"),
        (LoraSection(modules_to_save=("post_layernorm",)), "no module 'post_layernorm' outside the vision tower"),
    ],
)
def test_modules_that_are_not_there(tiny_model: Path, section: LoraSection, said: str) -> None:
    """A name that fits nothing would silently train nothing."""
    with pytest.raises(UserError, match=re.escape(said)):
        attach_lora(load(tiny_model, device="cpu").model, section)


def test_tied_embeddings_are_not_trained_apart(tiny_model: Path) -> None:
    """With one matrix for both ends, a copy for one of them would untie it without a word."""
    model = load(tiny_model, device="cpu").model
    model.config.tie_word_embeddings = True
    with pytest.raises(UserError, match="lm_head is tied"):
        attach_lora(model, LoraSection(modules_to_save=("lm_head",)))


def test_without_adapters_all_but_the_vision_tower(tiny_model: Path) -> None:
    """`lora.enabled: false` trains every weight, the vision tower's only when asked."""
    for include in (False, True):
        config = VlTrainingConfig(lora=LoraSection(enabled=False, include_vision=include))
        model = prepare_for_training(load(tiny_model, device="cpu").model, config)
        assert {name for name, _ in model.named_parameters() if name.startswith("model.visual.")} & {
            *trainable(model)
        } == (set() if not include else {n for n, _ in model.named_parameters() if n.startswith("model.visual.")})
        assert "model.language_model.embed_tokens.weight" in trainable(model)
        counts = count_parameters(model)
        assert 0 < counts["trainable"] <= counts["total"]
        assert (counts["trainable"] == counts["total"]) == include


def test_only_the_language_model_is_quantised(tiny_model: Path) -> None:
    """Of all linear layers transformers converts those of the language model, and none of tower, projector and head."""
    linear = [n for n, module in load(tiny_model, device="cpu").model.named_modules() if isinstance(module, nn.Linear)]
    converted = {name for name in linear if should_convert_module(name, NOT_QUANTIZED)}
    assert converted == {name for name in linear if name.startswith("model.language_model.")}
    assert {name.split(".")[1] for name in set(linear) - converted if "." in name} == {"visual", "projector"}
    assert "lm_head" in set(linear) - converted


def test_what_is_trained_is_float32_on_a_bf16_base(tiny_model: Path, batch: dict[str, Any]) -> None:
    """Adapters and whole modules alike; loss and gradients come under autocast, and the frozen weights stay bf16."""
    section = LoraSection(dropout=0, modules_to_save=("embed_tokens", "lm_head", "projector", "norm"))
    model = attach_lora(load(tiny_model, device="cpu", dtype=torch.bfloat16).model, section)
    dtypes = {w.requires_grad: {v.dtype for v in model.parameters() if v.requires_grad == w.requires_grad}
              for w in model.parameters()}  # fmt: skip
    assert dtypes == {True: {torch.float32}, False: {torch.bfloat16}}
    with torch.autocast("cpu", torch.bfloat16):
        loss = answer_loss(model, batch, TokenLoss()).total
    loss.backward()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    assert all(weight.grad is not None and bool(torch.isfinite(weight.grad).all()) for weight in trained)


def test_adapters_begin_the_same_for_a_seed(tiny_model: Path) -> None:
    """Adapters are drawn from the run's seed alone, whatever was drawn before."""

    def weights(seed: int) -> torch.Tensor:
        torch.rand(3)
        config = VlTrainingConfig(seed=seed)
        model = prepare_for_training(load(tiny_model, device="cpu").model, config)
        return torch.cat([w.flatten() for n, w in model.named_parameters() if w.requires_grad])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_checkpointing_changes_no_gradient(tiny_model: Path, batch: dict[str, Any]) -> None:
    """With LoRA on frozen embeddings, recomputed activations give the same gradients, and none is missing."""
    gradients = []
    for checkpointing in (False, True):
        config = VlTrainingConfig(lora=LoraSection(dropout=0), gradient_checkpointing=checkpointing)
        model = prepare_for_training(load(tiny_model, device="cpu").model, config).train()
        answer_loss(model, batch, TokenLoss()).total.backward()
        found = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
        assert all(value is not None for value in found.values())
        gradients.append(found)
    assert gradients[0].keys() == gradients[1].keys()
    for name, value in gradients[0].items():
        assert torch.allclose(value, gradients[1][name], atol=1e-6), name
    assert sum(float(value.norm()) for value in gradients[0].values()) > 1e-3


def test_four_bits_are_refused_without_cuda(tiny_model: Path) -> None:
    """A clear line instead of a traceback from bitsandbytes."""
    with pytest.raises(UserError, match="need a CUDA GPU, and device is cpu"):
        load(tiny_model, quantize=True, device="cpu")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match="need a CUDA GPU"):
        load(tiny_model, quantize=True)
    with pytest.raises(UserError, match="PyTorch sees no GPU"):
        choose_machine(VlTrainingConfig(device="cuda"))


def test_what_is_no_model_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """Nothing there, another kind, weights that lack, weights that are broken, a processor that lacks."""
    with pytest.raises(UserError, match="neither a folder with a model nor on the hub"):
        load(tmp_path / "none", device="cpu")
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "layoutlm"}))
    with pytest.raises(UserError, match="of type layoutlm, not paddleocr_vl"):
        load(other, device="cpu")

    lacking = shutil.copytree(tiny_model, tmp_path / "lacking")
    weights = load_file(lacking / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, lacking / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"1 weights are missing or misshapen, such as lm_head\.weight"):
        load(lacking, device="cpu")

    broken = shutil.copytree(tiny_model, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(UserError, match="not a complete model"):
        load(broken, device="cpu")

    mute = shutil.copytree(tiny_model, tmp_path / "mute")
    (mute / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="no chat template"):
        load(mute, device="cpu")


def adapter_of(model: Path, folder: Path) -> Path:
    """An adapter that changes the model's answers a lot."""
    section = LoraSection(r=4, modules_to_save=("lm_head",))
    adapted = attach_lora(load(model, device="cpu").model, section)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name))) * 0.2)
    adapted.save_pretrained(folder)
    return folder


def test_a_merged_model_computes_what_the_adapter_did(tiny_model: Path, batch: dict[str, Any], tmp_path: Path) -> None:
    """Logits agree to rounding, in a folder that needs no peft, and differ from the base's."""
    adapter = adapter_of(tiny_model, tmp_path / "adapter")
    out = merge(str(tiny_model), adapter, tmp_path / "merged", warn=pytest.fail)
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    with torch.no_grad():
        base, adapted, merged = (load(path, device="cpu").model(**inputs).logits for path in (tiny_model, adapter, out))
    assert torch.allclose(adapted, merged, atol=1e-4)
    assert not torch.allclose(adapted, base, atol=0.1)
    assert not list(out.glob("adapter*"))
    assert json.loads((out / "config.json").read_text())["model_type"] == "paddleocr_vl"
    with pytest.raises(UserError, match="is there already"):
        merge(str(tiny_model), adapter, out, warn=pytest.fail)


def test_an_adapter_leads_to_its_base(tiny_model: Path, tmp_path: Path) -> None:
    """The folder of an adapter, or of a run, is enough to load both; a base of another shape is refused."""
    adapter = adapter_of(tiny_model, tmp_path / "run" / "model")
    for path in (adapter, tmp_path / "run"):
        loaded = load(path, device="cpu")
        assert (loaded.name, loaded.adapter) == (str(tiny_model), adapter)
    wide = make_tiny(tmp_path / "wide", hidden=96)
    with pytest.raises(UserError, match="not an adapter of this model"):
        load(wide, adapter=adapter, device="cpu")
    with pytest.raises(UserError, match="is an adapter itself"):
        load(adapter, adapter=adapter, device="cpu")
    with pytest.raises(UserError, match="not an adapter"):
        load(tiny_model, adapter=tmp_path, device="cpu")


def test_an_adapter_finds_a_base_that_was_named_relatively(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From any other folder than the one in which it was trained."""
    monkeypatch.chdir(tiny_model.parent)
    adapter = adapter_of(Path(tiny_model.name), tmp_path / "adapter")
    monkeypatch.chdir(tmp_path)
    assert load(adapter, device="cpu").name == str(tiny_model)


def test_attention_is_computed_as_asked(tiny_model: Path, batch: dict[str, Any]) -> None:
    """In language model and vision tower alike; the losses are those of the default."""
    losses = {}
    for name in ("sdpa", "eager"):
        config = VlTrainingConfig.model_validate({"attn_implementation": name, "device": "cpu", "lora": {"dropout": 0}})
        model = build(str(tiny_model), config, Machine(cuda=False, precision="fp32"))
        parts = (model.config, model.config.text_config, model.config.vision_config)
        assert {part._attn_implementation for part in parts} == {name}
        losses[name] = model.eval()(**batch).loss.item()
    assert losses["eager"] == pytest.approx(losses["sdpa"], rel=1e-5)


def test_flash_attention_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, before a model or a data set is looked for: without a GPU, without its package, and in fp32."""
    values = {"attn_implementation": "flash_attention_2", "lora": {}}
    data = {"dataset_path": str(tmp_path / "nothing")}
    job = {"family": "paddleocr-vl", "job_name": "a", "model": "/no/model", "data_config": data}
    task = PaddleOcrVl(read_job({**job, "training_config": values}, "here"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="flash_attention_2 needs a CUDA GPU"):
        task.prepare(Console(quiet=True), is_shown=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match="needs flash-attn "):
        task.prepare(Console(quiet=True), is_shown=False)
    with pytest.raises(UserError, match="flash_attention_2 needs bf16: true"):
        read_job({**job, "training_config": values | {"bf16": False}}, "here")
