"""Three servers and the protocol as it is written: sessions, writes anywhere, reads, refusals."""

import base64
import random
import uuid

import kv


class ClusterTest(kv.TestCase):
    """One cluster for all tests of a class would be quicker, but then they could disturb each other."""

    def setUp(self):
        self.servers = self.begin()
        self.leader = self.servers.wait_leader()
        self.follower, self.other_follower = self.servers.followers()

    def begin(self):
        return self.cluster(3)

    def put(self, node, key, value, **members):
        return self.assert_message(node.ask("PUT", key=key, value=value, **members), "PUT_OK", key=key)["ts"]


class Sessions(ClusterTest):
    def test_init_tells_who_and_where(self):
        for node in self.servers:
            answer = node.ask("INIT", protocol=1, client="test")
            self.assert_message(answer, "INIT_OK", protocol=1, node=node.name, leader=self.leader.name)
            self.assertRegex(answer["server"], r"^kvd \d+\.\d+\.\d+$")
            self.assertEqual(str(uuid.UUID(answer["cluster"])), answer["cluster"])
            self.assertIsInstance(answer["applied"], int)
            members = {member["node"]: member["address"] for member in answer["members"]}
            self.assertEqual(members, {other.name: other.address for other in self.servers})
        self.assertEqual(len({node.ask("INIT", protocol=1)["cluster"] for node in self.servers}), 1)

    def test_another_clusters_client_is_told_so(self):
        with self.leader.connect() as client:
            mine = client.ask("INIT", protocol=1)["cluster"]
            self.assert_message(client.ask("GET", key="a", cluster=mine), "GET_OK")
            for request in [("INIT", {"protocol": 1}), ("PUT", {"key": "a", "value": "1"}), ("GET", {"key": "a"})]:
                answer = client.ask(request[0], cluster=str(uuid.uuid4()), **request[1])
                self.assert_error(answer, "CLUSTER_MISMATCH")
            self.assert_message(client.ask("GET", key="a"), "GET_OK", value=None, ts=0)

    def test_unknown_types_and_fields(self):
        with self.leader.connect() as client:
            self.assert_error(client.ask("NONSENSE"), "BAD_REQUEST")
            self.assert_message(client.ask("PUT", key="a", value="1", flavour="sweet", more={"x": [1]}), "PUT_OK")
            self.assert_error(client.ask("PUT", key="a"), "BAD_REQUEST")
            self.assert_error(client.ask("PUT", key="", value="1"), "BAD_REQUEST")
            self.assert_error(client.ask("PUT", key="a", value="1", value_base64="MQ=="), "BAD_REQUEST")
            self.assert_error(client.ask("PUT", key="k" * 4097, value="1"), "TOO_LARGE")
            self.assert_error(client.ask("PUT", key="a", value="v" * ((1 << 20) + 1)), "TOO_LARGE")
            self.assert_message(client.ask("GET", key="a"), "GET_OK", value="1")

    def test_status(self):
        ts = self.put(self.leader, "a", "12345")
        for node in self.servers:
            status = node.wait_applied(ts)
            self.assert_message(status, "STATUS_OK", node=node.name, leader=self.leader.name,
                                role="leader" if node is self.leader else "follower", keys=1, waiting=0)
            for name in ("cluster", "term", "committed", "applied", "log_first", "log_last", "snapshot", "bytes",
                         "connections", "uptime_ms", "version"):
                self.assertIn(name, status)
            self.assertGreaterEqual(status["log_last"], ts)
        peers = {peer["node"]: peer for peer in self.leader.status()["peers"]}
        self.assertEqual(set(peers), {self.follower.name, self.other_follower.name})
        self.assertLess(peers[self.follower.name]["last_contact_ms"], 5000 * kv.SLOWDOWN)


