"""The example clients do what their README says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from server import ROOT, Server

CLIENTS = ROOT / "examples" / "clients"


def run(*command: str | Path) -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_requests(server: Server) -> None:
    assert run(sys.executable, CLIENTS / "classify_requests.py", server.url).startswith("it is a 7, ")


def test_flatbuffers(server: Server) -> None:
    assert run(sys.executable, CLIENTS / "classify_flatbuffers.py", server.url).startswith("it is a 7, ")


def test_v1(server: Server) -> None:
    predictions = json.loads(run(CLIENTS / "classify_v1.sh", server.url))["predictions"]
    assert predictions[0]["label"] == [7]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_triton(server: Server, protocol: str) -> None:
    written, read = run(
        sys.executable, CLIENTS / "classify_triton.py", protocol, getattr(server, protocol)
    ).splitlines()
    assert written.split()[1:] == read.split()[1:]
    assert len(read.split()) == 9


def test_curl(server: Server) -> None:
    outputs = {output["name"]: output for output in json.loads(run(CLIENTS / "classify.sh", server.url))["outputs"]}
    assert outputs["label"]["data"] == [7]


def test_rust(server: Server, tmp_path: Path) -> None:
    program = tmp_path / "classify"
    run("rustc", "--edition", "2024", "-o", program, CLIENTS / "classify.rs")
    status, body = run(program, server.http).splitlines()
    assert status == "HTTP/1.1 200 OK"
    assert json.loads(body)["outputs"][0]["data"] == [7]
