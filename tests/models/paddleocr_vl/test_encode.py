from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from receipt_trainer.data.document_set import ExampleError, VlExample, read_examples
from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.encode import (
    IGNORED,
    answer_ids,
    collate,
    count_tokens,
    encode,
    encode_prompt,
    encode_prompts,
    prompt_text,
)
from receipt_trainer.models.paddleocr_vl.model import load_processor
from receipt_trainer.pages.images import image_size, open_image
from tests.models.paddleocr_vl.published import make_published
from tests.models.paddleocr_vl.tiny import BOS, CONDITIONAL_TEMPLATE, EOS, IMAGE, IMAGE_END, IMAGE_START, PAD


@pytest.fixture(scope="module")
def processor(tiny_model: Path) -> Any:
    return load_processor(str(tiny_model))


@pytest.fixture
def example(tmp_path: Path) -> VlExample:
    """An answer with letters beyond ASCII, an instruction with an input, and an upright image."""
    Image.new("RGB", (56, 112), "white").save(tmp_path / "page.png")
    return VlExample("one", tmp_path / "page.png", "Read.", "Total only.", '{"grand_total":12,"x":"Ä€"}')


def test_exactly_the_answer_and_its_end_are_supervised(processor: Any, receipts: Path, example: VlExample) -> None:
    """Token by token: what bears a label, decoded, is the output and the end token; nothing else does."""
    for one in [*read_examples(receipts / "train.jsonl"), example]:
        row = encode(processor, one)
        assert row is not None
        assert processor.tokenizer.decode(row.labels[row.labels != IGNORED]) == one.output + EOS
        first = int((row.labels != IGNORED).nonzero()[0])
        assert bool((row.labels[:first] == IGNORED).all())
        assert bool((row.labels[first:] == row.input_ids[first:]).all())
        prompt = processor.tokenizer.decode(row.input_ids[:first])
        assert one.output not in prompt
        assert prompt.endswith("Assistant: ")
        assert prompt.count(IMAGE) == int(row.image_grid_thw.prod()) // 4
        assert row.mm_token_type_ids.tolist() == (row.input_ids == processor.image_token_id).int().tolist()


def test_training_and_asking_give_the_same_prompt(processor: Any, example: VlExample) -> None:
    """What the model is asked is what stood before the answer when it learned."""
    row, asked = encode(processor, example), encode_prompt(processor, example)
    assert row is not None
    length = asked["input_ids"].shape[1]
    assert row.input_ids[:length].tolist() == asked["input_ids"][0].tolist()
    assert torch.equal(row.pixel_values, asked["pixel_values"])
    assert bool((row.labels[:length] == IGNORED).all())
    assert "Read.\nTotal only." in processor.tokenizer.decode(asked["input_ids"][0])


def test_padding_is_never_supervised(processor: Any, receipts: Path, example: VlExample) -> None:
    """A batch is padded on the right; padded places have no label, no attention, and no other example's image."""
    rows = [encode(processor, one) for one in [example, *read_examples(receipts / "train.jsonl")[:2]]]
    whole = [row for row in rows if row is not None]
    batch = collate(whole, processor.tokenizer.pad_token_id)
    assert batch["ids"] == [row.id for row in whole]
    for number, row in enumerate(whole):
        length = len(row.input_ids)
        assert batch["input_ids"][number, :length].tolist() == row.input_ids.tolist()
        assert batch["labels"][number, :length].tolist() == row.labels.tolist()
        assert bool((batch["labels"][number, length:] == IGNORED).all())
        assert bool((batch["attention_mask"][number, length:] == 0).all())
        assert bool((batch["attention_mask"][number, :length] == 1).all())
    assert (batch["labels"] != IGNORED).sum() == sum((row.labels != IGNORED).sum() for row in whole)
    assert len(batch["pixel_values"]) == sum(len(row.pixel_values) for row in whole)
    assert len({len(row.input_ids) for row in whole}) > 1, "nothing was padded"


