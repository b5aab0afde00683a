"""Receipts: narrow paper, as long as it must be, printed by a till or by a restaurant."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from random import Random

from babel.dates import format_time

from receipt_trainer.data.synthetic.locales import coined, currencies, fake, fill, person, pick
from receipt_trainer.data.synthetic.page import INK, Align, Cell, Face, Family, Page, Part, cell
from receipt_trainer.data.synthetic.purchase import Item
from receipt_trainer.data.synthetic.wording import LabelledRow, Wording

_FORMS = {
    (True, True): ("columns", "code_line", "second_line", "beside", "quantity_first"),
    (True, False): ("quantity_first",),
    (False, False): ("beside",),
}
"""Forms of the lines, by whether quantities and prices are drawn."""


def till(rng: Random, wording: Wording, family: Family) -> Page:
    """A till's printer: one typewriter face, rules of dashes."""
    return _Slip(rng, wording, family, rng.choice((15, 16, 17, 18)), dashes=True).drawn()


def bistro(rng: Random, wording: Wording, family: Family) -> Page:
    """A restaurant's slip: proportional type, thin rules."""
    return _Slip(rng, wording, family, rng.choice((17, 18, 20)), dashes=False).drawn()


class _Slip:
    """One receipt, from top to bottom. Every choice is drawn from `rng` in that order."""

    def __init__(self, rng: Random, wording: Wording, family: Family, size: int, *, dashes: bool) -> None:
        self.rng, self.wording, self.dashes = rng, wording, dashes
        self.document, self.say = wording.document, wording.say
        items = self.document.items
        shown = any(item.quantity is not None for item in items), any(item.unit_price is not None for item in items)
        self.form = rng.choice(_FORMS[shown])
        self.face = Face(family, size, leading=rng.uniform(0.95, 1.35), capitals=self.document.capitals)
        columns = rng.randint(40 if self.form == "columns" else 31, 50)
        self.left = rng.randint(14, 60 if rng.random() < 0.3 else 30)
        self.right = self.left + round(columns * self.face.width("0" * 50) / 50)
        self.page = Page(self.right + rng.randint(14, 60 if rng.random() < 0.3 else 30))
        self.y = rng.randint(12, 56)
        self.colon = rng.choice((":", ":", " :", "", "."))
        self.times = rng.choice(("x", "X", "@", "*", "x"))
        self.count = rng.choice(("{}", "{}", "{}", "{}.00", "{}x", "x{}"))
        self.tax_code = rng.choice(("A", "T", "SR", "S", "B", "F")) if rng.random() < 0.2 else ""
        self.glued = rng.random() < 0.3

    def drawn(self) -> Page:
        """The page, its height set."""
        moment_on_top = self._chance(0.65)
        self._head()
        if moment_on_top:
            self._facts()
        self._items()
        self._totals()
        self._payment()
        if not moment_on_top:
            self._facts()
        self._foot()
        self.page.height = self.y + self.rng.randint(12, 60)
        return self.page

    def _chance(self, share: float) -> bool:
        return self.rng.random() < share

    def _line(self, *cells: Cell, face: Face | None = None) -> None:
        self.y = self.page.put_line(cells, self.y, face or self.face, self.left, self.right)

    def _text(self, text: str, label: str = "", align: Align = "l", face: Face | None = None) -> None:
        self._line(cell(text, label, align), face=face)

    def _gap(self, lines: float) -> None:
        self.y += int(lines * self.face.line_height)

    def _key(self, key: str) -> str:
        return self._named(self.say[key])

    def _named(self, name: str) -> str:
        return name if name.endswith((".", "@")) else name + self.colon

    def _code(self, pool: str) -> str:
        return fill(self.rng, pick(self.rng, pool))

    def _head(self) -> None:
        """The shop, and what the paper is."""
        rng, vendor = self.rng, self.document.vendor
        align: Align = "c" if self._chance(0.6) else "l"
        locale, size = self.wording.locale, self.face.size
        if self._chance(0.12):
            self._text(fake(rng, locale, "{{name}}") if self._chance(0.5) else self._code("#####-?"), "", align)
        large = self.face.of(int(size * rng.choice((1.0, 1.0, 1.3, 1.7, 2.0))), bold=self._chance(0.5))
        self._text(vendor.name, "MERCHANT_NAME", align, large)
        if vendor.tax_id:
            text = f"({vendor.tax_id})" if self._chance(0.3) else f"{self._named(vendor.tax_id_name)} {vendor.tax_id}"
            self._text(text, "", align)
        joined = (", ".join(vendor.address),) if vendor.address and self._chance(0.3) else vendor.address
        for line in joined:
            self._text(line, "ADDRESS_LINE", align)
        if vendor.phone:
            key = ((self._key("phone"), ""),) if self._chance(0.75) else ()
            fax = ("Fax: " + fake(rng, locale, locale.phones), "")
            more = (fax,) if key and self._chance(0.12) else ()
            phone = Cell((*key, (vendor.phone, "PHONE_NUMBER"), *more), align, 0.5 if align == "c" else 0.0)
            self._line(phone)
        if self._chance(0.6):
            self._gap(rng.choice((0.0, 0.5, 1.0)))
            self._text(self.say["receipt"], "", rng.choice(("l", "c")), self.face.of(size, bold=self._chance(0.5)))

    def _facts(self) -> None:
        """Date and time, number and cashier, in some order, with their names or without."""
        rng, document = self.rng, self.document
        date: tuple[Part, ...] = ((self.wording.date, "DATE"),) if document.day_shown else ()
        clock: tuple[Part, ...] = ((self._time(), "TIME"),) if self._chance(0.85) else ()
        if self._chance(0.6):
            date = ((self._key("date"), ""), *date) if date else ()
            clock = ((self._key("time"), ""), *clock) if clock and self._chance(0.6) else clock
        number = ((self._key("number"), ""), (document.number, "")) if document.number else ()
        cashier = ((self._key("cashier"), ""), (person(rng, self.wording.locale), ""))
        rows: tuple[tuple[tuple[Part, ...], ...], ...] = rng.choice(
            (
                ((date, clock), (number, cashier)),
                ((number,), ((*date, *clock),), (cashier,)),
                ((date,), (clock,), (number,)),
                ((number, date), (cashier, clock)),
            )
        )
        for row in rows:
            self._line(*(Cell(parts, "l" if place == 0 else "r", float(place)) for place, parts in enumerate(row)))
        if document.shop == "restaurant" and self._chance(0.4) and self.wording.locale.language.code in ("en", "id"):
            self._line(cell(f"Table {rng.randrange(1, 40)}"), cell(f"Pax: {rng.randrange(1, 9)}", "", "r"))

    def _time(self) -> str:
        language = self.wording.locale.language.code
        own = {"fr": ("HH'h'mm",), "id": ("HH.mm",), "en": ("h:mm a", "h:mma", "h:mm:ss a")}.get(language, ())
        text = format_time(self.document.moment, self.rng.choice(("HH:mm", "HH:mm:ss", *own)), locale="en_US")
        return text.replace("\u202f", " ")

    def _separate(self, share: float) -> None:
        if self.dashes and self._chance(share):
            mark = self.rng.choice("-=*")
            most = int((self.right - self.left) * 40 / self.face.width(mark * 40))
            self._text(mark * self.rng.choice((most - 1, self.rng.randint(5, most - 1))))
        elif not self.dashes:
            self._gap(0.4)
            self.page.rule(self.left, self.y, self.right, self.y, INK, self.rng.choice((1, 2)))
            self._gap(0.4)

    def _items(self) -> None:
        self._separate(0.55)
        if self.form == "columns" or self._chance(0.3):
            self._column_names()
        for place, item in enumerate(self.document.items):
            if item.total < 0:
                self._line(cell(item.description), cell(self.wording.amount(item.total, self.wording.marks), "", "r"))
            else:
                self._item(item)
            if place == 0 and self.document.shop == "petrol":
                self._text(f"Pump {self.rng.randrange(1, 17)}")
        self._separate(0.4)

    def _column_names(self) -> None:
        say, amount = self.say, cell(self.say["amount"], "", "r")
        if self.form != "columns":
            self._line(cell(f"{say['quantity']} {say['item']}"), amount)
            return
        count, price = ((say["quantity"], ""),), ((say["price"], ""),)
        self._line(cell(say["item"]), Cell(count, "r", 0.6), Cell(price, "r", 0.8), amount)

    def _item(self, item: Item) -> None:
        cells = self.wording.cells(item)
        name: Part = (cells["item"], "PRODUCT_NAME")
        whole = item.quantity is not None and item.quantity == item.quantity.to_integral_value()
        count: Part = (self.count.format(cells["quantity"]) if whole else cells["quantity"], "QUANTITY")
        price: Part = (cells["price"], "UNIT_PRICE")
        total = Cell(self._total(item, cells["amount"]), "r", 1.0)
        measure: tuple[Part, ...] = ((item.measure, ""),) if item.measure else ()
        by = (price, *(((f"/{item.measure}", ""),) if item.measure else ()))
        detail = ((cells["quantity"], "QUANTITY"), *measure, (self.times, ""), *by)
        if item.quantity is None:
            self._line(Cell((name,)), total)
        elif item.unit_price is None:
            self._line(Cell((count, name)), total)
        elif self.form == "columns":
            self._line(Cell((name,)), Cell((count,), "r", 0.6), Cell((price,), "r", 0.8), total)
        elif self.form == "quantity_first" and not item.measure:
            self._line(Cell((count, name)), total)
            self._line(Cell((("@", ""), price), "l", 0.1))
        elif self.form == "beside" and not item.measure:
            self._line(Cell((name,)), total)
            self._line(Cell(detail, "l", 0.1))
        else:
            code = ((self._code("#######"), ""),) if self.form == "code_line" else ()
            self._line(Cell((*code, name)))
            self._line(Cell(detail, "l", 0.1), total)

    def _total(self, item: Item, amount: str) -> tuple[Part, ...]:
        code = self.tax_code if not self.document.terms.by_line else self.wording.codes.get(item.rate, "")
        if not code:
            return ((amount, "LINE_TOTAL"),)
        if self.glued and code.isalpha():
            return ((amount + code, "LINE_TOTAL"),)
        return ((amount, "LINE_TOTAL"), (code, ""))

    def _pair(self, row: LabelledRow, face: Face | None = None) -> None:
        middle = Cell(((row.middle, ""),) if row.middle else (), "r", 0.65)
        self._line(
            cell(row.name + ("" if row.middle else self.colon)), middle, cell(row.value, row.label, "r"), face=face
        )

    def _totals(self) -> None:
        document, wording = self.document, self.wording
        if self._chance(0.2):
            self._pair(LabelledRow(self.say["count"], str(len(document.items))))
        rows = wording.totals()
        large = int(self.face.size * self.rng.choice((1.0, 1.0, 1.2, 1.5)))
        for row in rows:
            self._pair(row, self.face.of(large, bold=self._chance(0.5)) if row.bold else None)
        if self._chance(0.12):
            self._pair(LabelledRow(self.say["total_again"], wording.amount(document.totals.grand_total), "GRAND_TOTAL"))

    def _payment(self) -> None:
        rng, total = self.rng, self.document.totals.grand_total
        if self._chance(0.45):
            paid = self._paid()
            self._pair(LabelledRow(self.say["cash"], self.wording.amount(paid)))
            self._pair(LabelledRow(self.say["change"], self.wording.amount(paid - total)))
        elif self._chance(0.85):
            hidden = rng.choice(("****", "************", "XXXX-XXXX-XXXX-", "...")) + self._code("####")
            self._line(cell(f"{self.say['card']} {hidden}"), cell(self.wording.amount(total), "", "r"))
            if self._chance(0.5):
                self._text(self._code("AUTH CODE: ######|APPROVED ?#####|Auth: ######"))
            if self._chance(0.3):
                self._text(self._code("AID: A00000000##### TID ########"))

    def _paid(self) -> Decimal:
        """Cash handed over: the total, or the next multiple of some bank note."""
        total = self.document.totals.grand_total
        if self._chance(0.25):
            return total
        digits = currencies()[self.document.currency].scale.adjusted()
        note = Decimal(self.rng.choice((5, 10, 20, 50, 100))).scaleb(max(0, digits - 1))
        return (total / note).to_integral_value(ROUND_CEILING) * note

    def _foot(self) -> None:
        rng, thanks = self.rng, self.wording.locale.language.words["thanks"]
        self._gap(0.5)
        if self.document.terms.reverse:
            self._text(self.say["reverse"])
        if self._chance(0.2):
            self._pair(LabelledRow(self.say["points"], str(rng.randrange(1, 4000))))
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            self._gap(rng.choice((0.0, 0.4)))
            self._text(pick(rng, thanks), "", rng.choice(("l", "c", "c")))
        if self._chance(0.15):
            self._text(f"www.{coined(rng).lower()}.com", "", "c")
        if self._chance(0.25):
            self._gap(0.8)
            self._text(self._code("#############|############|## ##### #####"), "", "c")
