"""HEAD: what health checks of load balancers send. The answer is GET's, without its body."""

import json
import socket

import pytest
import requests

from server import Server

READ = [
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/digits",
    "/v2/models/digits/ready",
    "/v2/models/digits/versions/1/ready",
    "/v2/models/digits/config",
    "/v2/models/digits/stats",
    "/v2/models/nobody",
    "/v2/models/nobody/ready",
    "/v2/logging",
    "/v2/nothing",
    "/ping",
]


def raw(server: Server, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own, and every byte that comes back until it is closed."""
    host, port = server.http.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    headers = (field.split(": ", 1) for field in fields)
    return int(status.split()[1]), {name.lower(): value for name, value in headers}, body


@pytest.mark.parametrize("path", READ)
def test_it_answers_as_get_does_without_a_body(server: Server, path: str) -> None:
    status, headers, body = raw(server, "HEAD", path)
    expected, of_get, of_get_body = raw(server, "GET", path)
    assert (status, body) == (expected, b"")
    if "content-length" in of_get:
        assert int(of_get["content-length"]) == len(of_get_body)
    assert headers.get("content-type") == of_get.get("content-type")
    if "stats" not in path:
        assert headers.get("content-length") == of_get.get("content-length")


@pytest.mark.parametrize("path", ["/v2/models/digits/infer", "/v2/repository/index", "/v2/models/digits/generate"])
def test_what_is_posted_has_no_head(server: Server, path: str) -> None:
    status, headers, body = raw(server, "HEAD", path)
    assert (status, body) == (405, b"")
    assert "POST" in headers["allow"]


def test_the_connection_goes_on(server: Server) -> None:
    with requests.Session() as session:
        for _ in range(3):
            assert session.head(f"{server.url}/v2/models/digits/config", timeout=5).content == b""
            answer = session.get(f"{server.url}/v2/models/digits", timeout=5)
            assert json.loads(answer.content)["name"] == "digits"
