"""What the documentation shows is what happens: its Python runs, and its curl is answered as it says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import EXAMPLES, ROOT, Server

PROTOCOL = ROOT / "docs" / "protocol.md"
# What the examples print, or a part of it.
PYTHON = [(ROOT / "README.md", "tritonclient.http", "[[7]]"), (PROTOCOL, "service_pb2", "200"), (PROTOCOL, "flatbuffers", "15.")]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)


def commands() -> Iterator[tuple[str, str]]:
    """Each `curl` of docs/protocol.md that asks the examples, and the answer that stands below it, if there is one."""
    for block in blocks(PROTOCOL, "console"):
        lines = block.replace("\\\n", "").splitlines()
        for index, line in enumerate(lines):
            # `mymodel` stands for the reader's own; the other port is another server's.
            if line.startswith("$ curl") and "mymodel" not in line and "localhost:8080" not in line:
                below = lines[index + 1] if index + 1 < len(lines) else ""
                yield line.removeprefix("$ "), "" if below.startswith("$") else below


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(EXAMPLES / "digits", EXAMPLES / "identity") as running:
        yield running


def run(command: list[str], server: Server, folder: Path) -> str:
    # As from the checkout, with a file that one of the examples sends.
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "16_floats.bin").write_bytes(bytes(64))
    command = [word.replace("localhost:8000", server.http) for word in command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "examples" / "clients")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("document", "about", "printed"), PYTHON, ids=[about for _, about, _ in PYTHON])
def test_python(server: Server, tmp_path: Path, document: Path, about: str, printed: str) -> None:
    [source] = [block for block in blocks(document, "python") if about in block]
    if "requests.post" in source:
        source += "print(answer.status_code, answer.headers['content-type'])\n"
    assert printed in run([sys.executable, "-c", source], server, tmp_path)


def test_every_python_example_of_the_protocol_is_run() -> None:
    shown = blocks(PROTOCOL, "python")
    assert len(shown) == sum(document == PROTOCOL for document, _, _ in PYTHON)


@pytest.mark.parametrize(("command", "expected"), list(commands()))
def test_curl(server: Server, tmp_path: Path, command: str, expected: str) -> None:
    answer = run(["sh", "-c", command], server, tmp_path)
    assert '"error"' not in answer and answer, answer
    # Probabilities differ in their last digits from one processor to another.
    digits = re.compile(r"\d\.\d{6}")
    if expected:
        assert digits.sub("#", answer.strip()) == digits.sub("#", expected)
