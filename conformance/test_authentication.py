"""Keys in the ways that Triton's clients can send them, over HTTP and gRPC, and what those without see."""

import contextlib
import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from server import ROOT, Server, binary

SIMPLE = ROOT / "examples" / "conformance" / "simple"
MODULES = {"http": triton_http, "grpc": triton_grpc}
KEY = "a key that is long enough to be one".replace(" ", "-")


def configuration(folder: Path, text: str) -> tuple[str, ...]:
    file = folder / "adulis.toml"
    file.write_text(text.replace("DIGEST", "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()))
    return ("--config", str(file), "--set", f"store.url=sqlite:{folder}/adulis.db")


def client(protocol: str, server: Server):
    return MODULES[protocol].InferenceServerClient(getattr(server, protocol))


def infer(protocol: str, server: Server, headers: dict[str, str] | None):
    module = MODULES[protocol]
    inputs = []
    for name in ("INPUT0", "INPUT1"):
        tensor = module.InferInput(name, [1, 16], "INT32")
        tensor.set_data_from_numpy(np.ones((1, 16), np.int32))
        inputs.append(tensor)
    return client(protocol, server).infer("simple", inputs, headers=headers).as_numpy("OUTPUT0")


def refused(protocol: str, work) -> str:
    with pytest.raises(InferenceServerException) as caught:
        work()
    return caught.value.status()


UNAUTHENTICATED = {"http": "401", "grpc": "StatusCode.UNAUTHENTICATED"}
DENIED = {"http": "403", "grpc": "StatusCode.PERMISSION_DENIED"}


@pytest.mark.parametrize("protocol", MODULES)
def test_keys_of_the_store(protocol: str, tmp_path: Path) -> None:
    flags = configuration(tmp_path, "[auth]\nenabled = true\nttl = '200ms'\n")
    create = [binary(), "keys", "create", "conformance", "--scope", "infer,metadata", *flags]
    key = subprocess.run(create, check=True, capture_output=True, text=True).stdout.strip()
    with Server(SIMPLE, flags=flags) as server:
        for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
            assert (infer(protocol, server, headers) == 2).all()
            assert client(protocol, server).get_model_metadata("simple", headers=headers)
            assert refused(protocol, lambda: client(protocol, server).get_log_settings(headers=headers)) == DENIED[protocol]
        for headers in (None, {"authorization": "Bearer wrong"}, {"x-api-key": key + "x"}):
            assert refused(protocol, lambda: infer(protocol, server, headers)) == UNAUTHENTICATED[protocol]
        asker = client(protocol, server)
        assert asker.is_server_live() and asker.is_server_ready() and asker.is_model_ready("simple")


@pytest.mark.parametrize("protocol", MODULES)
def test_tritons_flags_restrict_apis(protocol: str) -> None:
    other = "grpc" if protocol == "http" else "http"
    flag = {"http": "--http-restricted-api", "grpc": "--grpc-restricted-protocol"}[protocol]
    prefix = {"http": "", "grpc": "triton-grpc-protocol-"}[protocol]
    flags = (f"{flag}=model-repository,logging:admin-key={KEY}", f"{flag}=inference:infer-key=a,b:c=d")
    flags += ("--model-control-mode", "explicit", "--load-model", "simple")
    admin, inference = {f"{prefix}admin-key": KEY}, {f"{prefix}infer-key": "a,b:c=d"}
    with Server(SIMPLE.parent, flags=flags) as server:
        asker = client(protocol, server)
        for work in (asker.get_model_repository_index, asker.get_log_settings, lambda headers: asker.unload_model("simple", headers=headers)):
            for headers in (None, {f"{prefix}admin-key": "wrong"}, inference, {"authorization": f"Bearer {KEY}"}):
                assert refused(protocol, lambda: work(headers=headers)) == DENIED[protocol]
        assert (infer(protocol, server, inference) == 2).all()
        assert (infer(protocol, server, {**admin, **inference}) == 2).all()
        assert refused(protocol, lambda: infer(protocol, server, admin)) == DENIED[protocol]
        # What is not restricted is open, whatever a client shows, and so is the other protocol.
        assert asker.get_model_metadata("simple", headers={"authorization": "Bearer anything"})
        assert asker.is_server_ready() and asker.is_model_ready("simple")
        assert (infer(other, server, None) == 2).all()
        asker.unload_model("simple", headers=admin)
        asker.load_model("simple", headers=admin)
        assert asker.get_model_repository_index(headers=admin)


@pytest.mark.parametrize("protocol", MODULES)
def test_restricted_apis(protocol: str, tmp_path: Path) -> None:
    text = """
        [auth]
        enabled = true
        api_keys = false
        anonymous = ["health", "metrics", "infer", "metadata"]
        [auth.keys.admin]
        header = "admin-key"
        digest = "DIGEST"
        scopes = ["repository"]
    """
    flags = (*configuration(tmp_path, text), "--model-control-mode", "explicit", "--load-model", "simple")
    name = {"http": "admin-key", "grpc": "triton-grpc-protocol-admin-key"}[protocol]
    with Server(SIMPLE.parent, flags=flags) as server:
        asker = client(protocol, server)
        assert (infer(protocol, server, None) == 2).all()
        for headers in (None, {name: "wrong"}, {"authorization": f"Bearer {KEY}"}):
            assert refused(protocol, lambda: asker.unload_model("simple", headers=headers)) == UNAUTHENTICATED[protocol]
        asker.unload_model("simple", headers={name: KEY})
        asker.load_model("simple", headers={name: KEY})
        assert (infer(protocol, server, None) == 2).all()


def test_streams(tmp_path: Path) -> None:
    text = '[auth]\nenabled = true\napi_keys = false\n[auth.keys.k]\ndigest = "DIGEST"\nscopes = ["infer"]\n'
    with Server(SIMPLE, flags=configuration(tmp_path, text)) as server:
        for headers, works in (({"authorization": f"Bearer {KEY}"}, True), ({}, False)):
            asker = client("grpc", server)
            answers: list = []
            asker.start_stream(lambda result, error: answers.append(result if error is None else error), headers=headers)
            inputs = []
            for name in ("INPUT0", "INPUT1"):
                tensor = triton_grpc.InferInput(name, [1, 16], "INT32")
                tensor.set_data_from_numpy(np.ones((1, 16), np.int32))
                inputs.append(tensor)
            # The client may have been told already that it is refused.
            with contextlib.nullcontext() if works else contextlib.suppress(InferenceServerException):
                asker.async_stream_infer("simple", inputs)
            asker.stop_stream()
            assert len(answers) == 1
            assert isinstance(answers[0], InferenceServerException) != works, answers
