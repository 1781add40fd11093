"""INIT, the malformed cases of PUT, DELETE and GET, time-outs, and GET with newer_than: a key's next version."""

import threading
import uuid

import kv
from protocol_case import ProtocolCase


class Requests(ProtocolCase):
    def test_init_refused(self):
        wrong = [{}, {"protocol": 2}, {"protocol": 0}, {"protocol": "1"}, {"protocol": None},
                 {"protocol": 1, "cluster": 5}, {"protocol": 1, "client": 5}, {"protocol": 1, "role": "peer"}]
        self.assert_refused([("INIT", members) for members in wrong])

    def test_writes_refused_and_nothing_done(self):
        session = str(uuid.uuid4())
        common = [{"if_ts": -1}, {"if_ts": "0"}, {"if_ts": None}, {"if_ts": 1.5}, {"timeout_ms": -1},
                  {"timeout_ms": "1"}, {"session": session}, {"seq": 1}, {"session_from": 1},
                  {"session": session, "seq": 0}, {"session": session, "seq": -1}, {"session": session, "seq": "1"},
                  {"session": "me", "seq": 1}, {"session": 5, "seq": 1},
                  {"session": session, "seq": 1, "session_from": -1}]
        puts = [{"value": 5}, {"value": None}, {"value": ["x"]}, {"value_base64": 5}, {"value_base64": "MQ"},
                {"value_base64": "MQ==\n"}, {"value": "1", "value_base64": "MQ=="}, {},
                *({"value": "1", **members} for members in common)]
        self.assert_refused([("PUT", {"key": "a", **members}) for members in puts])
        self.assert_refused([("DELETE", {"key": "a", **members}) for members in common])
        self.assert_refused([(type, {"value": "1", **key}) for type in ("PUT", "DELETE")
                             for key in ({}, {"key": ""}, {"key": 5}, {"key": None})])
        self.assert_refused([("DELETE", {"key": "k" * 4097}), ("GET", {"key": "k" * 4097})], "TOO_LARGE")
        self.assert_message(self.ask("GET", key="a", consistency="linearizable"), "GET_OK", value=None)

    def test_a_day_and_no_time_at_all(self):
        self.put("a", "1", timeout_ms=2**53 - 1)
        self.assert_message(self.ask("GET", key="a", ts=self.ts, timeout_ms=2**53 - 1), "GET_OK", value="1")
        for node in self.servers:
            answer = node.ask("GET", key="a", ts=2**53 - 1, timeout_ms=0)
            self.assert_message(self.assert_error(answer, "TIMEOUT"), "ERROR", ts=2**53 - 1)


class RequestsOfOneServer(Requests):
    size = 1


