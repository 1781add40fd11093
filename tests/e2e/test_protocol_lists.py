"""LIST: pages, order, limits, what fits into a frame, waiting for a position, and one moment for all of it."""

import base64
import os
import threading
import time

import kv
from protocol_case import ProtocolCase

MIB = 1 << 20


class Lists(ProtocolCase):
    def list(self, **members):
        return self.assert_message(self.ask("LIST", ts=self.ts, **members), "LIST_OK")

    def keys(self, **members):
        return [item["key"] for item in self.list(**members)["items"]]

    def walk(self, **members):
        """All pages, each from the next server: their items, and how many pages there were."""
        items, pages, after = [], 0, ""
        while True:
            page = self.list(after=after, **members)
            self.assertTrue(page["items"] or not page["more"], "a page without items that says more")
            items += page["items"]
            pages += 1
            if not page["more"]:
                return items, pages
            after = page["items"][-1]["key"]

    def test_pages(self):
        expected = [(f"p/{i:04}", f"v{i}") for i in range(1700)]
        positions = self.put_all([("p", "before"), *reversed(expected), ("p0", "behind")])
        for limit, pages in ((700, 3), (850, 2), (1000, 2), (None, 2), (10**6, 2)):
            with self.subTest(limit=limit):
                items, count = self.walk(prefix="p/", **({"limit": limit} if limit else {}))
                self.assertEqual([(item["key"], item["value"]) for item in items], expected)
                self.assertEqual([item["ts"] for item in items], positions[-2:0:-1])
                self.assertEqual(count, pages)
        page = self.list(prefix="p/", after="p/1689", limit=10)
        self.assertEqual((len(page["items"]), page["more"]), (10, False), "exactly the last ones")
        self.assertEqual(self.list(prefix="p/", after="p/1699")["items"], [])
        items, _ = self.walk(prefix="p/", keys_only=True)
        self.assertEqual([item["key"] for item in items], [key for key, _ in expected])
        self.assertFalse([item for item in items if set(item) != {"key", "ts"}])

    def test_prefix_and_after(self):
        self.assert_message(self.list(), "LIST_OK", items=[], more=False)
        self.put_all([(key, "") for key in ("b", "a/2", "a/1", "a", "a0", "aa")])
        everything = ["a", "a/1", "a/2", "a0", "aa", "b"]
        for members, expected in (
                ({}, everything),
                ({"prefix": "", "after": ""}, everything),
                ({"prefix": "a/"}, ["a/1", "a/2"]),
                ({"prefix": "a"}, everything[:5]),
                ({"prefix": "a/", "after": "a/1"}, ["a/2"]),
                ({"prefix": "a/", "after": "A"}, ["a/1", "a/2"]),
                ({"prefix": "a/", "after": "b"}, []),
                ({"after": "a/11"}, everything[2:]),  # `after` need not be a key
                ({"prefix": "k" * 4096, "after": "k" * 4096}, []),
                ({"limit": 1}, ["a"])):
            with self.subTest(members):
                self.assertEqual(self.keys(**members), expected)
        self.write("DELETE", key="a/1")
        self.assertEqual(self.keys(prefix="a/"), ["a/2"])

    def test_the_order_is_that_of_bytes(self):
        # UTF-16 has the last two the other way round, and a locale would mix upper and lower case.
        keys = ["\x00", "A", "B", "a", "b", "z", "é", "\uffff", "\U0001f642"]
        self.put_all([("x/" + key, key) for key in reversed(keys)])
        self.assertEqual(self.keys(prefix="x/"), ["x/" + key for key in keys])
        self.assertEqual(self.keys(prefix="x/", after="x/\uffff"), ["x/\U0001f642"])

    def test_values_are_bytes(self):
        values = [b"", b"plain", "grün".encode(), b"\x00\xff", b"\x01" * 100, bytes(range(256))]
        for number, value in enumerate(values):
            self.write("PUT", key=f"b{number}", value_base64=base64.b64encode(value).decode())
        self.assertEqual([kv.value_of(item) for item in self.list(prefix="b")["items"]], values)

    def test_what_does_not_fit_into_a_frame_comes_with_the_next_page(self):
        values = [os.urandom(MIB), b'"' * MIB, b"\x01" * MIB, b"x" * MIB, b"y" * MIB, b"z" * MIB]
        for number, value in enumerate(values):
            self.write("PUT", key=f"big{number}", value_base64=base64.b64encode(value).decode())
        items, pages = self.walk(prefix="big")  # the harness refuses a frame that is too long
        self.assertTrue([kv.value_of(item) for item in items] == values)
        self.assertGreater(pages, 1)
        self.assertLessEqual(pages, 3, "pages that are hardly filled")
        self.assertEqual(len(self.keys(prefix="big", keys_only=True)), len(values))

    def test_keys_that_do_not_fit_into_a_frame(self):
        # Six bytes each on the wire, and only the last ones differ.
        keys = ["\x01" * 4000 + f"{i:03}" for i in range(250)]
        self.put_all([(key, "") for key in keys])
        items, pages = self.walk(keys_only=True)
        self.assertEqual([item["key"] for item in items], keys)
        self.assertGreater(pages, 1)

    def test_refused(self):
        wrong = {"limit": (0, -1, 1.5, "5", None, 2**53), "prefix": (5, None, ["a"]), "after": (1, None),
                 "keys_only": ("yes", 1, None), "ts": (-1, "1", None), "timeout_ms": (-1, "1"),
                 "consistency": ("eventual", 1, None)}
        self.assert_refused([("LIST", {name: value}) for name, values in wrong.items() for value in values])
        self.assert_refused([("LIST", {"prefix": "k" * 4097}), ("LIST", {"after": "k" * 4097})], "TOO_LARGE")

    def test_linearizable_everywhere_right_after_a_write(self):
        for number in range(6):
            ts = self.put(f"l{number}", "")
            for node in self.servers:
                answer = node.ask("LIST", prefix="l", keys_only=True, consistency="linearizable")
                self.assertEqual([item["key"] for item in answer["items"]], [f"l{i}" for i in range(number + 1)])
                self.assertGreaterEqual(answer["applied"], ts)

    def test_a_ts_that_never_comes(self):
        for node in self.servers:
            with node.connect() as client:
                id = client.send("LIST", ts=2**53 - 1, timeout_ms=50)
                self.assertNotIn("key", self.assert_message(client.answer(id), "WAIT_FOR_RESPONSE", ts=2**53 - 1))
                self.assert_message(self.assert_error(client.answer(id), "TIMEOUT"), "ERROR", ts=2**53 - 1)
                local = client.ask("LIST", ts=2**53 - 1, consistency="local")
                self.assert_message(local, "LIST_OK", items=[], more=False)


