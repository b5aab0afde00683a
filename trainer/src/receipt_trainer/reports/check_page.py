"""The page of `receipts check`: what was found, and receipts as their file has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from receipt_trainer.contract.names import CORE_LABELS, OUTSIDE
from receipt_trainer.data.labels import normalise
from receipt_trainer.data.problems import NOTED, Problem, ProblemKind
from receipt_trainer.data.sources.drafts import Draft
from receipt_trainer.errors import UserError
from receipt_trainer.files import FULL, disk_full, write_atomically
from receipt_trainer.reports import summary
from receipt_trainer.reports.checkup import NUM_DRAWN, Checkup, problems_by_place
from receipt_trainer.reports.draft_svg import draw_draft
from receipt_trainer.reports.formatting import words_of
from receipt_trainer.reports.page import open_photo, render_page
from receipt_trainer.reports.receipt_svg import label_colors

PHOTO_SIZE: Final = (820, 1600)
"""Pixels that a photo is scaled down to fit in."""

_MARK: Final = "<title>Receipts checked: "
_BEGINNING: Final = 2000


def write_check_page(path: Path, found: Checkup, drafts: Iterable[Draft]) -> int:
    """Write the page, and say how many receipts are on it; an earlier page is replaced, anything else is kept.

    Raises:
        UserError: something else is called so, or it cannot be written.
        WorldError: the disk is full.
    """
    shown = list(drafts)
    page = render_check(found, shown).encode("utf-8", "replace")
    try:
        if path.exists():
            with path.open("rb") as stream:
                if _MARK.encode() not in stream.read(_BEGINNING):
                    raise UserError(f"{path} is there and is no page of this command: give another name by --html")
        write_atomically(path, page)
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(path, len(page)) from error
        raise UserError(f"{path}: cannot write the page: {error.strerror or error}") from None
    return min(len(shown), NUM_DRAWN)


def render_check(found: Checkup, drafts: Iterable[Draft]) -> str:
    """The complete document, with the drafts in the order of `found.drawn`."""
    order = {name: n for n, name in enumerate(found.drawn)}
    shown = sorted(drafts, key=lambda draft: order.get(draft.name, len(order)))[:NUM_DRAWN]
    counts = Counter(normalise(word.label) for draft in shown for word in draft.words)
    labels = [label for label in (*CORE_LABELS, *sorted(counts)) if counts[label] and label != OUTSIDE]
    labels = list(dict.fromkeys(labels))
    colors = label_colors(labels)
    wrong = problems_by_place(found)
    view = {
        "found": found,
        "problems": summary.problem_rows({"problems": found.problems_shown()}),
        "legend": [(label, colors[label], counts[label]) for label in labels],
        "num_outside": counts[OUTSIDE],
        "renamed": any(row.learned_as != row.name for row in found.labels),
        "drawings": [_drawing(draft, found, colors, wrong.get(draft.name, {})) for draft in shown],
    }
    return render_page("check.html.j2", view)


def _drawing(draft: Draft, found: Checkup, colors: Mapping[str, str], wrong: Mapping[str, Problem]) -> dict[str, Any]:
    odd = {where: words_of(problem.kind) for where, problem in wrong.items() if problem.kind not in NOTED}
    counts = Counter(problem.kind for problem in wrong.values())
    is_odd = any(kind not in NOTED for kind in counts)
    said = [f"{count} \u00d7 {words_of(kind)}" if count > 1 else words_of(kind) for kind, count in counts.most_common()]
    whole = wrong.get("")
    if whole is not None and whole.kind is ProblemKind.BAD_RECORD:
        said.append(whole.detail.strip("'"))
    photo = open_photo(draft.image, PHOTO_SIZE) if draft.image else None
    picture = draw_draft(draft, colors, odd, photo)
    if photo and picture["photo_is_other"]:
        is_odd = True
        said.append(f"the photo is {photo.width} \u00d7 {photo.height}, another shape than the page")
    reason = found.drawn.get(draft.name, "")
    labelled = sum(normalise(word.label) != OUTSIDE for word in draft.words)
    return {
        "name": draft.name,
        "size": f"{draft.width:g} \u00d7 {draft.height:g}" if min(draft.width, draft.height) > 0 else "size not said",
        "num_words": len(draft.words),
        "num_labelled": labelled,
        "said": [*([reason] if reason else []), *said],
        "is_odd": is_odd,
        "photo": draft.image.name if draft.image else "",
        "picture": picture,
    }