class NewerThan(ProtocolCase):
    """A read that is answered when the key is written again."""

    def wait_for_newer(self, node, key, than, **members):
        """A connection whose read waits, as it was told."""
        client = node.connect(20)
        self.addCleanup(client.close)
        client.read = client.send("GET", key=key, newer_than=than, timeout_ms=60_000, **members)
        self.assert_message(client.answer(client.read), "WAIT_FOR_RESPONSE", key=key, ts=than, node=node.name)
        return client

    def test_what_is_newer_is_answered_at_once(self):
        ts = self.put("a", "1")
        for node in self.servers:
            node.wait_applied(ts)
            for than in (0, ts - 1):
                with node.connect() as client:
                    client.send("GET", key="a", newer_than=than)
                    self.assert_message(client.receive(), "GET_OK", value="1", ts=ts)

    def test_the_next_version_a_deletion_included(self):
        for consistency in ("session", "linearizable", "local"):
            ts = self.put("a", "old")
            waiting = [self.wait_for_newer(node, "a", ts, consistency=consistency) for node in self.servers]
            self.put("ab", "another key")
            self.assertEqual([node.status()["waiting"] for node in self.servers], [1] * self.size)
            newer = self.put("a", "new")
            for client in waiting:
                self.assert_message(client.answer(client.read), "GET_OK", key="a", value="new", ts=newer)
            waiting = [self.wait_for_newer(node, "a", newer, consistency=consistency) for node in self.servers]
            deleted = self.write("DELETE", key="a")["ts"]
            for client in waiting:
                answer = self.assert_message(client.answer(client.read), "GET_OK", value=None, ts=deleted)
                self.assertGreaterEqual(answer["applied"], deleted)

    def test_a_deletion_is_remembered(self):
        ts = self.put("a", "1")
        deleted = self.write("DELETE", key="a")["ts"]
        for restart in (False, True):
            for node in self.servers:
                if restart:
                    node.restart()
                node.wait_applied(deleted)
                answer = node.ask("GET", key="a", newer_than=ts)
                self.assert_message(answer, "GET_OK", value=None, ts=deleted)
                with node.connect() as client:
                    late = client.send("GET", key="a", newer_than=deleted, timeout_ms=50)
                    self.assert_message(client.answer(late), "WAIT_FOR_RESPONSE", ts=deleted)
                    self.assert_message(self.assert_error(client.answer(late), "TIMEOUT"), "ERROR", ts=deleted)

    def test_a_key_that_never_was(self):
        waiting = [self.wait_for_newer(node, "new", 0) for node in self.servers]
        self.write("DELETE", key="new")  # of an absent key: no change
        self.assert_error(self.ask("PUT", key="new", value="1", if_ts=9), "CONFLICT")
        self.assertEqual([node.status()["waiting"] for node in self.servers], [1] * self.size)
        ts = self.write("TXN", then=[{"op": "PUT", "key": "new", "value": "1"}])["ts"]
        for client in waiting:
            self.assert_message(client.answer(client.read), "GET_OK", value="1", ts=ts)

    def test_what_changed_nothing_wakes_nobody(self):
        ts = self.put("a", "1")
        waiting = [self.wait_for_newer(node, "a", ts) for node in self.servers]
        self.assert_error(self.ask("PUT", key="a", value="2", if_ts=0), "CONFLICT")
        self.write("TXN", then=[{"op": "GET", "key": "a"}])
        newer = self.write("TXN", then=[{"op": "DELETE", "key": "a"}, {"op": "PUT", "key": "a", "value": "x"}])["ts"]
        for client in waiting:
            self.assert_message(client.answer(client.read), "GET_OK", value="x", ts=newer)

    def test_time_is_over(self):
        ts = self.put("a", "1")
        for node in self.servers:
            for than in (ts, 2**53 - 1):
                answer = node.ask("GET", key="a", newer_than=than, ts=ts, timeout_ms=50)
                self.assert_message(self.assert_error(answer, "TIMEOUT"), "ERROR", ts=ts)
                self.assertGreaterEqual(answer["applied"], ts)
                self.assertEqual(answer["leader"], self.servers.wait_leader().name)
            client = self.wait_for_newer(node, "a", ts)
            client.close()
            node.wait_status("has dropped the read", lambda status: status["waiting"] == 0)

    def test_refused(self):
        self.assert_refused([("GET", {"key": "a", "newer_than": than}) for than in (-1, "1", 1.5, None, 2**53)])

    def test_whoever_follows_a_key_never_goes_back_and_gets_the_last(self):
        """While it is written, deleted, and its readers go from server to server."""
        readers = [threading.Thread(target=self.follow, args=(number,)) for number in range(3)]
        self.failures = []
        for reader in readers:
            reader.start()
        for round in range(100):
            self.ask("PUT", key="f", value=str(round))
            if round % 5 == 0:
                self.write("DELETE", key="f")
        self.put("f", "end")
        for reader in readers:
            reader.join()
        self.assertEqual(self.failures, [])

    def follow(self, turn):
        than = 0
        nodes = list(self.servers)
        try:
            while True:
                turn += 1
                answer = nodes[turn % len(nodes)].ask("GET", timeout=30, key="f", newer_than=than, timeout_ms=20_000)
                assert answer["type"] == "GET_OK", answer
                assert answer["ts"] > than, f"{answer} is not newer than {than}"
                than = answer["ts"]
                if answer["value"] == "end":
                    return
        except BaseException as error:
            self.failures.append(error)


class NewerThanOfOneServer(NewerThan):
    size = 1


if __name__ == "__main__":
    kv.main()