class ListsOfOneServer(Lists):
    size = 1


class OneMoment(ProtocolCase):
    def test_a_list_never_shows_half_a_transaction(self):
        """While pairs of keys change together, every LIST on every server shows both as one TXN left them."""
        stop = threading.Event()
        failures = []

        def write():
            try:
                with self.servers["n1"].connect() as client:
                    number = 0
                    while not stop.is_set():
                        number += 1
                        both = [{"op": "PUT", "key": key, "value": str(number)} for key in ("pair/a", "pair/z")]
                        self.assert_message(client.ask("TXN", then=both), "TXN_OK")
            except BaseException as failure:  # told by the test
                failures.append(failure)

        self.put_all([(f"pair/m{i}", "x" * 1000) for i in range(500)])  # what lies between them
        writer = threading.Thread(target=write)
        writer.start()
        try:
            moments, lists = set(), 0
            end = time.monotonic() + 30 * kv.SLOWDOWN
            while not failures and (lists < 60 or (len(moments) <= 3 and time.monotonic() < end)):
                lists += 1
                page = self.ask("LIST", prefix="pair/")
                ends = {(item["value"], item["ts"]) for item in page["items"] if item["key"] in ("pair/a", "pair/z")}
                self.assertLessEqual(len(ends), 1, page["applied"])
                moments |= ends
        finally:
            stop.set()
            writer.join()
        if failures:
            raise failures[0]
        self.assertGreater(len(moments), 3, "nothing changed meanwhile, so nothing was tested")


class Late(kv.TestCase):
    def test_a_server_that_is_behind_says_so_and_answers_when_it_is_not(self):
        servers = self.late_cluster("n3", "2s")
        with servers["n3"].connect() as client:
            ts = self.assert_message(servers["n1"].ask("PUT", key="a", value="1"), "PUT_OK")["ts"]
            id = client.send("LIST", ts=ts)
            wait = self.assert_message(client.answer(id), "WAIT_FOR_RESPONSE", ts=ts, node="n3")
            self.assertLess(wait["applied"], ts)
            self.assert_message(client.ask("LIST", ts=ts, consistency="local"), "LIST_OK", items=[])
            answer = self.assert_message(client.answer(id), "LIST_OK", node="n3")
            self.assertEqual(answer["items"], [{"key": "a", "value": "1", "ts": ts}])
            self.assertGreaterEqual(answer["applied"], ts)


if __name__ == "__main__":
    kv.main()