class Writes(ClusterTest):
    def test_put_anywhere_is_read_anywhere(self):
        last = 0
        for node in self.servers:
            ts = self.put(node, "colour", f"from {node.name}")
            self.assertGreater(ts, last)
            last = ts
            for reader in self.servers:
                answer = reader.ask("GET", key="colour", ts=ts)
                self.assert_message(answer, "GET_OK", key="colour", value=f"from {node.name}", ts=ts, node=reader.name)
                self.assertGreaterEqual(answer["applied"], ts)

    def test_delete(self):
        for node in (self.leader, self.follower):
            written = self.put(node, "a", "1")
            found = self.assert_message(node.ask("DELETE", key="a"), "DELETE_OK", key="a", found=True)
            self.assertGreater(found["ts"], written)
            absent = self.assert_message(node.ask("DELETE", key="a"), "DELETE_OK", found=False)
            self.assertGreater(absent["ts"], found["ts"])
            for reader in self.servers:
                self.assert_message(reader.ask("GET", key="a", ts=found["ts"]), "GET_OK", value=None, ts=0)

    def test_if_ts(self):
        for node in (self.leader, self.follower):
            key = f"by {node.name}"
            ts = self.put(node, key, "first", if_ts=0)
            conflict = self.assert_error(node.ask("PUT", key=key, value="second", if_ts=0), "CONFLICT")
            self.assertEqual(conflict["ts"], ts)
            conflict = self.assert_error(node.ask("DELETE", key=key, if_ts=ts + 1), "CONFLICT")
            self.assertEqual(conflict["ts"], ts)
            self.assert_message(node.ask("GET", key=key, ts=ts), "GET_OK", value="first", ts=ts)
            newer = self.put(node, key, "second", if_ts=ts)
            self.assertGreater(newer, ts)
            self.assert_message(node.ask("DELETE", key=key, if_ts=newer), "DELETE_OK", found=True)

    def test_values_are_bytes(self):
        values = [b"", b"plain", "grün 🙂".encode(), b"\x00\xff\xfe", bytes(range(256)), b"\x01" * 100, b'quo"te\\\n']
        for number, value in enumerate(values):
            key = f"bytes {number}"
            put = self.follower.ask("PUT", key=key, value_base64=base64.b64encode(value).decode())
            answer = self.other_follower.ask("GET", key=key, ts=self.assert_message(put, "PUT_OK")["ts"])
            self.assertEqual(kv.value_of(answer), value)
            self.assertNotEqual("value" in answer, "value_base64" in answer, "one form, not both")
        self.assertIn("value_base64", self.leader.ask("GET", key="bytes 3"))
        self.assertIn("value", self.leader.ask("GET", key="bytes 2"), "UTF-8 travels as text")
        self.assert_error(self.leader.ask("PUT", key="a", value_base64="not base64!"), "BAD_REQUEST")

    def test_largest_key_and_value(self):
        key, value = "k" * 4096, "v" * (1 << 20)
        ts = self.put(self.follower, key, value)
        self.assert_message(self.other_follower.ask("GET", key=key, ts=ts), "GET_OK", key=key, value=value)

    def test_pipelined_writes_keep_their_order(self):
        for node in (self.leader, self.follower):
            with node.connect() as client:
                puts = [client.message("PUT", key=f"k{i % 7}", value=f"{node.name} {i}") for i in range(500)]
                answers = client.ask_all(puts)
                for put in puts:
                    self.assert_message(answers[put["id"]], "PUT_OK", key=put["key"])
                positions = [answers[put["id"]]["ts"] for put in puts]
                self.assertEqual(positions, sorted(set(positions)))
                gets = [client.message("GET", key=put["key"], ts=positions[-1]) for put in puts[-7:]]
                answers = client.ask_all(gets)
                for put, get in zip(puts[-7:], gets):
                    self.assert_message(answers[get["id"]], "GET_OK", value=put["value"])


class Retries(ClusterTest):
    """(session, seq): a write that is sent again is not applied again."""

    def test_a_repeated_write_gets_the_first_answer(self):
        session = {"session": str(uuid.uuid4()), "session_from": self.leader.ask("INIT", protocol=1)["applied"]}
        first = self.put(self.leader, "a", "mine", seq=1, **session)
        theirs = self.put(self.follower, "a", "theirs")
        for node in self.servers:
            self.assertEqual(self.put(node, "a", "mine", seq=1, **session), first)
        self.assert_message(self.leader.ask("GET", key="a", consistency="linearizable"), "GET_OK", value="theirs",
                            ts=theirs)

    def test_a_repeated_conflict_stays_one(self):
        session = {"session": str(uuid.uuid4()), "session_from": self.leader.ask("INIT", protocol=1)["applied"]}
        ts = self.put(self.leader, "a", "1")
        self.assert_error(self.follower.ask("PUT", key="a", value="2", if_ts=0, seq=1, **session), "CONFLICT")
        self.assert_message(self.leader.ask("DELETE", key="a"), "DELETE_OK")
        again = self.assert_error(self.other_follower.ask("PUT", key="a", value="2", if_ts=0, seq=1, **session),
                                  "CONFLICT")
        self.assertEqual(again["ts"], ts)

    def test_a_repeated_delete_still_says_found(self):
        session = {"session": str(uuid.uuid4()), "session_from": 0}
        self.put(self.leader, "a", "1")
        first = self.follower.ask("DELETE", key="a", seq=1, **session)
        again = self.leader.ask("DELETE", key="a", seq=1, **session)
        self.assert_message(again, "DELETE_OK", found=True, ts=first["ts"])

    def test_the_last_256_answers_are_kept(self):
        session = {"session": str(uuid.uuid4()), "session_from": 0}
        with self.leader.connect() as client:
            puts = [client.message("PUT", key="a", value=str(i), seq=i, **session) for i in range(1, 301)]
            answers = client.ask_all(puts)
            kept = client.ask("PUT", key="a", value="60", seq=60, **session)
            self.assert_message(kept, "PUT_OK", ts=answers[puts[59]["id"]]["ts"])
            self.assert_error(client.ask("PUT", key="a", value="1", seq=1, **session), "SESSION_EXPIRED")
            self.assert_message(client.ask("GET", key="a"), "GET_OK", value="300")

    def test_a_retry_after_the_leader_died(self):
        session = {"session": str(uuid.uuid4()), "session_from": 0}
        first = self.put(self.follower, "a", "1", seq=1, **session)
        self.leader.kill()
        self.servers.wait_leader()
        self.assertEqual(self.put(self.follower, "a", "1", seq=1, **session), first)