@pytest.mark.parametrize("token", [PAD, BOS, EOS, IMAGE])
@pytest.mark.parametrize("field", ["instruction", "input", "output"])
def test_special_tokens_in_texts_are_refused(processor: Any, example: VlExample, field: str, token: str) -> None:
    """They would cut the answer or stand for an image; the example is named, whatever is done with it."""
    odd = replace(example, **{field: f'{{"x":"a {token} b"}}'})
    for use in (count_tokens, encode):
        with pytest.raises(ExampleError, match=f"example one: {field}: {re.escape(token)} stands in it"):
            use(processor, odd)
    if field != "output":
        with pytest.raises(ExampleError, match=f"example one: {field}"):
            encode_prompt(processor, odd)


@pytest.mark.parametrize("size", [(10, 4000), (9000, 40)])
def test_an_image_too_narrow_is_refused(processor: Any, example: VlExample, size: tuple[int, int]) -> None:
    """The model's image processor takes sides up to 1 to 200; the example is named with its size."""
    Image.new("RGB", size, "white").save(example.image)
    for use in (count_tokens, encode, encode_prompt):
        with pytest.raises(ExampleError, match=f"example one: image: {size[0]} x {size[1]} pixels: absolute aspect"):
            use(processor, example)


def test_the_image_stands_between_its_tokens(tiny_model: Path, example: VlExample, tmp_path: Path) -> None:
    """With the published template, whose own definition transformers hides, prompts are those of a template that has
    the tokens; so are they with the processor as it is stored."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "chat_template.jinja").write_text(CONDITIONAL_TEMPLATE)
    bare = AutoProcessor.from_pretrained(folder)
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Read."}]}]
    assert IMAGE_START not in bare.apply_chat_template(asked, tokenize=False), "transformers does it itself by now"
    expected = encode(load_processor(str(tiny_model)), example)
    load_processor(str(folder)).save_pretrained(tmp_path / "stored")
    for processor in (load_processor(str(folder)), AutoProcessor.from_pretrained(tmp_path / "stored")):
        row = encode(processor, example)
        assert row is not None
        assert expected is not None
        assert row.input_ids.tolist() == expected.input_ids.tolist()
        assert prompt_text(processor, example).count(IMAGE_START + IMAGE + IMAGE_END) == 1


def test_a_template_without_the_tokens_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """Where no definition helps, the model would not know where the image begins."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").write_text(template.replace(IMAGE_START, ""))
    with pytest.raises(UserError, match="does not put the image between"):
        load_processor(str(folder))


def test_the_bound_of_images_is_kept_and_stored(tiny_model: Path, example: VlExample, tmp_path: Path) -> None:
    """Images are scaled down to `max_image_pixels`, with the stored processor too; the model's own bound stays one."""
    Image.new("RGB", (336, 336), "white").save(example.image)

    def image_tokens(processor: Any) -> int:
        row = encode(processor, example)
        assert row is not None
        assert len(row.input_ids) == count_tokens(processor, example).total
        return int((row.input_ids == processor.image_token_id).sum())

    assert [
        image_tokens(load_processor(str(tiny_model), max_image_pixels=pixels)) for pixels in (None, 10**6, 56**2, 28**2)
    ] == [16, 16, 4, 1]
    load_processor(str(tiny_model), max_image_pixels=56**2).save_pretrained(tmp_path)
    assert image_tokens(AutoProcessor.from_pretrained(tmp_path)) == 4


def test_too_long_is_left_out_and_never_cut(processor: Any, example: VlExample) -> None:
    """At the limit an example is whole; one token less, and there is none."""
    total = count_tokens(processor, example).total
    row = encode(processor, example, total)
    assert row is not None
    assert len(row.input_ids) == total
    assert encode(processor, example, total - 1) is None


