"""A merged model answers as base and adapter did."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoConfig, AutoProcessor

from receipt_trainer.config.paddleocr_vl import DEFAULT_PROMPT, INSTRUCTION, LoraSection
from receipt_trainer.data.document_set import PROMPT_FILE, TrainedAs, VlExample, trained_as
from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.encode import encode_prompts, prompt_text
from receipt_trainer.models.paddleocr_vl.generate import answer
from receipt_trainer.models.paddleocr_vl.merge import merge, write_model
from receipt_trainer.models.paddleocr_vl.model import load
from tests.models.paddleocr_vl.published import CODE, TEMPLATES, UNUSED, adapter_on, make_published
from tests.models.paddleocr_vl.tiny import make_tiny


class Models(NamedTuple):
    base: Path
    adapter: Path
    examples: list[VlExample]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """A tiny model and an adapter on it with weights that are far from nothing."""
    folder = tmp_path_factory.mktemp("models")
    base = make_tiny(folder / "base", seed=5)
    adapter_on(base, folder / "run" / "model", LoraSection(r=4, lora_alpha=8))
    examples = []
    for number in range(3):
        Image.effect_noise((60 + 30 * number, 80), 70.0).convert("RGB").save(folder / f"{number}.png")
        examples.append(VlExample(str(number), folder / f"{number}.png", "Read this.", "", "{}"))
    return Models(base, folder / "run" / "model", examples)


def unexpected(text: str) -> None:
    raise AssertionError(text)


def test_the_merged_model_answers_as_the_adapter_did(models: Models, tmp_path: Path) -> None:
    """Logits are close, texts the same, and they are not those of the base; no peft is left in the folder."""
    merged = merge(str(models.base), models.adapter, tmp_path / "merged", warn=unexpected)
    adapted, whole, base = (load(path, device="cpu") for path in (models.adapter, merged, models.base))
    batch = encode_prompts(adapted.processor, models.examples)
    with torch.inference_mode():
        expected, found = (one.model(**batch).logits for one in (adapted, whole))
        plain = base.model(**batch).logits
    assert torch.allclose(found, expected, atol=1e-4)
    assert float((plain - expected).abs().max()) > 0.1
    texts = [answer(one, models.examples, max_new_tokens=16) for one in (adapted, whole, base)]
    assert texts[0] == texts[1] != texts[2]
    assert names(merged) == names(models.base) | {PROMPT_FILE}
    assert [one.prompt for one in (adapted, whole, base)] == ["Say it.", "Say it.", DEFAULT_PROMPT]
    assert trained_as(merged) == trained_as(models.adapter) == TrainedAs("Say it.", compact_items=True)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """As `models`, in the published form."""
    folder = tmp_path_factory.mktemp("published")
    base = make_published(folder / "base", seed=5)
    section = LoraSection(r=4, lora_alpha=8, modules_to_save=("lm_head",))
    return Models(base, adapter_on(base, folder / "run" / "model", section), [])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_published_model_keeps_its_form(models: Models, published: Models, tmp_path: Path) -> None:
    """Files, their content and the names of the weights are the base's. New are the values of weights, the bound of
    pixels and a chat template that asks in every program as training did; anyone may read them, and head and embeddings
    are two for every reader."""
    merged = merge(str(published.base), published.adapter, tmp_path / "merged", warn=unexpected)
    assert names(merged) == names(published.base) | {PROMPT_FILE}
    for name in names(published.base) - {"model.safetensors", "preprocessor_config.json", "chat_template.jinja"}:
        assert (merged / name).read_bytes() == (published.base / name).read_bytes(), name
    before, after = (json.loads((one / "preprocessor_config.json").read_bytes()) for one in (published.base, merged))
    assert after == before | {"max_pixels": 100 * 100}
    assert {path.stat().st_mode & 0o777 for path in [*merged.iterdir(), *published.adapter.iterdir()]} == {0o644}
    old, new = (load_file(one / "model.safetensors") for one in (published.base, merged))
    assert {name: (value.shape, value.dtype) for name, value in new.items()} == {
        name: (value.shape, value.dtype) for name, value in old.items()
    }
    assert torch.equal(new[UNUSED], old[UNUSED])
    adapted, whole, base = (load(path, device="cpu") for path in (published.adapter, merged, published.base))
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Read this."}]}]
    text = AutoProcessor.from_pretrained(merged).apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    assert text == prompt_text(adapted.processor, models.examples[0])
    assert (whole.model.config.tie_word_embeddings, whole.model.config.text_config.tie_word_embeddings) == (False,) * 2
    batch = encode_prompts(adapted.processor, models.examples)
    with torch.inference_mode():
        expected, found, plain = (one.model(**batch).logits for one in (adapted, whole, base))
    # bf16 keeps eight bits of each weight.
    assert float((found - expected).abs().mean()) < 0.05 * float((plain - expected).abs().mean())


def test_a_merged_model_loads_with_its_own_code(published: Models, tmp_path: Path) -> None:
    """Trusted or not; code that the base came without is not asked for."""
    merged = merge(str(published.base), published.adapter, tmp_path / "merged", warn=unexpected)
    for trusted in (True, False):
        assert AutoConfig.from_pretrained(merged, trust_remote_code=trusted).model_type == "paddleocr_vl"
        assert AutoProcessor.from_pretrained(merged, trust_remote_code=trusted).image_processor.size.longest_edge == 1e4
    bare = tmp_path / "bare"
    shutil.copytree(published.base, bare, ignore=shutil.ignore_patterns(*(f"{name}.py" for name in CODE)))
    merged = merge(str(bare), published.adapter, tmp_path / "without", warn=unexpected)
    assert AutoProcessor.from_pretrained(merged, trust_remote_code=True).tokenizer is not None


def test_a_whole_model_of_a_run_keeps_the_form_of_its_base(published: Models, tmp_path: Path) -> None:
    """Weights that were trained in float32 are stored so, and config.json says it; all else is the base's, also where
    that is the model of a run."""
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    (earlier / "run.json").write_text("{}")
    (earlier / "model").symlink_to(published.base)
    loaded = load(earlier, device="cpu")
    write_model(loaded.model, loaded.processor, tmp_path / "model", base=str(earlier))
    assert names(tmp_path / "model") == names(published.base) | {PROMPT_FILE}
    values = json.loads((tmp_path / "model" / "config.json").read_bytes())
    assert (values["torch_dtype"], values["vision_config"]["torch_dtype"]) == ("float32", "float32")
    assert load(tmp_path / "model", device="cpu", dtype="auto").model.lm_head.weight.dtype == torch.float32


@pytest.mark.parametrize("version", TEMPLATES)
def test_a_run_is_asked_with_its_own_template_bounds_and_prompt(models: Models, tmp_path: Path, version: str) -> None:
    """Also where the files of its base are others now: its own are stored with it, as is the base's name."""
    base = make_published(tmp_path / "base", version)
    adapter = adapter_on(base, tmp_path / "run" / "model", LoraSection(r=4))
    (base / "chat_template.jinja").write_text("{{- 'nothing of it' -}}")
    bounds = base / "preprocessor_config.json"
    bounds.write_text(bounds.read_text().replace(str(112 * 112), str(56 * 56)))
    run = load(adapter.parent, device="cpu")
    assert (run.name, run.prompt, run.processor.image_processor.size.longest_edge) == (str(base), "Say it.", 100 * 100)
    begins = {"1.0": "Say it.\nAssistant: ", "1.5": "Say it.\nAssistant:\n"}[version]
    assert prompt_text(run.processor, replace(models.examples[0], instruction=run.prompt)).endswith(begins)


