"""The interface as OpenAPI 3.1 has it: openapi.json, with the schemas of answers and corrections."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from receipt_trainer.inference import answer
from receipt_trainer.inference.document_corrections import DocumentCorrection, SavedDocument
from receipt_trainer.inference.document_reader import RELABELLED
from receipt_trainer.serving.bodies import JSON, MULTIPART, PHOTOS
from receipt_trainer.serving.corrections import Correction, Saved

_FILE: Final = Path(__file__).with_name("openapi.json")
_FIELDS: Final = "/v1/receipts/{id}:fields"
_PICTURES: Final = {
    "name": "pictures",
    "in": "query",
    "description": "Whether the answer's pages have their pictures: a browser shows no PDF",
    "schema": {"type": "boolean"},
}


@cache
def document(*, pages: bool = False) -> dict[str, Any]:
    """The whole interface; `pages`: of a model that is shown pages and writes documents, and knows no words."""
    found: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    paths, components = found["paths"], found["components"]
    read, correct = (paths[path]["post"] for path in ("/v1/receipts:read", "/v1/receipts/{id}:correct"))
    read["requestBody"]["content"] |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in PHOTOS}
    answers = answer.schema()["$defs"]
    parts = {name: answers["answer"]["properties"][name] for name in RELABELLED}
    correction = (DocumentCorrection if pages else Correction).model_json_schema()
    components["schemas"] |= answers | correction.pop("$defs") | {"Correction": correction}
    components["schemas"]["Saved"] = TypeAdapter(SavedDocument if pages else Saved).json_schema()
    if not pages:
        components["schemas"]["Relabelled"] = {"type": "object", "properties": parts, "required": [*parts]}
    else:
        del paths[_FIELDS], read["requestBody"]["content"][JSON], correct["requestBody"]["content"][JSON]
        correct["requestBody"]["content"][MULTIPART]["schema"]["required"] = ["correction", "photo"]
        read["parameters"].append(_PICTURES)
        correct["responses"]["504"] = read["responses"]["504"]
    found["info"]["version"] = version("receipt-trainer")
    moved: dict[str, Any] = json.loads(json.dumps(found).replace("#/$defs/", "#/components/schemas/"))
    return moved
