"""Forgetting: how well a base still reads pages (`OCR:`) after it learned JSON, with and without the mix.

A tiny model of the real classes is first trained on `OCR:` until it knows the texts of 20 pages; that is the base.
It is asked for them (`vl rehearse`), and then fine-tuned on the same number of other pages with their JSON, once
without and once with its own answers mixed in. Scored are those of the 20 pages that are not mixed in; five texts are
drawn four times each, so that a page which is scored says what others say, in another drawing.

python -m benchmarks.vl_forgetting OUT --share 0.3
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

from receipt_trainer.cli.receipt_trainer import group
from receipt_trainer.data.document_set import read_examples
from tests.models.paddleocr_vl.receipts import document, draw_page, write_receipts
from tests.models.paddleocr_vl.runs import ALL_LINEAR, write_config
from tests.models.paddleocr_vl.tiny import make_tiny

PAGES, TEXTS = 20, 5


def write_pages(folder: Path) -> None:
    """20 pages of five texts, each drawn four times, as train.jsonl and val.jsonl of the task `OCR:`."""
    folder.mkdir(parents=True)
    draw, lines = random.Random(1), []
    contents = [document(draw) for _ in range(TEXTS)]
    for number in range(PAGES):
        content = contents[number % TEXTS]
        draw_page(content, draw).save(folder / f"{number}.png")
        text = f"{content['vendor']['name']} {content['date']} {content['grand_total']}"
        lines.append(json.dumps({"id": str(number), "image": f"{number}.png", "instruction": "OCR:", "output": text}))
    for name in ("train", "val"):
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def train(config: Path) -> None:
    """One run, in the folder beside its configuration."""
    arguments = ["vl", "train", "--config", str(config), "--output-dir", str(config.with_suffix(""))]
    group(arguments, standalone_mode=False)


def main() -> None:
    """Print the distances of both runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--share", type=float, default=0.3, help="of the training examples, in the second run")
    parser.add_argument("--base-epochs", type=int, default=80)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    out, began = options.out, time.process_time()
    write_pages(out / "pages")
    settings: dict[str, Any] = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "logging_steps": 20}
    settings |= {"prompt": "Read.", "max_sequence_length": 512}
    lora = {"r": 32, "lora_alpha": 32, "dropout": 0.0, "target_modules": ALL_LINEAR}
    whole = {"modules_to_save": ["embed_tokens", "lm_head", "projector"]}
    first = {"num_train_epochs": options.base_epochs, "learning_rate": 5e-3}
    train(
        write_config(
            out / "first.yaml",
            make_tiny(out / "random"),
            out / "pages",
            lora=lora | whole,
            training=settings | first,
        )
    )
    base = out / "base"
    merge = ["vl", "merge", "--base-model", str(out / "random"), "--adapter-path", str(out / "first" / "model")]
    group([*merge, "--output-dir", str(base)], standalone_mode=False)
    rehearse = ["vl", "rehearse", "--data", str(out / "pages"), "--model-path", str(base), "--max-new-tokens", "60"]
    group([*rehearse, "--no-progress"], standalone_mode=False)
    true = {example.image: example.output for example in read_examples(out / "pages" / "train.jsonl")}
    said = read_examples(out / "pages" / "rehearsal.jsonl")
    print(f"the base: {sum(true[page.image] == page.output for page in said)} of {PAGES} texts right")
    write_receipts(out / "receipts", PAGES, seed=7)
    second = {"num_train_epochs": options.epochs, "learning_rate": 2e-3}
    for share in (0.0, options.share):
        config = write_config(
            out / f"share-{share:g}.yaml",
            base,
            out / "receipts",
            lora=lora,
            training=settings | second,
            validation_fraction=0.2,
            rehearsal_path=str(out / "pages" / "rehearsal.jsonl"),
            rehearsal_share=share,
        )
        train(config)
        vl = json.loads((config.with_suffix("") / "run.json").read_bytes())["vl"]
        found = vl["rehearsal"]
        print(
            f"share {share:g}: {found['mixed']} pages mixed in, {found['pages']} others scored: edit distance "
            f"{found['before']:.3f} -> {found['after']:.3f}; loss of the new task {vl['final']['eval_loss']:.4f}"
        )
    print(f"{time.process_time() - began:.0f} s of CPU")


if __name__ == "__main__":
    main()
