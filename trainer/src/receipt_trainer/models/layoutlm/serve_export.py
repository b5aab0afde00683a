"""The model package of a run: made from its files, checked against torch, refused where it differs."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
import torch

import receipt_trainer
from receipt_trainer.contract.names import MODEL_DIR, OUTSIDE, PREDICTIONS_FILE
from receipt_trainer.contract.package import (
    MANIFEST_FILE,
    SAMPLE_FILE,
    SERVE_DIR,
    TOKENIZER_FILE,
    Manifest,
    PackagePrecision,
    PackageScores,
    SpecialTokens,
    Windows,
)
from receipt_trainer.contract.predictions import ReceiptPrediction, read_predictions
from receipt_trainer.contract.run_record import LayoutLMRecord, PackageOutcome
from receipt_trainer.contract.sinks import report_progress
from receipt_trainer.data.decode import Floats, choose, softmax
from receipt_trainer.data.encode import encode, words_of
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt, Word, WordLabel
from receipt_trainer.data.sources.jsonl import parse_record, to_record
from receipt_trainer.errors import UserError
from receipt_trainer.files import replacing_folder
from receipt_trainer.inference.package import ONNX_FILES, Package, describe
from receipt_trainer.inference.reader import PackageReader, parts
from receipt_trainer.models.layoutlm.collator import PackingCollator
from receipt_trainer.models.layoutlm.export import SavedModel, load_model
from receipt_trainer.models.layoutlm.metrics import score
from receipt_trainer.models.layoutlm.onnx_graph import OPSET, onnx_model

MAX_DIFFERENCE: Final = 1e-4
"""Between torch's logits or probabilities and those of the fp32 graph."""
MIN_SAME_LABELS: Final = 0.985
"""Share of words that must get fp32's label in int8."""
MAX_F1_LOSS: Final = 0.005
MIN_VALIDATION: Final = 30
"""Validation receipts below which neither F1 is compared nor anything is calibrated."""
MAX_WORDS: Final = 30_000
"""Of the validation receipts that are read: a bound of the time."""
MAX_WORDS_IN_TORCH: Final = 5_000
"""Of those that torch reads, too."""
_GENERATED: Final = "generated_receipts.jsonl.gz"
"""50 receipts of `data.synthetic.generate`: kept, so that no export needs the extra `[synthetic]`."""


def export_run(run_dir: Path, record: LayoutLMRecord | None, date_texts: Sequence[str] | None = None) -> Manifest:
    """Make the package of a trained run; its folder takes the place of an earlier one.

    Args:
        run_dir: the run's folder, with its model and predictions.
        record: of the run; None: nothing is known of it.
        date_texts: dates of the training receipts.

    Raises:
        UserError: no trained model there, or its ONNX form differs from it.
    """
    model_dir = run_dir / MODEL_DIR if (run_dir / MODEL_DIR).is_dir() else run_dir
    saved = load_model(str(model_dir))
    validation = _validation(run_dir / PREDICTIONS_FILE)
    job = (record.job_name, record.job_id) if record is not None else (run_dir.resolve().name, "")
    with replacing_folder(model_dir / SERVE_DIR) as folder:
        manifest = _Export(folder, saved, *job).make(validation)
    return manifest


def try_export(run_dir: Path, record: LayoutLMRecord, date_texts: Sequence[str] = ()) -> None:
    """Make the package of a run that ends. Where that fails, the run is none the worse, and the record says why."""
    before = time.monotonic()
    try:
        manifest = export_run(run_dir, record, date_texts)
    except Exception as error:  # whatever it is, the model is trained
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        outcome = PackageOutcome(reason=" ".join(reason.split())[:400])
    else:
        outcome = PackageOutcome(precision=manifest.precision, reason=manifest.scores.reason)
    outcome.seconds = round(time.monotonic() - before, 3)
    record.package = outcome


