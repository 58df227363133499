"""Serves models on an NVIDIA GPU, checks what they answer against the CPU, and measures.

    python benches/gpu/gpu.py --adulis target/release/adulis --library …/onnxruntime/capi/libonnxruntime.so.1.31.1

The library is that of the Python package `onnxruntime-gpu`, with its `libonnxruntime_providers_*.so` beside it. CUDA's and cuDNN's own
libraries are found by the loader, or in the `nvidia-*` packages of this Python. Needs numpy and onnx; where the package
`onnxruntime` of this Python has CUDA, the same model is timed inside this process too, as the least that can be.

Checked: where each model really runs; digits and resnet50 against the CPU; that a provider which isn't there fails its model by name, and
falls back where that is allowed. Measured: latency of one request and throughput with batching, on the GPU and on the CPU.
Prints a table, and with --json writes everything.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import site
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "models"
HTTP, METRICS = 18000, 18002
GPU = "instance_group [ { kind: KIND_GPU gpus: [ 0 ] count: %d } ]\n"
ACCELERATORS = "optimization { execution_accelerators { gpu_execution_accelerator [ %s ] } }\n"
FALL_BACK = 'parameters { key: "provider_fallback" value: { string_value: "true" } }\n'
BATCHED = "max_batch_size: 64\ndynamic_batching { }\n"


def cuda(option: str, value: str) -> str:
    return ACCELERATORS % f'{{ name: "cuda" parameters {{ key: "{option}" value: "{value}" }} }}'


def sizes(text: str) -> str:
    return f'parameters {{ key: "batch_sizes" value: {{ string_value: "{text}" }} }}\n'


# Model name: the example that its file is of, and its configuration.
MODELS = {
    "digits_cpu": ("digits", ""),
    "digits_gpu": ("digits", GPU % 1),
    "mlp_gpu": ("mlp", BATCHED + GPU % 1),
    "resnet_cpu": ("resnet50", BATCHED),
    "resnet_gpu": ("resnet50", BATCHED + GPU % 1),
    "resnet_gpu_2": ("resnet50", BATCHED + GPU % 2),
    "resnet_gpu_1_8_64": ("resnet50", BATCHED + GPU % 1 + sizes("1,8,64")),
    "resnet_gpu_any": ("resnet50", BATCHED + GPU % 1 + sizes("any")),
    "resnet_gpu_any_exhaustive": (
        "resnet50",
        BATCHED + GPU % 1 + sizes("any") + cuda("cudnn_conv_algo_search", "EXHAUSTIVE"),
    ),
    "resnet_gpu_tf32_off": ("resnet50", BATCHED + GPU % 1 + cuda("use_tf32", "0")),
    "tensorrt": ("mlp", GPU % 1 + ACCELERATORS % '{ name: "tensorrt" }'),
    "tensorrt_or_cuda": ("mlp", GPU % 1 + ACCELERATORS % '{ name: "tensorrt" }' + FALL_BACK),
}
LOADED = re.compile(r'"model":"(?P<model>[^"]+)".*"placement":"(?P<placement>[^"]*)"')


def repository(folder: Path) -> Path:
    """A repository with every model of the table; their files are hard links."""
    made = folder / "made"
    for name in ("mlp", "resnet50"):
        subprocess.run([sys.executable, EXAMPLES / f"make_{name}.py", "--out", made], check=True)
    shutil.copytree(EXAMPLES / "digits", made / "digits")
    models = folder / "models"
    for name, (source, config) in MODELS.items():
        version = models / name / "1"
        version.mkdir(parents=True)
        os.link(made / source / "1" / "model.onnx", version / "model.onnx")
        if config:
            (models / name / "config.pbtxt").write_text(config)
    return models


def environment() -> dict[str, str]:
    """Has the loader find CUDA's libraries that Python packages brought."""
    packages = {Path(place) for place in [*site.getsitepackages(), *sys.path] if place}
    folders = sorted({str(library) for place in packages for library in place.glob("nvidia/**/lib")})
    given = os.environ.get("LD_LIBRARY_PATH")
    return os.environ | {"LD_LIBRARY_PATH": ":".join(folders + ([given] if given else []))}