def test_an_adapter_of_0_1_0_is_asked_as_it_was(models: Models, tmp_path: Path) -> None:
    """It does not say with what it was trained, and what is merged from it does."""
    adapter = tmp_path / "adapter"
    shutil.copytree(models.adapter, adapter, ignore=shutil.ignore_patterns(PROMPT_FILE))
    assert trained_as(adapter) == TrainedAs(INSTRUCTION)
    merged = merge(str(models.base), adapter, tmp_path / "merged", warn=unexpected)
    assert json.loads((merged / PROMPT_FILE).read_bytes()) == {"prompt": INSTRUCTION}
    (merged / PROMPT_FILE).write_text("{}")
    with pytest.raises(UserError, match='not JSON with a "prompt"'):
        trained_as(merged)


def test_the_run_stands_for_its_adapter(models: Models, tmp_path: Path) -> None:
    """The folder of a run, with the adapter in model/, is taken too."""
    merged = merge(str(models.base), models.adapter.parent, tmp_path / "merged", warn=unexpected)
    assert (merged / "config.json").is_file()


def test_a_folder_that_is_there_is_left_alone(models: Models, tmp_path: Path) -> None:
    """Refused, its content untouched."""
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="out is there already"):
        merge(str(models.base), models.adapter, tmp_path / "out", warn=unexpected)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("name", ["config", "a[bc]*", "*"])
