"""The interface over the wire: answers, refusals that say what to do, limits, and who may ask."""

from __future__ import annotations

import io
import json
import logging
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest
from PIL import Image

from receipt_trainer.errors import WorldError
from receipt_trainer.serving import photos
from receipt_trainer.serving.access import Access, new_token
from receipt_trainer.serving.app import App, create_app
from receipt_trainer.serving.corrections import FileCorrections
from receipt_trainer.serving.holder import Holder
from receipt_trainer.serving.openapi import document
from tests.serving.browser import PATIENT, served
from tests.serving.mutate import mutated
from tests.serving.standing import Standing

PHOTO = Path(__file__).parents[2] / "docs" / "receipt.jpg"
WORDS: dict[str, Any] = {
    "width": 400,
    "height": 600,
    "words": [
        {"text": "Corner", "box": [10, 10, 80, 30], "line": 0},
        {"text": "Shop", "box": [90, 10, 150, 30], "line": 0},
        {"text": "Total", "box": [10, 50, 60, 70], "line": 1},
        {"text": "12.50", "box": [300, 50, 360, 70], "line": 1},
    ],
}
LIMITS = replace(PATIENT, body=replace(PATIENT.body, json_bytes=200_000, photo_bytes=1_000_000))
Client = httpx.Client


@contextmanager
def client_of(app: App, **options: Any) -> Iterator[Client]:
    """A client of an application that is served on loopback."""
    with served(app) as url, httpx.Client(base_url=url, timeout=300, trust_env=False, **options) as client:
        yield client


