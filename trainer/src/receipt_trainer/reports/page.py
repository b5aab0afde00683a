"""The frame of all HTML files: one file each that needs nothing else, no script and no request."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from receipt_trainer.errors import UserError
from receipt_trainer.reports import formatting

if TYPE_CHECKING:
    from jinja2 import Environment

_FILTERS: Final = ("score", "percent", "number", "duration", "dollars", "one_line", "when")


def render_page(template: str, view: Mapping[str, Any]) -> str:
    """A page of `templates/`, which escape all values; UserError: jinja2 is not installed."""
    return page_environment().get_template(template).render(view)


def require_page_libraries() -> None:
    """Say so before hours of work if pages cannot be written; UserError: jinja2 is not installed."""
    page_environment()


class EmbeddedPhoto(NamedTuple):
    """An image for a page, as a data URI; width and height are those of the file, in pixels."""

    uri: str
    width: int
    height: int


def open_photo(path: Path, within: tuple[int, int]) -> EmbeddedPhoto | None:
    """The image, scaled down to fit in so many pixels; None if it cannot be read."""
    try:
        from receipt_trainer.pages.images import open_image

        image = open_image(path)
    except (ImportError, UserError):  # no Pillow, or no image
        return None
    width, height = image.size
    image.thumbnail(within)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=78)
    return EmbeddedPhoto(f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}", width, height)


@contextmanager
def report_extra() -> Iterator[None]:
    """Around imports of what the extra `[report]` brings; UserError: it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("receipt_trainer"):
            raise
        raise UserError(f"the HTML report needs {error.name}: pip install './trainer[report]'") from None


@cache
def page_environment() -> Environment:
    """The templates of pages; UserError: jinja2 is not installed."""
    with report_extra():
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup

    def printable(value: object) -> object:
        """Every text that enters the page passes here; what is markup already is ours."""
        return formatting.printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=PackageLoader("receipt_trainer.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({name: getattr(formatting, name) for name in _FILTERS})
    return environment