@contextlib.contextmanager
def server(flags: argparse.Namespace, models: Path, log: Path):
    command = [flags.adulis, "serve", models, "--http", f"127.0.0.1:{HTTP}", "--grpc", "off"]
    command += ["--metrics", f"127.0.0.1:{METRICS}", "--log-format", "json"]
    settings = environment() | {"ADULIS_ONNXRUNTIME_LIBRARY": str(flags.library)}
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=settings)
    try:
        for _ in range(1200):
            if process.poll() is not None or settled():
                break
            time.sleep(0.1)
        if process.poll() is not None:
            raise RuntimeError(f"the server ended: {log.read_text()[-3000:]}")
        yield process
    finally:
        process.terminate()
        process.wait(60)


def loaded(log: Path) -> list[tuple[str, str]]:
    return [(found["model"], found["placement"]) for found in LOADED.finditer(log.read_text())]


def settled() -> bool:
    """Whether every model has been loaded or refused."""
    index = ask("POST", "/v2/repository/index", b"{}")
    return all(line.get("state") in ("READY", "UNAVAILABLE") for line in index) and len(index) >= len(MODELS)


def ask(method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None):
    request = urllib.request.Request(f"http://127.0.0.1:{HTTP}{path}", body, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        return json.loads(error.read() or b"{}")
    except urllib.error.URLError:
        return []


def infer(model: str, name: str, data: np.ndarray, output: str) -> np.ndarray:
    tensor = {"name": name, "datatype": "FP32", "shape": data.shape, "parameters": {"binary_data_size": data.nbytes}}
    wanted = {"name": output, "parameters": {"binary_data": False}}
    head = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = ask("POST", f"/v2/models/{model}/infer", head + data.tobytes(), headers)
    if "outputs" not in answer:
        raise RuntimeError(f"{model}: {answer}")
    [tensor] = answer["outputs"]
    return np.array(tensor["data"]).reshape(tensor["shape"])


def check_digits() -> dict[str, float]:
    """Accuracy on the scans that the model was not trained on."""
    held_out = json.loads((EXAMPLES / "digits" / "held_out.json").read_text())
    labels = np.array(held_out["labels"])
    scans = np.array(held_out["images"], np.float32).reshape(-1, *held_out["shape"])
    accuracy = {}
    for model in ("digits_cpu", "digits_gpu"):
        parts = [infer(model, "image", scans[at : at + 32], "label") for at in range(0, len(scans), 32)]
        accuracy[model] = float((np.concatenate(parts).ravel() == labels).mean())
    return accuracy


def check_resnet() -> dict[str, float]:
    """The largest difference from the CPU, relative to the largest value."""
    images = np.random.default_rng(3).standard_normal((4, 3, 224, 224), np.float32)
    reference = infer("resnet_cpu", "image", images, "logits")
    models = [model for model in MODELS if model.startswith("resnet_gpu")]
    answers = {model: infer(model, "image", images, "logits") for model in models}
    scale = np.abs(reference).max()
    return {model: float(np.abs(answer - reference).max() / scale) for model, answer in answers.items()}


def bench(flags: argparse.Namespace, model: str, level: int, batch: int) -> dict:
    command = [flags.adulis, "bench", "-m", model, "-u", f"http://127.0.0.1:{HTTP}", "-c", str(level), "-b", str(batch)]
    command += ["--measurement-interval", flags.interval, "--warmup", "1s", "--max-windows", "4"]
    command += ["--metrics-url", f"http://127.0.0.1:{METRICS}/metrics", "--threads", "4", "--json", "-"]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode != 0:
        return {"error": ran.stderr[-500:]}
    [level_report] = json.loads(ran.stdout)["results"]
    return level_report


def in_process(folder: Path) -> dict[str, float] | str:
    """Median milliseconds of one image through onnxruntime in this process, where it has CUDA."""
    try:
        import onnxruntime
    except ImportError as error:
        return str(error)
    with contextlib.suppress(Exception):
        onnxruntime.preload_dlls(cuda=True, cudnn=True, directory="")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return f"onnxruntime {onnxruntime.__version__} of this Python has no CUDA"
    path = folder / "made" / "resnet50" / "1" / "model.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CUDAExecutionProvider"])
    medians = {"providers": session.get_providers()}
    for rows in (1, 32):
        image = np.random.default_rng(3).random((rows, 3, 224, 224), np.float32)
        times = []
        for _ in range(60):
            start = time.perf_counter()
            session.run(None, {"image": image})
            times.append(time.perf_counter() - start)
        medians[f"{rows} rows, ms"] = float(np.median(times[10:]) * 1e3)
    return medians


