"""What the readers of foreign formats share: looks into unknown JSON, boxes of quads, words of lines, pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data.page_words import DocumentWords, PageWord, PageWords, PixelBox, Turn
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import WordLabel
from receipt_trainer.data.sources.clean import number
from receipt_trainer.errors import UserError
from receipt_trainer.pages.kinds import IMAGE_ENDINGS

GRID: Final = 1000.0
"""Width and height of a page whose source has boxes as parts of the page and does not say how large it is."""

Points = Sequence[tuple[float, float]]
Labels = tuple[WordLabel, ...]

_FEW: Final = 3
"""Words that say together that a page does not stand upright."""
_NO_LABEL: Final = frozenset({"", "o", "none", "null", "other", "others", "ignore", "background"})


@dataclass(frozen=True, slots=True)
class FileReading:
    """A file that is being read: where it lies, what is wrong with it, names of numbered labels, all its values.

    As a draft it is read whatever its boxes are, for a person to look at.
    """

    path: Path
    problems: ProblemLog
    label_names: tuple[str, ...] = ()
    values: Sequence[tuple[str, Any]] = ()
    is_draft: bool = False

    @property
    def name(self) -> str:
        """The file's name without what it ends in."""
        return self.path.name.removesuffix(".gz").rpartition(".")[0] or self.path.name


@dataclass(frozen=True, slots=True)
class Format:
    """A format: how it is recognised and who reads it.

    Attributes:
        name: for `--format`.
        expected: what such a file holds, to be said where it does not.
        is_json: recognises a decoded JSON document.
        read_json: the documents in one that was recognised.
        is_text: recognises the beginning of a text file.
        read_text: the documents in such a text.
        is_beside: recognises a JSON document that only completes others and is no document itself.
    """

    name: str
    expected: str
    is_json: Callable[[Any], bool] | None = None
    read_json: Callable[[FileReading, Any], Iterator[DocumentWords]] | None = None
    is_text: Callable[[str], bool] | None = None
    read_text: Callable[[FileReading, str], Iterator[DocumentWords]] | None = None
    is_beside: Callable[[Any], bool] | None = None


