"""PDFs made by hand."""

from __future__ import annotations

from collections.abc import Sequence


def pdf_of_pages(sizes: Sequence[tuple[int, int]]) -> bytes:
    """Pages of these sizes in points, each with a black third at its top left."""
    kids = " ".join(f"{3 + 2 * n} 0 R" for n in range(len(sizes)))
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {len(sizes)} >>"]
    for number, (width, height) in enumerate(sizes):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Contents {4 + 2 * number} 0 R >>"
        )
        objects.append(_stream(f"0 {2 * height / 3} {width / 3} {height / 3} re f"))
    return _pdf(objects)


def nested_forms(depth: int) -> bytes:
    """A page that draws a form that draws the next one twice, and so on: 2 ** depth rectangles."""
    forms = "/Resources << /XObject << /F {} 0 R >> >>"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 300] /Contents 4 0 R {forms.format(5)} >>",
        _stream("/F Do"),
    ]
    for level in range(depth):
        inner = level < depth - 1
        more = "/Type /XObject /Subtype /Form /BBox [0 0 200 300] " + (forms.format(6 + level) if inner else "")
        objects.append(_stream("/F Do /F Do" if inner else "0 0 10 10 re f", more))
    return _pdf(objects)


def _stream(text: str, more: str = "") -> str:
    return f"<< {more} /Length {len(text)} >>\nstream\n{text}\nendstream"


def _pdf(objects: Sequence[str]) -> bytes:
    out, places = "%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF"
    return f"{out}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode()