class Listeners(ClusterTest):
    """Who may say what where. Nothing of it changes a term, a vote or a leader."""

    def begin(self):
        return self.led_cluster(random.choice(("n1", "n2", "n3")), kv.CALM)

    def setUp(self):
        super().setUp()
        self.before = {node.name: node.status() for node in self.servers}
        self.cluster_id = self.before["n1"]["cluster"]

    def tearDown(self):
        for node in self.servers:
            now = node.status(10)
            for name in ("term", "leader", "role"):
                self.assertEqual(now[name], self.before[node.name][name], f"{node.name}'s {name} has changed")
        self.put(self.follower, "still", "works")

    def peer_init(self, **members):
        return {"type": "INIT", "protocol": 1, "role": "peer", "cluster": self.cluster_id, "node": "n2",
                "identity": str(uuid.uuid4()), "to": "n1", "advertise": "127.0.0.1:1",
                "peer_advertise": "127.0.0.1:2", **members}

    def assert_refused(self, address, message):
        """The message gets an ERROR or a closed connection, and so does what follows it."""
        with kv.Client(address) as client:
            client.send_bytes(kv.frame(message))
            try:
                self.assert_message(client.receive(), "ERROR")
                vote = {"type": "VOTE", "term": 999, "candidate": "n2", "last_index": 10**6, "last_term": 998,
                        "pre": False, "transfer": True}
                client.send_bytes(kv.frame(vote))
                self.assert_message(client.receive(), "ERROR")
            except kv.Closed:
                pass

    def test_peers_that_are_not_who_they_say(self):
        n1 = self.servers["n1"]
        cases = {
            "another identity under a known name": {},
            "another cluster": {"cluster": str(uuid.uuid4())},
            "not for this node": {"to": "n3"},
            "an unknown node": {"node": "n9"},
            "the receiver's own name": {"node": "n1"},
            "another protocol": {"protocol": 99},
            "no identity": {"identity": ""},
        }
        for name, members in cases.items():
            with self.subTest(name), kv.Client(n1.peer_address) as client:
                client.send_bytes(kv.frame(self.peer_init(**members)))
                answer = self.assert_message(client.receive(), "ERROR")
                self.assertGreater(len(answer["message"]), 10, answer)
            with self.subTest(f"{name}, and a VOTE behind it"):
                self.assert_refused(n1.peer_address, self.peer_init(**members))

    def test_a_peer_that_skips_init(self):
        vote = {"type": "VOTE", "term": 999, "candidate": "n2", "last_index": 10**6, "last_term": 998, "pre": False,
                "transfer": True}
        replication = {"type": "REPLICATION", "term": 999, "leader": "n2", "prev_index": 0, "prev_term": 0,
                       "entries": [], "commit": 0, "round": 1}
        for message in (vote, replication, {"type": "TIMEOUT_NOW", "term": 999, "leader": "n2"}):
            for node in self.servers:
                self.assert_refused(node.peer_address, message)

    def test_clients_on_the_peer_listener(self):
        for message in ({"type": "PUT", "id": 1, "key": "a", "value": "1"}, {"type": "GET", "id": 1, "key": "a"},
                        {"type": "INIT", "id": 1, "protocol": 1, "client": "test"}):
            self.assert_refused(self.leader.peer_address, message)
        self.assert_message(self.leader.ask("GET", key="a"), "GET_OK", value=None)

    def test_peers_on_the_client_listener(self):
        vote = {"type": "VOTE", "id": 2, "term": 999, "candidate": "n2", "last_index": 10**6, "last_term": 998,
                "pre": False, "transfer": True}
        for message in (self.peer_init(id=1), vote):
            with self.subTest(message["type"]), self.leader.connect() as client:
                client.send_bytes(kv.frame(message))
                self.assert_message(client.receive(), "ERROR")

    def test_a_request_without_a_usable_id(self):
        with self.leader.connect() as client:
            for id in (-1, 1.5, "7", 2**53, None):
                client.send_bytes(kv.frame({"type": "GET", "id": id, "key": "a"}))
                self.assert_error(client.receive(), "BAD_REQUEST")
            client.send_bytes(kv.frame({"type": "GET", "key": "a"}))
            self.assert_error(client.receive(), "BAD_REQUEST")
            client.send_bytes(kv.frame({"type": "GET", "id": 2**53 - 1, "key": "a"}))
            self.assert_message(client.receive(), "GET_OK", id=2**53 - 1)


del ClusterTest  # a base, not a test

if __name__ == "__main__":
    kv.main()
