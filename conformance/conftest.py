import subprocess
import sys
from pathlib import Path

import pytest

import laboratory
from ask import PROTOCOLS, Asker
from server import EXAMPLES, Server

sys.dont_write_bytecode = True


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--node-tests-every", default="1", metavar="N", help="ask for each Nth ONNX node test only")
    help = "how often Schemathesis asks each operation, beside the cases that follow from its schema"
    parser.addoption("--fuzz-examples", default="10", metavar="N", help=help)


NOTES = pytest.StashKey[list[str]]()


@pytest.fixture
def notes(request: pytest.FixtureRequest) -> list[str]:
    """Lines that are printed behind the results."""
    return request.config.stash.setdefault(NOTES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(NOTES, []):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def server():
    """The example models. Those that are not committed are made first."""
    made = [sys.executable, EXAMPLES / "setup.py", "--only", "mlp", "--only", "minilm"]
    subprocess.run(made, check=True)
    with Server(EXAMPLES) as running:
        yield running
        assert running.process.poll() is None, f"the server ended by itself:\n{running.log_text()}"


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory):
    """The models of laboratory.py."""
    repository: Path = laboratory.build(tmp_path_factory.mktemp("laboratory"))
    with Server(repository) as running:
        yield running
        assert running.process.poll() is None, f"the server ended by itself:\n{running.log_text()}"


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def asker(server: Server, protocol: str):
    """Asks the example models over each protocol in turn."""
    made = Asker(server, protocol)
    yield made
    made.close()


@pytest.fixture
def lab_asker(lab: Server, protocol: str):
    """Asks the laboratory's models over each protocol in turn."""
    made = Asker(lab, protocol)
    yield made
    made.close()