def describe_package(record: LayoutLMRecord) -> str:
    """One line on the package that was made, or was not."""
    outcome = record.package or PackageOutcome()
    if outcome.precision is None:
        return f"no model package: {outcome.reason}; try again: layoutlm-cli export RUN"
    return f"model package: {outcome.precision}" + (f" ({outcome.reason})" if outcome.reason else "")


@dataclass(frozen=True, slots=True)
class _Export:
    """One package in the making.

    Attributes:
        folder: where its files are written; nobody else looks there yet.
    """

    folder: Path
    saved: SavedModel
    job_name: str
    job_id: str

    def make(self, validation: Sequence[Receipt]) -> Manifest:
        """Write all files, the manifest last."""
        generated = generated_receipts()
        tokenizer = self.saved.tokenizer.backend_tokenizer
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.save(str(self.folder / TOKENIZER_FILE))
        weights = {name: value.detach().numpy() for name, value in self.saved.model.state_dict().items()}
        for precision, name in ONNX_FILES.items():
            content = onnx_model(weights, self.saved.model.config, int8=precision == "int8")
            (self.folder / name).write_bytes(content)
        exact = self._reader("fp32")
        self._require_same(exact, [*generated, *_first_words(validation, MAX_WORDS_IN_TORCH)])
        scores, taken = self._compare(exact, self._reader("int8"), generated, validation)
        if taken == "fp32":
            (self.folder / ONNX_FILES["int8"]).unlink()
        manifest = self._manifest(taken).model_copy(update={"scores": scores})
        manifest = self._add_sample(manifest, generated)
        text = manifest.model_dump_json(indent=1)
        (self.folder / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")
        return manifest

    def _manifest(self, precision: PackagePrecision) -> Manifest:
        """What is known of the package, with the files that are there."""
        saved, tokenizer = self.saved, self.saved.tokenizer
        config, space = saved.config, saved.space
        return Manifest(
            job_name=self.job_name,
            job_id=self.job_id,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            trainer_version=receipt_trainer.__version__,
            labels=space.labels,
            merge_amounts=space.merge_amounts,
            annotated={source: tuple(sorted(names)) for source, names in space.annotated.items()},
            windows=Windows(
                examples=config.examples,
                max_length=config.max_length,
                use_sliding_window=config.use_sliding_window,
                window_stride=config.window_stride,
            ),
            special_tokens=SpecialTokens(
                cls=tokenizer.cls_token_id or 0, sep=tokenizer.sep_token_id or 0, unk=tokenizer.unk_token_id or 0
            ),
            precision=precision,
            opset=OPSET,
            files={path.name: describe(path) for path in sorted(self.folder.iterdir())},
        )

    def _reader(self, precision: PackagePrecision) -> PackageReader:
        package = Package(self.folder, self._manifest(precision))
        return PackageReader(package, threads=torch.get_num_threads())

    def _require_same(self, reader: PackageReader, receipts: Iterable[Receipt]) -> None:
        """Compare with torch, window by window.

        Raises:
            UserError: they differ.
        """
        worst = 0.0
        for receipt in receipts:
            examples = encode([receipt], self.saved.space, self.saved.tokenizer, self.saved.config).examples
            own = encode([receipt], reader.space, reader.tokenizer, reader.manifest.windows).examples
            if not np.array_equal(examples.input_ids, own.input_ids):
                raise UserError(f"the tokenizer alone reads {receipt.name} other than transformers does")
            for numbers in parts(examples):
                batch = PackingCollator(examples, select=True)(numbers.tolist())
                batch.pop("labels")
                with torch.inference_mode():
                    wanted = self.saved.model(**batch)["logits"][0].numpy()
                found = reader.logits(examples, numbers)
                differences = (np.abs(found - wanted).max(), np.abs(softmax(found) - softmax(wanted)).max())
                worst = max(worst, *map(float, differences)) if np.isfinite(differences).all() else float("inf")
            report_progress("a receipt read by torch and by ONNX")
        if not worst <= MAX_DIFFERENCE:
            raise UserError(f"the ONNX model differs from torch by {worst:.2g} (at most {MAX_DIFFERENCE:g} is allowed)")

    def _compare(
        self, exact: PackageReader, small: PackageReader, generated: Sequence[Receipt], validation: Sequence[Receipt]
    ) -> tuple[PackageScores, PackagePrecision]:
        """Scores of both precisions, and the one to take."""
        space = self.saved.space
        validation = list(_first_words(validation, MAX_WORDS))
        read = {}
        for name, reader in (("fp32", exact), ("int8", small)):
            read[name] = _read_all(reader, [*validation, *generated])
        same = float((read["fp32"].argmax(axis=1) == read["int8"].argmax(axis=1)).mean())
        words = words_of(validation, space)
        f1 = {
            name: score(words, choose(found[: len(words.texts)], words, space), space)[0].f1
            for name, found in read.items()
        }
        reason = None
        if same < MIN_SAME_LABELS:
            reason = f"int8 gives {same:.1%} of the words fp32's label; at least {MIN_SAME_LABELS:.1%} are needed"
        elif len(validation) >= MIN_VALIDATION and f1["fp32"] - f1["int8"] > MAX_F1_LOSS:
            reason = f"int8 has F1 {f1['int8']:.4f} on validation, fp32 {f1['fp32']:.4f}"
        scores = PackageScores(
            f1_fp32=f1["fp32"] if validation else None,
            f1_int8=f1["int8"] if validation else None,
            same_labels=same,
            num_validation=len(validation),
            reason=reason,
        )
        return scores, "int8" if reason is None else "fp32"

    def _add_sample(self, manifest: Manifest, generated: Sequence[Receipt]) -> Manifest:
        """Keep the generated receipt whose labels are the surest: another processor must not change them."""
        reader = PackageReader(Package(self.folder, manifest))
        read = list(reader.read_raw(generated))
        margins = [float(np.diff(np.sort(found, axis=1)[:, -2:], axis=1).min()) for found in read]
        best = int(np.argmax(margins))
        sample = {
            "receipt": to_record(generated[best]),
            "labels": [reader.labels[label] for label in read[best].argmax(axis=1)],
        }
        path = self.folder / SAMPLE_FILE
        path.write_text(json.dumps(sample, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        complete = manifest.model_copy(update={"files": manifest.files | {SAMPLE_FILE: describe(path)}})
        return complete


def _read_all(reader: PackageReader, receipts: Sequence[Receipt]) -> Floats:
    """(words of all receipts, 1 + labels)."""
    found: list[Floats] = []
    for receipt in receipts:
        found += reader.read_raw([receipt])
        report_progress("a receipt read by ONNX")
    return np.concatenate(found)


def generated_receipts() -> list[Receipt]:
    """The receipts on which every export is checked."""
    content = gzip.decompress(files(__package__).joinpath(_GENERATED).read_bytes())
    log = ProblemLog()
    parsed = (parse_record(json.loads(line), _GENERATED, log) for line in content.splitlines())
    return [receipt for receipt in parsed if receipt is not None]


def _validation(path: Path) -> list[Receipt]:
    """The run's validation receipts as its predictions have them, with what was gold; none without the file."""
    try:
        predictions = read_predictions(path)
    except OSError:
        return []
    return [_receipt(prediction) for prediction in predictions.receipts if prediction.words]


def _receipt(prediction: ReceiptPrediction) -> Receipt:
    words = (
        Word(
            word.text,
            (word.box[0] / 1000, word.box[1] / 1000, word.box[2] / 1000, word.box[3] / 1000),
            word.line,
            () if word.gold == OUTSIDE else (WordLabel(word.gold),),
        )
        for word in prediction.words
    )
    return Receipt(prediction.key, 1, tuple(words), name=prediction.name, source=prediction.source)


def _first_words(receipts: Iterable[Receipt], room: int) -> Iterable[Receipt]:
    """The first receipts that together have at most so many words."""
    for receipt in receipts:
        room -= len(receipt.words)
        if room < 0:
            return
        yield receipt
