"""Templates: a purchase as the printed lines of a receipt."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from random import Random

from receipt_trainer.data.synthetic import text
from receipt_trainer.data.synthetic.lines import Cell, Line, Token, pair, single, words
from receipt_trainer.data.synthetic.phrases import phrase
from receipt_trainer.data.synthetic.purchase import Item, Purchase
from receipt_trainer.data.synthetic.style import Style, date_form, draw_time, number, quantity


class Printer:
    """Prints one purchase in one style. Every choice is drawn from `rng`, in the order of the receipt."""

    def __init__(self, rng: Random, purchase: Purchase, style: Style, moment: datetime) -> None:
        self.rng = rng
        self.purchase = purchase
        self.style = style
        self.moment = moment
        self.locale = purchase.locale

    def lines(self) -> list[Line]:
        """All lines from top to bottom."""
        moment_on_top = self.rng.random() < 0.65
        parts = [
            self._header(),
            self._meta() if moment_on_top else iter(()),
            self._items(),
            self._totals(),
            self._payment(),
            iter(()) if moment_on_top else self._meta(),
            self._footer(),
        ]
        return [line for part in parts for line in part]

    def _say(self, key: str) -> tuple[Token, ...]:
        return words(phrase(self.rng, self.locale.language, key))

    def _key(self, key: str) -> tuple[Token, ...]:
        return words(phrase(self.rng, self.locale.language, key) + self.style.colon)

    def _chance(self, share: float) -> bool:
        return self.rng.random() < share

    def _amount(self, amount: int, marks: str, label: str = "O") -> tuple[Token, ...]:
        return words(marks.format(number(amount, self.locale, self.style.thousands)), label)

    def _header(self) -> Iterator[Line]:
        rng, anchor = self.rng, self.style.header
        if self._chance(0.15):
            owner = f"{text.person(rng)} {text.coined(rng)}"
            yield single(words(owner if self._chance(0.5) else text.digits(rng, "#####-?")), anchor)
        name = text.merchant(rng, self.purchase.kind, self.locale.language)
        scale = rng.choice((1.0, 1.0, 1.3, 1.7, 2.0))
        yield single(words(name, "MERCHANT_NAME"), anchor, scale)
        if self._chance(0.25):
            yield single(words(text.code(rng, "(######-?)|Reg No: #########|GST ID: ############")), anchor)
        if self._chance(0.92):
            street, town = text.address(rng, self.locale)
            joined = self._chance(0.3)
            for part in (f"{street}, {town}",) if joined else (street, town):
                yield single(words(part, "ADDRESS_LINE"), anchor)
        if self._chance(0.8):
            phone = text.code(rng, self.locale.phones)
            key = self._key("phone") if self._chance(0.75) else ()
            fax = words("Fax: " + text.code(rng, self.locale.phones)) if key and self._chance(0.12) else ()
            yield single((*key, *words(phone, "PHONE_NUMBER"), *fax), anchor)
        if self._chance(0.6):
            yield single(self._say("title"), rng.choice(("left", "centre")), gap=rng.choice((0.0, 0.5, 1.0)))

    def _moment(self) -> tuple[tuple[Token, ...], tuple[Token, ...]]:
        """Date and time, each with a key or without, the time sometimes missing."""
        date = words(date_form(self.moment, text.pick(self.rng, self.locale.dates)), "DATE")
        clock = words(draw_time(self.rng, self.moment, self.locale.language), "TIME") if self._chance(0.85) else ()
        if self._chance(0.6):
            date = (*self._key("date"), *date)
            clock = (*self._key("time"), *clock) if clock and self._chance(0.6) else clock
        return date, clock

    def _meta(self) -> Iterator[Line]:
        rng = self.rng
        date, clock = self._moment()
        number_ = words(text.code(rng, "######|?#-####|########|???######|##-###"))
        invoice = (*self._key("invoice"), *number_)
        cashier = (*self._key("cashier"), *words(text.person(rng)))
        form = rng.randrange(4)
        if form == 0:
            yield pair(date, clock)
            yield pair(invoice, cashier)
        elif form == 1:
            yield single(invoice)
            yield single((*date, *clock))
            yield single(cashier)
        elif form == 2:
            yield from (single(part) for part in (date, clock, invoice) if part)
        else:
            yield pair(invoice, date)
            yield pair(cashier, clock)
        if self.purchase.kind == "restaurant" and self._chance(0.5):
            yield pair(words(f"Table {rng.randrange(1, 40)}"), words(f"Pax: {rng.randrange(1, 9)}"))

    def _items(self) -> Iterator[Line]:
        if self._chance(0.4):
            yield single(words(self.rng.choice("-=*") * self.rng.randint(5, 28)))
        if self.style.template == "columns" or self._chance(0.3):
            yield self._column_names()
        for place, item in enumerate(self.purchase.items):
            yield from self._item(item)
            if item.discount:
                yield pair(self._say("item_discount"), self._amount(-item.discount, self.style.item_marks))
            if place == 0 and self.purchase.kind == "petrol":
                yield single(words(f"Pump {self.rng.randrange(1, 17)}"))

    def _column_names(self) -> Line:
        left = (*self._say("quantity"), *self._say("item"))
        if self.style.template != "columns":
            return pair(left, self._say("amount"))
        cells = (Cell(self._say("item")), Cell(self._say("quantity"), "right", 0.6))
        return Line((*cells, Cell(self._say("price"), "right", 0.8), Cell(self._say("amount"), "right", 1.0)))

    def _item(self, item: Item) -> Iterator[Line]:
        style = self.style
        name = words(item.name, "PRODUCT_NAME")
        amount = words(quantity(item, self.locale, style.quantity), "QUANTITY")
        price = self._amount(item.unit_price, style.item_marks, "UNIT_PRICE")
        total = self._line_total(item)
        measure = words(item.measure)
        plain = item.quantity == 1000 and not item.measure
        count = words(quantity(item, self.locale), "QUANTITY")
        by_unit = (*count, *measure, *words(style.times), *price, *words(f"/{item.measure}" if item.measure else ""))
        if style.template == "columns":
            cells = (Cell(amount, "right", 0.6), Cell(price, "right", 0.8), Cell(total, "right", 1.0))
            yield Line((Cell(name), *cells))
        elif style.template == "code_line":
            yield single((*words(text.digits(self.rng, "#######")), *name))
            yield Line((Cell(by_unit, "left", 0.15), Cell(total, "right", 1.0)))
        elif item.measure or (style.template == "second_line" and not plain):
            yield single(name)
            yield Line((Cell(by_unit, "left", 0.1), Cell(total, "right", 1.0)))
        elif style.template == "quantity_first":
            yield pair((*amount, *name), total)
        elif plain:
            yield pair(name, total)
        else:
            yield pair(name, total)
            yield Line((Cell(by_unit, "left", 0.1),))

    def _line_total(self, item: Item) -> tuple[Token, ...]:
        style = self.style
        tokens = self._amount(item.total, style.item_marks, "LINE_TOTAL")
        if not style.tax_code:
            return tokens
        if style.glued:
            return (*tokens[:-1], (tokens[-1][0] + style.tax_code, "LINE_TOTAL"))
        return (*tokens, *words(style.tax_code))

    def _totals(self) -> Iterator[Line]:
        purchase, marks = self.purchase, self.style.total_marks
        if self._chance(0.2):
            yield pair(self._key("count"), words(str(len(purchase.items))))
        must = purchase.total != purchase.subtotal
        if self._chance(0.95 if must else 0.45):
            yield pair(self._key("subtotal"), self._amount(purchase.subtotal, marks, "SUBTOTAL"))
        if purchase.discount:
            yield pair(self._key("discount"), self._amount(-purchase.discount, marks))
        if purchase.service:
            yield pair(self._key("service"), self._amount(purchase.service, marks))
        if not purchase.tax_included:
            yield from self._taxes()
        if purchase.rounding:
            yield pair(self._key("rounding"), self._amount(purchase.rounding, "{}"))
        scale = self.rng.choice((1.0, 1.0, 1.2, 1.5))
        yield pair(self._key("total"), self._amount(purchase.total, marks, "GRAND_TOTAL"), scale)
        if purchase.tax_included and self._chance(0.85):
            yield from self._taxes()
        if self._chance(0.12):
            yield pair(self._key("total_again"), self._amount(purchase.total, marks, "GRAND_TOTAL"))

    def _taxes(self) -> Iterator[Line]:
        purchase = self.purchase
        table = bool(purchase.taxes) and purchase.tax_included and self._chance(0.5)
        if table:
            yield Line(
                (Cell(words("%"), "left", 0.1), Cell(words("Net"), "right", 0.65), Cell(words("Tax"), "right", 1.0))
            )
        before = self._say("included") if purchase.tax_included and not table and self._chance(0.6) else ()
        for tax in purchase.taxes:
            rate = f"{tax.rate / 100:g}".replace(".", self.locale.point) + "%"
            amount = self._amount(tax.amount, "{}" if table else self.style.total_marks, "TAX")
            if table:
                cells = (
                    Cell(words(f"{tax.name} {rate}"), "left", 0.0),
                    Cell(self._amount(tax.net, "{}"), "right", 0.65),
                )
                yield Line((*cells, Cell(amount, "right", 1.0)))
            else:
                yield pair((*before, *words(f"{tax.name} {rate}" if self._chance(0.7) else tax.name)), amount)

    def _payment(self) -> Iterator[Line]:
        rng, purchase, marks = self.rng, self.purchase, self.style.total_marks
        if self._chance(0.45):
            yield pair(self._key("cash"), self._amount(purchase.paid, marks))
            yield pair(self._key("change"), self._amount(purchase.paid - purchase.total, marks))
        elif self._chance(0.85):
            hidden = rng.choice(("****", "************", "XXXX-XXXX-XXXX-", "..."))
            yield pair(
                (*self._say("card"), *words(hidden + text.digits(rng, "####"))), self._amount(purchase.total, marks)
            )
            if self._chance(0.5):
                yield single(words(text.code(rng, "AUTH CODE: ######|APPROVED ?#####|Auth: ######")))
            if self._chance(0.3):
                yield single(words(text.digits(rng, "AID: A00000000##### TID ########")))

    def _footer(self) -> Iterator[Line]:
        rng = self.rng
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            yield single(self._say("thanks"), rng.choice(("left", "centre", "centre")), gap=rng.choice((0.0, 0.4)))
        if self._chance(0.15):
            yield single(words(f"www.{text.coined(rng).lower()}.com"), "centre")
        if self._chance(0.25):
            yield single(words(text.code(rng, "#############|############|## ##### #####")), "centre", gap=0.8)
