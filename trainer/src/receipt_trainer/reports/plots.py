"""Learning curves as SVG pictures in data URIs. Matplotlib without pyplot: no window, no shared figure."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from receipt_trainer.contract.run_record import EpochMetrics

# Okabe & Ito's palette, told apart with any colour vision; line styles tell the same without colour.
BLUE: Final = "#0072B2"
VERMILION: Final = "#C8500A"
GREEN: Final = "#00795A"
INK: Final = "#3b4654"
FAINT: Final = "#dfe4ea"

_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "receipt-trainer",
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Segoe UI", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": "#aeb7c2",
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
_LINE: Final[Any] = {"linewidth": 1.8, "markersize": 3.2, "zorder": 3}
_MARKED_POINTS: Final = 30
_SIZE_PT: Final = (331.2, 216.0)
_RIGHT_PT, _BOTTOM_PT, _TOP_PT = 10.0, 34.0, 26.0
"""Margins: half a tick's label; tick labels and the axis' name; legend or "kept"."""
_DIGIT_PT, _TICK_PT = 6.1, 24.0
"""Width of a digit in the widest of the fonts, and what is left of the axis beside its tick labels: its name."""


class Series(NamedTuple):
    """One line of a chart: its name, values in the order of the epochs (None where unknown), colour and dash."""

    name: str
    values: Sequence[float | None]
    color: str
    dash: str = "-"


class Chart(NamedTuple):
    """A picture: title, the same in words for who does not see it, and a data URI."""

    title: str
    alt: str
    uri: str


def learning_curves(epochs: Sequence[EpochMetrics], best_epoch: float | None = None) -> list[Chart]:
    """Charts of loss, scores and learning rate over epochs."""
    wanted = {
        "Loss": [
            Series("training", [row.train_loss for row in epochs], BLUE, "--"),
            Series("validation", [row.eval_loss for row in epochs], VERMILION),
        ],
        "Score on the validation receipts": [
            Series("F1", [row.f1 for row in epochs], BLUE),
            Series("precision", [row.precision for row in epochs], VERMILION, "--"),
            Series("recall", [row.recall for row in epochs], GREEN, ":"),
        ],
        "Learning rate": [Series("learning rate", [row.learning_rate for row in epochs], BLUE)],
    }
    return draw_charts([row.epoch for row in epochs], wanted, best_epoch)


def draw_charts(
    x: Sequence[float], wanted: Mapping[str, Sequence[Series]], best_epoch: float | None = None
) -> list[Chart]:
    """A chart a title; what has no finite value is left out.

    Args:
        x: epochs of the values.
        wanted: by title; one that begins with "Score" has an axis from 0 to 1 at most.
        best_epoch: marked as that of the kept model.
    """
    charts = []
    for title, series in wanted.items():
        known = [line for line in series if any(map(_is_finite, line.values))]
        if known:
            svg = _draw(x, known, best_epoch, in_0_1=title.startswith("Score"))
            ends = [(line.name, [value for value in line.values if _is_finite(value)]) for line in known]
            words = ", ".join(f"{name} from {values[0]:.3g} to {values[-1]:.3g}" for name, values in ends)
            charts.append(Chart(title, f"{title}: {words}", _data_uri(svg)))
    return charts


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _draw(x: Sequence[float], series: Sequence[Series], best_epoch: float | None, in_0_1: bool) -> str:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_SIZE_PT[0] / 72, _SIZE_PT[1] / 72), facecolor="none")
        canvas = FigureCanvasSVG(figure)
        axes = figure.add_subplot(facecolor="none")
        for line in series:
            points = [(at, value) for at, value in zip(x, line.values, strict=True) if _is_finite(value)]
            style = _LINE | {"marker": "o" if len(points) <= _MARKED_POINTS else ""}
            axes.plot(*zip(*points, strict=True), line.dash, color=line.color, label=line.name, **style)
        _frame(axes, x, series, in_0_1)
        if best_epoch is not None and len(x) > 1:
            axes.axvline(best_epoch, color="#8793a1", linewidth=1, dashes=(1, 2), zorder=1)
            place = (best_epoch, 1.0)
            where: dict[str, Any] = {
                "xycoords": axes.get_xaxis_transform(),
                "textcoords": "offset points",
                "ha": "center",
                "va": "bottom",
            }
            axes.annotate("kept", place, (0, 3), fontsize=8.5, color="#5c6875", **where)
        _set_margins(figure, axes)
        stream = io.StringIO()
        canvas.print_svg(  # type: ignore[no-untyped-call]  # `savefig` draws twice, the first time for a layout
            stream, metadata={"Creator": None, "Date": None, "Format": None, "Type": None}
        )
    return stream.getvalue()


def _set_margins(figure: Figure, axes: Any) -> None:
    """Room for what stands around the axes. A constrained layout measures every text, for twice the time."""
    ticks = axes.yaxis.get_major_formatter().format_ticks(axes.get_yticks())
    left = _TICK_PT + _DIGIT_PT * max(map(len, ticks), default=0)
    width, height = _SIZE_PT
    figure.subplots_adjust(left / width, _BOTTOM_PT / height, 1 - _RIGHT_PT / width, 1 - _TOP_PT / height)


def _frame(axes: Any, x: Sequence[float], series: Sequence[Series], in_0_1: bool) -> None:
    name = "score, 0 to 1" if in_0_1 else series[0].name if len(series) == 1 else "loss"
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=3)
    axes.set_xlabel("epoch")
    axes.set_ylabel(name, fontsize=8.5, labelpad=3)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=max(x) - min(x) >= 1))
    if len(set(x)) == 1:
        axes.set_xlim(x[0] - 0.5, x[0] + 0.5)
        axes.set_xticks([x[0]])
    values = [value for line in series for value in line.values if value is not None and math.isfinite(value)]
    if in_0_1:
        axes.set_ylim(0 if min(values) < 0.4 else math.floor(10 * min(values)) / 10, 1)
    elif min(values) >= 0:
        axes.set_ylim(0, max(values) * 1.08 or 1)
    if max(map(abs, values)) < 0.01:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.7f}".rstrip("0").rstrip(".") or "0")
    if len(series) > 1:
        room = {"borderaxespad": 0, "handlelength": 2.2, "columnspacing": 1.2}
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.04), ncols=3, frameon=False, **room)


def _data_uri(svg: str) -> str:
    body = svg[svg.index("<svg") :]  # without the prolog, whose document type names an address
    compact = re.sub(r"\n\s*", "\n", body)
    return "data:image/svg+xml;base64," + base64.b64encode(compact.encode()).decode()
