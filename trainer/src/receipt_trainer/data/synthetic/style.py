"""How one synthetic receipt is printed: choices made once a receipt, and the forms of amounts, dates and times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Literal

from receipt_trainer.data.synthetic.locales import Locale
from receipt_trainer.data.synthetic.purchase import Item
from receipt_trainer.data.synthetic.text import pick

Template = Literal["quantity_first", "second_line", "columns", "name_amount", "code_line"]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH = datetime(2012, 1, 1)
_TIMES = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M%p", "%I:%M:%S %p", "%H:%M:%S", "%H.%M", "%Hh%M")


@dataclass(frozen=True, slots=True)
class Style:
    """Choices that hold for a whole receipt.

    Attributes:
        width: characters a line.
        upper: whether everything is in capitals.
        template: form of the items.
        header: where the header's lines stand.
        item_marks, total_marks: pattern around an amount of an item or a total, `{}` being the number.
        thousands: separator, maybe none.
        colon: what follows a key.
        quantity: form of a whole quantity.
        times: the sign between quantity and unit price.
        tax_code: letter behind a line total, maybe none; `glued` to it or not.
    """

    width: int
    upper: bool
    template: Template
    header: Literal["left", "centre"]
    item_marks: str
    total_marks: str
    thousands: str
    colon: str
    quantity: str
    times: str
    tax_code: str
    glued: bool


def draw_style(rng: Random, locale: Locale) -> Style:
    """The style of one receipt of this country."""
    templates: tuple[Template, ...] = ("quantity_first", "second_line", "columns", "name_amount", "code_line")
    template = rng.choice(templates)
    marks = _marks(locale)
    return Style(
        width=rng.randint(38 if template == "columns" else 30, 48),
        upper=rng.random() < 0.45,
        template=template,
        header="centre" if rng.random() < 0.6 else "left",
        item_marks=rng.choice(marks) if rng.random() < 0.25 else "{}",
        total_marks=rng.choice(marks) if rng.random() < 0.5 else "{}",
        thousands=pick(rng, locale.thousands),
        colon=rng.choice((":", ":", " :", "", ".")),
        quantity=rng.choice(("{}", "{}", "{}", "{}.00", "{}x", "x{}")),
        times=rng.choice(("x", "X", "@", "*", "x")),
        tax_code=rng.choice(("A", "T", "SR", "S", "B", "F")) if rng.random() < 0.2 else "",
        glued=rng.random() < 0.3,
    )


def _marks(locale: Locale) -> tuple[str, ...]:
    codes = locale.codes.split("|")
    before = [form for symbol in locale.symbols.split("|") if symbol for form in (f"{symbol}{{}}", f"{symbol} {{}}")]
    return (
        *before,
        *(f"{{}} {code}" for code in codes),
        f"{codes[0]}{{}}" if codes[0].isalpha() else f"{{}}{codes[0]}",
    )


def number(amount: int, locale: Locale, thousands: str) -> str:
    """An amount of minor units in the country's form, always with all decimals."""
    unit = 10**locale.decimals
    whole = f"{abs(amount) // unit:,}".replace(",", thousands)
    rest = f"{locale.point}{abs(amount) % unit:0{locale.decimals}d}" if locale.decimals else ""
    return f"{'-' if amount < 0 else ''}{whole}{rest}"


def quantity(item: Item, locale: Locale, form: str = "{}") -> str:
    """A quantity: with thousandths for what is weighed, else a whole number in this form."""
    if item.measure:
        return f"{item.quantity // 1000}{locale.point}{item.quantity % 1000:03d}"
    return form.format(item.quantity // 1000).replace(".", locale.point)


def draw_moment(rng: Random) -> datetime:
    """A moment in opening hours between 2012 and 2025."""
    return _EPOCH + timedelta(days=rng.randrange(14 * 365), seconds=rng.randrange(6 * 3600, 23 * 3600))


def date_form(moment: datetime, form: str) -> str:
    """A date in one of the locale's forms; month names are English, whatever the machine's own language."""
    parts = {
        "%d": f"{moment.day:02d}",
        "%e": str(moment.day),
        "%m": f"{moment.month:02d}",
        "%n": str(moment.month),
        "%y": f"{moment.year % 100:02d}",
        "%Y": str(moment.year),
        "%b": _MONTHS[moment.month - 1],
    }
    for key, value in parts.items():
        form = form.replace(key, value)
    return form


def draw_time(rng: Random, moment: datetime, language: str) -> str:
    """A time of day, of 24 hours or with AM and PM."""
    forms = [form for form in _TIMES if (form != "%Hh%M" or language == "fr") and (form != "%H.%M" or language == "id")]
    if language in ("de", "fr"):
        forms = [form for form in forms if "%p" not in form]
    hour = moment.hour % 12 or 12
    parts = {
        "%H": f"{moment.hour:02d}",
        "%I": str(hour),
        "%M": f"{moment.minute:02d}",
        "%S": f"{moment.second:02d}",
        "%p": "AM" if moment.hour < 12 else "PM",
    }
    form = rng.choice(forms)
    for key, value in parts.items():
        form = form.replace(key, value)
    return form
