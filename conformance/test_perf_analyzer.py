"""Triton's own load generator, unmodified: it reads the model's metadata, configuration and statistics, and asks."""

import csv
import os
import re
import subprocess
from pathlib import Path

import pytest
import requests

from server import EXAMPLES, Server

PROGRAM = os.environ.get("ADULIS_PERF_ANALYZER")
MISSING = os.environ.get(
    "ADULIS_PERF_ANALYZER_MISSING", "ADULIS_PERF_ANALYZER does not name it: `cargo xtask test` gets it"
)
REQUESTS = 100

pytestmark = pytest.mark.skipif(not PROGRAM, reason=f"perf_analyzer: {MISSING}")


@pytest.fixture(scope="module")
def shared():
    """The example models, with shared memory allowed."""
    with Server(EXAMPLES, flags=("--shared-memory",)) as running:
        yield running


def analyze(server: Server, model: str, protocol: str, *flags: str, table: Path) -> dict[str, str]:
    """Runs it over a fixed number of requests, and returns the one line of its table."""
    address = server.grpc if protocol == "grpc" else server.http
    command = [PROGRAM, "-m", model, "-i", protocol, "-u", address, "--request-count", str(REQUESTS), "-f", table]
    libraries = os.environ["ADULIS_PERF_ANALYZER_LIBRARIES"]
    found = subprocess.run(
        [*map(str, command), *flags],
        env={**os.environ, "LD_LIBRARY_PATH": libraries},
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = found.stdout + found.stderr
    assert found.returncode == 0, said
    assert int(re.search(r"Client: \n\s+Request count: (\d+)", said).group(1)) >= REQUESTS, said
    # Its own reading of /stats, which it takes while its first and last requests are on their way.
    assert int(re.search(r"Successful request count: (\d+)", said).group(1)) >= 0.9 * REQUESTS, said
    with open(table, newline="") as lines:
        [line] = csv.DictReader(lines)
    return line


def successes(server: Server, model: str) -> int:
    [stats] = requests.get(f"{server.url}/v2/models/{model}/stats", timeout=5).json()["model_stats"]
    assert stats["inference_stats"]["fail"]["count"] == 0
    return stats["inference_stats"]["success"]["count"]


@pytest.mark.parametrize(
    ("protocol", "flags"),
    [
        ("http", ()),
        ("http", ("--async", "--concurrency-range", "4")),
        ("http", ("--shared-memory", "system")),
        ("http", ("--input-tensor-format", "json", "--output-tensor-format", "json")),
        ("grpc", ()),
        ("grpc", ("--async", "--concurrency-range", "4")),
        ("grpc", ("--streaming", "--async", "--concurrency-range", "2")),
        ("grpc", ("--shared-memory", "system")),
        ("grpc", ("--grpc-compression-algorithm", "gzip")),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value).replace("--", "") or "plain",
)
def test_it_measures_a_model(shared: Server, protocol: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    before = successes(shared, "simple")
    line = analyze(shared, "simple", protocol, *flags, table=tmp_path / "table.csv")
    assert float(line["Inferences/Second"]) > 0
    assert float(line["p50 latency"]) > 0
    assert successes(shared, "simple") - before >= REQUESTS


def test_it_sends_batches_at_a_rate(shared: Server, tmp_path: Path) -> None:
    line = analyze(shared, "digits", "grpc", "-b", "4", "--request-rate-range", "100", table=tmp_path / "table.csv")
    assert float(line["Request Rate"]) == 100
    [stats] = requests.get(f"{shared.url}/v2/models/digits/stats", timeout=5).json()["model_stats"]
    assert stats["inference_count"] >= 4 * REQUESTS


def test_without_a_gpu_cuda_regions_can_be_unregistered(shared: Server, tmp_path: Path) -> None:
    # It unregisters all regions of both kinds before it begins; then its own attempt to use a GPU ends the run.
    command = [PROGRAM, "-m", "simple", "-i", "http", "-u", shared.http, "--shared-memory", "cuda", "--request-count", "1"]
    libraries = os.environ["ADULIS_PERF_ANALYZER_LIBRARIES"]
    found = subprocess.run(
        command, env={**os.environ, "LD_LIBRARY_PATH": libraries}, capture_output=True, text=True, timeout=60
    )
    assert "unregister" not in (found.stdout + found.stderr).lower()
    assert requests.get(f"{shared.url}/v2/health/ready", timeout=5).status_code == 200
