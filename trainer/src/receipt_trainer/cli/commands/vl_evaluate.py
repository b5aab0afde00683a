"""`receipt-trainer vl predict`, `evaluate` and `compare`: models answer documents, and are scored on a test set.

What needs the extra `[vl]` is imported by the functions, so that the help texts need none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from receipt_trainer.cli.options import (
    FROM_1,
    LONGEST_ANSWER,
    PATH,
    device_option,
    options,
    progress_option,
    server_options,
)
from receipt_trainer.cli.render.tables import plain_table, print_fitted, progress_bar
from receipt_trainer.data.document import DOCUMENT_SCHEMA, ROWS_SCHEMA, subset_schema
from receipt_trainer.data.document_set import (
    ALL_FIELDS,
    TrainedAs,
    VlExample,
    asked_for,
    read_examples,
    read_test_set,
    to_line,
    trained_as,
    with_prompt,
)
from receipt_trainer.errors import UserError
from receipt_trainer.evaluation.answers import Prediction, read_predictions, write_predictions
from receipt_trainer.evaluation.ratio import Share
from receipt_trainer.files import write_atomically
from receipt_trainer.reports import formatting
from receipt_trainer.reports.page import require_page_libraries
from receipt_trainer.training.console import quiet_libraries

if TYPE_CHECKING:
    from receipt_trainer.evaluation.compare import Comparison
    from receipt_trainer.evaluation.documents import Evaluation

_SHORT: Final = {"no difference shown": "not shown", "cannot be said": "unknown"}
"""Verdicts as the table has them, where they are too long for it."""
asking_options = options(
    click.option("--test-dir", type=PATH, help="Folder of a data set, or its JSON lines file."),
    click.option("--batch-size", type=FROM_1, default=1, help="Documents at once."),
    click.option("--max-new-tokens", type=FROM_1, default=1024, help=LONGEST_ANSWER),
    click.option("--limit", type=FROM_1, help="Only the first documents of the test set."),
    device_option,
    progress_option,
)
"""How a model is asked, and which documents."""


def _ask(
    model: str, adapter: Path | None, examples: Sequence[VlExample], how: Mapping[str, Any], predictions: Path
) -> None:
    """Let a model answer, and write its predictions when all are there; an interrupted evaluation resumes."""
    from receipt_trainer.models.paddleocr_vl.generate import Unfinished, by_answer, files_of, predict
    from receipt_trainer.models.paddleocr_vl.model import load

    quiet_libraries()
    loaded = load(model, adapter=adapter, device=how["device"])
    examples = with_prompt(examples, loaded.prompt)
    max_new_tokens = how["max_new_tokens"]
    asked = {"model": model, "adapter": str(adapter), "max_new_tokens": max_new_tokens, "prompt": loaded.prompt}
    asked |= {"device": str(loaded.device), "files": files_of(loaded.name, loaded.adapter)}
    unfinished = Unfinished(predictions, asked)
    known = unfinished.answered(examples)
    if known:
        click.echo(f"{len(known)} of {len(examples)} documents were answered before", err=True)
    rest = by_answer(example for example in examples if example.id not in known)
    coming = predict(loaded, rest, max_new_tokens=max_new_tokens, batch_size=how["batch_size"])
    found: dict[str, Prediction] = {}
    with progress_bar("reading documents", how["progress"]) as told:
        for prediction in unfinished.keep(known.values(), coming):
            found[prediction.id] = prediction
            if told is not None:
                told(len(found), len(examples))
    write_predictions(predictions, [found[example.id] for example in examples])
    unfinished.remove()


@click.command(name="rehearse", short_help="Pages of the base's own task, to mix in.")
@click.option("--data", type=PATH, required=True, help="Folder with train.jsonl, or the file: where pages are taken.")
@click.option("--model-path", required=True, help="The base: a folder or a name on the hub.")
@click.option("--pages", type=FROM_1, default=200, show_default=True, help="Pages at most.")
@click.option("--batch-size", type=FROM_1, default=4, show_default=True, help="Pages at once.")
@click.option("--max-new-tokens", type=FROM_1, default=1024, show_default=True, help="Longest text in tokens.")
@device_option
@progress_option
def rehearse_command(data: Path, model_path: str, pages: int, **how: Any) -> None:
    """Ask a base model for the texts of pages (`OCR:`), and store its answers as training lines beside the data set.

    The file, rehearsal.jsonl, is for data_config.rehearsal_path. Empty texts, and those that reach the longest, are
    left out.
    """
    from receipt_trainer.models.paddleocr_vl.dataset import by_hash
    from receipt_trainer.models.paddleocr_vl.processor import load_processor
    from receipt_trainer.models.paddleocr_vl.rehearsal import REHEARSAL_FILE, to_ask

    file = data / "train.jsonl" if data.is_dir() else data
    asked = {one.id: one for one in map(to_ask, by_hash(read_examples(file))[:pages])}
    predictions = file.with_name("rehearsal.predictions.jsonl")
    _ask(model_path, None, list(asked.values()), how, predictions)
    tokenizer, lines = load_processor(model_path).tokenizer, []
    for one in read_predictions(predictions):
        if one.text.strip() and len(tokenizer(one.text)["input_ids"]) < how["max_new_tokens"]:
            lines.append(to_line(replace(asked[one.id], output=one.text), file.parent))
    predictions.unlink()
    if not lines:
        raise UserError(f"{model_path}: it gave no text for any of {len(asked)} pages; is it the base?")
    write_atomically(file.with_name(REHEARSAL_FILE), "".join(lines).encode())
    click.echo(f"{file.with_name(REHEARSAL_FILE)}: {len(lines)} pages; {len(asked) - len(lines)} without a whole text")


def _score(predictions: Path, progress: bool | None) -> Evaluation:
    from receipt_trainer.evaluation.documents import evaluate

    listed = read_predictions(predictions)
    with progress_bar("scoring", progress) as told:
        return evaluate(listed, told)


@click.command(name="evaluate", short_help="Score a model on a test set.")
@click.option("--model-path", help="Model: a folder (complete model, adapter or run) or a name on the hub.")
@click.option("--adapter", type=PATH, help="Adapter to put on the model.")
@click.option("--output", "-o", type=PATH, required=True, help="File of the scores, R.json.")
@click.option("--predictions", type=PATH, help="Score this file of predictions again instead of running a model.")
@asking_options
def evaluate_command(
    model_path: str | None, adapter: Path | None, output: Path, predictions: Path | None, **how: Any
) -> None:
    """Let a model answer every document of a test set and score its answers.

    Beside the scores (R.json, written last) come R.predictions.jsonl, from which the scores can be made again, and
    R.html with the worst documents.
    """
    from receipt_trainer.reports.evaluation_pages import write_evaluation

    test_dir, limit, answers = how["test_dir"], how["limit"], output.with_suffix(".predictions.jsonl")
    if output.suffix != ".json" or output.is_dir():
        raise UserError(f"--output {output}: name a file that ends in .json")
    require_page_libraries()
    if predictions is not None:
        if model_path or test_dir or adapter or limit:
            flags = "--model-path, --adapter, --test-dir, --limit"
            raise UserError(f"--predictions holds the answers already: leave {flags} out")
        about = {"predictions": str(predictions)}
    elif model_path is None or test_dir is None:
        raise UserError("give --model-path and --test-dir, or --predictions")
    else:
        examples = read_test_set(test_dir, limit)
        output.unlink(missing_ok=True)  # scores of an earlier evaluation
        _ask(model_path, adapter, examples, how, answers)
        about = {"model": model_path, "test set": str(test_dir), "longest answer": f"{how['max_new_tokens']} tokens"}
        about |= {name: str(value) for name, value in (("adapter", adapter), ("limit", limit)) if value}
    source = predictions or answers
    evaluation = _score(source, how["progress"])
    output.unlink(missing_ok=True)
    write_evaluation(evaluation, output, about, source.parent)
    _show_evaluation(evaluation)
    click.echo(f"scores: {output}\nreport: {output.with_suffix('.html')}")


def _show_evaluation(evaluation: Evaluation) -> None:
    """The scores in the terminal, then those of each field."""
    from receipt_trainer.evaluation.documents import HEADLINES
    from receipt_trainer.reports.evaluation_pages import field_table

    console, scores = Console(), evaluation.scores
    table = plain_table("score", "share", "counted from")
    for name, label in HEADLINES.items():
        table.add_row(label, *_cells(scores.get(name, Share())))
    console.print(table)
    fields = plain_table("field", "accuracy", "counted from", "where present", "counted from")
    for region, whole, present, rows in field_table(scores):
        fields.add_row(region, *_cells(whole), *_cells(present), style="bold")
        for name, share, there in rows:
            fields.add_row(f"  {name}", *_cells(share), *_cells(there))
    console.print()
    console.print(fields)


def _cells(share: Share) -> tuple[str, str]:
    return formatting.score(share.value), f"{formatting.number(share.hits)} of {formatting.number(share.total)}"


@click.command(name="compare", short_help="Two models on one test set, with intervals.")
@click.option("--baseline-model", help="Model to compare with: a folder (model, adapter, run) or a name on the hub.")
@click.option("--finetuned-model", help="Model to judge: the same.")
@click.option("--baseline-predictions", type=PATH, help="Its answers, instead of the model.")
@click.option("--finetuned-predictions", type=PATH, help="Its answers, instead of the model.")
@click.option("--output-dir", type=PATH, required=True, help="Folder of the report.")
@click.option("--seed", type=int, default=0, help="Seed of the bootstrap.")
@click.option("--resamples", type=click.IntRange(100), default=10_000, help="Bootstrap draws.")
@asking_options
def compare_command(output_dir: Path, seed: int, resamples: int, **how: Any) -> None:
    """Compare two models document by document.

    Differences come with 95 % confidence intervals (paired bootstrap over the documents, BCa); better or worse is said
    where a paired permutation test agrees. Writes comparison.html and, last, comparison.json.
    """
    from receipt_trainer.evaluation.compare import compare
    from receipt_trainer.reports.evaluation_pages import render_comparison

    require_page_libraries()
    sources = _answers(output_dir, how)
    baseline, finetuned = (_score(source, how["progress"]) for source in sources.values())
    comparison = compare(baseline, finetuned, seed=seed, num_resamples=resamples)
    about = {side: str(how[f"{side}_model"] or how[f"{side}_predictions"]) for side in sources}
    page = render_comparison(comparison, about, (sources["baseline"].parent, sources["finetuned"].parent))
    record = {"status": "complete", "about": about} | comparison.as_dict()
    marker = output_dir / "comparison.json"
    marker.unlink(missing_ok=True)
    write_atomically(output_dir / "comparison.html", page.encode("utf-8", "replace"))
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(marker, text.encode("utf-8", "replace"))
    _show_comparison(comparison)
    click.echo(f"report: {output_dir / 'comparison.html'}")


def _answers(output_dir: Path, how: Mapping[str, Any]) -> dict[str, Path]:
    """The predictions of both sides, made where they are not given."""
    sides = ("baseline", "finetuned")
    for side in sides:
        if (how[f"{side}_model"] is None) == (how[f"{side}_predictions"] is None):
            raise UserError(f"give --{side}-model or --{side}-predictions, one of them")
    asked = {side: how[f"{side}_model"] for side in sides if how[f"{side}_model"] is not None}
    if asked and how["test_dir"] is None:
        raise UserError("a model needs documents to read: give --test-dir")
    examples = read_test_set(how["test_dir"], how["limit"]) if asked else []
    found = {side: how[f"{side}_predictions"] or output_dir / f"{side}.predictions.jsonl" for side in sides}
    for side, model in asked.items():
        click.echo(f"{side}: {model}", err=True)
        _ask(model, None, examples, how, found[side])
    return found


def _show_comparison(comparison: Comparison) -> None:
    from receipt_trainer.evaluation.documents import HEADLINES

    heads = ("score", "baseline", "tuned", "change", f"{100 * comparison.level:.0f}\u00a0% interval", "verdict")
    rows = []
    for row in comparison.headlines:
        interval = row.interval
        difference = f"{interval.difference:+.3f}" if interval else formatting.NOTHING
        ends = formatting.NOTHING
        if interval is not None and interval.low is not None and interval.high is not None:
            ends = f"{interval.low:+.3f} to {interval.high:+.3f}"
        values = (formatting.score(row.baseline.value), formatting.score(row.finetuned.value))
        verdict = row.verdict.partition(":")[0]
        rows.append((HEADLINES[row.name], *values, difference, ends, _SHORT.get(verdict, verdict)))
    print_fitted(heads, rows)
    reasons = dict.fromkeys(row.verdict for row in comparison.headlines if ":" in row.verdict)
    for verdict, _, reason in (text.partition(": ") for text in reasons):
        click.echo(f"{_SHORT.get(verdict, verdict)}: {reason}")


@click.command(name="predict", short_help="Images and PDFs in, checked JSON out.")
@click.argument("inputs", nargs=-1, required=True, type=PATH, metavar="FILE|FOLDER...")
@click.option("--model-path", help="Model: a folder (complete model, adapter or run) or a name on the hub.")
@click.option("--adapter", type=PATH, help="Adapter to put on the model.")
@server_options
@click.option("--output", "-o", type=PATH, required=True, help="JSON lines; pages that are in it are not read again.")
@click.option("--fields", metavar="NAMES", help="Ask for these fields only: date,grand_total.")
@click.option("--batch-size", type=FROM_1, default=4, show_default=True, help="Pages at once.")
@device_option
@progress_option
def predict_command(
    inputs: tuple[Path, ...], output: Path, batch_size: int, progress: bool | None, fields: str | None, **how: Any
) -> None:
    """Let a model read images, many-page TIFFs and PDFs: one JSON line a page, with what does not add up.

    `problems` says where an answer breaks the schema or its sums, `review` that a person should look at it. The
    same command resumes what was stopped. Exit code 1: a page was refused, with a line each on stderr.
    """
    from receipt_trainer.inference.answers_file import open_answers
    from receipt_trainer.inference.document_answers import answer_documents, version_of
    from receipt_trainer.inference.inputs import IMAGES, files_below

    files = [file for path in inputs for file in files_below(path, IMAGES, output)]
    wanted = _fields(fields)
    ask, asked = _server(how, wanted) if how["server"] else _local(how, wanted)
    schema = subset_schema(DOCUMENT_SCHEMA, wanted) if wanted else DOCUMENT_SCHEMA
    version = version_of(asked)
    model = {"name": how["served_model"] or how["model_path"] or asked["model"], "version": version}
    refused, opened = 0, 0
    try:
        with open_answers(output, version, "") as kept, progress_bar("reading documents", progress) as told:

            def done() -> None:
                nonlocal opened
                opened += 1
                if told is not None:
                    told(opened, len(files))

            for line in answer_documents(
                files, ask, model=model, batch_size=batch_size, kept=kept, done=done, schema=schema
            ):
                kept.write(line)
                if "error" in line:
                    refused += 1
                    click.echo(f"{line['source']['file']}: not read: {line['error']}", err=True)
    except KeyboardInterrupt:
        click.echo("stopped; the same command resumes", err=True)
        raise click.exceptions.Exit(130) from None
    click.echo(f"answers: {output}")
    if refused:
        raise click.exceptions.Exit(1)


def _fields(given: str | None) -> list[str]:
    """Names of fields, in the schema's order; none where all are asked for."""
    names = [name.strip() for name in (given or "").split(",") if name.strip()]
    known = DOCUMENT_SCHEMA["properties"]
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"--fields: no field is called {unknown[0]!r}; there are {', '.join(known)}")
    return [name for name in known if name in names]


