"""Model repositories in a real S3 server: at the start, polled under traffic, by request, and while the server is away."""

import itertools
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from s3 import ACCESS, S3
from server import Server, binary
from test_model_control import EXPLICIT, Client, Traffic, adder, put

QUICK = ("--set", "storage.max_retries=1", "--set", "storage.timeout=2s")
POLL = ("--model-control-mode", "poll", "--repository-poll-secs", "1")
SECONDS = 60

folders = itertools.count()


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    running = S3()
    yield running
    running.close()


@pytest.fixture
def place(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator["Place"]:
    """A path in the bucket that no other test uses, and a cache folder."""
    for name, value in ACCESS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ADULIS_STORAGE_CACHE_FOLDER", str(tmp_path / "mirrors"))
    yield Place(s3, f"repository-{next(folders)}", tmp_path / "mirrors")
    s3.door.shut()
    s3.door.open()


class Place:
    def __init__(self, s3: S3, path: str, cache: Path):
        self.s3, self.path, self.cache, self.url = s3, path, cache, s3.url(path)

    def put(self, model: str, summand: float, version: int = 1) -> None:
        self.write(f"{model}/{version}/model.onnx", adder(summand))

    def write(self, key: str, content: bytes) -> None:
        self.s3.put(f"{self.path}/{key}", content)

    def delete(self, key: str) -> None:
        self.s3.delete(f"{self.path}/{key}")

    def mirrored(self) -> set[str]:
        """The files in the tree of the mirror."""
        (tree,) = self.cache.glob(f"*/tree/{self.path}")
        return {str(file.relative_to(tree)) for file in tree.rglob("*") if file.is_file()}


def await_that(condition: Callable[[], bool], server: Server) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, server.log_text()
        time.sleep(0.05)


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([binary(), *arguments], capture_output=True, text=True, timeout=SECONDS)
    return done.returncode, done.stdout + done.stderr


def test_a_server_starts_from_a_bucket_and_a_folder(place: Place, tmp_path: Path) -> None:
    place.put("m", 1)
    place.write("m/config.pbtxt", b"max_batch_size: 8\ndynamic_batching {}")
    place.write("loose.onnx", adder(2))
    place.write("README.md", b"not a model")
    place.write("m/.hidden/x", b"hidden")
    put(tmp_path / "local", "l", 3)
    with Server(place.url, tmp_path / "local") as server:
        for module, address in ((triton_http, server.http), (triton_grpc, server.grpc)):
            client = Client(module, address)
            assert [client.add(model) for model in ("m", "loose", "l")] == [1, 2, 3]
            assert client.index() == [("l", "1", "READY"), ("loose", "1", "READY"), ("m", "1", "READY")]
            client.client.close()
        config = triton_http.InferenceServerClient(server.http).get_model_config("m")
        assert config["max_batch_size"] == 8
        log = server.log_text()
        assert '"mirrored"' in log and place.url in log
        assert ACCESS["AWS_SECRET_ACCESS_KEY"] not in log
    assert place.mirrored() == {"m/1/model.onnx", "m/config.pbtxt", "loose.onnx"}
    code, text = run("serve", place.url, "--print-config")
    assert code == 0 and ACCESS["AWS_SECRET_ACCESS_KEY"] not in text


def test_a_restart_fetches_nothing_again(place: Place) -> None:
    place.put("m", 1)
    with Server(place.url) as server:
        assert "objects" in server.log_text()
    with Server(place.url) as server:
        client = Client(triton_http, server.http)
        assert client.add("m") == 1
        client.client.close()
        assert "mirroring" not in server.log_text(), "nothing has changed"


def test_a_polled_bucket_changes_under_traffic(place: Place) -> None:
    place.put("m", 1)
    place.put("other", 7)
    with Server(place.url, flags=(*POLL, *QUICK)) as server:
        client = Client(triton_http, server.http)
        with Traffic(server, {1, 2, 3}) as traffic:
            place.put("m", 2, version=2)
            await_that(lambda: client.add("m") == 2, server)
            place.write("m/3/model.onnx", adder(3)[:40])
            await_that(lambda: any(line[-1].startswith("version 3: ") for line in client.index()), server)
            assert client.add("m") == 2, "the old one goes on"
            place.s3.door.shut()
            await_that(lambda: "cannot be read" in server.log_text(), server)
            time.sleep(2.5)
            assert client.client.is_model_ready("m") and client.client.is_model_ready("other")
            place.s3.door.open()
            place.put("m", 3, version=3)
            await_that(lambda: client.add("m") == 3, server)
        assert traffic.answers > 100
        place.delete("other/1/model.onnx")
        await_that(lambda: "other" not in {line[0] for line in client.index()}, server)
        assert place.url in server.log_text()
        client.client.close()


def test_models_of_a_bucket_come_and_go_by_request(place: Place) -> None:
    for name, summand in (("m", 1), ("idle", 9), ("mm", 5)):
        place.put(name, summand)
    with Server(place.url, flags=(*EXPLICIT, *QUICK, "--load-model", "mm")) as server:
        client = Client(triton_grpc, server.grpc)
        assert client.index() == [("idle",), ("m",), ("mm", "1", "READY")]
        assert place.mirrored() == {"mm/1/model.onnx"}, "only what is loaded is fetched"
        client.client.load_model("m")
        assert client.add("m") == 1
        place.put("m", 2)
        client.client.load_model("m")
        assert client.add("m") == 2
        place.put("late", 3)
        assert ("late",) in client.index(), "the index asks anew"
        place.write("m/1/model.onnx", b"no model")
        with pytest.raises(InferenceServerException, match="failed to load 'm', version 1: "):
            client.client.load_model("m")
        assert client.add("m") == 2, "the old one goes on"
        place.s3.door.shut()
        with pytest.raises(InferenceServerException, match="failed to poll from model repository"):
            client.client.load_model("late")
        with pytest.raises(InferenceServerException, match="cannot be read at the moment"):
            client.client.load_model("m")
        assert client.add("m") == 2 and client.client.is_server_ready()
        assert {line[0] for line in client.index()} == {"idle", "late", "m", "mm"}
        client.client.unload_model("mm")
        place.s3.door.open()
        client.client.load_model("late")
        assert client.add("late") == 3
        for name in ("../m", "m/1", ".."):
            with pytest.raises(InferenceServerException):
                client.client.load_model(name)
        assert place.mirrored() == {"m/1/model.onnx", "mm/1/model.onnx", "late/1/model.onnx"}
        client.client.close()


def test_the_index_names_the_url(place: Place, tmp_path: Path) -> None:
    place.put("m", 1)
    put(tmp_path / "local", "l", 3)
    with Server(place.url, tmp_path / "local", flags=EXPLICIT) as server:
        client = triton_grpc.InferenceServerClient(server.grpc)
        for repository, name in ((place.url, "m"), (str(tmp_path / "local"), "l")):
            request = triton_grpc.service_pb2.RepositoryIndexRequest(repository_name=repository)
            answer = client._client_stub.RepositoryIndex(request)
            assert [model.name for model in answer.models] == [name]
        client.close()


def test_a_machine_without_root_certificates(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place.put("m", 1)
    (tmp_path / "none.pem").write_bytes(b"")
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    code, text = run("check", place.url)
    assert code == 0, text


def test_what_cannot_be_read_at_the_start_is_told_with_its_url(place: Place) -> None:
    missing = place.url.replace(place.s3.bucket, "no-such-bucket")
    code, text = run("serve", missing, *QUICK)
    assert code == 2 and missing in text and "there is no such bucket" in text, text
    place.s3.door.shut()
    for url in (place.url, "s3://key:secret@bucket/x", "s3://bucket//x", "http://bucket/x"):
        code, text = run("serve", url, *QUICK)
        assert code == 2 and "secret" not in text, text
        assert ("cannot be read" in text and place.url in text) == (url == place.url), text


def test_a_bucket_is_checked(place: Place) -> None:
    place.put("good", 1)
    place.write("bad/config.pbtxt", b"max_batchsize: 3")
    code, text = run("check", place.url)
    assert code == 1, text
    assert f"{place.url}/bad/config.pbtxt: max_batchsize: unknown key" in text
    assert "1 model is sound, 1 not" in text


def test_many_models_are_listed_page_by_page(place: Place) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = [f"x{index:04}/config.pbtxt" for index in range(1005)]
        list(pool.map(lambda key: place.write(key, b""), keys))
    place.put("m", 1)
    with Server(place.url, flags=(*EXPLICIT, "--load-model", "m")) as server:
        client = Client(triton_http, server.http)
        assert len(client.index()) == 1006
        assert client.add("m") == 1
        client.client.close()
