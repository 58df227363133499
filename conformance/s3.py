"""A real S3 server, moto's, in a process of its own, behind a door that can be shut."""

import os
import socket
import subprocess
import sys
import threading
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ACCESS = {"AWS_ACCESS_KEY_ID": "adulis", "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-prints", "AWS_REGION": "eu-west-1"}
START_SECONDS = 30


class Door:
    """Forwards connections to an address of this machine, and cuts them off while it is shut."""

    def __init__(self, target: tuple[str, int]):
        self._target, self._pairs, self._lock = target, [], threading.Lock()
        self._listener: socket.socket | None = None
        self.port = 0
        self.open()

    def open(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.port, self._listener = listener.getsockname()[1], listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def shut(self) -> None:
        listener, self._listener = self._listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for end in (end for pair in pairs for end in pair):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                inside, _ = listener.accept()
            except OSError:
                return
            outside = socket.create_connection(self._target)
            with self._lock:
                self._pairs.append((inside, outside))
            for source, sink in ((inside, outside), (outside, inside)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    @staticmethod
    def _forward(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class S3:
    """The server, with one bucket. `url` is what Adulis is given for a path in it."""

    bucket = "models-bucket"

    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        environment = {**os.environ, **ACCESS}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name=ACCESS["AWS_REGION"],
            aws_access_key_id=ACCESS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ACCESS["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}),
        )
        self._await()
        self.door = Door(("127.0.0.1", port))

    def _await(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        place = {"LocationConstraint": ACCESS["AWS_REGION"]}
        while True:
            try:
                self.client.create_bucket(Bucket=self.bucket, CreateBucketConfiguration=place)
                return
            except (BotoCoreError, ClientError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def url(self, path: str) -> str:
        return f"s3://127.0.0.1:{self.door.port}/{self.bucket}/{path}"

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def close(self) -> None:
        self.door.shut()
        self.process.terminate()
        self.process.wait(10)
