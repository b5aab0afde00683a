"""The interface as OpenAPI 3.1 has it, built from the schemas of answers and corrections."""

from __future__ import annotations

import copy
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from pydantic import TypeAdapter

from receipt_trainer.contract.job import FAMILIES
from receipt_trainer.inference import answer
from receipt_trainer.inference.document_corrections import DocumentCorrection, SavedDocument
from receipt_trainer.serving.bodies import JSON, MULTIPART, PHOTOS
from receipt_trainer.serving.corrections import Correction, Saved
from receipt_trainer.serving.problem_details import MEDIA_TYPE as PROBLEM

_HOME: Final = "#/components/schemas/"
_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_FLAG: Final = {"type": "boolean"}
_FILE: Final = {"type": "string", "format": "binary"}
_RETRY: Final = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds"}}


def _object(properties: dict[str, Any], *, optional: tuple[str, ...] = (), **others: Any) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, **others}


_WORDS: Final = _object(
    {
        "id": {"type": ["string", "null"], "description": "Left out: a UUID of the body's hash"},
        "width": {"type": "number", "description": "Of the page, in the unit of the boxes"},
        "height": {"type": "number"},
        "words": {
            "type": "array",
            "items": _object(
                {
                    "text": _TEXT,
                    "box": {
                        "type": "array",
                        "items": {"type": "number"},
                        "minItems": 4,
                        "maxItems": 4,
                        "description": "x0, y0, x1, y1, origin at the top left",
                    },
                    "line": {"type": ["integer", "null"], "description": "Left out of any word: found by the boxes"},
                    "confidence": {"type": ["number", "null"], "description": "0 to 1, of who read the text"},
                },
                optional=("line", "confidence"),
            ),
        },
    },
    optional=("id",),
)
_SCHEMAS: Final[dict[str, Any]] = {
    "Words": _WORDS,
    "Problem": _object({"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT}),
    "Model": _object(
        {
            "name": _TEXT,
            "family": {"enum": list(FAMILIES)},
            "version": _TEXT,
            "precision": {"enum": ["fp32", "int8", None]},
            "labels": {"type": "array", "items": _TEXT},
            "calibrated": _FLAG,
            "loaded_at": {"type": "string", "format": "date-time"},
            "corrections": _FLAG,
            "keep_photos": _FLAG,
            "review": _FLAG,
        }
    ),
    "Saved": TypeAdapter(Saved).json_schema(),
    "Queue": _object(
        {
            "entries": {
                "type": "array",
                "items": _object(
                    {
                        "key": _TEXT,
                        "name": _TEXT,
                        "confidence": {"type": ["number", "null"]},
                        "state": {"enum": ["open", "done"]},
                    }
                ),
            },
            "total": _COUNT,
            "done": _COUNT,
        }
    ),
}
_PHOTO_BODY: Final = {kind: {"schema": _FILE} for kind in PHOTOS}
_READ_BODY: Final = {
    JSON: {"schema": {"$ref": f"{_HOME}Words"}},
    MULTIPART: {"schema": _object({"file": _FILE})},
    **_PHOTO_BODY,
}
_CORRECT_BODY: Final = {
    JSON: {"schema": {"$ref": f"{_HOME}Correction"}},
    MULTIPART: {
        "schema": _object({"correction": {"$ref": f"{_HOME}Correction"}, "photo": _FILE}, optional=("photo",)),
        "encoding": {"correction": {"contentType": JSON}},
    },
}
_PAGES: Final = {
    "name": "pages",
    "in": "query",
    "description": "Of a PDF or TIFF: 1-3 or 1,4; all if left out",
    "schema": {"type": "string", "pattern": "^[1-9][0-9]{0,2}(,[1-9][0-9]{0,2}){0,9}$"},
}


_PICTURES: Final = {
    "name": "pictures",
    "in": "query",
    "description": "Whether the answer's pages have their pictures: a browser shows no PDF",
    "schema": {"type": "boolean"},
}


def _path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _operation(
    summary: str,
    name: str,
    *problems: int,
    schema: dict[str, Any] | None = None,
    media_type: str = JSON,
    parameters: tuple[dict[str, Any], ...] = (),
    body: dict[str, Any] | None = None,
    public: bool = False,
) -> dict[str, Any]:
    """One address and method. Any may answer 401, 421 and 500; problems are named beside those."""
    content = {media_type: {"schema": schema or _TEXT}}
    every = (*problems, *(() if public else (401,)), 421, 500, *((400, 403, 408, 413, 415, 422, 503) if body else ()))
    told = {
        "operationId": name,
        "summary": summary,
        "parameters": list(parameters),
        "responses": {
            "200": {"description": "Done", "content": content},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(set(every))},
        },
    }
    if public:
        told["security"] = []
    return told | ({"requestBody": {"required": True, "content": body}} if body else {})


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"{_HOME}{name}"}


