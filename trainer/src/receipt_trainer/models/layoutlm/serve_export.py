"""The model package of a run: made from its files, checked against torch, refused where it differs."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from itertools import groupby, islice, pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

import receipt_trainer
from receipt_trainer.contract.names import MODEL_DIR, OUTSIDE, PREDICTIONS_FILE
from receipt_trainer.contract.package import (
    KNOWN_FILE,
    MANIFEST_FILE,
    SAMPLE_FILE,
    SERVE_DIR,
    TOKENIZER_FILE,
    Calibration,
    PackageManifest,
    PackagePrecision,
    PackageScores,
    SpecialTokens,
    Windows,
)
from receipt_trainer.contract.predictions import PredictedWord, ReceiptPrediction, read_predictions
from receipt_trainer.contract.run_record import LayoutLMRecord, PackageOutcome
from receipt_trainer.contract.sinks import report_progress
from receipt_trainer.data.decode import CHANGE, Floats, choose, softmax
from receipt_trainer.data.encode import Examples, Words, encode, words_of
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt, Word, WordLabel
from receipt_trainer.data.sources.record import parse_record, to_record
from receipt_trainer.errors import UserError
from receipt_trainer.evaluation.calibration import calibrate
from receipt_trainer.extraction.dates import date_orders
from receipt_trainer.extraction.finds import amount_marks
from receipt_trainer.extraction.known import known_of
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
MAX_MARKED: Final = 2_000
"""Of the receipts whose amounts are looked at."""
_GENERATED: Final = "generated_receipts.jsonl.gz"
"""50 receipts of `data.synthetic.generate`: kept, so that no export needs the extra `[synthetic]`."""


def export_run(
    run_dir: Path,
    record: LayoutLMRecord | None,
    date_texts: Iterable[str] | None = None,
    training: Sequence[Receipt] = (),
) -> PackageManifest:
    """Make the package of a trained run; its folder takes the place of an earlier one.

    Without `training`, what an earlier package of the same run has from its training receipts is kept.

    Args:
        run_dir: the run's folder, with its model and predictions.
        record: of the run; None: nothing is known of it.
        date_texts: dates of the training receipts; None: unknown, those of the validation receipts stand for them.
        training: receipts that it was trained on: how amounts are written, and which merchants and addresses stand in
            several of them; without them amounts are those of the validation receipts, and no merchant is known.

    Raises:
        UserError: no trained model there, or its ONNX form differs from it.
    """
    model_dir = run_dir / MODEL_DIR if (run_dir / MODEL_DIR).is_dir() else run_dir
    saved = load_model(str(model_dir))
    validation = _validation(run_dir / PREDICTIONS_FILE)
    dates = gold_texts(words_of(validation, saved.space), saved.space, "DATE") if date_texts is None else date_texts
    job = (record.job_name, record.job_id) if record is not None else (run_dir.resolve().name, "")
    earlier = None if training else _earlier(model_dir / SERVE_DIR, job[1])
    with replacing_folder(model_dir / SERVE_DIR) as folder:
        manifest = _Export(folder, saved, *job).make(validation, dates, training, earlier)
    return manifest


def _earlier(folder: Path, job_id: str) -> Package | None:
    """A package of the same run that knows its training receipts; of damaged ones this part must be whole."""
    try:
        manifest = PackageManifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        earlier = Package(folder, manifest)
        earlier.file(KNOWN_FILE)
    except (OSError, ValueError, UserError):
        return None
    return earlier if manifest.job_id == job_id else None


def try_export(
    run_dir: Path, record: LayoutLMRecord, date_texts: Iterable[str], training: Sequence[Receipt] = ()
) -> None:
    """Make the package of a run that ends. Where that fails, the run is none the worse, and the record says why."""
    before = time.monotonic()
    try:
        manifest = export_run(run_dir, record, date_texts, training)
    except Exception as error:  # whatever it is, the model is trained
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        outcome = PackageOutcome(reason=" ".join(reason.split())[:400])
    else:
        outcome = PackageOutcome.of(manifest, f"{MODEL_DIR}/{SERVE_DIR}")
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

    def make(
        self,
        validation: Sequence[Receipt],
        date_texts: Iterable[str],
        training: Sequence[Receipt],
        earlier: Package | None,
    ) -> PackageManifest:
        """Write all files, the manifest last; from an earlier package what it knows of the training receipts."""
        generated = generated_receipts()
        tokenizer = self.saved.tokenizer.backend_tokenizer
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.save(str(self.folder / TOKENIZER_FILE))
        weights = {name: value.detach().numpy() for name, value in self.saved.model.state_dict().items()}
        for precision, name in ONNX_FILES.items():
            content = onnx_model(weights, self.saved.model.config, int8=precision == "int8")
            (self.folder / name).write_bytes(content)
        validation = list(_first_words(validation, MAX_WORDS))
        receipts = [*generated, *validation]  # torch reads the first of them
        readers = {precision: self._reader(precision) for precision in ONNX_FILES}
        read = self._read(readers, receipts)
        scores = self._compare(read, validation)
        taken: PackagePrecision = "int8" if scores.reason is None else "fp32"
        if taken == "fp32":
            (self.folder / ONNX_FILES["int8"]).unlink()
        self._write_sample(generated, read[taken])
        if earlier is not None:
            (self.folder / KNOWN_FILE).write_bytes(earlier.file(KNOWN_FILE).read_bytes())
        elif training:
            known = json.dumps(known_of(training), ensure_ascii=False, indent=1)
            (self.folder / KNOWN_FILE).write_text(known + "\n", encoding="utf-8")
        means = read[taken][len(generated) :]
        is_enough = len(validation) >= MIN_VALIDATION
        manifest = self._manifest(taken).model_copy(
            update={
                "scores": scores,
                "calibration": calibrate(
                    words_of(validation, self.saved.space), np.concatenate(means), self.saved.space
                )
                if is_enough
                else Calibration(),
            }
            | _learned(earlier.manifest if earlier else None, date_texts, training or validation)
        )
        PackageReader(Package(self.folder, manifest)).verify()
        text = manifest.model_dump_json(indent=1)
        (self.folder / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")
        return manifest

    def _manifest(self, precision: PackagePrecision) -> PackageManifest:
        """What is known of the package, with the files that are there."""
        saved, tokenizer = self.saved, self.saved.tokenizer
        config, space = saved.config, saved.space
        return PackageManifest(
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
            name_change_cost=CHANGE,
            files={path.name: describe(path) for path in sorted(self.folder.iterdir())},
        )

    def _reader(self, precision: PackagePrecision) -> PackageReader:
        package = Package(self.folder, self._manifest(precision))
        return PackageReader(package, threads=torch.get_num_threads())

    def _read(
        self, readers: Mapping[PackagePrecision, PackageReader], receipts: Sequence[Receipt]
    ) -> dict[PackagePrecision, list[Floats]]:
        """(words, 1 + labels) of each receipt in each precision, fp32's compared with torch's window by window.

        Raises:
            UserError: they differ.
        """
        found: dict[PackagePrecision, list[Floats]] = {precision: [] for precision in readers}
        worst, in_torch = 0.0, MAX_WORDS_IN_TORCH
        for receipt in receipts:
            examples = readers["fp32"].encode(receipt)
            in_torch -= len(receipt.words)
            if in_torch >= 0:
                worst = max(worst, self._difference(readers["fp32"], receipt, examples))
                if worst > MAX_DIFFERENCE:
                    raise UserError(
                        f"the ONNX model differs from torch by {worst:.2g}; at most {MAX_DIFFERENCE:g} is allowed"
                    )
            for precision, reader in readers.items():
                found[precision].append(reader.read_windows(examples, receipt))
            report_progress("a receipt of the package's check")
        return found

    def _difference(self, reader: PackageReader, receipt: Receipt, examples: Examples) -> float:
        """The largest between torch's logits or probabilities and the graph's; infinite for NaN."""
        saved = self.saved
        own = encode([receipt], saved.space, saved.tokenizer, saved.config).examples
        if not np.array_equal(examples.input_ids, own.input_ids):
            raise UserError(f"tokenizer.json alone reads {receipt.name} other than transformers does with it")
        worst = 0.0
        for numbers in parts(examples):
            batch = PackingCollator(examples, select=True)(numbers.tolist())
            batch.pop("labels")
            with torch.inference_mode():
                wanted = saved.model(**batch)["logits"][0].numpy()
            logits = reader.logits(examples, numbers)
            both = float(np.abs(logits - wanted).max()), float(np.abs(softmax(logits) - softmax(wanted)).max())
            worst = max(worst, *(each if np.isfinite(each) else float("inf") for each in both))
        return worst

    def _compare(
        self, read: Mapping[PackagePrecision, Sequence[Floats]], validation: Sequence[Receipt]
    ) -> PackageScores:
        """Scores of both precisions, with the reason if int8 is not to be taken."""
        space = self.saved.space
        exact, small = (np.concatenate(read[precision]).argmax(axis=1) for precision in ("fp32", "int8"))
        same = float((exact == small).mean())
        words = words_of(validation, space)
        f1: dict[PackagePrecision, float] = {}
        for precision, found in read.items() if validation else ():
            labels = choose(np.concatenate(found[-len(validation) :]), words, space)
            f1[precision] = score(words, labels, space)[0].f1
        reason = None
        if same < MIN_SAME_LABELS:
            reason = f"int8 gives {same:.1%} of the words fp32's label; at least {MIN_SAME_LABELS:.1%} are needed"
        elif len(validation) >= MIN_VALIDATION and f1["fp32"] - f1["int8"] > MAX_F1_LOSS:
            reason = f"int8 has F1 {f1['int8']:.4f} on validation, fp32 {f1['fp32']:.4f}"
        return PackageScores(
            f1_fp32=f1.get("fp32"),
            f1_int8=f1.get("int8"),
            same_labels=same,
            num_validation=len(validation),
            reason=reason,
        )

    def _write_sample(self, generated: Sequence[Receipt], read: Sequence[Floats]) -> None:
        """Keep the generated receipt whose labels are the surest: another processor must not change them."""
        margins = [float(np.diff(np.sort(found, axis=1)[:, -2:], axis=1).min()) for found in read[: len(generated)]]
        best = int(np.argmax(margins))
        names = (OUTSIDE, *self.saved.space.labels)
        sample = {
            "receipt": to_record(generated[best]),
            "labels": [names[label] for label in read[best].argmax(axis=1)],
        }
        text = json.dumps(sample, ensure_ascii=False, indent=1)
        (self.folder / SAMPLE_FILE).write_text(text + "\n", encoding="utf-8")


def _learned(earlier: PackageManifest | None, date_texts: Iterable[str], receipts: Iterable[Receipt]) -> dict[str, Any]:
    """How dates and amounts are written: as an earlier package says, or as those given are."""
    if earlier is not None:
        return {"date_orders": earlier.date_orders, "amount_marks": earlier.amount_marks}
    marks = amount_marks(islice(receipts, MAX_MARKED))
    return {"date_orders": dict(date_orders(date_texts)), "amount_marks": dict(marks)}


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
            _gold_labels(word),
        )
        for word in prediction.words
    )
    return Receipt(prediction.key, 1, tuple(words), name=prediction.name, source=prediction.source)


def _gold_labels(word: PredictedWord) -> tuple[WordLabel, ...]:
    if not word.scored:
        return (WordLabel(word.gold, "NEEDS_REVIEW"),)
    return () if word.gold == OUTSIDE else (WordLabel(word.gold),)


def gold_texts(words: Words, space: LabelSpace, label: str) -> Iterator[str]:
    """The texts of the gold fields of a label."""
    if label not in space.labels:
        return
    rows = np.repeat(np.arange(len(words)), np.diff(words.offsets))
    numbers = np.flatnonzero(words.gold == 1 + space.labels.index(label))
    for _, run in groupby(enumerate(numbers.tolist()), key=lambda at: (at[1] - at[0], rows[at[1]], words.lines[at[1]])):
        yield " ".join(words.texts[number] for _, number in run)


def gold_receipts(words: Words, space: LabelSpace) -> list[Receipt]:
    """The texts, lines and gold labels of a set as receipts; their boxes are not those of the pages."""
    labels = (OUTSIDE, *space.labels)
    found = []
    for row, (first, last) in enumerate(pairwise(words.offsets.tolist())):
        one = tuple(
            Word(words.texts[n], (0.0, 0.0, 1.0, 1.0), int(words.lines[n]), (WordLabel(labels[words.gold[n]]),))
            if words.gold[n] > 0
            else Word(words.texts[n], (0.0, 0.0, 1.0, 1.0), int(words.lines[n]))
            for n in range(first, last)
        )
        found.append(Receipt(str(row), 1, one))
    return found


def _first_words(receipts: Iterable[Receipt], room: int) -> Iterable[Receipt]:
    """The first receipts that together have at most so many words."""
    for receipt in receipts:
        room -= len(receipt.words)
        if room < 0:
            return
        yield receipt
