"""A server made of nothing, for what a real one can't be made to do on demand: refuse, hang up, say nothing.

    with FakeServer({"PUT": lambda message: {"type": "ERROR", "code": "NO_SPACE", "message": "disk full"}}) as fake:
        kvctl("-e", fake.address, "put", "a", "1")

A handler gets the request and returns the answer (the id is added), HANG_UP, or SAY_NOTHING.
"""

import json
import socket
import struct
import threading

from kv import frame

HANG_UP = object()
SAY_NOTHING = object()

CLUSTER = "6f1d8a52-1f6e-4c57-9a57-3a1b2c3d4e5f"


class FakeServer:
    def __init__(self, handlers=None):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.handlers = {"INIT": self.init_ok, **(handlers or {})}
        self.requests = []  # every message that arrived, in order
        self.arrived = threading.Condition()
        self.connections = []

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        for connection in [self.listener, *self.connections]:
            try:
                connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
            except OSError:
                pass
            connection.close()

    def init_ok(self, _):
        return {"type": "INIT_OK", "protocol": 1, "server": "fake 1", "cluster": CLUSTER, "node": "n1", "leader": "n1",
                "applied": 0, "members": [{"node": "n1", "address": self.address}]}

    def wait_for(self, type, timeout=10.0):
        """Waits until a request of this type has arrived."""
        with self.arrived:
            if not self.arrived.wait_for(lambda: any(r["type"] == type for r in self.requests), timeout):
                raise AssertionError(f"no {type} arrived; only {[r['type'] for r in self.requests]}")

    def count(self, type):
        return sum(request["type"] == type for request in self.requests)

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            with connection, connection.makefile("rb") as stream:
                while header := stream.read(4):
                    message = json.loads(stream.read(struct.unpack(">I", header)[0]))
                    with self.arrived:
                        self.requests.append(message)
                        self.arrived.notify_all()
                    handler = self.handlers.get(message["type"])
                    answer = handler(message) if handler else {
                        "type": "ERROR", "code": "BAD_REQUEST", "message": "the fake server does not know this"}
                    if answer is HANG_UP:
                        return
                    if answer is not SAY_NOTHING:
                        connection.sendall(frame({"id": message["id"], **answer}))
        except OSError:
            pass  # the other side is gone
