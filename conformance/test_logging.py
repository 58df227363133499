"""The logging extension, with Triton's clients: what they change is what the server writes."""

import asyncio
import time
from pathlib import Path

import pytest
import requests
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio as grpcaio
import tritonclient.http as httpclient
import tritonclient.http.aio as httpaio
from tritonclient.utils import InferenceServerException

import laboratory
from server import Server

CLIENTS = ["http", "grpc", "http.aio", "grpc.aio"]
DEFAULTS = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}


@pytest.fixture(scope="module")
def logging(tmp_path_factory: pytest.TempPathFactory):
    """A server of its own: others read their logs."""
    repository: Path = laboratory.build(tmp_path_factory.mktemp("logging"))
    with Server(repository) as running:
        yield running


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, logging: Server):
    made = LogClient(logging, request.param)
    yield made
    made.update(DEFAULTS | {"log_file": None})


class LogClient:
    """One of Triton's four clients."""

    def __init__(self, server: Server, kind: str) -> None:
        self.server, self.kind = server, kind

    def _call(self, method: str, **arguments):
        url = self.server.http if self.kind.startswith("http") else self.server.grpc
        if self.kind == "http":
            with httpclient.InferenceServerClient(url) as client:
                return getattr(client, method)(**arguments)
        if self.kind == "grpc":
            with grpcclient.InferenceServerClient(url) as client:
                return getattr(client, method)(as_json=True, **arguments)
        return asyncio.run(self._call_aio(url, method, arguments))

    async def _call_aio(self, url: str, method: str, arguments: dict):
        if self.kind == "http.aio":
            async with httpaio.InferenceServerClient(url) as client:
                return await getattr(client, method)(**arguments)
        async with grpcaio.InferenceServerClient(url) as client:
            return await getattr(client, method)(as_json=True, **arguments)

    def _plain(self, answer: dict) -> dict:
        if self.kind.startswith("http"):
            return answer
        # Protocol Buffers' JSON: one key that names the type, and none for an empty value.
        return {name: next(iter(value.values()), "") for name, value in answer["settings"].items()}

    def get(self) -> dict:
        return self._plain(self._call("get_log_settings"))

    def update(self, settings: dict) -> dict:
        if self.kind.startswith("grpc"):
            # None of theirs says null.
            settings = {name: value for name, value in settings.items() if value is not None}
        return self._plain(self._call("update_log_settings", settings=settings))


def refuse(server: Server, name: str) -> None:
    """A line at level `debug` that carries the name."""
    answer = requests.get(f"http://{server.http}/v2/models/{name}", headers={"x-request-id": name}, timeout=10)
    assert answer.status_code == 404


def is_logged(server: Server, name: str, patience: float) -> bool:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if any(f'"{name}"' in line and "refused" in line for line in server.log_text().splitlines()):
            return True
        time.sleep(0.02)
    return False


def test_settings_are_told_and_changed(client: LogClient) -> None:
    assert client.get() == DEFAULTS
    changed = client.update({"log_info": False, "log_verbose_level": 2, "log_format": "ISO8601"})
    assert changed == DEFAULTS | {"log_info": False, "log_verbose_level": 2, "log_format": "ISO8601"}
    assert client.get() == changed


def test_the_log_shows_what_was_asked_for(client: LogClient) -> None:
    kind = client.kind.replace(".", "-")
    client.update({"log_verbose_level": 1})
    refuse(client.server, f"loud-{kind}")
    assert is_logged(client.server, f"loud-{kind}", 10)
    client.update({"log_verbose_level": 0})
    refuse(client.server, f"quiet-{kind}")
    assert not is_logged(client.server, f"quiet-{kind}", 0.5)


@pytest.mark.parametrize("settings", [{"log_file": "/tmp/elsewhere.log"}, {"log_format": "xml"}])
def test_what_is_refused_changes_nothing(client: LogClient, settings: dict) -> None:
    with pytest.raises(InferenceServerException):
        client.update(settings | {"log_info": False})
    assert client.get() == DEFAULTS


def test_the_extension_is_told(logging: Server) -> None:
    assert "logging" in requests.get(f"http://{logging.http}/v2", timeout=10).json()["extensions"]