_PATHS: Final = {
    "/v1/receipts:read": {
        "post": _operation(
            "Fields, items, checks and labelled words of a document",
            "read",
            504,
            schema=_reference("answer"),
            parameters=(_PAGES,),
            body=_READ_BODY,
        )
    },
    "/v1/receipts/{id}:correct": {
        "post": _operation(
            "Keep what a person made of an answer, as labels for the next training",
            "correct",
            404,
            schema=_reference("Saved"),
            parameters=(_path("id"),),
            body=_CORRECT_BODY,
        )
    },
    "/v1/model": {"get": _operation("The model that answers", "model", schema=_reference("Model"))},
    "/v1/review": {
        "get": _operation("Receipts to look at, the least sure first", "queue", 404, 503, schema=_reference("Queue"))
    },
    "/v1/review/{key}": {
        "get": _operation(
            "A receipt of the queue, as an answer; `photo` is its address or null",
            "entry",
            404,
            503,
            schema=_object({"id": _TEXT, "photo": {"type": ["string", "null"]}}),
            parameters=(_path("key"),),
        )
    },
    "/v1/review/{key}/photo": {
        "get": _operation(
            "The photo of a receipt of the queue",
            "photo",
            404,
            503,
            schema=_FILE,
            media_type="*/*",
            parameters=(_path("key"),),
        )
    },
    "/healthz": {"get": _operation("Whether the process answers", "healthz", media_type="text/plain", public=True)},
    "/readyz": {"get": _operation("Whether to send requests", "readyz", 503, media_type="text/plain", public=True)},
    "/metrics": {"get": _operation("Figures for Prometheus", "metrics", media_type="text/plain")},
}
_DESCRIPTIONS: Final = {
    400: "Not as it must be",
    401: "Without the token",
    403: "From a page of another site",
    404: "Not there, or switched off",
    408: "The body came too slowly",
    413: "Too large",
    415: "Of a type that is not read",
    421: "Not addressed to loopback",
    422: "No receipt, or none that can be read",
    500: "A fault of the server",
    503: "It would wait too long, or what is behind the server cannot be reached",
    504: "Not done in time",
}


@cache
def document(*, pages: bool = False) -> dict[str, Any]:
    """The whole interface; `pages`: of a model that is shown pages and writes documents, and knows no words."""
    schemas = copy.deepcopy(answer.schema()["$defs"])
    correction = (DocumentCorrection if pages else Correction).model_json_schema()
    schemas |= correction.pop("$defs") | _SCHEMAS | {"Correction": correction}
    paths = copy.deepcopy(_PATHS)
    if pages:
        schemas["Saved"] = TypeAdapter(SavedDocument).json_schema()
        read, correct = (paths[path]["post"] for path in ("/v1/receipts:read", "/v1/receipts/{id}:correct"))
        del read["requestBody"]["content"][JSON], correct["requestBody"]["content"][JSON]
        correct["requestBody"]["content"][MULTIPART]["schema"]["required"] = ["correction", "photo"]
        read["parameters"] = [*read["parameters"], _PICTURES]
        correct["responses"]["504"] = read["responses"]["504"]
    problem = {PROBLEM: {"schema": _reference("Problem")}}
    responses = {
        str(status): {"description": said, "content": problem} | ({"headers": _RETRY} if status == 503 else {})
        for status, said in _DESCRIPTIONS.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Receipt Trainer", "version": version("receipt-trainer")},
        "paths": paths,
        "components": {
            "schemas": _moved(schemas),
            "responses": responses,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _moved(value: Any) -> Any:
    """The schemas with their references to where OpenAPI keeps schemas."""
    if isinstance(value, dict):
        return {
            key: one.replace("#/$defs/", _HOME) if key == "$ref" and isinstance(one, str) else _moved(one)
            for key, one in value.items()
        }
    return [_moved(one) for one in value] if isinstance(value, list) else value
