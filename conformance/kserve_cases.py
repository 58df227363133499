"""KServe's SDK clients, REST and gRPC. Run by test_kserve.py, in a process of its own.

`ADULIS_HTTP` and `ADULIS_GRPC` (`host:port`) name the server.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable

import grpc
import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

A = np.arange(32, dtype=np.int32).reshape(2, 16)
B = np.full((2, 16), 3, np.int32)


def request(model: str, binary: bool) -> InferRequest:
    inputs = []
    for name, array in (("INPUT0", A), ("INPUT1", B)):
        tensor = InferInput(name, list(array.shape), "INT32")
        tensor.set_data_from_numpy(array, binary_data=binary)
        inputs.append(tensor)
    return InferRequest(model_name=model, infer_inputs=inputs, request_id="k-1")


def over_rest(work: Callable[[InferenceRESTClient, str], Awaitable]) -> None:
    async def go() -> None:
        async with InferenceRESTClient(RESTConfig(protocol="v2", timeout=10)) as client:
            await work(client, f"http://{os.environ['ADULIS_HTTP']}")

    asyncio.run(go())


def over_grpc(work: Callable[[InferenceGRPCClient], Awaitable]) -> None:
    async def go() -> None:
        async with InferenceGRPCClient(os.environ["ADULIS_GRPC"], timeout=10) as client:
            await work(client)

    asyncio.run(go())


def check(answer) -> None:
    outputs = {output.name: output.as_numpy() for output in answer.outputs}
    np.testing.assert_array_equal(outputs["OUTPUT0"], A + B)
    np.testing.assert_array_equal(outputs["OUTPUT1"], A - B)
    assert answer.id == "k-1"
    assert answer.model_name == "simple"


def test_rest_health() -> None:
    async def work(client: InferenceRESTClient, url: str) -> None:
        assert await client.is_server_live(url)
        assert await client.is_server_ready(url)
        assert await client.is_model_ready(url, "simple")
        assert not await client.is_model_ready(url, "nowhere")

    over_rest(work)


@pytest.mark.parametrize("binary", [True, False])
def test_rest_inference(binary: bool) -> None:
    async def work(client: InferenceRESTClient, url: str) -> None:
        check(await client.infer(url, request("simple", binary), model_name="simple"))

    over_rest(work)


def test_rest_error() -> None:
    async def work(client: InferenceRESTClient, url: str) -> None:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            await client.infer(url, request("nowhere", False), model_name="nowhere")
        assert caught.value.response.status_code == 404
        assert "nowhere" in str(caught.value)

    over_rest(work)


def over_v1(work: Callable[[InferenceRESTClient, str], Awaitable]) -> None:
    async def go() -> None:
        async with InferenceRESTClient(RESTConfig(protocol="v1", timeout=10)) as client:
            await work(client, f"http://{os.environ['ADULIS_HTTP']}")

    asyncio.run(go())


def test_v1_health() -> None:
    async def work(client: InferenceRESTClient, url: str) -> None:
        assert await client.is_server_live(url)
        assert await client.is_model_ready(url, "simple")
        with pytest.raises(httpx.HTTPStatusError):
            await client.is_model_ready(url, "nowhere")

    over_v1(work)


def test_v1_inference() -> None:
    async def work(client: InferenceRESTClient, url: str) -> None:
        rows = [{"INPUT0": a.tolist(), "INPUT1": b.tolist()} for a, b in zip(A, B, strict=True)]
        answer = await client.infer(url, {"instances": rows}, model_name="simple")
        assert [row["OUTPUT0"] for row in answer["predictions"]] == (A + B).tolist()

    over_v1(work)


def test_v1_error() -> None:
    async def work(client: InferenceRESTClient, url: str) -> None:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            await client.infer(url, {"instances": [1]}, model_name="nowhere")
        assert caught.value.response.status_code == 404

    over_v1(work)


def test_grpc_health() -> None:
    async def work(client: InferenceGRPCClient) -> None:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("simple")

    over_grpc(work)


@pytest.mark.parametrize("binary", [True, False])
def test_grpc_inference(binary: bool) -> None:
    """Not binary means KServe's typed `contents` instead of raw bytes."""

    async def work(client: InferenceGRPCClient) -> None:
        check(await client.infer(request("simple", binary)))

    over_grpc(work)


def test_grpc_error() -> None:
    async def work(client: InferenceGRPCClient) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            await client.infer(request("nowhere", True))
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND

    over_grpc(work)
