"""Input that no honest program sends, on both listeners: one ERROR or a close, bounded memory, and everyone
else is served meanwhile."""

import json
import os
import random
import socket
import struct
import threading
import time

import kv

MIB = 1 << 20


class Garbage(kv.TestCase):
    def setUp(self):
        self.servers = self.led_cluster("n1", kv.CALM)
        self.target = self.servers["n1"]
        self.terms = [node.status()["term"] for node in self.servers]
        self.rss_before = self.target.rss_bytes()
        self.slowest = 0.0
        self._stop = threading.Event()
        self._failure = None
        self._honest = threading.Thread(target=self._honest_client)
        self._honest.start()

    def tearDown(self):
        self._stop.set()
        self._honest.join()
        if self._failure:
            raise self._failure
        for node in self.servers:
            self.assertTrue(node.is_running(), f"{node.name} has died")
        self.assertEqual([node.status(10)["term"] for node in self.servers], self.terms, "there was an election")
        self.assertLess(self.slowest, 4 * kv.SLOWDOWN, "an honest request had to wait; a disk's pause is shorter")
        grown = self.target.rss_bytes() - self.rss_before
        print(f"memory grew by {grown / MIB:.1f} MiB; the slowest honest request took {self.slowest * 1000:.0f} ms")

    def _honest_client(self):
        """Someone else, who must be served all the time."""
        try:
            with self.target.connect() as client:
                while not self._stop.is_set():
                    started = time.monotonic()
                    answer = client.ask("PUT", key="honest", value="1")
                    assert answer["type"] == "PUT_OK", answer
                    assert client.ask("GET", key="honest")["value"] == "1"
                    self.slowest = max(self.slowest, time.monotonic() - started)
                    self._stop.wait(0.005)
        except BaseException as error:
            self._failure = error

    def assert_memory_within(self, mib):
        grown = self.target.rss_bytes() - self.rss_before
        self.assertLess(grown, mib * MIB * kv.SLOWDOWN, f"memory grew by {grown / MIB:.1f} MiB")

    def listeners(self):
        return {"client": self.target.address, "peer": self.target.peer_address}.items()

    def still_usable(self, client):
        self.assert_message(client.ask("GET", key="honest"), "GET_OK")

    # ---- frames that are not requests: one ERROR each, and the connection goes on --------------------------

    BAD_BODIES = {
        "not JSON": b"hello",
        "not an object": b"[1,2]",
        "a number": b"7",
        "cut off": b'{"type":"GET","id":1,"key":"a',
        "two objects": b'{"type":"GET","id":1,"key":"a"}{}',
        "a zero byte behind": b'{"type":"GET","id":1,"key":"a"}\0x',
        "byte order mark": b'\xef\xbb\xbf{"type":"GET","id":1,"key":"a"}',
        "invalid UTF-8": b'{"type":"GET","id":1,"key":"\xff\xfe"}',
        "a cut UTF-8 sequence": b'{"type":"GET","id":1,"key":"\xf0\x9f',
        "overlong UTF-8": b'{"type":"GET","id":1,"key":"\xc0\x80"}',
        "a lone surrogate": b'{"type":"GET","id":1,"key":"\\ud800"}',
        "a member twice": b'{"type":"GET","id":1,"key":"a","key":"b"}',
        "an unknown member twice": b'{"type":"GET","id":1,"key":"a","x":1,"x":2}',
        "too deep": b'{"type":"GET","id":1,"key":"a","x":' + b"[" * 100 + b"]" * 100 + b"}",
        "far too deep": b'{"x":' + b"[" * 1_000_000,
        "deep objects": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
        "huge exponent": b'{"type":"GET","id":1.00000000001e-2147483638,"key":"a"}',
        "id above 2^53": b'{"type":"GET","id":18446744073709551616,"key":"a"}',
        "no type": b'{"id":1}',
        "type of another kind": b'{"type":5,"id":1}',
        "raw control character": b'{"type":"GET","id":1,"key":"a\nb"}',
        "NaN": b'{"type":"GET","id":NaN,"key":"a"}',
    }

    def test_bad_bodies(self):
        with self.target.connect() as client:
            for name, body in self.BAD_BODIES.items():
                with self.subTest(name):
                    client.send_bytes(kv.frame(body))
                    answer = self.assert_error(client.receive(), "BAD_REQUEST")
                    self.assertIn(answer.get("id"), (None, 1), answer)
                    self.still_usable(client)
        for name, body in self.BAD_BODIES.items():
            with self.subTest(f"{name}, to the peer listener"), self.target.connect_peer() as client:
                try:
                    # What is too long for an INIT is refused by its length, perhaps while it is still being sent.
                    client.send_bytes(kv.frame(body))
                    self.assert_message(client.receive(), "ERROR")
                except kv.Closed:
                    pass
        self.assert_memory_within(64)

    def test_depth_is_counted_exactly(self):
        with self.target.connect() as client:
            for depth, type in ((31, "GET_OK"), (32, "ERROR")):
                # The request itself is one level.
                body = '{"type":"GET","id":9,"key":"a","x":' + "[" * depth + "]" * depth + "}"
                client.send_bytes(kv.frame(body.encode()))
                self.assert_message(client.receive(), type)

    # ---- lengths: after a bad one the stream can't be followed, so the connection is closed ----------------

    def test_bad_lengths(self):
        for name, address in self.listeners():
            for length in (0, kv.MAX_FRAME * 4 + 1, 0x7FFFFFFF, 0xFFFFFFFF):
                with self.subTest(f"{length} bytes to the {name} listener"), kv.Client(address) as client:
                    client.send_bytes(struct.pack(">I", length))
                    self.assertTrue(client.is_closed_by_server(), "still open")
        with self.target.connect() as client:
            client.send_bytes(struct.pack(">I", kv.MAX_FRAME + 1))
            self.assertTrue(client.is_closed_by_server())
        self.assert_memory_within(64)

    def test_what_came_before_a_bad_length_is_answered(self):
        with self.target.connect() as client:
            asked = [client.message("GET", key="a") for _ in range(20)]
            client.send_bytes(b"".join(kv.frame(message) for message in asked) + struct.pack(">I", kv.MAX_FRAME + 1))
            answers = [client.receive() for _ in asked]
            self.assertEqual([(answer["type"], answer["id"]) for answer in answers],
                             [("GET_OK", message["id"]) for message in asked])
            self.assert_error(client.receive(), "TOO_LARGE")
            self.assertTrue(client.is_closed_by_server())

    def test_announced_memory_is_not_allocated(self):
        """Two hundred connections that announce the largest frame and send only its beginning."""
        clients = []
        for _, address in self.listeners():
            for _ in range(100):
                client = kv.Client(address)
                clients.append(client)
                client.send_bytes(struct.pack(">I", kv.MAX_FRAME) + b'{"type":"PUT"')
        self.still_served()
        self.assert_memory_within(64)
        for client in clients:
            client.close()

    def still_served(self):
        for node in self.servers:
            self.assert_message(node.ask("GET", key="honest", consistency="linearizable"), "GET_OK")

    # ---- noise ---------------------------------------------------------------------------------------------

    def test_random_bytes(self):
        noise = random.Random(20240611)
        for _, address in self.listeners():
            for _ in range(200):
                with kv.Client(address) as client:
                    try:
                        client.send_bytes(noise.randbytes(noise.randrange(1, 5000)))
                    except kv.Closed:
                        pass
        self.still_served()
        self.assert_memory_within(64)

    def test_mutated_requests(self):
        """Well-formed frames whose bodies are almost requests."""
        noise = random.Random(7)
        bodies = [json.dumps(message).encode() for message in (
            {"type": "INIT", "id": 1, "protocol": 1, "client": "x"},
            {"type": "PUT", "id": 2, "key": "garbage", "value": "y", "if_ts": 10**9, "timeout_ms": 100},
            {"type": "GET", "id": 3, "key": "a", "ts": 0, "consistency": "session"},
            {"type": "VOTE", "term": 1, "candidate": "n2", "last_index": 1, "last_term": 1, "pre": True},
            {"type": "STATUS", "id": 4})]
        for _, address in self.listeners():
            for _ in range(20):
                frames = []
                for _ in range(50):
                    body = bytearray(noise.choice(bodies))
                    for _ in range(noise.randrange(1, 4)):
                        body[noise.randrange(len(body))] = noise.randrange(256)
                    frames.append(kv.frame(bytes(body)))
                with kv.Client(address) as client:
                    try:
                        client.send_bytes(b"".join(frames))
                    except kv.Closed:
                        pass
        self.still_served()
        self.assert_memory_within(64)

    def test_half_a_frame_and_silence(self):
        silent = []
        whole = kv.frame({"type": "PUT", "id": 1, "key": "a", "value": "x" * 1000})
        for _, address in self.listeners():
            for cut in (1, 3, 4, 5, len(whole) - 1):
                client = kv.Client(address)
                client.send_bytes(whole[:cut])
                silent.append(client)
        self.still_served()
        # Slow is not wrong: a frame that comes byte by byte is a request like any other.
        with self.target.connect() as client:
            for byte in kv.frame({"type": "GET", "id": 5, "key": "honest"}):
                client.send_bytes(bytes([byte]))
            self.assert_message(client.receive(), "GET_OK", id=5)
        for client in silent:
            client.close()

    # ---- many, and much ------------------------------------------------------------------------------------

    def test_idle_connections(self):
        count = 2000
        idle = [kv.Client(self.target.address) for _ in range(count)]
        self.target.wait_status("has them all", lambda status: status["connections"] >= count)
        self.still_served()
        self.assert_memory_within(128)
        for client in idle:
            client.close()
        self.target.wait_status("has let them go", lambda status: status["connections"] < count / 10)

    def test_a_client_that_never_reads(self):
        """It asks for far more than it takes: the server must stop reading from it, not gather answers."""
        value = "v" * MIB
        self.assert_message(self.target.ask("PUT", key="big", value=value), "PUT_OK")
        greedy = []
        for number in range(4):
            client = self.target.connect()
            greedy.append(client)
            client.socket.setblocking(False)
            requests = b"".join(kv.frame({"type": "GET", "id": i, "key": "big"}) for i in range(20_000))
            sent = 0
            end = time.monotonic() + 1.0
            while sent < len(requests) and time.monotonic() < end:
                try:
                    sent += client.socket.send(requests[sent:sent + 65536])
                except BlockingIOError:
                    time.sleep(0.01)
                except OSError:
                    break  # closed: allowed too
        self.still_served()
        self.assert_memory_within(256)
        for client in greedy:
            client.close()
        self.still_served()

    def test_a_flood_of_parked_reads(self):
        """Reads that can't be answered: bounded, each answered once, gone with their connection."""
        client = self.target.connect(timeout=20)
        count = 10_000
        reads = [{"type": "GET", "id": i, "key": "a", "ts": 2**53 - 1, "timeout_ms": 1000} for i in range(count)]
        finals = {}

        def read_answers():
            while len(finals) < count:
                message = client.receive()
                if kv.is_final(message):
                    assert message["id"] not in finals, message
                    finals[message["id"]] = message["code"]

        reader = threading.Thread(target=read_answers)
        reader.start()
        client.send_all(reads)
        self.still_served()
        reader.join(60 * kv.SLOWDOWN)
        self.assertEqual(len(finals), count)
        self.assertLessEqual(set(finals.values()), {"TIMEOUT", "OVERLOADED"})
        self.assertEqual(self.target.status()["waiting"], 0)
        self.assert_memory_within(128)
        client.close()

    def test_reset_in_the_middle(self):
        """Connections that are reset while their requests are under way."""
        for _ in range(200):
            client = self.target.connect()
            client.send_all([client.message("PUT", key="reset", value=os.urandom(50).hex()) for _ in range(20)])
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        self.still_served()

    def test_control_characters_are_not_logged_raw(self):
        with self.target.connect() as client:
            client.ask("INIT", protocol=1, client="evil\n2024 [info] forged line\x1b[31m")
            client.ask("PUT", key="a\nforged\x1b[2J", value="\x07")
        log = self.target.log_text()
        self.assertNotRegex(log, r"(?m)^2024 \[info\] forged")
        self.assertNotIn("\x07", log)
        self.assertNotIn("\x1b[2J", log)


if __name__ == "__main__":
    kv.main()
