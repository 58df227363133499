"""Looks for a wrong answer out of the response cache, and prints how many there were.

    python benches/cache/soak.py --adulis target/release/adulis --seconds 600
    python benches/cache/soak.py --adulis target/release/adulis --seconds 600 -- --config redis.toml

Many models of the same interface, in two versions each, compute different integers from the same bytes; they are replaced while
they are asked. Requests are near-twins of each other: the same bytes in another shape or under swapped names, some
rows alike, other outputs, other versions, other models, an integer model and one of floating point. Each answer is compared with the
formula of the model that may have given it: the one that was loaded when the request was sent, or one that was
loaded meanwhile. Arguments after `--` go to the server. Needs numpy and onnx.
"""

import argparse
import contextlib
import http.client
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MODELS, VERSIONS, THREADS = 6, (1, 2), 8
TYPES = {"INT32": (np.int32, TensorProto.INT32), "FP32": (np.float32, TensorProto.FLOAT)}
CONFIG = """max_batch_size: 64
dynamic_batching { }
version_policy { all { } }
response_cache { enable: true }
instance_group [ { count: 2 kind: KIND_CPU } ]
"""


@dataclass
class Model:
    """SUM = a·X + b·Y, DIFFERENCE = X − c·Y, in whole numbers that either datatype holds exactly."""

    name: str
    datatype: str
    folder: Path
    # Constants of every generation that was written, by version; and how many are loaded.
    constants: dict[int, list[tuple[int, int, int]]] = field(default_factory=lambda: {v: [] for v in VERSIONS})
    done: int = 0

    def expected(self, generation: int, version: int, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
        a, b, c = self.constants[version][generation]
        return {"SUM": a * x + b * y, "DIFFERENCE": x - c * y}

    def write(self, dice: random.Random) -> None:
        """The next generation's files."""
        numpy_type, onnx_type = TYPES[self.datatype]
        for version in VERSIONS:
            constants = tuple(dice.randrange(1, 100) for _ in range(3))
            self.constants[version].append(constants)
            weights = [numpy_helper.from_array(np.array(v, numpy_type), n) for n, v in zip("abc", constants)]
            nodes = [
                helper.make_node("Mul", ["X", "a"], ["ax"]),
                helper.make_node("Mul", ["Y", "b"], ["by"]),
                helper.make_node("Mul", ["Y", "c"], ["cy"]),
                helper.make_node("Add", ["ax", "by"], ["SUM"]),
                helper.make_node("Sub", ["X", "cy"], ["DIFFERENCE"]),
            ]
            sides = [["X", "Y"], ["SUM", "DIFFERENCE"]]
            inputs, outputs = (
                [helper.make_tensor_value_info(name, onnx_type, ["batch", "width"]) for name in side] for side in sides
            )
            graph = helper.make_graph(nodes, "twin", inputs, outputs, weights)
            model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
            place = self.folder / str(version) / "model.onnx"
            place.parent.mkdir(parents=True, exist_ok=True)
            partial = place.with_suffix(".partial")
            onnx.save(model, partial)
            partial.rename(place)


class Client:
    """Asks in one thread, and counts."""

    def __init__(self, port: int, models: list[Model], seed: int):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.models, self.dice = models, random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    def tensors(self) -> tuple[np.ndarray, np.ndarray]:
        """Few different rows, cut into all shapes: most are known from some request before."""
        rows, width = self.dice.choice([(1, 8), (2, 4), (4, 2), (8, 1), (1, 4), (4, 8), (3, 2)])
        pool = [self.dice.randrange(4) for _ in range(2)]
        x, y = (np.array([pool[self.dice.randrange(2)] for _ in range(rows * width)]) for _ in range(2))
        if self.dice.random() < 0.5:
            x, y = (np.resize(values[:width], rows * width) for values in (x, y))
        return x.reshape(rows, width), y.reshape(rows, width)

    def ask(self) -> None:
        model, version = self.dice.choice(self.models), self.dice.choice(VERSIONS)
        x, y = self.tensors()
        outputs = self.dice.choice([[], ["SUM"], ["DIFFERENCE"], ["DIFFERENCE", "SUM"]])
        numpy_type, _ = TYPES[model.datatype]
        named = [("X", x), ("Y", y)]
        self.dice.shuffle(named)
        binary = self.dice.random() < 0.5
        inputs, tail = [], b""
        for name, values in named:
            tensor = {"name": name, "datatype": model.datatype, "shape": values.shape}
            data = values.astype(numpy_type)
            if binary:
                tensor["parameters"] = {"binary_data_size": data.nbytes}
                tail += data.tobytes()
            else:
                tensor["data"] = data.ravel().tolist()
            inputs.append(tensor)
        body: dict = {"inputs": inputs}
        if outputs:
            body["outputs"] = [{"name": name} for name in outputs]
        head = json.dumps(body).encode()
        headers = {"Inference-Header-Content-Length": str(len(head))} if binary else {}
        if self.dice.random() < 0.02:
            headers["Cache-Control"] = self.dice.choice(["no-cache", "no-store"])
        first = model.done
        self.connection.request("POST", f"/v2/models/{model.name}/versions/{version}/infer", head + tail, headers)
        answer = self.connection.getresponse()
        told = json.loads(answer.read())
        # What has not been written yet, nobody has loaded.
        last = len(model.constants[version])
        if answer.status != 200:
            self.counts[f"status {answer.status}"] += 1
            self.note(f"{model.name} {version}: {told}")
            return
        outcome = (answer.getheader("adulis-cache") or "none").split(";")[0]
        self.counts[outcome] += 1
        given = {t["name"]: np.array(t["data"]).reshape(t["shape"]) for t in told["outputs"]}
        wanted = outputs or ["SUM", "DIFFERENCE"]
        candidates = [model.expected(generation, version, x, y) for generation in range(first - 1, last)]
        fits = any(all(np.array_equal(given[name], of[name]) for name in wanted) for of in candidates)
        if list(given) != wanted or not fits:
            self.counts["MISMATCH"] += 1
            self.note(f"{model.name} {version} {outcome}: {x.tolist()} {y.tolist()} gave {told['outputs']}")

    def note(self, text: str) -> None:
        if len(self.wrong) < 5:
            self.wrong.append(text)

    def run(self, until: float) -> None:
        try:
            while time.monotonic() < until:
                self.ask()
        except Exception as error:  # A client that ended early has compared less than it was to.
            self.counts["client ended"] += 1
            self.note(f"a client ended: {error!r}")


def post(port: int, path: str) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", b"{}", method="POST")
    urllib.request.urlopen(request, timeout=60).read()


def replace(port: int, models: list[Model], until: float, pause: float, ended: list[str]) -> None:
    dice = random.Random(99)
    try:
        while time.monotonic() < until:
            model = dice.choice(models)
            model.write(dice)
            post(port, f"/v2/repository/models/{model.name}/load")
            model.done += 1
            time.sleep(pause)
    except Exception as error:
        ended.append(f"no more loads: {error!r}")


def watch(clients: list[Client], models: list[Model], until: float) -> None:
    """A line each minute, so that a long run can be followed."""
    began = time.monotonic()
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(60, left))
        answers, wrong = (sum(c.counts[k] if k else c.counts.total() for c in clients) for k in ("", "MISMATCH"))
        loads = sum(model.done for model in models)
        passed = time.monotonic() - began
        print(f"{passed:.0f} s: {answers} answers, {loads} loads, {wrong} mismatches", file=sys.stderr, flush=True)