def _prompt(prompt: str, fields: Sequence[str]) -> str:
    """What is asked for these fields, or for all."""
    if fields and not prompt.endswith(ALL_FIELDS):
        raise UserError("--fields: the model's prompt does not end in {}, so it knows no names of fields in it")
    return asked_for(prompt, fields) if fields else prompt


def _server(how: Mapping[str, Any], fields: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """What asks a server, and all that its answers depend on."""
    from receipt_trainer.inference.document_server import DocumentServer

    if how["adapter"]:
        raise UserError("--server answers with the model that it serves: leave --adapter out")
    trained = trained_as(Path(how["model_path"])) if how["model_path"] else TrainedAs()
    prompt = _prompt(how["prompt"] or trained.prompt, fields)
    server = DocumentServer.connect(how["server"], how["served_model"], prompt, how["max_new_tokens"])
    schema = ROWS_SCHEMA if trained.compact_items else DOCUMENT_SCHEMA
    server = replace(server, schema=subset_schema(schema, fields) if fields else schema)
    asked = {name: how[name] for name in ("server", "max_new_tokens")}
    return server.ask, asked | {"model": server.model, "prompt": prompt}


def _local(how: Mapping[str, Any], fields: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """What asks a model of this machine, and all that its answers depend on."""
    from receipt_trainer.models.paddleocr_vl.generate import answer_images, files_of
    from receipt_trainer.models.paddleocr_vl.model import load

    if how["model_path"] is None or how["served_model"]:
        raise UserError("give --model-path, or --server (with --served-model where it serves several)")
    quiet_libraries()
    loaded = load(how["model_path"], adapter=how["adapter"], device=how["device"])
    loaded = replace(loaded, prompt=_prompt(how["prompt"] or loaded.prompt, fields))
    asked = {"model": how["model_path"], "adapter": str(how["adapter"]), "max_new_tokens": how["max_new_tokens"]}
    asked |= {"prompt": loaded.prompt, "files": files_of(loaded.name, loaded.adapter)}
    return partial(answer_images, loaded, max_new_tokens=how["max_new_tokens"]), asked
