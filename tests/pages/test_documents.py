"""Documents of any kind opened as upright 8-bit RGB pages."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops

from receipt_trainer.errors import UserError
from receipt_trainer.pages import images, pdf
from receipt_trainer.pages.documents import open_pages
from receipt_trainer.pages.images import image_size, is_blank, open_image
from receipt_trainer.pages.kinds import is_document
from tests.pages.pdfs import nested_forms, pdf_of_pages


def drawing(width: int = 60, height: int = 40) -> Image.Image:
    """White, but for a black corner at the top left."""
    image = Image.new("RGB", (width, height), "white")
    image.paste("black", (0, 0, width // 3, height // 3))
    return image


def stored(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def corners(image: Image.Image) -> list[bool]:
    """Which corners are dark: top left, top right, bottom left, bottom right."""
    grey = image.convert("L")
    at = [(2, 2), (image.width - 3, 2), (2, image.height - 3), (image.width - 3, image.height - 3)]
    return [int(grey.getpixel(place)) < 100 for place in at]  # type: ignore[arg-type]


def only_page(content: bytes | Path) -> Image.Image:
    (page,) = open_pages(content)
    assert page.image.mode == "RGB"
    return page.image


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM"])
def test_an_image_is_known_by_its_content(format: str, tmp_path: Path) -> None:
    """From memory and from a file of any name; the format alone decides."""
    content = stored(drawing(), format)
    (tmp_path / "photo.txt").write_bytes(content)
    for given in (content, tmp_path / "photo.txt"):
        image = only_page(given)
        assert image.size == (60, 40)
        assert corners(image) == [True, False, False, False]
    assert is_document(content[:1024]) or format == "PPM"


def test_heic_is_read_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo of an iPhone is opened by pi-heif; without it the one line names the command that installs it."""
    content = Path(__file__).with_name("corner.heic").read_bytes()
    assert corners(only_page(content)) == [True, False, False, False]
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(UserError, match=r"^the document: .*pip install './trainer\[heic\]'$"):
        only_page(content)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_page_upright(orientation: int, tmp_path: Path) -> None:
    """However the camera was held, the dark corner comes back to the top left, and sizes agree."""
    names = ["FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_90", "TRANSVERSE", "ROTATE_270"]
    shown = drawing()
    if orientation > 1:
        shown = shown.transpose(Image.Transpose[names[orientation - 2]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.jpg"
    shown.save(path, exif=exif)
    assert corners(only_page(path)) == [True, False, False, False]
    assert image_size(path) == open_image(path).size == (60, 40)


def test_colours_are_those_that_are_seen() -> None:
    """CMYK of Adobe (stored inverted) and of others, palettes, one bit, and transparent parts, which lie on white."""
    seen = np.asarray(drawing(), dtype=int)
    adobe = stored(drawing().convert("CMYK"), "JPEG", quality=95)
    # Without Adobe's marker the same bytes mean the inverse.
    start = adobe.index(b"\xff\xee")
    plain = adobe[:start] + adobe[start + 2 + int.from_bytes(adobe[start + 2 : start + 4]) :]
    inverse = np.asarray(ImageChops.invert(drawing().convert("CMYK")).convert("RGB"), dtype=int)
    see_through = drawing().convert("RGBA")
    see_through.putalpha(ImageChops.invert(drawing().convert("L")))
    for content, expected in (
        (adobe, seen),
        (plain, inverse),
        (stored(drawing().convert("P"), "PNG"), seen),
        (stored(drawing().convert("1"), "TIFF"), seen),
        (stored(see_through, "PNG"), seen),
        (stored(drawing().convert("LA"), "PNG"), seen),
    ):
        assert np.abs(np.asarray(only_page(content), dtype=int) - expected).mean() < 3


@pytest.mark.parametrize(
    ("top", "dtype"), [(65535, np.uint16), (4095, np.uint16), (65535, np.int32), (2_000_000, np.int32), (1, np.float32)]
)
def test_more_bits_are_scaled(top: float, dtype: type) -> None:
    """White paper of 12, 16 or 32 bits is white, ink is black, and what is between stays between."""
    grey = (np.asarray(drawing().convert("L"), dtype=float) / 255 * top).astype(dtype)
    grey[-1, -1] = top * 0.5 if dtype is np.float32 else top // 2
    page = np.asarray(only_page(stored(Image.fromarray(grey), "TIFF")))[:, :, 0]
    assert page.max() == 255
    assert page.min() == 0
    assert 120 < page[-1, -1] < 136


def test_a_page_of_one_value_is_blank() -> None:
    """What training refuses."""
    assert is_blank(Image.new("RGB", (9, 9), "white"))
    assert not is_blank(drawing())


def test_all_pages_of_a_tiff_and_the_first_frame_of_an_animation() -> None:
    """Pages are numbered from 1; wanted ones may be named."""
    sheets = [drawing(50 + n, 40) for n in range(3)]
    tiff = stored(sheets[0], "TIFF", save_all=True, append_images=sheets[1:])
    assert [(page.number, page.image.width, page.of_pages) for page in open_pages(tiff)] == [
        (1, 50, 3), (2, 51, 3), (3, 52, 3)]  # fmt: skip
    assert [page.number for page in open_pages(tiff, pages={3, 1})] == [1, 3]
    with pytest.raises(UserError, match="scan: there is no page 4: it has 3"):
        list(open_pages(tiff, pages=[4], name="scan"))
    gif = stored(sheets[0], "GIF", save_all=True, append_images=sheets[1:])
    assert len(list(open_pages(gif))) == 1


def test_a_pdf_is_drawn_for_reading() -> None:
    """At 200 dots an inch, every page, or those that are named; a small page is drawn larger, a huge one smaller."""
    content = pdf_of_pages([(288, 432), (100, 150), (9000, 9000)])
    first, small, huge = open_pages(content)
    assert first.image.size == (800, 1200)
    assert corners(first.image) == [True, False, False, False]
    assert max(small.image.size) == 1000
    assert 5_900_000 < huge.image.width * huge.image.height < 6_100_000
    assert [(page.number, page.of_pages) for page in open_pages(content, pages=[2])] == [(2, 3)]


def test_limits_are_told_before_anything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels, pages and bytes; a file of a few kilobytes may ask for gigabytes."""
    bomb = stored(Image.new("1", (9000, 5000)), "PNG")
    assert len(bomb) < 20_000
    with pytest.raises(UserError, match="9000 x 5000 pixels are more than 40 megapixels: make it smaller"):
        only_page(bomb)
    with pytest.raises(UserError, match=r"^long: 11 pages are more than 10: name the pages to read$"):
        list(open_pages(pdf_of_pages([(100, 100)] * 11), name="long"))
    sheets = [drawing()] * 11
    with pytest.raises(UserError, match="11 pages are more than 10"):
        list(open_pages(stored(sheets[0], "TIFF", save_all=True, append_images=sheets[1:])))
    monkeypatch.setattr(images, "MAX_BYTES", 1000)
    (tmp_path / "large.bmp").write_bytes(stored(drawing(), "BMP"))
    with pytest.raises(UserError, match=r"large.bmp: .* MB are more than"):
        only_page(tmp_path / "large.bmp")


def test_a_pdf_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 KB that ask for 2 ** 40 rectangles: the child's bound of CPU time ends it, and the line says so."""
    monkeypatch.setattr(pdf, "MAX_CPU_S", 1)
    with pytest.raises(UserError, match=r"^the document: not a readable PDF: drawing it takes more than"):
        only_page(nested_forms(40))


def test_a_pdf_without_pdfium_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the child lacks its package, the package is named as missing, as everywhere, and the PDF is not blamed."""
    (tmp_path / "pypdfium2.py").write_text("raise ModuleNotFoundError('none', name='pypdfium2')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ModuleNotFoundError) as raised:
        only_page(pdf_of_pages([(100, 100)]))
    assert raised.value.name == "pypdfium2"


def test_what_is_no_document_is_refused(tmp_path: Path) -> None:
    """No file, a folder, an empty file, text, and half an image: each in one line that names it."""
    half = stored(drawing(400, 300), "JPEG")[:2000]
    for name, content in (("empty.jpg", b""), ("text.jpg", b"TOTAL 12.50"), ("half.jpg", half)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}: ") as caught:
            only_page(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such file"):
        only_page(tmp_path / "missing.jpg")
    with pytest.raises(UserError, match="Is a directory"):
        only_page(tmp_path)
