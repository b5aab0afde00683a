from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from receipt_trainer.data.document_set import read_examples
from receipt_trainer.models.paddleocr_vl.encode import count_tokens
from receipt_trainer.models.paddleocr_vl.model import load, load_processor
from receipt_trainer.training import checkpoints
from tests.fork_server import Program
from tests.models.paddleocr_vl.receipts import write_receipts
from tests.models.paddleocr_vl.runs import vl_train, write_config
from tests.strikes import VL_LOSS, strike
from tests.training.runs import curve, newest_step, record_of


@pytest.fixture(scope="module")
def finished(vl_cli: Program, tiny_model: Path, receipts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a complete run of three epochs."""
    config = write_config(tmp_path_factory.mktemp("finished") / "config.yaml", tiny_model, receipts)
    log = config.with_name("log")
    assert vl_cli.run(vl_train(config), log) == 0, log.read_text()
    return config.with_name("run")


def test_what_a_run_leaves(finished: Path, tiny_model: Path, receipts: Path) -> None:
    """The record says what was asked, seen and reached; the model loads; TensorBoard has every loss."""
    record = record_of(finished)
    assert (record.status, record.family, record.model) == ("complete", "paddleocr-vl", str(tiny_model))
    assert record.training_config["lora"]["r"] == 8
    assert record.training_config["num_train_epochs"] == 3
    assert record.data_config["dataset_path"] == str(receipts)
    processor = load_processor(str(tiny_model))
    tokens = [count_tokens(processor, example) for example in read_examples(receipts / "train.jsonl")]
    assert record.dataset_counts["train"] == {
        "documents": 12,
        "tokens": sum(count.total for count in tokens),
        "supervised_tokens": sum(count.answer for count in tokens),
    }
    vl = record.vl
    assert [row.epoch for row in vl.evaluations] == [1.0, 2.0, 3.0]
    assert vl.eval_loss == min(row.eval_loss for row in vl.evaluations) == vl.best.eval_loss
    assert vl.parameters.trainable == sum(
        weight.numel() for name, weight in load(finished, device="cpu").model.named_parameters() if "lora_" in name
    )
    assert vl.peak_memory_gib > 0.01
    assert record.timings["tokens_per_s"] > 0
    assert record.timings["steps"] == 6
    board = EventAccumulator(str(finished / "tensorboard")).Reload()
    losses = [event.value for event in board.Scalars("train/loss")]
    assert losses == pytest.approx([row["loss"] for row in curve(finished).values()], rel=1e-5)
    assert len(board.Scalars("eval/loss")) == 3
    assert [path.name for path in checkpoints.folders(finished)] == ["checkpoint-6", "checkpoint-4"]


def test_the_losses_fall(finished: Path) -> None:
    """The optimizer moves what the loss says: the last epoch is better than the first, on both sides."""
    losses = [row["loss"] for row in curve(finished).values()]
    assert losses[-1] < losses[0] - 0.05
    rows = record_of(finished).vl.evaluations
    assert rows[-1].eval_loss < rows[0].eval_loss


def test_a_complete_run_is_not_trained_again(
    vl_cli: Program, finished: Path, tiny_model: Path, receipts: Path, tmp_path: Path
) -> None:
    """The same command is refused, other settings by name, and nothing of the run changes; --restart starts over."""
    before = (finished / "run.json").read_bytes()
    config, log = finished.with_name("config.yaml"), tmp_path / "log"
    assert vl_cli.run(vl_train(config), log) == 2
    assert "holds the complete run" in log.read_text()
    other = write_config(tmp_path / "config.yaml", tiny_model, receipts, training={"learning_rate": 1e-4})
    assert vl_cli.run(vl_train(other, "--output-dir", finished), log) == 2
    assert "with other settings (learning_rate)" in log.read_text()
    assert (finished / "run.json").read_bytes() == before
    assert vl_cli.run(vl_train(other, "--output-dir", finished, "--restart"), log) == 0, log.read_text()
    assert record_of(finished).training_config["learning_rate"] == 1e-4


@pytest.mark.parametrize(
    "loss", [{}, {"use_focal": True}, {"use_label_smoothing": True}], ids=["plain", "focal", "smooth"]
)
def test_accumulation_takes_the_way_of_one_big_batch(
    vl_cli: Program, tiny_model: Path, receipts: Path, tmp_path: Path, loss: dict[str, Any]
) -> None:
    """Twelve receipts in one batch, or in three of five, five and two: the same losses and gradients."""
    curves = []
    for size, parts in ((12, 1), (5, 3)):
        training = {"per_device_train_batch_size": size, "gradient_accumulation_steps": parts}
        config = write_config(
            tmp_path / f"{size}.yaml", tiny_model, receipts, training=training, lora={"dropout": 0.0}, loss=loss
        )
        run_dir, log = tmp_path / f"run-{size}", tmp_path / "log"
        assert vl_cli.run(vl_train(config, "--output-dir", run_dir), log) == 0, log.read_text()
        curves.append(curve(run_dir))
    assert len(curves[0]) == 3
    for step, values in curves[0].items():
        assert curves[1][step] == pytest.approx(values, rel=1e-4), f"step {step}"


def test_a_nan_names_its_step_and_examples(vl_cli: Program, tiny_model: Path, receipts: Path, tmp_path: Path) -> None:
    """Exit 1, one line, the same in run.json, the last good checkpoint named and whole; the same command goes on."""
    config = write_config(tmp_path / "config.yaml", tiny_model, receipts, training={"logging_steps": 1000})
    run_dir, log = tmp_path / "run", tmp_path / "log"
    # two batches a step and two of evaluation an epoch: the 8th call is the second batch of the third step
    assert vl_cli.run(vl_train(config), log, strike("nan", 8, VL_LOSS)) == 1
    (line,) = [line for line in log.read_text().splitlines() if line.startswith("error: ")]
    assert line.startswith("error: step 3: the loss is nan on train-")
    assert "checkpoint-2 is the last good checkpoint" in line
    named = line.partition(" on ")[2].partition(";")[0].split(", ")
    assert len(named) == 3
    assert set(named) <= {f"train-{number}" for number in range(12)}
    record = record_of(run_dir)
    assert (record.status, record.error) == ("failed", line.removeprefix("error: "))
    assert newest_step(run_dir) == 2
    assert vl_cli.run(vl_train(config), log) == 0, log.read_text()
    assert record_of(run_dir).status == "complete"


def test_a_gradient_that_is_no_number_never_reaches_the_weights(
    vl_cli: Program, tiny_model: Path, receipts: Path, tmp_path: Path
) -> None:
    """The loss may be finite and its gradient not: the run ends before the step, with the step's examples."""
    config = write_config(tmp_path / "config.yaml", tiny_model, receipts)
    log = tmp_path / "log"
    killed = strike("nan", 2, "transformers:Trainer._get_grad_norm")
    assert vl_cli.run(vl_train(config), log, killed) == 1
    assert "step 2: the gradient's norm is nan on train-" in log.read_text()
    assert "there is no checkpoint yet" in log.read_text()


def test_it_stops_early_and_keeps_the_best(vl_cli: Program, tiny_model: Path, receipts: Path, tmp_path: Path) -> None:
    """With a rate that overshoots, two evaluations without a lower loss end the run, and the best model is kept."""
    training = {"learning_rate": 0.5, "early_stopping_patience": 2, "num_train_epochs": 30, "max_grad_norm": 0}
    config = write_config(tmp_path / "config.yaml", tiny_model, receipts, training=training | {"save_total_limit": 1})
    log = tmp_path / "log"
    assert vl_cli.run(vl_train(config), log) == 0, log.read_text()
    vl = record_of(tmp_path / "run").vl
    losses = [row.eval_loss for row in vl.evaluations]
    best = losses.index(min(losses))
    assert len(losses) == best + 3 < 30
    assert vl.best == vl.evaluations[best]
    assert vl.final.eval_loss == pytest.approx(losses[best], abs=1e-6)
    kept = {path.name for path in checkpoints.folders(tmp_path / "run")}
    assert f"checkpoint-{vl.best.step}" in kept


def test_what_is_too_long_is_counted_and_named(
    vl_cli: Program, tiny_model: Path, receipts: Path, tmp_path: Path
) -> None:
    """Left out with its lengths, or a token that the model cannot take; on the screen and in run.json, with a reason.

    With nothing left, the run is refused.
    """
    data = tmp_path / "data"
    short, long_ones = write_receipts(data, 4), write_receipts(data, 2, name="long", num_items=2)
    ended = json.loads(short.read_text().splitlines()[0])
    ended |= {"id": "ended", "output": ended["output"].replace("receipt", "</s>", 1)}
    short.write_text(short.read_text() + long_ones.read_text())
    shutil.copytree(receipts, data, dirs_exist_ok=True, ignore=shutil.ignore_patterns("train*"))
    processor = load_processor(str(tiny_model))
    lengths = {example.id: count_tokens(processor, example).total for example in read_examples(short)}
    with short.open("a") as file:
        file.write(json.dumps(ended) + "\n")
    limit = max(length for name, length in lengths.items() if name.startswith("train"))
    long = {"long-0", "long-1"}
    training = {"max_sequence_length": limit, "num_train_epochs": 1}
    config = write_config(tmp_path / "config.yaml", tiny_model, data, training=training)
    log = tmp_path / "log"
    assert vl_cli.run(vl_train(config), log) == 0, log.read_text()
    record = record_of(tmp_path / "run")
    left_out = {row.id: row.reason for row in record.vl.left_out}
    assert long <= left_out.keys()
    assert not left_out.keys() & (lengths.keys() - long)
    for name in long:
        assert f"{lengths[name]} tokens" in left_out[name]
        assert f"max_sequence_length is {limit}" in left_out[name]
        assert name in log.read_text()
    assert left_out["ended"].startswith("output: </s> stands in it")
    assert record.dataset_counts["train"]["documents"] == 4
    config = write_config(tmp_path / "none.yaml", tiny_model, data, training={"max_sequence_length": 20})
    assert vl_cli.run(vl_train(config, "--restart"), log) == 2
    assert "no example to train on; 11 were left out" in log.read_text()


def test_a_share_is_held_out_where_no_file_is_named(
    vl_cli: Program, tiny_model: Path, receipts: Path, tmp_path: Path
) -> None:
    """One JSON lines file: a quarter of it, chosen by hash, is validated on and not trained on."""
    config = write_config(
        tmp_path / "config.yaml", tiny_model, receipts / "train.jsonl", validation_fraction=0.25,
        training={"num_train_epochs": 1},
    )  # fmt: skip
    log = tmp_path / "log"
    assert vl_cli.run(vl_train(config), log) == 0, log.read_text()
    counts = record_of(tmp_path / "run").dataset_counts
    assert (counts["train"]["documents"], counts["validation"]["documents"]) == (9, 3)


def test_augmentation_is_on_the_training_images_alone(
    vl_cli: Program, tiny_model: Path, receipts: Path, tmp_path: Path
) -> None:
    """Another run than without, from the first loss on; the evaluation of the untrained model is the same."""
    found = []
    for enabled in (False, True):
        config = write_config(
            tmp_path / f"{enabled}.yaml",
            tiny_model,
            receipts,
            training={"num_train_epochs": 1, "learning_rate": 1e-9},
            augmentation={"enabled": enabled},
        )
        run_dir, log = tmp_path / f"run-{enabled}", tmp_path / "log"
        assert vl_cli.run(vl_train(config, "--output-dir", run_dir), log) == 0, log.read_text()
        found.append((curve(run_dir)[1]["loss"], record_of(run_dir).vl.eval_loss))
    assert found[0][0] != pytest.approx(found[1][0], abs=1e-6)
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-5)
    assert json.loads((tmp_path / "run-True" / "run.json").read_bytes())["data_config"]["augmentation"]["enabled"]
