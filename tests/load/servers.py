"""Servers of one's own, for what scripts/measure_*.sh do."""

import json
import pathlib
import socket
import struct
import subprocess
import sys
import time

PATIENCE = 120  # seconds, for whatever is waited for


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def ask(address, request):
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        body = json.dumps(request).encode()
        connection.sendall(struct.pack(">I", len(body)) + body)
        data = b""
        while len(data) < 4 or len(data) < 4 + struct.unpack(">I", data[:4])[0]:
            more = connection.recv(1 << 20)
            if not more:
                raise ConnectionError(f"{address} has closed the connection")
            data += more
    return json.loads(data[4:])


def status(address):
    return ask(address, {"type": "STATUS", "id": 1})


def wait_for(what, condition):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            result = condition()
        except OSError:
            result = None
        if result:
            return result
        time.sleep(0.005)
    sys.exit(f"waited {PATIENCE} s for {what}")


class Server:
    def __init__(self, build, folder, name, port, peer_port, cluster, flags):
        self.name, self.address = name, f"127.0.0.1:{port}"
        self.log = folder / f"{name}.log"
        self.words = [build / "kvd", "--name", name, "--listen", self.address, "--data-dir", folder / name,
                      "--log-file", self.log, *flags]
        if cluster:
            self.words += ["--peer-listen", f"127.0.0.1:{peer_port}", "--cluster", cluster]
        self.process = None

    def start(self, *more):
        self.process = subprocess.Popen([*self.words, *more], stdin=subprocess.DEVNULL)
        return self

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def memory(self, which):  # VmRSS: now; VmHWM: the most so far. In bytes
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(which):
                return int(line.split()[1]) * 1024
        return 0
