from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from receipt_trainer.errors import UserError
from receipt_trainer.vl.encode import (
    IGNORED,
    answer_ids,
    collate,
    count_tokens,
    encode,
    encode_prompt,
    encode_prompts,
    image_size,
    open_image,
)
from receipt_trainer.vl.examples import VlExample, read_examples
from receipt_trainer.vl.model import load_processor
from tests.vl.tiny import EOS, IMAGE, PAD


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


def test_a_pad_token_that_stands_in_an_answer_is_supervised(processor: Any, example: VlExample) -> None:
    """Places are ignored because of where they are, not because of the token there."""
    odd = VlExample("odd", example.image, "Read.", "", f'{{"x":"{PAD}"}}')
    row = encode(processor, odd)
    assert row is not None
    assert processor.tokenizer.pad_token_id in row.labels[row.labels != IGNORED].tolist()


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
        with pytest.raises(UserError, match=r"page\.png: not a readable image"):
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