def measure(flags: argparse.Namespace) -> list[dict]:
    levels = [("resnet_cpu", 1, 1), ("resnet_cpu", 16, 1), ("resnet_gpu", 1, 32), ("resnet_gpu", 4, 32), ("mlp_gpu", 1, 1), ("mlp_gpu", 64, 1)]
    models = ("resnet_gpu", "resnet_gpu_2", "resnet_gpu_1_8_64", "resnet_gpu_any", "resnet_gpu_any_exhaustive")
    levels += [(model, level, 1) for model in models for level in (1, 8, 64)]
    rows = []
    print(f"{'model':<22}{'in flight':>10}{'rows':>6}{'rows/s':>10}{'p50 ms':>9}{'p99 ms':>9}", flush=True)
    for model, level, batch in levels:
        report = bench(flags, model, level, batch)
        rows.append({"model": model, "concurrency": level, "rows": batch, "report": report})
        if "error" in report:
            print(f"{model:<22}{level:>10}{batch:>6}  {report['error']}", flush=True)
            continue
        latency = report["service_latency"]
        p50, p99 = (latency[f"{name}_microseconds"] / 1e3 for name in ("p50", "p99"))
        figures = f"{report['rows_per_second']:>10.0f}{p50:>9.2f}{p99:>9.2f}"
        stages = {stage["stage"]: stage["mean_microseconds"] for stage in report.get("server_stages", [])}
        print(f"{model:<22}{level:>10}{batch:>6}{figures}  {stages}", flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adulis", type=Path, required=True)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--interval", default="1s", help="length of a measurement window")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--log", type=Path, help="where the server's log is kept")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = repository(folder)
        log = flags.log or folder / "log"
        results = {"in process": in_process(folder)}
        print("in process:", results["in process"], flush=True)
        with server(flags, models, log):
            results["placement"] = dict(loaded(log))
            results["index"] = ask("POST", "/v2/repository/index", b"{}")
            for model, placement in results["placement"].items():
                print(f"{model}: {placement}")
            refused = [line for line in results["index"] if line.get("state") != "READY"]
            print("not ready:", json.dumps(refused, indent=1), flush=True)
            results["digits accuracy"] = check_digits()
            results["resnet difference"] = check_resnet()
            print("digits accuracy:", results["digits accuracy"])
            print("resnet, largest difference from the CPU:", results["resnet difference"], flush=True)
            results["load"] = measure(flags)
    if flags.json:
        flags.json.write_text(json.dumps(results, indent=1))
    accuracy = results["digits accuracy"]
    good = accuracy["digits_cpu"] == accuracy["digits_gpu"] and max(results["resnet difference"].values()) < 1e-2
    with_tensorrt = "TensorrtExecutionProvider" in str(results["placement"])
    good = good and [line["name"] for line in refused] == ([] if with_tensorrt else ["tensorrt"])
    print("as it should be" if good else "NOT as it should be")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
