"""Starts the binary under test and knows where it listens."""

import json
import os
import queue
import shlex
import signal
import subprocess
import threading
import time
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "models"
START_SECONDS = 60
STOP_SECONDS = 30


def binary() -> str:
    """`ADULIS_BIN`, else the newest of the builds in `target`."""
    if named := os.environ.get("ADULIS_BIN"):
        return named
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [path for path in (target / "release" / "adulis", target / "debug" / "adulis") if path.exists()]
    if not built:
        raise RuntimeError("no adulis binary: set ADULIS_BIN, or run `cargo build --release`")
    return str(max(built, key=lambda path: path.stat().st_mtime))


class Server:
    """A running server on free ports of this machine: `http`, `grpc` and `metrics` are `host:port`.

    Use it in a `with`. Its log is kept in `log`, one parsed object (or one string) per line.
    """

    def __init__(self, *paths: Path | str, flags: tuple[str, ...] = (), ready: bool = True):
        command = [binary(), "serve", *map(str, paths), "--log-format", "json"]
        for protocol in ("http", "grpc", "metrics"):
            command += [f"--{protocol}", "127.0.0.1:0"]
        command += [*flags, *shlex.split(os.environ.get("ADULIS_ARGS", ""))]
        self.log: list[dict | str] = []
        self._addresses: queue.Queue = queue.Queue()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._await_addresses()
            if ready:
                self.await_ready()
        except BaseException:
            self.process.kill()
            raise

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _read(self) -> None:
        for line in self.process.stdout:
            try:
                entry = json.loads(line)
            except ValueError:
                entry = line.rstrip("\n")
            self.log.append(entry)
            if isinstance(entry, dict) and entry.get("message") == "listening":
                self._addresses.put((entry["protocol"], entry["address"]))
        self._addresses.put(None)

    def _await_addresses(self) -> None:
        found: dict[str, str] = {}
        deadline = time.monotonic() + START_SECONDS
        while not {"http", "grpc", "metrics"} <= found.keys():
            try:
                entry = self._addresses.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"listening on {sorted(found)} only; log:\n{self.log_text()}") from None
            if entry is None:
                code = self.process.wait(STOP_SECONDS)
                raise RuntimeError(f"the server ended with status {code}; log:\n{self.log_text()}")
            found[entry[0]] = entry[1]
        self.http, self.grpc, self.metrics = found["http"], found["grpc"], found["metrics"]
        self.url = f"http://{self.http}"

    def log_text(self) -> str:
        return "\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in self.log)

    def await_ready(self, model: str | None = None) -> None:
        """Waits until the server, or one model of it, says that it is ready."""
        path = f"/v2/models/{model}/ready" if model else "/v2/health/ready"
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if requests.get(self.url + path, timeout=5).status_code == 200:
                    return
            except requests.ConnectionError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"{path} never answered 200; log:\n{self.log_text()}")
            time.sleep(0.02)

    def samples(self, name: str, **labels: str) -> float:
        """The sum over all series of a metric that carry these labels; 0 where there is none."""
        total = 0.0
        for line in requests.get(f"http://{self.metrics}/metrics", timeout=5).text.splitlines():
            series, _, value = line.partition(" ")
            if series.split("{")[0] == name and all(f'{key}="{wanted}"' in series for key, wanted in labels.items()):
                total += float(value.split()[0])
        return total

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Asks the server to end, as an orchestrator does, and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise TimeoutError(f"still there {seconds} s after SIGTERM; log:\n{self.log_text()}") from None
