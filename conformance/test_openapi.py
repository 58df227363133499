"""Schemathesis asks every operation of the server's own OpenAPI document, with data that fits and data that does not: no
answer is a fault of the server's, or one that the document does not tell of.

Deterministic. `--fuzz-examples N` says how often each operation is asked beside the cases that follow from its schema.
"""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from server import EXAMPLES, ROOT, Server

HERE = Path(__file__).resolve().parent
KEY = "a-key-that-is-long-enough-to-be-one"
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
]
# Ports that have some of the operations for themselves, by the operations' tags.
OWN_PORTS = {"sagemaker": "sagemaker", "vertex_ai": "vertex ai", "metrics": "metrics"}
MODELS = (ROOT / "examples" / "conformance", EXAMPLES / "identity", EXAMPLES / "digits")
TIMEOUT_SECONDS = 3600


def start(folder: Path, *flags: str) -> Server:
    settings = ["shared_memory.enabled=true", f"trace.file={folder}/trace.json"]
    for platform in ("sagemaker", "vertex_ai"):
        settings += [f"{platform}.enabled=true", f"{platform}.port=0", f"{platform}.model=simple"]
    return Server(*MODELS, flags=(*(f"--set={setting}" for setting in settings), *flags))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory):
    with start(tmp_path_factory.mktemp("opened")) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("guarded")
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    text = f'[auth]\nenabled = true\napi_keys = false\n[auth.keys.all]\ndigest = "sha256:{digest}"\nscopes = ["admin"]\n'
    (folder / "adulis.toml").write_text(text)
    with start(folder, "--config", str(folder / "adulis.toml")) as running:
        yield running


class Fuzzer:
    """Runs Schemathesis, and notes how many requests it sent."""

    def __init__(self, examples: str, folder: Path, notes: list[str]):
        self.examples, self.folder, self.notes = examples, folder, notes

    def run(self, server: Server, port: str, *flags: str) -> None:
        answer = requests.get(f"{server.url}/v2/openapi.json", headers={"x-api-key": KEY}, timeout=5)
        assert answer.status_code == 200, answer.text
        document = self.folder / "openapi.json"
        document.write_bytes(answer.content)
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"]
        command += [str(document), f"--url=http://{address(server, port)}", f"--max-examples={self.examples}"]
        # The rest goes from answer to answer along links, of which the document has none.
        command += ["--phases=examples,coverage,fuzzing", "--continue-on-failure", "--request-timeout=20", *flags]
        command += [f"--include-tag={OWN_PORTS[port]}"] if port in OWN_PORTS else [
            f"--exclude-tag={tag}" for tag in OWN_PORTS.values()
        ]
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_hooks.py"), "ADULIS_FUZZ_URL": server.url, "ADULIS_API_KEY": KEY}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr
        sent = re.search(r"([\d,]+) generated", done.stdout)
        assert sent, done.stdout
        self.notes.append(f"Schemathesis, {port} {' '.join(flags)}: {sent[1]} requests")
        assert server.process.poll() is None, server.log_text()
        assert requests.get(f"{server.url}/v2/health/live", timeout=5).status_code == 200


def address(server: Server, port: str) -> str:
    found = {entry["protocol"]: entry["address"] for entry in server.log if "address" in entry}
    return found[port].replace("0.0.0.0", "127.0.0.1")


@pytest.fixture
def fuzzer(request: pytest.FixtureRequest, tmp_path: Path, notes: list[str]) -> Fuzzer:
    return Fuzzer(request.config.getoption("--fuzz-examples"), tmp_path, notes)


@pytest.mark.parametrize("port", ["http", *OWN_PORTS])
def test_every_answer_is_in_the_document(opened: Server, fuzzer: Fuzzer, port: str) -> None:
    fuzzer.run(opened, port, f"--checks={','.join(CHECKS)}")


def test_models_come_and_go(tmp_path: Path, fuzzer: Fuzzer) -> None:
    with start(tmp_path, "--model-control-mode", "explicit", "--load-model", "*") as server:
        fuzzer.run(server, "http", f"--checks={','.join(CHECKS)}", "--include-tag=repository")


@pytest.mark.parametrize("port", ["http", *OWN_PORTS])
def test_nobody_is_let_in_without_credentials(guarded: Server, fuzzer: Fuzzer, port: str) -> None:
    fuzzer.run(guarded, port, f"--checks={','.join(CHECKS)},nobody_is_let_in")


def test_credentials_are_not_ignored(guarded: Server, fuzzer: Fuzzer) -> None:
    flags = [f"--checks={','.join(CHECKS)},ignored_auth", "--header", f"Authorization: Bearer {KEY}"]
    fuzzer.run(guarded, "http", *flags)