@pytest.mark.parametrize("size", [(20, 20), (56, 112), (113, 57), (400, 100), (29, 300)])
def test_lengths_follow_from_the_image_header(processor: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    """`count_tokens` opens no pixels and still counts what `encode` makes."""
    Image.new("RGB", size, "white").save(tmp_path / "page.png")
    one = VlExample("one", tmp_path / "page.png", "Read.", "", '{"a":1}')
    row = encode(processor, one)
    assert row is not None
    counts = count_tokens(processor, one)
    assert (counts.total, counts.answer) == (len(row.input_ids), int((row.labels != IGNORED).sum()))


def test_a_photo_taken_sideways_is_turned(processor: Any, tmp_path: Path) -> None:
    """The orientation in the file is obeyed by the pixels and by the length."""
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (112, 56), "white").save(path, exif=exif)
    assert open_image(path).size == image_size(path) == (56, 112)


@pytest.mark.parametrize("content", [None, b"", b"not an image", b"\x89PNG\r\n\x1a\nhalf"])
def test_a_broken_image_is_named(processor: Any, tmp_path: Path, content: bytes | None) -> None:
    """No file, no image or half of one: one line with its path."""
    path = tmp_path / "page.png"
    if content is not None:
        path.write_bytes(content)
    for read in (open_image, image_size):
        with pytest.raises(UserError, match=r"page\.png: (not a readable image|no such file|the file is empty)"):
            read(path)


def test_other_chat_templates(processor: Any, example: VlExample, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a template writes behind the end token is not learned; one without an end token gets one."""
    template = processor.chat_template
    expected = answer_ids(processor, example)
    monkeypatch.setattr(processor, "chat_template", template.replace(f"{{{{- '{EOS}' -}}}}", f"{{{{- '{EOS}\\n' -}}}}"))
    assert answer_ids(processor, example) == expected
    monkeypatch.setattr(processor, "chat_template", template.replace(f"{{{{- '{EOS}' -}}}}", "{{- '' -}}"))
    assert answer_ids(processor, example) == expected
    monkeypatch.setattr(processor, "chat_template", template.replace("{{- 'Assistant: ' -}}", "{{- 'No: ' -}}", 1))
    with pytest.raises(UserError, match="does not put the answer right behind the prompt"):
        answer_ids(processor, example)


def test_a_token_across_the_border_is_cut_there(processor: Any, example: VlExample) -> None:
    """Where the tokenizer would join the prompt's end and the answer's begin, the answer is cut on its own."""
    from tokenizers import AddedToken

    processor = load_processor(processor.tokenizer.name_or_path)
    processor.tokenizer.add_tokens([AddedToken(': {"grand', normalized=False)])
    row = encode(processor, example)
    assert row is not None
    assert processor.tokenizer.decode(row.labels[row.labels != IGNORED]) == example.output + EOS
    assert row.input_ids[: -len(answer_ids(processor, example))].tolist() == (
        encode_prompt(processor, example)["input_ids"][0].tolist()
    )


def test_prompts_are_padded_on_the_left(processor: Any, receipts: Path, example: VlExample) -> None:
    """All answers of a batch begin at the same place."""
    batch = encode_prompts(processor, [example, *read_examples(receipts / "train.jsonl")[:1]])
    assert bool((batch["attention_mask"][:, -1] == 1).all())
    assert not bool((batch["attention_mask"][:, 0] == 1).all())


@pytest.mark.parametrize(("version", "end"), [("1.0", "Assistant: "), ("1.5", "Assistant:\n")])
def test_the_published_templates(version: str, end: str, tmp_path: Path) -> None:
    """Both versions put the image between its tokens, and the answer right behind their own ending of the prompt."""
    processor = load_processor(str(make_published(tmp_path / "model", version)))
    example = VlExample("one", tmp_path / "page.png", "OCR:{}", "", '{"total": 12}')
    asked = prompt_text(processor, example)
    assert f"{IMAGE_START}{IMAGE}{IMAGE_END}OCR:{{}}" in asked
    assert asked.endswith(end)
    *answer, last = answer_ids(processor, example)
    assert processor.tokenizer.decode(answer) == '{"total": 12}'
    assert last == processor.tokenizer.eos_token_id
