"""TLS, with the TLS libraries of others: Python's ssl (OpenSSL), requests, gevent's and gRPC's (BoringSSL)."""

import socket
import ssl
import subprocess
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests
import tritonclient.grpc
import tritonclient.http
from gevent import ssl as gevent_ssl

from server import EXAMPLES, START_SECONDS, Server, binary

A = np.arange(16, dtype=np.int32).reshape(1, 16)
B = np.full((1, 16), 3, np.int32)


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server's certificate for this machine and a client's."""
    folder = tmp_path_factory.mktemp("certs")
    subprocess.run([binary(), "cert", "dev", "--out", folder], check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="module")
def of_another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of an authority that nobody trusts."""
    folder = tmp_path_factory.mktemp("others")
    subprocess.run([binary(), "cert", "dev", "--out", folder], check=True, stdout=subprocess.DEVNULL)
    return folder


def serve(certs: Path, *flags: str) -> Server:
    tls = ("--tls-cert", f"{certs}/server.pem", "--tls-key", f"{certs}/server-key.pem")
    server = Server(EXAMPLES / "simple", flags=(*tls, "--set", "tls.metrics.enabled=false", *flags), ready=False)
    server.url = f"https://{server.http}"
    deadline = time.monotonic() + START_SECONDS
    while not any(isinstance(line, dict) and line.get("message") == "ready" for line in server.log):
        assert time.monotonic() < deadline, server.log_text()
        time.sleep(0.02)
    return server


@pytest.fixture(scope="module")
def tls(certs: Path):
    with serve(certs) as running:
        yield running


@pytest.fixture(scope="module")
def mutual(certs: Path):
    with serve(certs, "--tls-client-ca", f"{certs}/ca.pem", "--tls-client-auth", "required") as running:
        yield running


def context(ca: Path, client: Path | None = None, maximum: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=ca / "ca.pem")
    if client:
        made.load_cert_chain(client / "client.pem", client / "client-key.pem")
    if maximum:
        # OpenSSL refuses to speak old versions itself, unless it is told that nobody minds.
        made.set_ciphers("DEFAULT:@SECLEVEL=0")
        made.minimum_version = ssl.TLSVersion.TLSv1
        made.maximum_version = maximum
    return made


def shake(server: Server, with_context: ssl.SSLContext, name: str = "localhost") -> ssl.SSLSocket:
    host, port = server.http.rsplit(":", 1)
    return with_context.wrap_socket(socket.create_connection((host, int(port)), 10), server_hostname=name)


def ask_http(server: Server, certs: Path, client: Path | None = None) -> np.ndarray:
    def factory(**_: object) -> ssl.SSLContext:
        made = gevent_ssl.create_default_context(cafile=certs / "ca.pem")
        if client:
            made.load_cert_chain(client / "client.pem", client / "client-key.pem")
        return made

    triton = tritonclient.http.InferenceServerClient(server.http, ssl=True, ssl_context_factory=factory)
    inputs = []
    for name, array in (("INPUT0", A), ("INPUT1", B)):
        tensor = tritonclient.http.InferInput(name, array.shape, "INT32")
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    try:
        return triton.infer("simple", inputs).as_numpy("OUTPUT0")
    finally:
        triton.close()


def ask_grpc(server: Server, certs: Path, client: Path | None = None) -> np.ndarray:
    files = {"root_certificates": str(certs / "ca.pem")}
    if client:
        files |= {"private_key": str(client / "client-key.pem"), "certificate_chain": str(client / "client.pem")}
    triton = tritonclient.grpc.InferenceServerClient(server.grpc, ssl=True, **files)
    inputs = []
    for name, array in (("INPUT0", A), ("INPUT1", B)):
        tensor = tritonclient.grpc.InferInput(name, array.shape, "INT32")
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    try:
        return triton.infer("simple", inputs, client_timeout=10).as_numpy("OUTPUT0")
    finally:
        triton.close()


def test_tritons_clients_over_tls(tls: Server, certs: Path) -> None:
    np.testing.assert_array_equal(ask_http(tls, certs), A + B)
    np.testing.assert_array_equal(ask_grpc(tls, certs), A + B)


def test_tritons_clients_with_certificates(mutual: Server, certs: Path, of_another: Path) -> None:
    np.testing.assert_array_equal(ask_http(mutual, certs, certs), A + B)
    np.testing.assert_array_equal(ask_grpc(mutual, certs, certs), A + B)
    for client in (None, of_another):
        with pytest.raises((ssl.SSLError, OSError)):
            ask_http(mutual, certs, client)
        with pytest.raises(tritonclient.grpc.InferenceServerException, match="UNAVAILABLE"):
            ask_grpc(mutual, certs, client)


def test_a_client_that_trusts_another_authority_goes_away(tls: Server, of_another: Path) -> None:
    with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        requests.get(f"{tls.url}/v2", verify=of_another / "ca.pem", timeout=10)
    with pytest.raises(tritonclient.grpc.InferenceServerException, match="UNAVAILABLE"):
        ask_grpc(tls, of_another)


def test_requests_keeps_its_connection(tls: Server, certs: Path) -> None:
    with requests.Session() as session:
        for _ in range(3):
            # Said with each request: what the environment says goes before what the session says.
            answer = session.get(f"{tls.url}/v2/health/ready", verify=certs / "ca.pem", timeout=10)
            assert answer.status_code == 200 and answer.json()["ready"] is True
    assert tls.samples("adulis_tls_handshakes_total", listener="http", outcome="ok") > 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_are_spoken(tls: Server, certs: Path, version: ssl.TLSVersion) -> None:
    made = context(certs)
    made.minimum_version = made.maximum_version = version
    with shake(tls, made) as stream:
        assert stream.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_versions_are_refused(tls: Server, certs: Path, version: ssl.TLSVersion) -> None:
    with pytest.raises(ssl.SSLError, match="(?i)alert|unsupported|protocol"):
        shake(tls, context(certs, maximum=version))


@pytest.mark.parametrize("offered", ["h2", "http/1.1"])
def test_what_is_spoken_inside_is_agreed_on(tls: Server, certs: Path, offered: str) -> None:
    made = context(certs)
    made.set_alpn_protocols([offered])
    with shake(tls, made) as stream:
        assert stream.selected_alpn_protocol() == offered


def test_the_end_of_a_connection_is_told(tls: Server, certs: Path) -> None:
    """A connection that just breaks off raises here: what came might not be all."""
    with shake(tls, context(certs)) as stream:
        stream.suppress_ragged_eofs = False
        stream.sendall(b"GET /v2 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        answer = b""
        while part := stream.recv(65536):
            answer += part
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_plain_request_is_told_to_use_https(tls: Server) -> None:
    answer = requests.get(f"http://{tls.http}/v2", timeout=10)
    assert answer.status_code == 400
    assert answer.json() == {"error": "this port speaks TLS: use https"}
    channel = grpc.insecure_channel(tls.grpc)
    with pytest.raises(grpc.FutureTimeoutError):
        grpc.channel_ready_future(channel).result(timeout=1)
    channel.close()
