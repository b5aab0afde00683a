"""The samples are what their owners' software writes and accepts."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.export import labeling_config, lines
from receipt_trainer.data.sources.load import read_files
from tests.data.sources import samples
from tests.data.sources.samples import BOXES, HEIGHT, TEXTS, WIDTH, quad


def read(path: Path, content: Any) -> Receipt:
    """The only receipt of a file with this content."""
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    (receipt,) = read_files(path, ProblemLog())
    return receipt


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="needs Debian's tesseract-ocr")
def test_tesseract_itself_is_read(tmp_path: Path) -> None:
    """TSV and hOCR of one page have the same words, and they lie where they were drawn."""
    image_module = pytest.importorskip("PIL.Image", reason="Pillow draws the page")
    draw_module, font_module = pytest.importorskip("PIL.ImageDraw"), pytest.importorskip("PIL.ImageFont")
    page = image_module.new("L", (800, 400), 255)
    draw, font = draw_module.Draw(page), font_module.load_default(size=48)
    places = {"CORNER": (60, 50), "SHOP": (320, 50), "TOTAL": (60, 220), "12.50": (500, 220)}
    for text, place in places.items():
        draw.text(place, text, fill=0, font=font)
    page.save(tmp_path / "page.png")
    command = ["tesseract", "page.png", "out", "--dpi", "200", "tsv", "hocr"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    found = [read_files(tmp_path / name, ProblemLog())[0] for name in ("out.tsv", "out.hocr")]
    for receipt in found:
        assert {word.text for word in receipt.words} == set(places)
        assert (receipt.width, receipt.height) == (800, 400)
        for word in receipt.words:
            x0, y0, x1, y1 = draw.textbbox(places[word.text], word.text, font=font)
            wanted = (x0 / 800, y0 / 400, x1 / 800, y1 / 400)
            assert word.box == pytest.approx(wanted, abs=0.02)
    assert [word.box for word in found[0].words] == [word.box for word in found[1].words]


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("DetectDocumentText", samples.textract()),
        ("DetectDocumentText", samples.textract(2)),
        ("AnalyzeExpense", samples.textract_expense()),
        ("AnalyzeExpense", samples.textract_expense(blocks=False)),
    ],
)
def test_textract_samples_have_botocores_shape(operation: str, answer: dict[str, Any]) -> None:
    """Every field of the samples is one of the operation's answer, with its type."""
    from botocore.session import get_session
    from botocore.validate import ParamValidator

    shape = get_session().get_service_model("textract").operation_model(operation).output_shape
    assert shape is not None
    report = ParamValidator().validate(answer, shape)
    assert not report.has_errors(), report.generate_report()


def test_visions_own_messages_are_read(tmp_path: Path) -> None:
    """What google-cloud-vision makes of the sample, in both of its spellings, with zeros left out, is read the same."""
    vision = pytest.importorskip("google.cloud.vision_v1.types", reason="needs google-cloud-vision")
    json_format = pytest.importorskip("google.protobuf.json_format")
    given = samples.vision()
    corner = given["responses"][0]["fullTextAnnotation"]["pages"][0]["blocks"][0]["paragraphs"][0]["words"][0]
    corner["boundingBox"]["vertices"][0]["x"] = corner["boundingBox"]["vertices"][3]["x"] = 0
    message = vision.BatchAnnotateImagesResponse.from_json(json.dumps(given))
    pb = vision.BatchAnnotateImagesResponse.pb(message)
    for keep in (False, True):
        answer = json_format.MessageToDict(pb, preserving_proto_field_name=keep)
        assert '"x": 0' not in json.dumps(answer)
        receipt = read(tmp_path / f"{keep}.json", answer)
        assert [word.text for word in receipt.words] == TEXTS
        assert receipt.words[0].box == pytest.approx((0, 40 / HEIGHT, 180 / WIDTH, 60 / HEIGHT))


def test_visions_answers_about_files_are_read(tmp_path: Path) -> None:
    """Pages of a PDF have parts of the page as corners, and say their number."""
    vision = pytest.importorskip("google.cloud.vision_v1.types", reason="needs google-cloud-vision")
    answers = []
    for number in (2, 1):
        answer = samples.vision()["responses"][0]
        for word in answer["fullTextAnnotation"]["pages"][0]["blocks"][0]["paragraphs"][0]["words"]:
            vertices = word["boundingBox"].pop("vertices")
            parts = [{"x": point["x"] / WIDTH, "y": point["y"] / HEIGHT} for point in vertices]
            word["boundingBox"]["normalizedVertices"] = parts
        answers.append(answer | {"context": {"uri": "gs://bucket/a.pdf", "pageNumber": number}})
    message = vision.AnnotateFileResponse.from_json(json.dumps({"responses": answers}))
    path = tmp_path / "output-1-to-2.json"
    path.write_text(vision.AnnotateFileResponse.to_json(message, including_default_value_fields=False))
    receipts = read_files(path, ProblemLog())
    assert [receipt.name for receipt in receipts] == ["output-1-to-2 page 1", "output-1-to-2 page 2"]
    assert receipts[0].words[3].box == pytest.approx(
        [v / s for v, s in zip(BOXES[3], (WIDTH, HEIGHT) * 2, strict=True)], abs=1e-4
    )


@pytest.mark.parametrize("unit", ["pixel", "inch"])
def test_azures_own_models_are_read(unit: str, tmp_path: Path) -> None:
    """The sample as azure-ai-documentintelligence understands it and writes it again is read the same."""
    models = pytest.importorskip("azure.ai.documentintelligence.models", reason="needs azure-ai-documentintelligence")
    result = models.AnalyzeResult(samples.azure(unit=unit)["analyzeResult"])
    assert [word.content for word in result.pages[0].words] == TEXTS
    assert result.documents[0].fields["Items"].value_array[0].value_object["Description"].bounding_regions
    assert read(tmp_path / "a.json", result.as_dict()) == read(tmp_path / "a.json", samples.azure(unit=unit))


def test_rapidocrs_own_output_is_read(tmp_path: Path) -> None:
    """What RapidOCR returns, as it writes it itself."""
    output = pytest.importorskip("rapidocr.utils.output", reason="needs rapidocr")
    numpy = pytest.importorskip("numpy")
    found = output.RapidOCROutput(
        boxes=numpy.array([quad(box) for box in BOXES], dtype=float),
        txts=tuple(TEXTS),
        scores=tuple([0.9] * len(TEXTS)),
    )
    receipt = read(tmp_path / "a.json", found.to_json())
    assert [word.text for word in receipt.words] == TEXTS
    assert receipt.words[0].confidence == pytest.approx(0.9)


def test_label_studio_accepts_our_export(tmp_path: Path) -> None:
    """The SDK finds tasks, annotations and predictions of our export valid for the configuration that comes with it."""
    interface = pytest.importorskip(
        "label_studio_sdk.label_interface",
        reason="needs label-studio-sdk, which wants an older OpenCV than rapidocr has here",
    )
    receipt = read(tmp_path / "a.json", samples.label_studio())
    project = interface.LabelInterface(config=labeling_config(["odd"]))
    for task in json.loads("".join(lines([receipt], "label-studio"))):
        assert project.validate_task({"data": task["data"]})
        assert all(project.validate_annotation(annotation) for annotation in task["annotations"])
        assert all(project.validate_prediction(prediction) for prediction in task["predictions"])
