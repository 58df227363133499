"""KServe's SDK clients. They and tritonclient register the same protobuf names, so they need a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

from server import Server


def test_kserve_clients(server: Server) -> None:
    command = [sys.executable, "-m", "pytest", "--noconftest", "-q", Path(__file__).with_name("kserve_cases.py")]
    environment = os.environ | {"ADULIS_HTTP": server.http, "ADULIS_GRPC": server.grpc}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