def test_hidden_neighbours_survive(models: Models, tmp_path: Path, name: str) -> None:
    """Only the folder itself appears, whatever its name means to a shell; a run's model is replaced as carefully."""
    kept = {f".{name}.d", ".config.d", ".a.b", ".config.receipt-trainer", ".a[bc]*.old"}
    for other in kept:
        (tmp_path / other).mkdir(exist_ok=True)
        (tmp_path / other / "precious").write_text("mine")
    out = merge(str(models.base), models.adapter, tmp_path / name, warn=unexpected)
    loaded = load(models.base, device="cpu")
    for _ in range(2):
        write_model(loaded.model, loaded.processor, out)
    assert {path.name for path in tmp_path.iterdir()} == kept | {name}
    assert all((tmp_path / other / "precious").read_text() == "mine" for other in kept)


def test_what_a_killed_run_left_is_removed(models: Models, tmp_path: Path) -> None:
    """By the run that goes on, in its own folder; a merge leaves it alone, for it may be another merge at work."""
    (tmp_path / ".model.receipt-trainer-x1").mkdir()
    loaded = load(models.base, device="cpu")
    write_model(loaded.model, loaded.processor, tmp_path / "model", replace=False)
    assert (tmp_path / ".model.receipt-trainer-x1").is_dir()
    write_model(loaded.model, loaded.processor, tmp_path / "model")
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


def test_two_merges_into_one_folder(models: Models, tmp_path: Path) -> None:
    """The one that ends last is refused, and the other's model is whole."""
    loaded = load(models.base, device="cpu")

    class Slow:
        """A processor that is saved while another merge puts its folder there."""

        def save_pretrained(self, folder: Path) -> None:
            merge(str(models.base), models.adapter, tmp_path / "out", warn=unexpected)

    with pytest.raises(UserError, match="out is there already"):
        write_model(loaded.model, Slow(), tmp_path / "out", replace=False)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    found, expected = (load(path, device="cpu").model.state_dict() for path in (tmp_path / "out", models.base))
    assert any(not torch.equal(found[name], expected[name]) for name in expected)


def test_what_breaks_leaves_nothing(models: Models, tmp_path: Path) -> None:
    """A damaged adapter is a user's error, and no folder appears."""
    adapter = tmp_path / "adapter"
    shutil.copytree(models.adapter, adapter)
    (adapter / "adapter_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not an adapter"):
        merge(str(models.base), adapter, tmp_path / "out", warn=unexpected)
    assert {path.name for path in tmp_path.iterdir()} == {"adapter"}


def test_no_adapter(models: Models, tmp_path: Path) -> None:
    """A whole model is none."""
    with pytest.raises(UserError, match="no adapter in it"):
        merge(str(models.base), models.base, tmp_path / "out", warn=unexpected)


def test_a_base_of_another_shape(models: Models, tmp_path: Path) -> None:
    """Refused by what differs in the configuration."""
    other = make_tiny(tmp_path / "other", hidden=32)
    with pytest.raises(UserError, match="is another model: text_config"):
        merge(str(other), models.adapter, tmp_path / "out", warn=unexpected)


def test_a_base_with_other_weights(models: Models, tmp_path: Path) -> None:
    """The same shapes do not make the same model: refused by the weights' hash."""
    other = make_tiny(tmp_path / "other", seed=6)
    with pytest.raises(UserError, match=r"the weights of .* are others"):
        merge(str(other), models.adapter, tmp_path / "out", warn=unexpected)


def test_a_copy_of_the_base(models: Models, tmp_path: Path) -> None:
    """The same files elsewhere are the same base."""
    copy = tmp_path / "copy"
    shutil.copytree(models.base, copy)
    assert merge(str(copy), models.adapter, tmp_path / "out", warn=unexpected).is_dir()


def test_a_base_that_cannot_be_compared(models: Models, tmp_path: Path) -> None:
    """Where the adapter's own base is not at hand, the merge says so and goes on."""
    adapter, told = tmp_path / "adapter", []
    shutil.copytree(models.adapter, adapter)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "/no/such/base"
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    merge(str(models.base), adapter, tmp_path / "out", warn=told.append)
    assert len(told) == 1
    assert "cannot be seen" in told[0]
