"""The client that docs/protocol.md shows: the page has the file's own text, and it works, with a late server too."""

import importlib.util
import re

import kv

EXAMPLE = kv.ROOT / "docs" / "examples" / "kv_client.py"
PAGE = kv.ROOT / "docs" / "protocol.md"


def load_example():
    specification = importlib.util.spec_from_file_location("kv_client", EXAMPLE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class Text(kv.TestCase):
    def test_the_page_shows_the_file(self):
        section = re.search(r"^## A client in forty lines\n(.*?)^## ", PAGE.read_text(), re.M | re.S)
        self.assertIsNotNone(section)
        shown = re.findall(r"^```python\n(.*?)^```$", section[1], re.M | re.S)
        self.assertEqual(shown, [EXAMPLE.read_text()])

    def test_it_is_short_and_needs_nothing_else(self):
        text = EXAMPLE.read_text()
        self.assertLessEqual(len(text.splitlines()), 40)
        self.assertLessEqual(max(map(len, text.splitlines())), 120)
        self.assertEqual(re.findall(r"^(?:import|from) .*", text, re.M), ["import base64, json, socket, struct"])


class Works(kv.TestCase):
    def setUp(self):
        self.example = load_example()
        self.servers = self.late_cluster("n3", "1s")
        self.seen = {}
        self.clients = {node.name: self.connect(node) for node in self.servers}

    def connect(self, node):
        host, port = node.address.rsplit(":", 1)
        client = self.example.Client(host, int(port), self.seen)
        client.socket.settimeout(20 * kv.SLOWDOWN)
        self.addCleanup(client.socket.close)
        self.addCleanup(client.stream.close)
        return client

    def test_own_writes_are_read_wherever(self):
        late = 0
        for value in (b"blue", b"", "grün".encode(), b"\x00\xff", b"x" * (1 << 20)):
            self.clients["n2"].put("colour", value)
            late += self.servers["n3"].status()["applied"] < self.seen["colour"]
            self.assertEqual(self.clients["n3"].get("colour"), value)
            self.assertEqual(self.clients["n1"].get("colour"), value)
        self.assertGreater(late, 0, "the late server was never late, so nothing was tested")

    def test_it_never_goes_back_in_time(self):
        self.servers["n2"].ask("PUT", key="a", value="another person's")
        self.assertEqual(self.clients["n1"].get("a"), b"another person's")
        self.assertEqual(self.clients["n3"].get("a"), b"another person's")
        self.assertIsNone(self.clients["n1"].get("absent"))
        self.assertGreaterEqual(self.seen["absent"], self.seen["a"])

    def test_watch(self):
        watches = [self.connect(node).watch("w/", 0) for node in self.servers]
        self.clients["n1"].put("w/a", b"1")
        self.clients["n2"].put("other", b"")
        self.clients["n3"].put("w/b", b"\xff")
        self.servers["n1"].ask("DELETE", key="w/a")
        for watch in watches:
            events = [next(watch) for _ in range(3)]
            self.assertEqual([(event["op"], event["key"], event["value"]) for event in events],
                             [("PUT", "w/a", b"1"), ("PUT", "w/b", b"\xff"), ("DELETE", "w/a", None)])

    def test_what_is_refused_is_said(self):
        with self.assertRaisesRegex(RuntimeError, "TOO_LARGE"):
            self.clients["n1"].put("k" * 5000, b"")
        self.assertIsNone(self.clients["n1"].get("a"))
        self.servers["n2"].terminate()
        with self.assertRaises((ConnectionError, RuntimeError)):
            self.clients["n2"].get("a")


if __name__ == "__main__":
    kv.main()
