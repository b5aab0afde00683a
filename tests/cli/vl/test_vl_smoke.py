"""`vl smoke`: a merged model in the published form, what it was made of, and a server that serves it over the wire."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import urllib3
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers.utils.import_utils import is_serve_available

from receipt_trainer.config.paddleocr_vl import LoraSection
from receipt_trainer.models.paddleocr_vl.generate import answer_images
from receipt_trainer.models.paddleocr_vl.merge import merge
from receipt_trainer.models.paddleocr_vl.model import Loaded, load
from tests.cli.jobs import Caller
from tests.models.paddleocr_vl.published import adapter_on, make_published
from tests.pages.pdfs import pdf_of_pages
from tests.waiting import wait_for

START_S = 900.0
"""Importing torch and a web server takes half a minute of CPU, of which a busy machine may have little."""


class Made(NamedTuple):
    base: Path
    run: Path
    merged: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """In float32, where merging rounds nothing off that an answer could show."""
    folder = tmp_path_factory.mktemp("smoke")
    base = make_published(folder / "base", seed=5, dtype=torch.float32)
    adapter = adapter_on(base, folder / "run" / "model", LoraSection(r=4, lora_alpha=8))
    return Made(base, folder / "run", merge(str(base), adapter, folder / "merged", warn=pytest.fail))


@contextmanager
def serving(loaded: Loaded, said: Callable[[str], str] = str) -> Iterator[str]:
    """The address of a server that answers with the model, its words changed by `said`."""

    class Serves(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._send({"data": [{"id": "merged"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            image, text = body["messages"][0]["content"]
            assert text["text"] == loaded.prompt
            assert "response_format" not in body, "guided decoding would hide what the model writes"
            page = Image.open(io.BytesIO(base64.b64decode(image["image_url"]["url"].partition(",")[2])))
            with lock:
                (answer,) = answer_images(loaded, [page], body["max_tokens"])
            self._send({"choices": [{"message": {"content": said(answer)}}]})

        def _send(self, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    lock = threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Serves)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_merged_model_and_its_server_are_what_was_trained(call: Caller, made: Made) -> None:
    """On drawn pages; the run's folder stands for its adapter."""
    with serving(load(made.merged, device="cpu")) as url:
        words = ("--adapter", made.run, "--server", url, "--max-new-tokens", "8", "--device", "cpu")
        said = call.succeed("vl", "smoke", made.base, made.merged, *words).out.splitlines()
    assert said[0].startswith("generated-0: base and adapter (logits of the first token within ")
    assert said[0].endswith("): equal")
    assert said[3:6] == [f"generated-{number}: server: equal" for number in range(3)]
    assert said[6:] == ["0 problems of files, 0 of 6 comparisons of answers differ"]


