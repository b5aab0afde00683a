"""`read --server`: documents that a model writes, over the wire, in the shape of every other answer."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from click.testing import CliRunner, Result
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from PIL import Image

from receipt_trainer.cli.commands.read import command
from receipt_trainer.data.document import DOCUMENT_SCHEMA, ROWS_SCHEMA, check, to_rows
from receipt_trainer.data.document_set import PROMPT_FILE, TrainedAs
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.inference import document_server
from receipt_trainer.inference.answer import Answer, schema
from receipt_trainer.inference.document_server import DocumentServer
from receipt_trainer.inference.inputs import DrawnPage, Given
from receipt_trainer.inference.server_reader import ServerReader
from tests.inference.chat_server import chat_server, says, sent_image
from tests.models.paddleocr_vl.receipts import document, draw_page
from tests.pages.pdfs import pdf_of_pages

VALIDATOR = Draft202012Validator(schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
SOUND = document(random.Random(0), num_items=2)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """It is asked again at once, not after a second; the test runs in a folder of its own."""
    monkeypatch.setitem(document_server.RETRIES, "backoff_factor", 0.0)  # type: ignore[index]
    monkeypatch.chdir(tmp_path)
    with chat_server() as running:
        yield running


@pytest.fixture
def read(server: Any) -> Callable[..., Result]:
    def call(*arguments: object, stdin: bytes | None = None) -> Result:
        words = [*map(str, arguments), "--server", server.url]
        return CliRunner().invoke(command, words, input=stdin)

    return call


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def answered(*texts: Any, **options: Any) -> Answer:
    """What comes of these answers, one a page; all of them have the published shape."""
    told = [text if isinstance(text, str) else json.dumps(text) for text in texts]
    server = DocumentServer("http://127.0.0.1:9", "invoices", "OCR:{}")
    reader = ServerReader(server, **options)
    pages = tuple(DrawnPage(number, 80, 60, b"") for number in range(1, len(told) + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DocumentServer, "ask_drawn", lambda *_: told)
        answer = reader.answer(Given("paper", drawn=pages))
    VALIDATOR.validate(answer)
    return answer


def codes(answer: Answer) -> list[str]:
    return [reason["code"] for reason in answer["review_reasons"]]


def test_a_folder_of_photos_is_read_through_a_server(read: Callable[..., Result], server: Any) -> None:
    """Photos, a TIFF of two pages and a PDF have an answer each, of the published shape; words beside are passed over;
    the file of answers is gone on with, and asked are the pages themselves, with the prompt that is given."""
    Path("in").mkdir()
    drawn = draw_page(SOUND, random.Random(0))
    drawn.save("in/a.png")
    drawn.save("in/b.tiff", save_all=True, append_images=[drawn.rotate(90)])
    Path("in/c.pdf").write_bytes(pdf_of_pages([(200, 300)]))
    Path("in/words.jsonl").write_text("{}\n")
    server.script[:] = [says(SOUND)]
    done = read("in", "--output", "out.jsonl", "--prompt", "all of it", "--workers", "1")
    assert done.exit_code == 0, done.output
    first, second, third = lines(Path("out.jsonl").read_text())
    for answer in (first, second, third):
        VALIDATOR.validate(answer)
    assert [len(answer["pages"]) for answer in (first, second, third)] == [1, 2, 1]
    assert first["summary"] == {
        "merchant": SOUND["vendor"]["name"],
        "date": SOUND["date"],
        "total": f"{SOUND['grand_total']}.00",
        "currency": SOUND["currency"],
        "subtotal": f"{SOUND['subtotal']}.00",
        "tax": None,
    }
    assert (first["review"], first["documents"]) == (False, [{"page": 1, "document": SOUND}])
    assert [row["total"]["value"]["amount"] for row in first["items"]] == [
        f"{item['total']}.00" for item in SOUND["line_items"]
    ]
    assert len(server.asked) == 4
    body = server.asked[0][1]
    assert body["messages"][0]["content"][1]["text"] == "all of it"
    for form in (SOUND, to_rows(SOUND)):  # a model writes line items as it has learned
        assert check(form, body["response_format"]["json_schema"]["schema"]) == []
    assert sent_image(body).tobytes() == drawn.tobytes()
    drawn.rotate(180).save("in/a.png")
    assert read("in", "--output", "out.jsonl", "--prompt", "all of it").exit_code == 0
    assert len(server.asked) == 5, "only what has changed is asked for again"
    table = read("in/a.png", "--table").output
    assert f"{SOUND['grand_total']}.00 {SOUND['currency']}" in table
    rows = read("in/a.png", "--csv", "--items").output.splitlines()
    assert len(rows) == 3
    assert [answer["id"] for answer in lines(read("-", stdin=Path("in/a.png").read_bytes()).stdout)] == ["stdin"]


def test_a_page_is_sent_as_large_as_a_model_may_look_at_it() -> None:
    """Up to the bound of version 1.0, which is the largest of all versions; larger ones are scaled to it."""
    sizes = [Image.open(io.BytesIO(document_server.png_of(Image.new("L", size)))).size for size in SIZES]
    assert sizes[:2] == SIZES[:2]
    assert 2_800_000 < sizes[2][0] * sizes[2][1] <= 2_822_400


SIZES = [(1680, 1680), (20, 900), (3024, 4032)]


def test_a_page_that_gets_no_answer_is_refused(read: Callable[..., Result], server: Any) -> None:
    """A page that the server fails at, and a file that is none, are a line each; the others are read."""
    Path("in").mkdir()
    Image.new("RGB", (80, 60), "white").save("in/a.png")
    Image.new("RGB", (80, 60), "gray").save("in/b.png")
    Path("in/c.jpg").write_text("no image")
    server.script[:] = [(500, b"broken\n here"), says(SOUND)]
    done = read("in", "--workers", "1")
    assert done.exit_code == 1
    first, second, third = lines(done.stdout)
    assert first["error"] == f"{server.url}: status 500: broken here"
    assert second["summary"]["merchant"] == SOUND["vendor"]["name"]
    assert third["error"]
    assert len(done.stderr.splitlines()) == 2


def test_what_proxies_say_is_understood(server: Any) -> None:
    """A time to wait that is none is no reason to give up, a text in parts is one text, and who sends us elsewhere is
    not followed, with the page and the key, but named."""
    asked, page = DocumentServer.connect(server.url, "invoices", "OCR:{}", 8), Image.new("RGB", (80, 60), "white")
    parts = [{"type": "text", "text": '{"a":'}, {"type": "text", "text": "1}"}]
    server.script[:] = [(429, b"busy", {"Retry-After": "tomorrow"}), (503, b"", {"Retry-After": "0"})]
    server.script += [(200, {"choices": [{"message": {"content": parts}}]})]
    assert asked.ask([page]) == ['{"a":1}']
    server.script[:] = [(307, b"", {"Location": "https://elsewhere/v1"})]
    with pytest.raises(UserError, match=r"it sends on to https://elsewhere/v1 \(307\): give its address to --server"):
        asked.ask([page])
    assert len(server.asked) == 4


@pytest.mark.parametrize("status", [401, 404])
def test_a_server_that_refuses_all_ends_the_command(read: Callable[..., Result], server: Any, status: int) -> None:
    """A key that it does not take, and a model that it has not, are one line and not one for each document."""
    Path("in").mkdir()
    for name, colour in (("a", "white"), ("b", "gray")):
        Image.new("RGB", (80, 60), colour).save(f"in/{name}.png")
    server.script[:] = [(status, b"no")]
    done = read("in", "--workers", "1")
    assert isinstance(done.exception, UserError)
    assert (f"({status})" in str(done.exception), done.stdout) == (True, "")


def test_a_server_that_is_away_ends_the_command(read: Callable[..., Result], server: Any) -> None:
    """After a bounded number of tries, as a fault of the world; what was answered before is kept."""
    Path("in").mkdir()
    for name, colour in (("a", "white"), ("b", "gray")):
        Image.new("RGB", (80, 60), colour).save(f"in/{name}.png")
    server.script[:] = [says(SOUND), (503, b"busy")]
    done = read("in", "--workers", "1", "--output", "out.jsonl")
    assert done.exit_code == 1
    assert len(server.asked) == 1 + 1 + document_server.RETRIES["total"]  # type: ignore[operator]
    assert len(lines(Path("out.jsonl").read_text())) == 2
    away = CliRunner().invoke(command, ["in", "--server", "http://127.0.0.1:9"])
    assert isinstance(away.exception, WorldError)
    assert str(away.exception).startswith("http://127.0.0.1:9: no answer: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["words.jsonl"], "words.jsonl: no image or PDF; with --server no others are read"),
        (["words.jsonl", "--format", "jsonl"], "leave --format out"),
        (["words.png", "--model", "RUN"], "RUN: no model of PaddleOCR-VL: name its folder"),
        (["words.png", "--model", "other"], "other: no model of PaddleOCR-VL: name its folder"),
        (["words.png", "--model", PROMPT_FILE], f'{PROMPT_FILE}: not JSON with a "prompt"'),
        (["folder"], "no image or PDF in this folder"),
    ],
)
def test_mistakes_are_one_line(read: Callable[..., Result], arguments: list[str], said: str) -> None:
    """Words are for a model of words; the prompt is that of a model of this family."""
    Path("words.jsonl").write_text("{}\n")
    Path(PROMPT_FILE).write_text("OCR:")
    Path("other").mkdir()
    Path("other/config.json").write_text('{"model_type": "layoutlm"}')
    Image.new("RGB", (80, 60), "white").save("words.png")
    Path("folder").mkdir()
    Path("folder/words.jsonl").write_text("{}\n")
    error = read(*arguments).exception
    assert isinstance(error, UserError)
    assert said in str(error)


@pytest.mark.parametrize(
    "text", ['{"width": 9, "height": 9, "words": [{"text": "a", "box": [1, 1, 5, 5]}]}', "tea 1.50"]
)
def test_words_on_standard_input_are_a_mistake(read: Callable[..., Result], server: Any, text: str) -> None:
    """As they are in a file that is named."""
    error = read("-", stdin=text.encode()).exception
    assert isinstance(error, UserError)
    assert str(error) == "standard input: no image or PDF; with --server no others are read"
    assert server.asked == []


def test_a_server_is_asked_as_its_model_was_trained(read: Callable[..., Result], server: Any) -> None:
    """By what is stored with the model, whose folder or file is named; what is given as --prompt counts more."""
    Image.new("RGB", (80, 60), "white").save("a.png")
    Path("run/model").mkdir(parents=True)
    Path("run/run.json").write_text("{}")
    Path("run/model", PROMPT_FILE).write_text(TrainedAs("Read this.", compact_items=True).to_json())
    Path("published").mkdir()
    Path("published/config.json").write_text('{"model_type": "paddleocr_vl"}')
    server.script[:] = [says(to_rows(SOUND))]
    for model in ("run", "run/model", f"run/model/{PROMPT_FILE}", "published"):
        done = read("a.png", "--model", model)
        assert lines(done.stdout)[0]["summary"]["merchant"] == SOUND["vendor"]["name"]
    read("a.png", "--model", "run", "--prompt", "Read that.")
    asked = [(body["messages"][0]["content"][1]["text"], body["response_format"]) for _, body in server.asked]
    assert [prompt for prompt, _ in asked] == [*["Read this."] * 3, "OCR:{}", "Read that."]
    schemas = [given["json_schema"]["schema"] for _, given in asked]
    assert schemas == [*[ROWS_SCHEMA] * 3, DOCUMENT_SCHEMA, ROWS_SCHEMA]


def test_values_are_those_that_the_numbers_mean() -> None:
    """A point is the decimal sign, whatever the digits behind it; money has its digits; what is a text is read as one;
    tax numbers, terms and clients are fields as well."""
    item = {"description": "Petrol", "quantity": 30.5, "unit_price": 1.234, "total": 37.64}
    said = SOUND | {"currency": "EUR", "line_items": [item], "subtotal": "37,64", "grand_total": 44.79, "tax": 7.15}
    said |= {"invoice_number": "A-7", "due_date": "2026-12-27", "tax_rate": 19.0, "client": {"name": "Ann"}}
    answer = answered(said)
    (row,) = answer["items"]
    assert (row["quantity"]["value"], row["unit_price"]["value"]["amount"]) == ("30.5", "1.234")
    assert answer.summary["subtotal"] == "37.64"
    values = {label: finds[0]["value"] for label, finds in answer.fields.items()}
    assert values["INVOICE_NUMBER"] == "A-7"
    assert (values["DUE_DATE"], values["TAX_RATE"], values["CLIENT_NAME"]) == ("2026-12-27", "19", "Ann")
    assert answer["checks"]["subtotal_plus_tax_is_total"] is True
    assert answered(to_rows(SOUND)) == answered(SOUND)
    yen = answered(SOUND | {"currency": "JPY", "grand_total": 1200.0, "line_items": [], "subtotal": None})
    assert yen.summary["total"] == "1200"
    unknown = answered(SOUND | {"currency": None, "grand_total": 12.5, "line_items": [], "subtotal": 12.5})
    assert (unknown.summary["total"], unknown.summary["currency"]) == ("12.50", None)
    assert answered(SOUND | {"currency": "€"}).summary["currency"] == "EUR"
    assert answered(SOUND | {"currency": None}, currency="chf").summary["currency"] == "CHF"


def test_a_date_is_read_as_on_words() -> None:
    """One that may be two days is null with both, unless the user says the order; the date by which to pay is none."""
    said = SOUND | {"date": "03/04/2025"}
    answer = answered(said)
    assert answer.summary["date"] is None
    assert answer.fields["DATE"][0]["ambiguous"] == ["2025-03-04", "2025-04-03"]
    assert {"ambiguous_value", "broken_document"} <= {*codes(answer)}
    assert answered(said, date_order="dmy").summary["date"] == "2025-04-03"
    assert answered(SOUND | {"date": None, "due_date": "2026-12-27"}).summary["date"] is None
    with pytest.raises(UserError, match="date order"):
        answered(SOUND, date_order="dym")


def test_sums_are_checked() -> None:
    """Sums that hold with the discount say nothing; those that do not are for a person, in words, once."""
    item = {"description": "Tea", "quantity": 2, "unit_price": 50, "total": 100}
    sound = SOUND | {"currency": "EUR", "line_items": [item], "subtotal": 100, "tax": 19, "discount": 10}
    answer = answered(sound | {"grand_total": 109})
    assert (answer["review"], answer["checks"]["subtotal_plus_tax_is_total"]) == (False, None)
    assert answer.fields["DISCOUNT"][0]["value"] == {"amount": "10.00", "currency": "EUR"}
    wrong = answered(sound | {"grand_total": 150})
    (reason,) = wrong["review_reasons"]
    assert (reason["code"], reason["text"][:11]) == ("check_failed", "grand_total")


def test_several_pages_are_one_document() -> None:
    """Rows of all pages add up to the total of the last; a page whose answer was cut, and pages that say different
    things, are for a person."""
    first, last = SOUND["line_items"]
    start = SOUND | {"line_items": [first], "subtotal": None, "grand_total": None}
    answer = answered(start, SOUND | {"line_items": [last]})
    assert (answer["review"], answer["checks"]["items_sum_to_total"]) == (False, True)
    assert [(row["row"], row["total"]["page"]) for row in answer["items"]] == [(1, 1), (2, 2)]
    differ = answered(SOUND, SOUND | {"grand_total": 1, "date": "2020-01-01"})
    assert codes(differ).count("pages_differ") == 2
    cut = answered(SOUND, '{"document_type": "rec')
    assert (codes(cut), cut["documents"][1]) == (["no_document"], {"page": 2, "document": None})
    assert cut["review_reasons"][0]["text"].startswith("page 2: ")
    assert cut.summary["total"] == f"{SOUND['grand_total']}.00"
    assert codes(answered("I cannot read this."))[0] == "no_document"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SOUND, "name"]), inner, max_size=3),
    max_leaves=8,
)
_ODD = st.fixed_dictionaries({}, optional=dict.fromkeys(SOUND, _JSON))


@hypothesis.settings(max_examples=60)
@hypothesis.given(pages=st.lists(_ODD, min_size=1, max_size=2))
def test_whatever_a_model_writes_has_an_answer(pages: list[dict[str, Any]]) -> None:
    """Without guided decoding any JSON may come: it is never a fault, and the answer keeps its shape."""
    answer = answered(*pages)
    json.dumps(answer, allow_nan=False)
    assert answer["review"]


def test_a_server_is_read_through_without_a_model_here(server: Any, tmp_path: Path) -> None:
    """The process has neither torch nor onnxruntime, nor the tokenizer or OCR of the other family."""
    Image.new("RGB", (80, 60), "white").save("a.png")
    server.script[:] = [says(SOUND)]
    program = f"""
import sys
from receipt_trainer.cli.receipt_trainer import main
sys.argv[1:] = ["read", "a.png", "--server", {server.url!r}, "--csv"]
try: main()
except SystemExit as end: assert not end.code, end.code
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert SOUND["vendor"]["name"] in done.stdout
    modules = {*done.stdout.splitlines()[-1].split()}
    assert "receipt_trainer.inference.server_reader" in modules
    assert not {"torch", "transformers", "onnxruntime", "tokenizers", "cv2", "boto3"} & modules
