"""The base's own task: pages answered by the base, mixed into training, and scored before and after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from receipt_trainer.cli.receipt_trainer import group
from receipt_trainer.config.paddleocr_vl import VlDataConfig
from receipt_trainer.data.document_set import VlExample, read_examples, to_line
from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl import generate
from receipt_trainer.models.paddleocr_vl.dataset import rehearsal_pages
from receipt_trainer.models.paddleocr_vl.generate import answer
from receipt_trainer.models.paddleocr_vl.model import load
from receipt_trainer.models.paddleocr_vl.rehearsal import edit_distance, score_rehearsal, to_ask
from tests.fork_server import Program
from tests.models.paddleocr_vl.runs import vl_train, write_config
from tests.training.runs import record_of


def written_pages(folder: Path, count: int) -> Path:
    """Pages with a short text each."""
    folder.mkdir(exist_ok=True)
    pages = [VlExample(f"OCR:{n}", folder / f"{n}.png", "OCR:", "", f"Total {n}") for n in range(count)]
    for page in pages:
        Image.effect_noise((84, 84), 60.0).convert("RGB").save(page.image)
    path = folder / "rehearsal.jsonl"
    path.write_text("".join(to_line(page, folder) for page in pages))
    return path


def test_pages_are_mixed_in_by_their_share(tmp_path: Path) -> None:
    """A third of the examples is half as many pages as there are others; what is scored is not trained on."""
    path = written_pages(tmp_path / "pages", 50)
    config = VlDataConfig(dataset_path="d", rehearsal_path=str(path), rehearsal_share=1 / 3)
    mixed, scored = rehearsal_pages(config, 60)
    assert (len(mixed), len(scored)) == (30, 20)
    assert not {page.id for page in mixed} & {page.id for page in scored}
    assert rehearsal_pages(config, 60) == (mixed, scored)
    assert rehearsal_pages(config.model_copy(update={"rehearsal_share": 0.0}), 60) == ([], scored)
    assert rehearsal_pages(VlDataConfig(dataset_path="d"), 60) == ([], ())
    with pytest.raises(UserError, match="needs 51 pages, 20 of them to score; there are 50"):
        rehearsal_pages(config, 62)
    with pytest.raises(ValueError, match="needs rehearsal_path"):
        VlDataConfig(dataset_path="d", rehearsal_share=0.1)


def test_the_distance_is_a_share_of_the_text() -> None:
    """One of four letters wrong is a quarter, nothing alike is one; pages count alike, however long they are."""
    assert edit_distance(["abcd"], ["abce"]) == 0.25
    assert edit_distance(["abcd", "x"], ["abcd", "yyyyyyyy"]) == 0.5


def test_a_run_says_what_is_left_of_the_base(vl_cli: Program, tiny_model: Path, receipts: Path, tmp_path: Path) -> None:
    """Its record has the distances of base and kept model as each, asked alone, gives them, and so has its report."""
    path = written_pages(tmp_path / "pages", 6)
    config = write_config(
        tmp_path / "config.yaml",
        tiny_model,
        receipts,
        training={"num_train_epochs": 1, "learning_rate": 0.1},
        rehearsal_path=str(path),
        rehearsal_share=0.2,
    )
    log = tmp_path / "log"
    assert vl_cli.run(vl_train(config), log) == 0, log.read_text()
    record, run_dir = record_of(tmp_path / "run"), tmp_path / "run"
    assert record.dataset_counts["train"]["documents"] == 15
    found = record.vl.rehearsal
    assert found is not None
    assert (found.pages, found.mixed) == (3, 3)
    _, scored = rehearsal_pages(VlDataConfig(dataset_path="d", rehearsal_path=str(path)), 12)
    longest = int(1.5 * len(load(tiny_model, device="cpu").processor.tokenizer("Total 1")["input_ids"])) + 1
    alone = [
        edit_distance(
            answer(load(model, device="cpu"), scored, max_new_tokens=longest), [page.output for page in scored]
        )
        for model in (tiny_model, run_dir)
    ]
    assert (found.before, found.after) == tuple(pytest.approx(value, abs=1e-4) for value in alone)
    assert (
        f"edit distance {found.before:.3f} before training, {found.after:.3f} after"
        in (run_dir / "report.html").read_text()
    )


def test_without_adapters_the_base_is_loaded_for_it(tiny_model: Path, tmp_path: Path) -> None:
    """A whole model whose weights have changed is compared with its files, which have not."""
    pages = [replace(page, output="x") for page in read_examples(written_pages(tmp_path / "pages", 2))]
    base = load(tiny_model, device="cpu")
    said = answer(base, pages, max_new_tokens=2)
    assert any(said)
    changed = load(tiny_model, device="cpu")
    with torch.no_grad():
        changed.model.lm_head.weight.mul_(-1)
    scores = score_rehearsal(changed, [replace(p, output=t) for p, t in zip(pages, said, strict=True)], 2)
    longest = int(1.5 * max(len(base.processor.tokenizer(text)["input_ids"]) for text in said)) + 1
    alone = [edit_distance(answer(model, pages, max_new_tokens=longest), said) for model in (base, changed)]
    assert alone[0] != alone[1]
    assert (scores.before, scores.after) == tuple(pytest.approx(value, abs=1e-4) for value in alone)


def test_the_base_writes_its_own_lines(
    tiny_model: Path, receipts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page is asked `OCR:`; its answer becomes a line beside the data set; empty and endless ones do not."""
    data = tmp_path / "data"
    data.mkdir()
    for file in receipts.iterdir():
        (data / file.name).write_bytes(file.read_bytes())
    asked: list[VlExample] = []

    def write(loaded: object, examples: list[VlExample], *rest: object) -> list[str]:
        asked.extend(examples)
        return [["Milk 2.50", "", "endless " * 40][number % 3] for number, _ in enumerate(examples)]

    monkeypatch.setattr(generate, "_write", write)
    command = ["vl", "rehearse", "--data", str(data), "--model-path", str(tiny_model), "--pages", "6"]
    done = CliRunner().invoke(group, [*command, "--batch-size", "3", "--max-new-tokens", "20", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "2 pages; 4 without a whole text" in done.output
    assert {page.instruction for page in asked} == {"OCR:"}
    assert len(asked) == 6
    lines = read_examples(data / "rehearsal.jsonl")
    assert [(line.instruction, line.output) for line in lines] == [("OCR:", "Milk 2.50")] * 2
    known = {to_ask(example).id: example.image for example in read_examples(data / "train.jsonl")}
    assert all(known[line.id] == line.image for line in lines)
    assert not list(data.glob("*predictions*"))


def test_a_model_that_says_nothing_is_no_base(tiny_model: Path, receipts: Path) -> None:
    """One clear line, and no file."""
    command = ["vl", "rehearse", "--data", str(receipts), "--model-path", str(tiny_model), "--pages", "1"]
    done = CliRunner().invoke(group, [*command, "--max-new-tokens", "1", "--device", "cpu"])
    assert isinstance(done.exception, UserError)
    assert "gave no text for any of 1 pages" in str(done.exception)
    assert not (receipts / "rehearsal.jsonl").exists()