@pytest.fixture(scope="module")
def client(holder: Holder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    corrections = FileCorrections(tmp_path_factory.mktemp("kept") / "corrections.jsonl")
    with client_of(create_app(holder, corrections=corrections, limits=LIMITS)) as found:
        yield found


def is_problem(answer: httpx.Response, status: int) -> str:
    """The detail of a problem, which has the form of RFC 9457 and fits the interface."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    assert said["type"] == "about:blank"
    assert said["title"]
    detail: str = said["detail"]
    assert detail
    assert "\n" not in detail
    return detail


def schema_of(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}", "components": document()["components"]}


def test_answers_are_those_of_read(client: Client, holder: Holder) -> None:
    """Words, photos, PDFs and forms get what the reader answers in Python and on the command line, but for their id."""
    pdf = io.BytesIO()
    photo = Image.open(PHOTO)
    photo.crop((0, 0, photo.width, photo.height // 5)).save(pdf, "PDF")
    reader = holder.current().reader
    assert client.post("/v1/receipts:read", json={"id": "mine", **WORDS}).json() == reader.read({"id": "mine", **WORDS})
    for content, name in ((PHOTO.read_bytes(), "image/jpeg"), (pdf.getvalue(), "application/pdf")):
        answer = client.post("/v1/receipts:read?pages=1", content=content, headers={"content-type": name})
        jsonschema.validate(answer.json(), schema_of("answer"))
        wanted = reader.read(content)
        assert len(wanted["words"]) > 10
        assert answer.json() | {"id": ""} == wanted | {"id": ""}
        assert str(uuid.UUID(answer.json()["id"])) == answer.json()["id"]
    form = client.post("/v1/receipts:read", files={"file": ("x", pdf.getvalue(), "application/pdf")})
    assert form.json() == answer.json()


def test_words_without_an_id_are_called_by_their_hash(client: Client) -> None:
    """The same words are the same receipt, others are another one."""
    ids = [client.post("/v1/receipts:read", json=WORDS | {"width": width}).json()["id"] for width in (400, 400, 401)]
    assert ids[0] == ids[1] != ids[2]


def test_fields_of_labels_that_nobody_changed_are_those_that_were_read(client: Client) -> None:
    """Of the words of an answer, `:fields` says what the answer says; with a label of a person, what follows."""
    answer = client.post("/v1/receipts:read", json=WORDS).json()
    names = ("text", "box", "page", "line", "label", "confidence", "ocr_confidence")
    words = [{name: word[name] for name in names} | {"proposed": word["label"]} for word in answer["words"]]
    pages = [{name: page[name] for name in ("page", "width", "height")} for page in answer["pages"]]
    body = {"pages": pages, "words": words, "confirmed": False}
    said = client.post("/v1/receipts/x:fields", json=body).json()
    assert {name: said[name] for name in ("summary", "checks", "review")} == {
        name: answer[name] for name in ("summary", "checks", "review")
    }
    assert {label: [find["words"] for find in finds] for label, finds in said["fields"].items()} == {
        label: [find["words"] for find in finds] for label, finds in answer["fields"].items()
    }
    words[0] |= {"label": "MERCHANT_NAME", "by_person": True}
    said = client.post("/v1/receipts/x:fields", json=body).json()
    assert words[0]["text"] in said["summary"]["merchant"]


def test_a_correction_is_kept(client: Client) -> None:
    """What the page sends comes back as what was kept; what is wrong with one is said with its place."""
    word = {"text": "Shop", "box": [1, 1, 50, 20], "page": 1, "line": 0, "label": "MERCHANT_NAME", "by_person": True}
    correction = {"pages": [{"page": 1, "width": 100, "height": 100}], "words": [word], "confirmed": True}
    saved = client.post("/v1/receipts/abc:correct", json=correction)
    jsonschema.validate(saved.json(), schema_of("Saved"))
    assert saved.json() == {"id": "abc", "saved_to": "file", "num_words": 1, "num_labels": 1, "confirmed": True}
    form: Any = {"correction": (None, json.dumps(correction), "application/json"), "photo": ("p", b"x", "image/jpeg")}
    assert client.post("/v1/receipts/abc:correct", files=form).status_code == 200
    wrong = client.post("/v1/receipts/abc:correct", json=correction | {"words": [word | {"box": [1]}]})
    assert "words.0.box" in is_problem(wrong, 422)


@pytest.mark.parametrize("name", ["shop/1.jpg", "../../a", "100% off?&x=1#f", "مرحبا", "x:correct"])
def test_a_receipt_may_have_any_name(client: Client, name: str) -> None:
    """Receipts of files are called as their records say, with slashes, too; encoded, each name can be corrected."""
    word = {"text": "Shop", "box": [1, 1, 50, 20], "page": 1, "line": 0, "label": "DATE", "by_person": True}
    correction = {"pages": [{"page": 1, "width": 100, "height": 100}], "words": [word], "confirmed": True}
    saved = client.post(f"/v1/receipts/{quote(name, safe='')}:correct", json=correction)
    assert saved.status_code == 200, saved.text
    assert saved.json()["id"] == name


JPEG, JSON = {"content-type": "image/jpeg"}, {"content-type": "application/json"}
REFUSED: dict[str, tuple[int, dict[str, Any], str]] = {
    "no type": (415, {"content": b"{}"}, "Content-Type"),
    "another type": (415, {"content": b"x", "headers": {"content-type": "text/csv"}}, "application/json"),
    "compressed": (415, {"content": b"x", "headers": JSON | {"content-encoding": "gzip"}}, "Content-Encoding"),
    "no JSON": (400, {"content": b"{", "headers": JSON}, "not JSON"),
    "deep JSON": (400, {"content": b"[" * 100_000, "headers": JSON}, "not JSON"),
    "not UTF-8": (400, {"content": b'{"\xff', "headers": JSON}, "not JSON"),
    "no receipt": (422, {"json": [1]}, "width, height, words"),
    "no size": (422, {"json": {"words": WORDS["words"]}}, "width"),
    "fractions": (422, {"json": WORDS | {"words": [{"text": "a", "box": [0.1, 0.1, 0.2, 0.2]}]}}, "pixels"),
    "words": (422, {"json": WORDS | {"words": WORDS["words"] * 1001}}, "at most 4000"),
    "large JSON": (413, {"content": b" " * 200_001, "headers": JSON}, "0.2 MB"),
    "large photo": (413, {"content": b" " * 1_000_001, "headers": JPEG}, "1 MB"),
    "no photo": (422, {"content": b"hello", "headers": JPEG}, "no format"),
    "no PDF": (422, {"content": b"%PDF-1.4", "headers": {"content-type": "application/pdf"}}, "not a readable PDF"),
    "no form": (400, {"content": b"x", "headers": {"content-type": "multipart/form-data"}}, "form"),
    "no part": (400, {"files": {"other": b"x"}}, "'file'"),
    "pages": (400, {"params": {"pages": "0"}, "content": b"x", "headers": JPEG}, "pages 0"),
    "no page": (422, {"params": {"pages": "7"}, "content": PHOTO.read_bytes(), "headers": JPEG}, "no page 7"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused(client: Client, name: str) -> None:
    """Each mistake has its status and a sentence that says what to do."""
    status, request, said = REFUSED[name]
    assert said in is_problem(client.post("/v1/receipts:read", **request), status)


@pytest.mark.parametrize("side", [8_000, 14_000])
def test_a_bomb_of_pixels_is_refused_before_it_is_decoded(client: Client, side: int) -> None:
    """A small file that says it has more than 40 megapixels, or more than Pillow opens, is not decoded."""
    bomb = io.BytesIO()
    Image.new("1", (side, side)).save(bomb, "PNG")
    answer = client.post("/v1/receipts:read", content=bomb.getvalue(), headers={"content-type": "image/png"})
    assert "40 megapixels" in is_problem(answer, 422)


def test_a_body_without_a_length_is_bounded_too(client: Client) -> None:
    """A streamed body is refused when it passes the limit, and who sends it gets the answer."""
    pieces = (b" " * 50_000 for _ in range(40))
    assert "0.2 MB" in is_problem(client.post("/v1/receipts:read", content=pieces, headers=JSON), 413)


def test_all_bodies_together_are_bounded(holder: Holder) -> None:
    """While others send much at a time, a body is refused with the time to come back, and read when they have gone."""
    limits = replace(LIMITS, body=replace(LIMITS.body, all_bytes=100_000))
    large = json.dumps(WORDS).encode().ljust(60_000)
    with client_of(create_app(holder, limits=limits)) as client:
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as half:
            head = "POST /v1/receipts:read HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            half.sendall(f"{head}Content-Length: 90000\r\n\r\n".encode() + b" " * 80_000)
            while (answer := client.post("/v1/receipts:read", content=large, headers=JSON)).status_code == 200:
                pass
            assert "again" in is_problem(answer, 503)
        while client.post("/v1/receipts:read", content=large, headers=JSON).status_code == 503:
            pass


def test_addresses_and_methods_that_are_not_there(client: Client) -> None:
    """The router's own refusals are problems as well, and name the methods."""
    is_problem(client.get("/v1/nothing"), 404)
    is_problem(client.get("/../../etc/passwd"), 404)
    is_problem(client.get("/v1/review"), 404)
    answer = client.get("/v1/receipts:read")
    is_problem(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_the_model_says_what_it_is(client: Client, holder: Holder) -> None:
    """/v1/model fits its schema."""
    said = client.get("/v1/model").json()
    jsonschema.validate(said, schema_of("Model"))
    assert (said["version"], said["corrections"], said["review"]) == (holder.current().version, True, False)


def test_figures(client: Client) -> None:
    """What was read, refused and how sure the model was is counted in Prometheus' format."""
    client.post("/v1/receipts:read", json=WORDS)
    is_problem(client.post("/v1/receipts:read", json=[]), 422)
    lines = client.get("/metrics").text.splitlines()
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    assert values['receipt_trainer_requests_total{route="/v1/receipts:read",status="200"}'] >= 1
    assert values['receipt_trainer_requests_total{route="/v1/receipts:read",status="422"}'] >= 1
    assert values['receipt_trainer_read_seconds_count{kind="words"}'] >= 1
    assert values["receipt_trainer_words_total"] >= 4
    assert 0 < values["receipt_trainer_word_confidence_mean"] <= 1


def test_every_answer_binds_browsers(client: Client) -> None:
    """No inline script, no frame, no guessing of types, no referrer: on the page as on a refusal."""
    for path in ("/", "/page.js", "/v1/nothing"):
        headers = client.get(path).headers
        assert "script-src 'self';" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "[::1", "a@localhost"]
)
def test_a_name_that_is_not_loopback_is_refused(client: Client, host: str) -> None:
    """DNS rebinding: a foreign name that leads here gets nothing, whatever the method."""
    is_problem(client.get("/v1/model", headers={"host": host}), 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:9", "127.8.8.8", "[::1]:8000"])
def test_names_of_loopback_are_taken(client: Client, host: str) -> None:
    """Each name of this machine is one, with any port: one may be forwarded."""
    assert client.get("/v1/model", headers={"host": host}).status_code == 200


def test_writes_of_another_site_are_refused(client: Client) -> None:
    """Another origin, also of another port of this machine, may not write; our own page and programs may."""
    host = str(client.base_url).removeprefix("http://").strip("/")
    for headers in (
        {"origin": "http://localhost:1"},
        {"origin": "null"},
        {"origin": f"http://{host}.evil.example"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
    ):
        is_problem(client.post("/v1/receipts:read", json=WORDS, headers=headers), 403)
    own = {"origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    assert client.post("/v1/receipts:read", json=WORDS, headers=own).status_code == 200


def test_a_token_is_asked_for(holder: Holder) -> None:
    """With a token, by any name, all but page and health needs it; a wrong one is refused as none is."""
    token, hashed = new_token()
    with client_of(create_app(holder, access=Access(hashed), limits=LIMITS), headers={"host": "example.com"}) as client:
        for path in ("/v1/model", "/metrics", "/v1/review"):
            for wrong in ({}, {"authorization": "Bearer x"}, {"authorization": f"Basic {token}"}):
                answer = client.get(path, headers=wrong)
                is_problem(answer, 401)
                assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/v1/model", headers={"authorization": f"bearer {token}"}).status_code == 200
        assert {client.get(path).status_code for path in ("/", "/page.js", "/healthz", "/readyz")} == {200}


class Stopping:
    """A reader that reads when it is let."""

    def __init__(self, holder: Holder) -> None:
        held = holder.current()
        self.go, self.num_reading = threading.Semaphore(0), threading.Semaphore(0)
        reader: Any = SimpleNamespace(answer=self._answer, version=held.version, family=held.reader.family)
        self._answer_of = held.reader.answer
        self.holder = Standing(replace(held, reader=reader))

    def _answer(self, given: Any) -> Any:
        self.num_reading.release()
        assert self.go.acquire(timeout=300)
        return self._answer_of(given)


@contextmanager
def asking(client: Client, count: int) -> Iterator[list[httpx.Response]]:
    """Requests on their way; their answers are there after the block."""
    answers: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda: answers.append(client.post("/v1/receipts:read", json=WORDS)))
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        for thread in threads:
            thread.join()


def test_it_answers_while_all_threads_read(holder: Holder) -> None:
    """With every place taken, health is answered, and a document that would wait too long is refused at once."""
    stopping = Stopping(holder)
    limits = replace(LIMITS, words_wait_s=0.0)
    with client_of(create_app(stopping.holder, limits=limits)) as client, asking(client, 2) as answers:
        for _ in range(2):
            assert stopping.num_reading.acquire(timeout=300)
        assert client.get("/healthz").text == client.get("/readyz").text == "ok\n"
        refused = client.post("/v1/receipts:read", json=WORDS)
        assert "again in" in is_problem(refused, 503)
        assert int(refused.headers["retry-after"]) >= 1
        assert 'receipt_trainer_shed_total{kind="words"} 1' in client.get("/metrics").text
        stopping.go.release(2)
    assert [answer.status_code for answer in answers] == [200, 200]


def test_a_deadline_is_kept(holder: Holder) -> None:
    """Who waits longer than the deadline is told so; the place is taken until the thread has really ended."""
    stopping = Stopping(holder)
    app = create_app(stopping.holder, limits=replace(LIMITS, workers=1, words_deadline_s=0.05, words_wait_s=0.0))
    with client_of(app) as client:
        assert "not read within 0.05 s" in is_problem(client.post("/v1/receipts:read", json=WORDS), 504)
        is_problem(client.post("/v1/receipts:read", json=WORDS), 503)
        stopping.go.release(1000)
        for _ in range(3000):
            if client.post("/v1/receipts:read", json=WORDS).status_code != 503:
                break
        else:
            pytest.fail("the place was never free again")


def test_who_has_gone_takes_no_place(holder: Holder) -> None:
    """A document that waits and whose sender goes is not read."""
    stopping = Stopping(holder)
    app = create_app(stopping.holder, limits=replace(LIMITS, workers=1, words_wait_s=1000.0))
    with client_of(app) as client, asking(client, 1):
        assert stopping.num_reading.acquire(timeout=300)
        with pytest.raises(httpx.ReadTimeout):
            client.post("/v1/receipts:read", json=WORDS, timeout=httpx.Timeout(300, read=0.2))
        while 'status="499"' not in client.get("/metrics").text:
            pass
        stopping.go.release(1000)
    assert not stopping.num_reading.acquire(blocking=False)


def test_a_fault_of_ours_says_nothing_of_the_receipt(holder: Holder, caplog: pytest.LogCaptureFixture) -> None:
    """The answer is a bare 500; the log has the place of the fault, and no word of the receipt."""

    def broken(given: Any) -> Any:
        raise KeyError("SECRET")

    held = holder.current()
    reader: Any = SimpleNamespace(answer=broken, version=held.version, family=held.reader.family)
    with (
        client_of(create_app(Standing(replace(held, reader=reader)), limits=LIMITS)) as client,
        caplog.at_level(logging.INFO),
    ):
        assert "SECRET" not in is_problem(client.post("/v1/receipts:read?pages=1", json=WORDS), 500)
    told = "\n".join(record.getMessage() for record in caplog.records if record.name == "receipt_trainer.serving")
    assert "in broken" in told
    assert told.replace('raise KeyError("SECRET")', "").count("KeyError") == 1
    assert not {said for said in ("SECRET", "Corner", "pages=") if said in told.replace('raise KeyError("SECRET")', "")}


def test_what_is_behind_the_server_may_be_away(holder: Holder) -> None:
    """A table that cannot be reached is a 503 that says when to come back."""

    def save(*_: Any) -> Any:
        raise WorldError("the table cannot be reached")

    word = {"text": "Shop", "box": [1, 1, 50, 20], "line": 0, "label": "O"}
    correction = {"pages": [{"page": 1, "width": 100, "height": 100}], "words": [word], "confirmed": True}
    corrections: Any = SimpleNamespace(save=save)
    with client_of(create_app(holder, corrections=corrections, limits=LIMITS)) as client:
        answer = client.post("/v1/receipts/x:correct", json=correction)
        assert "cannot be reached" in is_problem(answer, 503)
        assert answer.headers["retry-after"]


def test_one_photo_ends_no_server(holder: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo whose decoder dies, takes all memory or never ends gets a refusal, and the next one is read."""
    monkeypatch.setattr(photos, "_WORKER", "tests.serving.hostile_worker")

    def read(client: Client, content: bytes) -> httpx.Response:
        return client.post("/v1/receipts:read", content=content, headers=JPEG)

    with client_of(create_app(holder, limits=replace(LIMITS, workers=1))) as client:
        assert "too much memory" in is_problem(read(client, b"die"), 422)
        assert "memory" in is_problem(read(client, b"eat"), 422)
        assert is_problem(read(client, b"fault"), 500)
        assert read(client, b"fine").json()["words"][0]["text"] == "fine"
    with client_of(create_app(holder, limits=replace(LIMITS, workers=1, photo_deadline_s=1.0))) as client:
        assert "within 1 s" in is_problem(read(client, b"hang"), 504)
        assert client.post("/v1/receipts:read", json=WORDS).status_code == 200


def test_mutated_bodies(client: Client) -> None:
    """500 bodies, each with something wrong or odd: every one is answered, none by a fault of ours."""
    random = Random(7)
    for number in range(500):
        body, kind, pages = mutated(random, WORDS, PHOTO.read_bytes())
        answer = client.post("/v1/receipts:read", params=pages, content=body, headers={"content-type": kind})
        assert answer.status_code in (200, 400, 413, 415, 422), (number, answer.status_code, body[:300])
        if answer.status_code != 200:
            is_problem(answer, answer.status_code)
