"""gRPC's own services, asked by grpcio's clients: health checking, as grpc_health_probe does it, and reflection."""

import threading
import time

import grpc
import pytest
import requests
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import laboratory
from server import Server

INFERENCE = "inference.GRPCInferenceService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory):
    with Server(laboratory.build_identity(tmp_path_factory.mktemp("serving"))) as running:
        yield running


@pytest.fixture
def channel(serving: Server):
    with grpc.insecure_channel(serving.grpc) as made:
        yield made


def asked(service: str) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


@pytest.mark.parametrize("service", ["", INFERENCE])
def test_check(channel: grpc.Channel, service: str) -> None:
    answer = health_pb2_grpc.HealthStub(channel).Check(asked(service), timeout=10)
    assert answer.status == SERVING


def test_check_of_an_unknown_service(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        health_pb2_grpc.HealthStub(channel).Check(asked("inference.Other"), timeout=10)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


def test_watch_follows_a_server_to_its_end(tmp_path) -> None:
    with Server(laboratory.build_identity(tmp_path), flags=("--set", "server.lame_duck=2s")) as running:
        with grpc.insecure_channel(running.grpc) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(asked(""), timeout=60)
            unknown = health_pb2_grpc.HealthStub(channel).Watch(asked("other"), timeout=60)
            assert next(watch).status == SERVING
            assert next(unknown).status == SERVICE_UNKNOWN
            stopping = threading.Thread(target=running.stop)
            begun = time.monotonic()
            stopping.start()
            assert next(watch).status == NOT_SERVING
            stopping.join()
            # Not the drain timeout of half a minute: watches hold up nothing.
            assert time.monotonic() - begun < 15


def test_reflection_is_enough_to_ask_for_an_inference(channel: grpc.Channel, serving: Server) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {INFERENCE, "grpc.health.v1.Health"} <= set(database.get_services())
    pool = DescriptorPool(database)
    method = pool.FindServiceByName(INFERENCE).FindMethodByName("ServerMetadata")
    ask = channel.unary_unary(
        f"/{INFERENCE}/ServerMetadata",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    answer = ask(GetMessageClass(method.input_type)(), timeout=10)
    metadata = requests.get(f"http://{serving.http}/v2", timeout=10).json()
    assert (answer.name, list(answer.extensions)) == (metadata["name"], metadata["extensions"])
    assert {"logging", "trace"} <= set(answer.extensions)
