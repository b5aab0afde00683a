"""`receipt-trainer receipts`: the receipts table filled, exported, counted; receipts from photos, or synthetic."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.table import Table

from receipt_trainer.aws import clients
from receipt_trainer.cli.options import (
    FILE,
    options,
    progress_option,
    receipts_source_option,
    receipts_table_option,
)
from receipt_trainer.cli.render.tables import console, plain_table, progress_bar, show_problems
from receipt_trainer.cli.stack import stack_options
from receipt_trainer.contract.names import VALIDATION_STATUSES
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import UNKNOWN, Receipt
from receipt_trainer.data.sources.drafts import Draft, drafts_of, read_drafts
from receipt_trainer.data.sources.dynamodb.assemble import ReceiptKey
from receipt_trainer.data.sources.dynamodb.delete import Deletion, delete_receipt, receipts_of_image
from receipt_trainer.data.sources.dynamodb.read import read_all, read_labelled
from receipt_trainer.data.sources.dynamodb.write import import_receipts, labels_taken, mark_imported
from receipt_trainer.data.sources.export import SUFFIXES, labeling_config, lines
from receipt_trainer.data.sources.foreign import NAMES
from receipt_trainer.data.sources.load import add_receipts, format_of, load_receipts, read_files
from receipt_trainer.data.sources.record import to_record
from receipt_trainer.errors import UserError
from receipt_trainer.files import open_text, replacing, write_atomically
from receipt_trainer.pages.kinds import refuse_image
from receipt_trainer.reports.checkup import NUM_DRAWN, Checkup, all_problems, check_receipts

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


_format_options = options(
    click.option(
        "--format",
        "format_",
        type=click.Choice(NAMES),
        help="Format of the files; by default it is recognised by what stands in them (docs/formats.md).",
    ),
    click.option(
        "--label-names",
        metavar="NAMES",
        help="Names of labels that are given by number, in their order: O,B-DATE,... or a file with a name a line.",
    ),
)


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE|FOLDER...")
@_format_options
@stack_options
@receipts_table_option
@progress_option
@click.option(
    "--partial",
    is_flag=True,
    help="People have labelled some words only: the others are left out of training and scores, not taught as O.",
)
@click.option("--dry-run", is_flag=True, help="Read the files and the table, say what would be done, write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before stored labels go.")
def import_command(
    files: tuple[Path, ...],
    format_: str | None,
    label_names: str | None,
    table: str,
    progress: bool | None,
    partial: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Put the receipts of files and folders into the receipts table: JSON lines, or what other programs write.

    Labels of people come in as VALID, those of machines as PENDING with who proposed them. A receipt with labels of
    people counts as confirmed whole, so that a word without one is taught as none, unless --partial is given or the
    file says of the receipt who has confirmed it and whether.

    Receipts that are there already and have not changed are skipped, so an import that was stopped is completed by
    running it again. A receipt that has changed is replaced. Labels that a person set in the table are kept; where
    words would lose labels that an earlier import brought, the command says how many and asks.
    """

    problems = ProblemLog()
    for path in files:
        refuse_image(path)
    names = _label_names(label_names)
    receipts = [
        mark_imported(receipt, partial=partial)
        for path in files
        for receipt in read_files(path, problems, format=format_, label_names=names)
    ]
    show_problems(problems)
    problems = ProblemLog()
    if not dry_run and not yes and (taken := labels_taken(table, receipts)):
        _ask(f"{table}: {taken} words would lose their label; import all the same?")
    with progress_bar("import", progress) as callback:
        done = import_receipts(table, receipts, problems, dry_run=dry_run, progress=callback)
    show_problems(problems)
    if done.labels_taken:
        click.echo(f"{done.labels_taken} words {'would lose' if dry_run else 'lost'} their label", err=True)
    if done.labels_of_people_kept:
        click.echo(f"{done.labels_of_people_kept} labels set by people were kept as they are", err=True)
    verb = "would be " if dry_run else ""
    click.echo(
        f"{table}: {done.written} receipts {verb}written, {done.replaced} {verb}replaced, {done.unchanged} unchanged; "
        f"{done.items_put} items {verb}put, {done.items_deleted} {verb}deleted"
    )