@pytest.fixture
def transformers_serve(made: Made, tmp_path: Path) -> Iterator[str]:
    """The address of the server that transformers brings, with the merged folder, in a process of its own."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(made.merged)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = tmp_path / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | {"HF_HUB_OFFLINE": "1"})
        try:
            wait_for(lambda: process.poll() is not None or is_healthy(f"http://127.0.0.1:{port}/health"), START_S)
            assert process.poll() is None, log.read_text()[-2000:]
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def is_healthy(url: str) -> bool:
    try:
        return urllib3.request("GET", url, retries=False, timeout=5).status == 200
    except urllib3.exceptions.HTTPError:
        return False


@pytest.mark.timeout(4 * START_S)
@pytest.mark.skipif(not is_serve_available(), reason="transformers serve needs: pip install fastapi openai")
def test_transformers_serves_what_was_merged(call: Caller, made: Made, transformers_serve: str, tmp_path: Path) -> None:
    """The server of transformers loads the folder and answers each drawn page as the model here does; asked for
    documents it writes what the model here does, too."""
    served = ("--server", transformers_serve, "--served-model", made.merged)
    said = call.succeed("vl", "smoke", made.base, made.merged, *served, "--max-new-tokens", "8", "--device", "cpu").out
    assert said.splitlines() == [
        *(f"generated-{number}: server: equal" for number in range(3)),
        "0 problems of files, 0 of 3 comparisons of answers differ",
    ]
    (tmp_path / "two.pdf").write_bytes(pdf_of_pages([(200, 300), (300, 200)]))
    asked = ("vl", "predict", tmp_path / "two.pdf", "--model-path", made.merged, "--max-new-tokens", "8", "--output")
    call.succeed(*asked, tmp_path / "here.jsonl", "--device", "cpu")
    call.succeed(*asked, tmp_path / "there.jsonl", *served)
    here, there = (
        {line["id"]: line["text"] for line in map(json.loads, (tmp_path / name).read_text().splitlines())}
        for name in ("here.jsonl", "there.jsonl")
    )
    assert (len(here), there) == (2, here)


def test_other_weights_and_other_words_are_told(call: Caller, made: Made, tmp_path: Path) -> None:
    """A merged model that is the base alone, and a server that writes something else: each page of each is named, with
    the letter where they part."""
    (tmp_path / "two.pdf").write_bytes(pdf_of_pages([(200, 300), (300, 200)]))
    plain = tmp_path / "plain"
    shutil.copytree(made.base, plain)
    shutil.copy(made.merged / "receipt_trainer_prompt.json", plain)
    (plain / "model.safetensors").chmod(0o644)
    with serving(load(plain, device="cpu"), lambda answer: f" {answer[:3]}#") as url:
        words = ("--adapter", made.run / "model", "--server", url, "--images", tmp_path, "--max-new-tokens", "8")
        said = call("vl", "smoke", made.base, plain, *words)
    assert said.code == 1
    first, *_, third, fourth, last = said.out.splitlines()
    assert first.startswith("two.pdf#1: base and adapter (logits of the first token within ")
    assert "): first difference at letter " in first
    for line, name in ((third, "two.pdf#1"), (fourth, "two.pdf#2")):
        assert line.startswith(f"{name}: server: first difference at letter 4: '#' instead of ")
    assert last == "0 problems of files, 4 of 4 comparisons of answers differ"


def test_a_folder_that_would_not_be_served_is_told(call: Caller, made: Made, tmp_path: Path) -> None:
    """Missing code, flags that contradict the weights, private files and renamed weights, each in a line."""
    broken = tmp_path / "broken"
    shutil.copytree(made.merged, broken)
    (broken / "image_processing_paddleocr_vl.py").unlink()
    values = json.loads((broken / "config.json").read_bytes())
    values |= {"tie_word_embeddings": True}
    (broken / "config.json").write_text(json.dumps(values))
    weights = load_file(broken / "model.safetensors")
    weights["visual.head"] = weights.pop("visual.vision_model.head.probe")
    weights["mlp_AR.bias"] = torch.zeros(3)
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    (broken / "model.safetensors").chmod(0o600)
    said = call("vl", "smoke", made.base, broken, "--max-new-tokens", "1", "--device", "cpu")
    assert said.code == 1
    assert [line.removeprefix(f"{broken}: ") for line in said.out.splitlines()] == [
        "preprocessor_config.json: auto_map asks for the code of AutoImageProcessor, which is not in the folder",
        "model.safetensors: other users cannot read it",
        "weights that are missing: 1, such as visual.vision_model.head.probe",
        "weights that are not in the base: 2, such as mlp_AR.bias",
        "config.json: tie_word_embeddings is true, but head and embeddings are two tensors",
        "5 problems of files, 0 of 0 comparisons of answers differ",
    ]


def test_what_is_no_merged_model_is_refused(call: Caller, made: Made, tmp_path: Path) -> None:
    """A run's folder, files that are no weights, and an adapter that is none."""
    assert "no merged model in it" in call.refuse("vl", "smoke", made.base, made.run)
    assert "no adapter in it" in call.refuse("vl", "smoke", made.base, made.merged, "--adapter", made.base)
    torn = tmp_path / "torn"
    shutil.copytree(made.merged, torn)
    (torn / "model.safetensors").write_bytes(b"{}")
    assert "model.safetensors: not a file of weights" in call.refuse("vl", "smoke", made.base, torn)
