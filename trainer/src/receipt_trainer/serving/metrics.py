"""Figures in Prometheus' text format. A falling mean confidence is the only sign of drift that needs no labels."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from receipt_trainer.serving.holder import Holder, ServerHolder

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
UNSURE: Final = 0.5
"""A word with less confidence than this counts as unsure."""
_BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_PREFIX: Final = "receipt_trainer"


@dataclass
class Histogram:
    """Seconds, counted by upper bounds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect.bisect_left(_BOUNDS, seconds)] += 1
        self.total += seconds

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """In Prometheus' format."""
        count = 0
        for bound, added in zip((*_BOUNDS, "+Inf"), self.counts, strict=True):
            count += added
            yield f'{name}_bucket{{{labels},le="{bound}"}} {count}'
        yield f"{name}_sum{{{labels}}} {self.total:.6f}"
        yield f"{name}_count{{{labels}}} {count}"


class Metrics:
    """What a server counts. Used by the event loop's thread alone."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[tuple[str, str], Histogram] = {}
        self._confidence, self._words, self._unsure, self._documents = 0.0, 0, 0, 0

    def request(self, route: str, status: int) -> None:
        """Count a request by the address that it matched, "other" for none, and its status."""
        self._requests[route, status] += 1

    def took(self, what: str, kind: str, seconds: float) -> None:
        """Count seconds of `what` (wait, ocr, read) for a document of a kind (words, photo)."""
        self._seconds.setdefault((what, kind), Histogram()).add(seconds)

    def answer(self, answer: Mapping[str, Any]) -> None:
        """Count the words of an answer and how sure the model was of them."""
        found = [word["confidence"] for word in answer["words"]]
        self._documents += 1
        self._words += len(found)
        self._unsure += sum(one < UNSURE for one in found)
        self._confidence += sum(found)

    def text(self, holder: Holder | ServerHolder, shed: Mapping[str, int]) -> str:
        """All figures. `shed`: documents refused for the wait, by kind."""
        held = holder.current()
        age = (datetime.now(UTC) - held.loaded_at).total_seconds()
        version = held.version.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        requests = (
            f'{_PREFIX}_requests_total{{route="{route}",status="{status}"}} {count}'
            for (route, status), count in sorted(self._requests.items())
        )
        told = [
            *_family("requests_total", "counter", "Requests answered, by address and status.", requests),
            *_family(
                "shed_total",
                "counter",
                "Documents refused because they would have waited too long.",
                (f'{_PREFIX}_shed_total{{kind="{kind}"}} {count}' for kind, count in shed.items()),
            ),
        ]
        for what, said in (("wait", "for a place"), ("ocr", "in OCR"), ("read", "in the model and what follows")):
            lines = (
                line
                for (name, kind), histogram in sorted(self._seconds.items())
                if name == what
                for line in histogram.lines(f"{_PREFIX}_{what}_seconds", f'kind="{kind}"')
            )
            told += _family(f"{what}_seconds", "histogram", f"Seconds of documents {said}.", lines)
        for name, kind, said, value in (
            ("documents_total", "counter", "Documents read.", self._documents),
            ("words_total", "counter", "Words read.", self._words),
            ("unsure_words_total", "counter", f"Words with a confidence below {UNSURE}.", self._unsure),
            ("word_confidence_total", "counter", "Sum of the words' confidences.", round(self._confidence, 6)),
            ("word_confidence_mean", "gauge", "Mean confidence of all words.", self._confidence / max(1, self._words)),
            ("model_age_seconds", "gauge", "Since the model was loaded.", round(age, 3)),
            ("model_refused", "gauge", "1 while a newer version is refused.", int(holder.problem is not None)),
        ):
            told += _family(name, kind, said, [f"{_PREFIX}_{name} {value}"])
        info = f'{_PREFIX}_model_info{{name="{held.name}",version="{version}"}} 1'
        told += _family("model_info", "gauge", "The model that answers.", [info])
        return "\n".join(told) + "\n"


def _family(name: str, kind: str, said: str, lines: Iterable[str]) -> list[str]:
    return [f"# HELP {_PREFIX}_{name} {said}", f"# TYPE {_PREFIX}_{name} {kind}", *lines]