@contextlib.contextmanager
def server(flags: argparse.Namespace, repository: Path, log: Path):
    command = [flags.adulis.resolve(), "serve", repository, "--http", f"127.0.0.1:{flags.port}", "--grpc", "off"]
    command += ["--metrics", f"127.0.0.1:{flags.port + 2}", "--model-control-mode", "explicit", "--load-model", "*"]
    with log.open("w") as out:
        process = subprocess.Popen(command + flags.server, stdout=out, stderr=subprocess.STDOUT)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{flags.port}/v2/health/ready").read()
                break
            time.sleep(0.1)
        else:
            raise RuntimeError(f"the server is not ready: {log.read_text()[-2000:]}")
        yield process
    finally:
        process.terminate()
        process.wait(60)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adulis", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two loads")
    parser.add_argument("--port", type=int, default=18200)
    parser.add_argument("server", nargs="*", help="arguments for the server, after --")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        repository, dice = Path(temporary) / "models", random.Random(1)
        types = list(TYPES)
        models = [
            Model(f"twin_{i}", types[i % len(types)], repository / f"twin_{i}") for i in range(MODELS)
        ]
        for model in models:
            model.write(dice)
            model.done = 1
            (model.folder / "config.pbtxt").write_text(CONFIG)
        with server(flags, repository, Path(temporary) / "log"):
            until = time.monotonic() + flags.seconds
            clients = [Client(flags.port, models, seed) for seed in range(THREADS)]
            threads = [threading.Thread(target=client.run, args=(until,)) for client in clients]
            ended: list[str] = []
            threads.append(threading.Thread(target=replace, args=(flags.port, models, until, flags.pause, ended)))
            threads.append(threading.Thread(target=watch, args=(clients, models, until)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    counts = sum((client.counts for client in clients), Counter())
    for client in clients:
        print("\n".join(client.wrong), end="\n" if client.wrong else "")
    print("\n".join(ended), end="\n" if ended else "")
    loads = sum(model.done for model in models)
    print(json.dumps({"answers": counts.total(), "loads": loads, "mismatches": counts["MISMATCH"], **counts}))
    failed = sum(count for kind, count in counts.items() if kind.startswith("status"))
    bad = counts["MISMATCH"] + counts["client ended"] + failed + len(ended)
    return 1 if bad or not counts["hit"] else 0


if __name__ == "__main__":
    sys.exit(main())
