"""The user's own vendors and what they sell, for drawn documents: a TOML file of `[[vendors]]`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field

from receipt_trainer.config.base import Strict, parse
from receipt_trainer.data.synthetic.locales import Language, locales
from receipt_trainer.data.synthetic.page import Family
from receipt_trainer.errors import UserError

_Text = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^\S(?: ?\S)*$")]
"""One line, blanks single and inside."""


class Product(Strict):
    """`price` of one in the country's own currency; without it one is drawn."""

    name: _Text
    price: Decimal | None = Field(None, gt=0, le=1_000_000)


class OwnVendor(Strict):
    """A vendor as it is printed; `country` as in `locales.toml`."""

    country: str
    name: _Text
    address: tuple[_Text, ...] = Field((), max_length=4)
    tax_id: _Text | None = None
    phone: _Text | None = None
    products: tuple[Product, ...] = Field(min_length=1)


class Corpus(Strict):
    """The file."""

    vendors: tuple[OwnVendor, ...] = Field(min_length=1)


def read_corpus(path: Path, fonts: Mapping[Language, Sequence[Family]]) -> tuple[OwnVendor, ...]:
    """The vendors of a file.

    Args:
        path: the file.
        fonts: the languages that are drawn, with their families.

    Raises:
        UserError: no such file, not in that form, or a vendor that cannot be drawn.
    """
    try:
        with path.open("rb") as stream:
            content = tomllib.load(stream, parse_float=Decimal)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML: {error}") from None
    vendors = parse(Corpus, content, str(path)).vendors
    for vendor in vendors:
        country = locales().get(vendor.country)
        if country is None:
            raise UserError(f"{path}: {vendor.name}: no country {vendor.country}; there are {', '.join(locales())}")
        if country.language not in fonts:
            raise UserError(f"{path}: {vendor.name}: {country.language.code} is not drawn; name it in --languages")
        texts = (vendor.name, *vendor.address, vendor.tax_id, vendor.phone, *(one.name for one in vendor.products))
        letters = {letter for text in texts if text for letter in text + text.upper() if letter != " "}
        lacking = sorted(one for one in letters if not all(family.covers(one) for family in fonts[country.language]))
        if lacking:
            raise UserError(f"{path}: {vendor.name}: the fonts have no {' '.join(lacking)}")
    return vendors
