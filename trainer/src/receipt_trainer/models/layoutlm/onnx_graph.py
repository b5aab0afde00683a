"""A trained LayoutLM as an ONNX graph over packed rows, written node by node from its weights.

The inputs are those of `inference.rectangles.feed`, the output is (owned words, tags) logits. As in `packing`, linear
layers work on real tokens alone, and the last layer goes on, after attention, with the tokens that a label is read
from. In int8, weights of matrix products have 7 bits a column and activations 8 bits a call, embeddings 8 bits a row;
the products of 8-bit weights would overflow on x86 without VNNI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from receipt_trainer.errors import UserError
from receipt_trainer.inference.rectangles import RECTANGLES
from receipt_trainer.models.layoutlm.relative import TABLE, by_distance

OPSET: Final = 20
"""The first with Gelu; of 2023."""
_IR_VERSION: Final = 10
_CONTRIB: Final = "com.microsoft"
"""onnxruntime's own operators: its product of int8 weights is one of them, where ONNX has five nodes for it."""
_ACTIVATIONS: Final[Mapping[str, tuple[str, dict[str, str]]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
}
"""By their names in config.json: operator and attributes."""

Weights = Mapping[str, NDArray[np.float32]]


def onnx_model(weights: Weights, config: Any, *, int8: bool = False) -> bytes:
    """The graph as a file's content.

    Args:
        weights: state dict of a LayoutLMForTokenClassification, or of a RelativeLayoutLM.
        config: its LayoutLMConfig.

    Raises:
        UserError: the model has something that the graph does not know.
    """
    if config.hidden_act not in _ACTIVATIONS:
        raise UserError(f"its activation is {config.hidden_act}; only {', '.join(_ACTIVATIONS)} can be exported")
    graph = _Graph(weights, int8=int8)
    x = _embeddings(graph, config)
    biases = _biases(graph, config)
    for number in range(config.num_hidden_layers):
        last = number == config.num_hidden_layers - 1
        x = _layer(graph, config, f"layoutlm.encoder.layer.{number}.", x, biases, last=last)
    logits = graph.add("Gemm", x, graph.weight("classifier.weight"), graph.weight("classifier.bias"), transB=1)
    graph.nodes.append(helper.make_node("Identity", [logits], ["logits"]))
    return graph.model(int(weights["classifier.weight"].shape[0]))


class _Graph:
    """Nodes and constants, appended."""

    def __init__(self, weights: Weights, *, int8: bool) -> None:
        self.weights, self._int8 = weights, int8
        self.nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def add(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output; returns its name."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], domain=domain, **attributes))
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A constant, once."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def weight(self, name: str) -> str:
        """A weight as it is."""
        return self.constant(name, self.weights[name])

    def linear(self, x: str, *names: str) -> str:
        """One product for linear layers that have the same input; their outputs lie side by side."""
        name = names[0] if len(names) == 1 else "+".join(names)
        matrix = np.concatenate([self.weights[f"{part}.weight"] for part in names]).T
        bias = self.constant(f"{name}.bias", np.concatenate([self.weights[f"{part}.bias"] for part in names]))
        if not self._int8:
            return self.add("Add", self.add("MatMul", x, self.constant(f"{name}.matrix", matrix)), bias)
        whole, scale = _quantized(matrix, axis=0, bits=7)
        return self.add(
            "DynamicQuantizeMatMul",
            x,
            self.constant(f"{name}.int8", whole),
            self.constant(f"{name}.scale", scale[0]),
            self.constant(f"{name}.zero", np.zeros(scale.shape[1], dtype=np.int8)),
            bias,
            domain=_CONTRIB,
        )

    def embedding(self, name: str, table: NDArray[np.float32], ids: str) -> str:
        """Rows of a table."""
        if not self._int8:
            return self.add("Gather", self.constant(name, table), ids)
        whole, scale = _quantized(table, axis=1, bits=8)
        rows = self.add("Gather", self.constant(f"{name}.int8", whole), ids)
        scales = self.add("Gather", self.constant(f"{name}.scale", scale), ids)
        return self.add("Mul", self.add("Cast", rows, to=TensorProto.FLOAT), scales)

    def norm(self, x: str, name: str, epsilon: float) -> str:
        """Layer normalisation over the last axis."""
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)

    def split(self, x: str, count: int, axis: int) -> list[str]:
        """Equal parts of an axis, which is not kept."""
        parts = [f"{x}_part_{number}" for number in range(count)]
        self.nodes.append(helper.make_node("Split", [x], parts, axis=axis, num_outputs=count))
        where = self.constant(f"axis_{axis}", np.array([axis], dtype=np.int64))
        return [self.add("Squeeze", part, where) for part in parts]

    def model(self, num_tags: int) -> bytes:
        """The finished model."""
        whole, real = TensorProto.INT32, TensorProto.FLOAT
        shapes: dict[str, tuple[int, list[Any]]] = {
            "input_ids": (whole, ["tokens"]),
            "position_ids": (whole, ["tokens"]),
            "bbox": (whole, ["tokens", 4]),
            "select": (whole, ["words"]),
            "selected": (whole, ["words"]),
            "inverse": (whole, ["tokens"]),
        }
        for name in RECTANGLES:
            shapes[f"{name}_gather"] = (whole, [f"{name}_rows", f"{name}_length"])
            shapes[f"{name}_bias"] = (real, [f"{name}_rows", 1, 1, f"{name}_length"])
        graph = helper.make_graph(
            self.nodes,
            "layoutlm",
            [helper.make_tensor_value_info(name, *shape) for name, shape in shapes.items()],
            [helper.make_tensor_value_info("logits", real, ["words", num_tags])],
            list(self._constants.values()),
        )
        operators = [helper.make_opsetid("", OPSET), helper.make_opsetid(_CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=operators, ir_version=_IR_VERSION)
        onnx.checker.check_model(model)
        content: bytes = model.SerializeToString()
        return content


def _quantized(values: NDArray[np.float32], *, axis: int, bits: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Whole numbers of so many bits, symmetric about 0, and the scale by which they are the values, along `axis`."""
    top = 2 ** (bits - 1) - 1
    scale = np.maximum(np.abs(values).max(axis=axis, keepdims=True), np.float32(1e-12)) / np.float32(top)
    return np.rint(values / scale).astype(np.int8), scale


def _embeddings(graph: _Graph, config: Any) -> str:
    place = "layoutlm.embeddings."
    x0, y0, x1, y1 = graph.split("bbox", 4, 1)
    ids = {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "h": graph.add("Sub", y1, y0), "w": graph.add("Sub", x1, x0)}
    words = f"{place}word_embeddings.weight"
    total = graph.embedding(words, graph.weights[words], "input_ids")
    # Every token is of type 0: its vector goes into those of the positions.
    positions = graph.weights[f"{place}position_embeddings.weight"]
    positions = positions + graph.weights[f"{place}token_type_embeddings.weight"][:1]
    total = graph.add("Add", total, graph.embedding("positions", positions, "position_ids"))
    for name, numbers in ids.items():
        table = f"{place}{name[0]}_position_embeddings.weight"
        total = graph.add("Add", total, graph.embedding(table, graph.weights[table], numbers))
    return graph.norm(total, f"{place}LayerNorm", config.layer_norm_eps)


def _biases(graph: _Graph, config: Any) -> dict[str, str]:
    """What is added to the scores of each rectangle, in all layers: where no token is, and what `relative` adds."""
    if TABLE not in graph.weights:
        return {name: f"{name}_bias" for name in RECTANGLES}
    positions = config.max_position_embeddings
    numbers = by_distance(torch.from_numpy(graph.weights[TABLE]), positions).numpy()
    table = graph.constant(TABLE, numbers)
    zero, one = (graph.constant(str(value), np.array(value, dtype=np.int64)) for value in (0, 1))
    middle = graph.constant("own_distance", np.array(positions - 1, dtype=np.int64))
    upright, first = (graph.constant(f"axis_{axis}", np.array([axis], dtype=np.int64)) for axis in (1, 0))
    found = {}
    for name in RECTANGLES:
        length = graph.add("Squeeze", graph.add("Shape", f"{name}_gather", start=1, end=2), first)
        steps = graph.add("Range", zero, length, one)
        distances = graph.add("Sub", graph.add("Add", steps, middle), graph.add("Unsqueeze", steps, upright))
        between = graph.add("Transpose", graph.add("Gather", table, distances), perm=[2, 0, 1])
        found[name] = graph.add("Add", f"{name}_bias", between)  # (rows, heads, length, length)
    return found


def _layer(graph: _Graph, config: Any, place: str, x: str, biases: Mapping[str, str], *, last: bool) -> str:
    attended = _attention(graph, config, f"{place}attention.self.", x, biases)
    attended = graph.add("Gather", attended, "selected" if last else "inverse")
    x = graph.add("Gather", x, "select") if last else x
    projected = graph.linear(attended, f"{place}attention.output.dense")
    x = graph.norm(graph.add("Add", projected, x), f"{place}attention.output.LayerNorm", config.layer_norm_eps)
    activation, how = _ACTIVATIONS[config.hidden_act]
    inner = graph.add(activation, graph.linear(x, f"{place}intermediate.dense"), **how)
    outer = graph.linear(inner, f"{place}output.dense")
    return graph.norm(graph.add("Add", outer, x), f"{place}output.LayerNorm", config.layer_norm_eps)


def _attention(graph: _Graph, config: Any, place: str, x: str, biases: Mapping[str, str]) -> str:
    """(places of both rectangles, hidden) from (tokens, hidden)."""
    heads, size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    together = graph.linear(x, *(f"{place}{name}" for name in ("query", "key", "value")))
    split = graph.constant("heads", np.array([0, 0, 3, heads, size], dtype=np.int64))
    flat = graph.constant("flat", np.array([-1, config.hidden_size], dtype=np.int64))
    scale = graph.constant("attention_scale", np.array(size**-0.5, dtype=np.float32))
    outputs = []
    for name in RECTANGLES:
        rows = graph.add("Gather", together, f"{name}_gather")  # (rows, length, 3 * hidden)
        rows = graph.add("Transpose", graph.add("Reshape", rows, split), perm=[2, 0, 3, 1, 4])
        query, key, value = graph.split(rows, 3, 0)  # (rows, heads, length, size) each
        scores = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 1, 3, 2]))
        scores = graph.add("Add", graph.add("Mul", scores, scale), biases[name])
        mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)
        outputs.append(graph.add("Reshape", graph.add("Transpose", mixed, perm=[0, 2, 1, 3]), flat))
    return graph.add("Concat", *outputs, axis=0)