def at(value: Any, *path: str | int) -> Any:
    """What stands at `path` in decoded JSON; None where the path ends early."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and -len(value) <= step < len(value) else None
    return value


def either(value: Any, *names: str) -> Any:
    """The first of `names` that `value` has; programs write one field as camelCase and as snake_case."""
    return next((found for name in names if (found := at(value, name)) is not None), None)


def items(value: Any) -> list[Any]:
    """`value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def records(value: Any) -> list[dict[str, Any]]:
    """The objects in a list."""
    return [each for each in items(value) if isinstance(each, dict)]


def text_of(value: Any) -> str:
    """`value` if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""


def whole(value: Any, otherwise: int) -> int:
    """A whole number from 0 (JSON's 3.0 is one too), or `otherwise`."""
    given = number(value)
    return int(given) if given is not None and given >= 0 and given == int(given) else otherwise


def points_of(value: Any) -> list[tuple[float, float]] | None:
    """The corners of a box or polygon; None if it is none.

    x0, y0, x1, y1 (two corners); x, y of more in a flat list; pairs; or objects with x and y, of which protobuf leaves
    out zeros.
    """
    given = items(value)
    if given and all(isinstance(point, dict) for point in given):
        pairs = [[point.get("x", point.get("X", 0)), point.get("y", point.get("Y", 0))] for point in given]
    elif given and all(isinstance(point, list) for point in given):
        pairs = given
    else:
        pairs = [given[n : n + 2] for n in range(0, len(given), 2)]
    found = []
    for pair in pairs:
        x, y = (number(part) for part in pair) if len(pair) == 2 else (None, None)
        if x is None or y is None:
            return None
        found.append((x, y))
    return found if len(found) >= 2 else None


def box_of(points: Points) -> PixelBox:
    """The bounding box of points; of two it is as they say, so that what is no top left and bottom right shows."""
    if len(points) == 2:
        return *points[0], *points[1]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def corners(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    """The corners of a box by its top-left corner and size."""
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def words_of(text: str, points: Points) -> list[tuple[str, PixelBox]]:
    """The words of a line of text, each with its share of the line's quad by characters, spaces counted.

    The first two corners of a quad are its upper edge, in the direction of reading: a word of a line that rises has a
    box of its own height.
    """
    words = text.split()
    if len(words) < 2:
        return [(word, box_of(points)) for word in words]
    if len(points) != 4:
        x0, y0, x1, y1 = box_of(points)
        points = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    line = " ".join(words)
    found, start = [], 0
    for word in words:
        share = (start / len(line), (start + len(word)) / len(line))
        edges = ((points[0], points[1]), (points[3], points[2]))
        found.append((word, box_of([_between(*edge, part) for edge in edges for part in share])))
        start += len(word) + 1
    return found


def _between(one: tuple[float, float], other: tuple[float, float], part: float) -> tuple[float, float]:
    return one[0] + (other[0] - one[0]) * part, one[1] + (other[1] - one[1]) * part


def labels_of(name: Any, table: Mapping[str, str], status: str = "VALID", proposed_by: str = "") -> Labels:
    """A foreign label by the core name that means the same (`table`, by lower-case name), else by its own."""
    own = text_of(name).strip()
    if own.casefold() in _NO_LABEL:
        return ()
    core = table.get(own.casefold(), own)
    return () if core == OUTSIDE else (WordLabel(core, status, proposed_by),)


@dataclass(slots=True)
class PageBuilder:
    """A page that is being put together.

    Attributes:
        width, height: in the unit of the boxes that are added; None where the source does not say.
        image: name of the page's image as the source gives it, or "".
        scale: factors that make pixels (or thousandths of the page) of the source's unit.
        turns: for words whose direction is known, the clockwise turn that makes it run to the right.
    """

    reading: FileReading
    document: str
    number: int = 1
    width: float | None = None
    height: float | None = None
    image: str = ""
    scale: tuple[float, float] = (1.0, 1.0)
    words: list[PageWord] = field(default_factory=list)
    turns: Counter[Turn] = field(default_factory=Counter)

    @classmethod
    def of_fractions(cls, reading: FileReading, document: str, number: int = 1) -> PageBuilder:
        """A page whose boxes are parts of it, 0..1, and whose size nobody says."""
        return cls(reading, document, number, 1.0, 1.0, scale=(GRID, GRID))

    def add(
        self,
        text: Any,
        points: Points | None,
        *,
        line: int | None = None,
        confidence: float | None = None,
        labels: Labels = (),
        extra: Mapping[str, Any] | None = None,
        is_line: bool = False,
    ) -> None:
        """Put a word on the page, or all words of a line of text; what is none is a problem and left out.

        Args:
            points: corners in the source's unit.
            confidence: 0..1; anything else is taken as not given.
        """
        where = f"page {self.number} word {len(self.words)}"
        if not isinstance(text, str) or not text.strip():
            self.reading.problems.add(ProblemKind.EMPTY_TEXT, self.document, where, text)
            return
        if points is None:
            self.reading.problems.add(ProblemKind.BAD_BOX, self.document, where, text)
            return
        sure = confidence if confidence is not None and 0 <= confidence <= 1 else None
        for word, box in words_of(text, points) if is_line else [(text, box_of(points))]:
            self.words.append(PageWord(word, box, line, sure, labels, dict(extra or {})))

    def direct(self, points: Points | None) -> None:
        """Take note of which way a word runs: from the first corner of its quad to the second."""
        if points is None or len(points) != 4:
            return
        x, y = points[1][0] - points[0][0], points[1][1] - points[0][1]
        if abs(x) > 2 * abs(y):
            self.turns[0 if x > 0 else 180] += 1
        elif abs(y) > 2 * abs(x):
            self.turns[90 if y < 0 else 270] += 1

    def mark(self, area: PixelBox, labels: Labels) -> None:
        """Give the words whose middle lies in `area` (in the source's unit) these labels too."""
        chosen = [n for n, word in enumerate(self.words) if _holds(area, word.box)]
        self.mark_words(chosen, labels)

    def mark_words(self, chosen: Iterable[int], labels: Labels) -> None:
        """Give words by their number these labels too; where there is none, that is a problem."""
        marked = False
        for n in chosen:
            marked = True
            known = {label.name for label in self.words[n].labels}
            fresh = tuple(label for label in labels if label.name not in known)
            self.words[n] = replace(self.words[n], labels=self.words[n].labels + fresh)
        for label in () if marked else labels:
            where = f"page {self.number}"
            self.reading.problems.add(ProblemKind.LABEL_WITHOUT_WORD, self.document, where, label.name)

    def build(self) -> PageWords:
        """The page, in pixels; turned upright where its words say that they run down, up or backwards.

        Raises:
            UserError: its size is impossible.
        """
        width, height = self.width, self.height
        if width is None or height is None:
            width, height = self._size()
        if not (0 < width < 1e6 and 0 < height < 1e6):
            raise UserError(f"{self.reading.path}: page {self.number} of {self.document} has size {width} by {height}")
        sx, sy = self.scale
        words = tuple(
            replace(word, box=(word.box[0] * sx, word.box[1] * sy, word.box[2] * sx, word.box[3] * sy))
            if self.scale != (1.0, 1.0)
            else word
            for word in self.words
        )
        page = PageWords(self.number, width * sx, height * sy, words)
        turn, votes = max(self.turns.items(), key=lambda vote: vote[1], default=(0, 0))
        is_sure = votes >= _FEW and 3 * votes > 2 * len(words)
        return page if self.reading.is_draft or not is_sure else turned(page, turn)

    def _size(self) -> tuple[float, float]:
        """That of the image beside; else the words' extent with margins as wide as those at the top and left."""
        size = image_size_beside(self.reading.path, self.image or self.document)
        if size is not None or not self.words:
            return size or (GRID, GRID)
        x0, y0, x1, y1 = box_of([corner for word in self.words for corner in (word.box[:2], word.box[2:])])
        guess = max(x1 + max(x0, 0), 1.0), max(y1 + max(y0, 0), 1.0)
        detail = "not said, and no image is beside it: taken from the extent of the words"
        self.reading.problems.add(ProblemKind.PAGE_SIZE_GUESSED, self.document, f"page {self.number}", detail)
        return guess


def turned(page: PageWords, turn: Turn) -> PageWords:
    """The page turned clockwise."""
    width, height = page.width, page.height

    def box(x0: float, y0: float, x1: float, y1: float) -> PixelBox:
        if turn == 90:
            return height - y1, x0, height - y0, x1
        if turn == 180:
            return width - x1, height - y1, width - x0, height - y0
        return y0, width - x1, y1, width - x0

    if not turn:
        return page
    size = (width, height) if turn == 180 else (height, width)
    return PageWords(page.number, *size, tuple(replace(word, box=box(*word.box)) for word in page.words), turn)


def _holds(area: PixelBox, box: PixelBox) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return area[0] <= x <= area[2] and area[1] <= y <= area[3]


_IMAGE_FOLDERS: Final = ("", "images", "image", "img")


def image_size_beside(path: Path, name: str) -> tuple[float, float] | None:
    """Size of `image_beside`; None where there is no image that can be opened."""
    image = image_beside(path, name)
    return None if image is None else _size_of(image)


def image_beside(path: Path, name: str) -> Path | None:
    """The image that belongs to `path`: called `name`, beside it or in an image folder beside its folder."""
    wanted = Path(name.replace("\\", "/").rpartition("/")[2])
    names = [wanted.name] if wanted.suffix.lower() in IMAGE_ENDINGS else []
    names += [f"{stem}{suffix}" for stem in dict.fromkeys((wanted.name, wanted.stem)) for suffix in IMAGE_ENDINGS]
    for folder in (path.parent, path.parent.parent):
        for place in _IMAGE_FOLDERS:
            for each in names:
                image = folder / place / each
                if len(each) < 200 and "\0" not in each and image.is_file():
                    return image
    return None


def _size_of(image: Path) -> tuple[float, float] | None:
    try:
        from receipt_trainer.pages.images import image_size

        width, height = image_size(image)
    except (ImportError, UserError):  # no Pillow, or no image
        return None
    return float(width), float(height)


def document(name: str, pages: Iterable[PageBuilder], **more: Any) -> DocumentWords:
    """A document of the pages, in their order by number."""
    built = sorted((page.build() for page in pages), key=lambda page: page.number)
    return DocumentWords(name, tuple(built), **more)


_SPLITS: Final = {
    **dict.fromkeys(("train", "training", "training_data", "training_set"), "train"),
    **dict.fromkeys(("test", "testing", "testing_data", "test_set"), "test"),
    **dict.fromkeys(("dev", "val", "valid", "validation"), "validation"),
}


def split_of(path: Path) -> str:
    """The split that a data set's folder names say, the innermost first; "" if none does."""
    parts = [part.lower() for part in path.parts[-4:-1]]
    return next((_SPLITS[part] for part in reversed(parts) if part in _SPLITS), "")