def _ask(question: str) -> None:
    """Go on if a person says so.

    Raises:
        UserError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise UserError(f"{question} there is no terminal to ask on; give --yes")
    if not click.confirm(question, err=True):
        raise SystemExit(1)


def _label_names(given: str | None) -> list[str]:
    if not given:
        return []
    path = Path(given)
    text = path.read_text(encoding="utf-8-sig") if len(given) < 4096 and path.is_file() else given.replace(",", "\n")
    return [name.strip() for name in text.splitlines() if name.strip()]


@click.command("check")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE|FOLDER...]")
@_format_options
@stack_options
@receipts_source_option
@click.option("--html", "page", type=FILE, help="Page to write; by default NAME.check.html in the current folder.")
@click.option("--no-html", is_flag=True, help="Write no page.")
@progress_option
def check_command(
    files: tuple[Path, ...],
    format_: str | None,
    label_names: str | None,
    dynamo_table: str | None,
    page: Path | None,
    no_html: bool,
    progress: bool | None,
) -> None:
    """Tell what training on these receipts would meet, without training; draw ten of them on a page.

    Without FILE the receipts table is checked. The exit code is 0 where all is sound, 1 where something is left out or
    looks wrong, 2 where training would stop.
    """
    from receipt_trainer.cli.render.checkup import print_checkup

    if not files and not dynamo_table:
        raise UserError("what is to be checked? Give a file or a folder, or --dynamo-table NAME")
    names, problems = _label_names(label_names), all_problems()
    receipts: dict[str, Receipt] = {}
    formats: dict[str, str] = {}
    refused: dict[Path, str] = {}
    if not files:
        with progress_bar("read", progress) as callback:
            receipts = {each.key: each for each in read_all(dynamo_table or "", problems, progress=callback)}
    for path in files:
        try:
            formats[str(path)] = format_of(path, format_) or "no known format"
            found = read_files(path, problems, format=format_, label_names=names)
            add_receipts(receipts, found, str(path), problems)
        except UserError as error:
            refused[path] = str(error)
    name = ", ".join(map(str, files)) or str(dynamo_table)
    checkup = check_receipts(name, list(receipts.values()), problems, formats=formats, refused=list(refused.values()))
    print_checkup(checkup)
    if not no_html:
        drafts = list(_drafts(files, checkup.drawn, refused, format_, names)) if files else []
        drafts = drafts or list(drafts_of(receipts.values(), checkup.drawn))
        page = page or Path(f"{Path(files[0] if files else str(dynamo_table)).resolve().name}.check.html")
        _write_page(page, checkup, drafts)
    if checkup.exit_code:
        raise SystemExit(checkup.exit_code)


def _write_page(page: Path, checkup: Checkup, drafts: list[Draft]) -> None:
    """The page, if there is something to draw and something to draw with; either is said."""
    from receipt_trainer.reports.check_page import write_check_page
    from receipt_trainer.reports.page import require_page_libraries

    if not drafts:
        click.echo("no page is written: there is no receipt to draw", err=True)
        return
    try:
        require_page_libraries()
    except UserError as error:
        click.echo(f"no page is written: {error}", err=True)
    else:
        click.echo(f"{write_check_page(page, checkup, drafts)} receipts drawn in {page}")


def _drafts(
    files: Iterable[Path], wanted: Collection[str], refused: Collection[Path], format_: str | None, names: list[str]
) -> Iterator[Draft]:
    """The receipts wanted; of a file that is refused without a name of any the first ones."""
    left = set(wanted)
    for path in files:
        try:
            found = list(read_drafts(path, left, format=format_, label_names=names))
            if not found and path in refused:
                found = list(islice(read_drafts(path, None, format=format_, label_names=names), NUM_DRAWN))
        except UserError:
            continue  # it has been told
        left -= {draft.name for draft in found}
        yield from found


@click.command("export")
@stack_options
@receipts_table_option
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="File to write, .jsonl or .jsonl.gz (Label Studio: .json); it appears when it is complete. '-' is stdout.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(SUFFIXES)),
    default="jsonl",
    show_default=True,
    help="jsonl: lines that every command reads. label-studio: tasks, with the project's configuration beside them. "
    "hf: words, bboxes (0..1000) and ner_tags a line, for `datasets`. Each can be imported again.",
)
@click.option(
    "--image-url",
    default="{id}",
    show_default=True,
    help="Where Label Studio finds the image of a receipt; {id} is its name.",
)
@click.option("--all", "every", is_flag=True, help="All receipts, not only those with a VALID label (reads the table).")
@progress_option
def export_command(table: str, output: Path, format_: str, image_url: str, every: bool, progress: bool | None) -> None:
    """Write the receipts of the receipts table in the order of their keys.

    Only labelled receipts, found through the table's index, unless --all is given.
    """

    to_stdout = str(output) == "-"
    if not to_stdout and not output.name.endswith(SUFFIXES[format_]):
        raise UserError(f"{output}: the file to write must be called *{' or *'.join(SUFFIXES[format_])}")
    problems, seen = ProblemLog(), _ExportCount()
    with progress_bar("export", progress) as callback:
        receipts = (read_all if every else read_labelled)(table, problems, progress=callback)
        written = lines(seen.counted(receipts), format_, image_url)
        if to_stdout:
            for line in written:
                click.echo(line.encode(), nl=False)
        else:
            with replacing(output) as stream:
                stream.writelines(written)
    show_problems(problems)
    click.echo(f"{seen.receipts} receipts of {table} written to {'stdout' if to_stdout else output}", err=True)
    if format_ != "jsonl" and seen.unknown:
        said = f"{seen.unknown} words whose label nobody knows are written as none: {format_} cannot say it"
        click.echo(f"{said}; import it with --partial", err=True)
    if format_ == "label-studio" and not to_stdout:
        beside = output.with_name(output.name.partition(".json")[0] + ".config.xml")
        write_atomically(beside, labeling_config(seen.labels).encode())
        click.echo(f"configuration of the Label Studio project: {beside}", err=True)


@dataclass(slots=True)
class _ExportCount:
    """What has gone by: how many receipts, the names of their labels, and words of which nobody knows what they are."""

    receipts: int = 0
    labels: set[str] = field(default_factory=set)
    unknown: int = 0

    def counted(self, receipts: Iterable[Receipt]) -> Iterator[Receipt]:
        for receipt in receipts:
            self.receipts += 1
            self.labels.update(label.name for word in receipt.words for label in word.labels)
            self.unknown += receipt.taught_labels().count(UNKNOWN) if receipt.is_labelled() else 0
            yield receipt


@click.command("stats")
@stack_options
@receipts_table_option
@progress_option
def stats_command(table: str, progress: bool | None) -> None:
    """Count receipts, words and labels of the receipts table by source, split, name and status; list what is broken.

    Reads the entire table.
    """

    problems = ProblemLog()
    with progress_bar("read", progress) as callback:
        receipts = list(read_all(table, problems, progress=callback))
    out = console()
    out.print(_receipts_table(receipts))
    out.print()
    out.print(_labels_table(receipts))
    show_problems(problems)


_MARKS: Final = ("confirmed", "in part", "unmarked")
"""Receipts that a person has confirmed whole, has not, and those of older versions, which count as confirmed."""


def _receipts_table(receipts: Iterable[Receipt]) -> Table:
    counts: dict[tuple[str, str], Counter[str]] = {}
    for receipt in receipts:
        words = {"words": len(receipt.words), "labelled": sum(bool(word.labels) for word in receipt.words)}
        row = counts.setdefault((receipt.source, receipt.split), Counter())
        review = receipt.review
        row.update({"receipts": 1, "with VALID": int(receipt.is_labelled()), **words})
        row["unmarked" if review is None else "confirmed" if review.confirmed else "in part"] += 1
        row["left out"] += receipt.taught_labels().count(UNKNOWN) if receipt.is_labelled() else 0
    total = sum(counts.values(), Counter[str]())
    marked = [column for column in _MARKS if total[column]]
    columns = ("receipts", "with VALID", *marked, "words", "labelled", *(["left out"] if total["left out"] else ()))
    shown = plain_table("source", "split", *columns, title="Receipts, and their words", left=(1,))
    for (source, split), row in [*sorted(counts.items()), (("all", " "), total)]:
        shown.add_row(source or "-", split or "-", *(f"{row[column]:,}" for column in columns))
    return shown


def _labels_table(receipts: Iterable[Receipt]) -> Table:
    counts = Counter(
        (label.name, label.status) for receipt in receipts for word in receipt.words for label in word.labels
    )
    shown = plain_table("label", *VALIDATION_STATUSES, title="Labelled words by status")
    for name in sorted({name for name, _ in counts}):
        shown.add_row(name, *(f"{counts[name, status]:,}" for status in VALIDATION_STATUSES))
    return shown


@click.command("delete")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@stack_options
@receipts_table_option
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete_command(keys: tuple[str, ...], table: str, dry_run: bool, yes: bool) -> None:
    """Delete receipts from the receipts table: words, labels, marks, and the photo with all of its versions.

    KEY is a receipt's key, such as 6f1c...#00001, or the id of an image, which means all receipts on it. What cannot
    be deleted, such as a photo that another program has stored, is named.
    """
    client, s3 = clients.dynamodb(), clients.s3()
    wanted = [key for given in dict.fromkeys(keys) for key in _places(client, table, given)]

    def delete(dry: bool) -> Deletion:
        total = Deletion()
        for place, key in enumerate(wanted):
            total.add(delete_receipt(client, s3, table, key, gone=wanted[:place], dry_run=dry))
        return total

    found = delete(True)
    counted = f"{found.receipts} receipts ({found.items} items, {found.photo_versions} versions of photos)"
    if dry_run:
        click.echo(f"{table}: {counted} would be deleted")
    else:
        if not yes:
            _ask(f"{table}: delete {counted}?")
        found = delete(False)
        click.echo(
            f"{table}: {found.receipts} receipts deleted "
            f"({found.items} items, {found.photo_versions} versions of photos)"
        )
    for place in dict.fromkeys(found.remains):
        click.echo(f"not deleted: {place}", err=True)


def _places(client: DynamoDBClient, table: str, given: str) -> list[ReceiptKey]:
    """The receipts that a key, or the id of an image, means.

    Raises:
        UserError: there is none.
    """
    image_id, _, number = given.rpartition("#")
    found = receipts_of_image(client, table, image_id or given)
    if image_id:
        found = [key for key in found if number.isdecimal() and key == ReceiptKey(key.pk, f"RECEIPT#{number}")]
    if not found:
        raise UserError(f"{given}: {table} has no such receipt; a key is <image id>#<number of five digits>")
    return found


@click.command("generate")
@click.option("--count", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="Number of receipts.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same receipts anywhere.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File to write, JSON lines; gzipped if it is called *.gz.",
)
@click.option(
    "--varied", is_flag=True, help="More countries, tilted photos, phrases as one word: to learn before other receipts."
)
def generate_command(count: int, seed: int, output: Path, varied: bool) -> None:
    """Write synthetic receipts with exact labels, for trying things out without data of your own."""
    from receipt_trainer.data.synthetic import generate

    beside = output.with_name(f".{os.getpid()}.{output.name}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open_text(beside, "w") as stream:
                for receipt in generate(count, seed, varied=varied):
                    stream.write(json.dumps(to_record(receipt), ensure_ascii=False, separators=(",", ":")) + "\n")
            beside.replace(output)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot write receipts: {error.strerror or error}") from None
    click.echo(f"{count} receipts in {output}")


@click.command("ocr")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write, *.jsonl; it grows page by page, and started again the command goes on where it stopped.",
)
@click.option(
    "--gold",
    help="Receipts with labels, as for --dataset: an image takes those of the receipt that is called as it is.",
)
@progress_option
def ocr_command(images: tuple[Path, ...], output: Path, gold: str | None, progress: bool | None) -> None:
    """Write the words that the reader itself reads in images, PDFs and folders of them, as JSON lines.

    A model that trains on them knows the words, boxes and mistakes that it will be given. With --gold they take the
    labels of the words that stand at the same places; without, they have none.
    """
    from receipt_trainer.inference.ocr_receipts import find_images, write_ocr_receipts  # an extra, which help needs not

    if not output.name.endswith(".jsonl"):
        raise UserError(f"{output}: the file to write must be called *.jsonl")
    problems = ProblemLog()
    known = {receipt.name: receipt for receipt in load_receipts(gold, problems)} if gold else {}
    with progress_bar("read", progress) as callback:
        done = write_ocr_receipts(find_images(images), output, known, problems, progress=callback)
    show_problems(problems)
    for reason in done.refused.values():
        click.echo(f"refused: {reason}", err=True)
    click.echo(f"{output}: {done.read} pages read, {done.words} words; {done.unchanged} unchanged")
    if done.with_gold:
        click.echo(f"{done.with_gold} pages have gold; {done.gold_met} of its {done.gold} words were found again")
    elif gold and done.read:
        click.echo("no image is called as a gold receipt is, so no word has a label", err=True)
    if done.refused:
        raise SystemExit(1)
