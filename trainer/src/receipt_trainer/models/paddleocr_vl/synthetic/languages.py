"""All languages, and which of them can be drawn here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.synthetic.fonts import Family, families_for
from receipt_trainer.models.paddleocr_vl.synthetic.language import Language
from receipt_trainer.models.paddleocr_vl.synthetic.languages_asia import ASIA
from receipt_trainer.models.paddleocr_vl.synthetic.languages_east import EAST
from receipt_trainer.models.paddleocr_vl.synthetic.languages_west import WEST

LANGUAGES: Final[Mapping[str, Language]] = {language.code: language for language in (*WEST, *EAST, *ASIA)}


def fonts_of(language: Language, folders: tuple[Path, ...] = ()) -> tuple[Family, ...]:
    """Families that have the language's letters; none where this machine has no such font."""
    return families_for(language.letters, folders)


def drawable(wanted: tuple[str, ...], folders: tuple[Path, ...] = ()) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(languages to draw, languages left out for want of a font); nothing wanted means all.

    Raises:
        UserError: a language is not known, or was asked for by name and has no font.
    """
    unknown = [code for code in wanted if code not in LANGUAGES]
    if unknown:
        raise UserError(f"no language {', '.join(unknown)}; there are {', '.join(LANGUAGES)}")
    codes = tuple(dict.fromkeys(wanted)) or tuple(LANGUAGES)
    without = tuple(code for code in codes if not fonts_of(LANGUAGES[code], folders))
    if wanted and without:
        raise UserError(
            f"no font here has all letters of {', '.join(without)}; install one (Debian: fonts-noto-cjk) or name its "
            "folder with --font-dir"
        )
    return tuple(code for code in codes if code not in without), without
