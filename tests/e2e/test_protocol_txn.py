"""TXN: all or nothing at one position, what its operations see, its limits, and the same answer for a retry."""

import uuid

import kv
from protocol_case import ProtocolCase

MIB = 1 << 20


def put(key, value):
    return {"op": "PUT", "key": key, "value": value}


def get(key):
    return {"op": "GET", "key": key}


def delete(key):
    return {"op": "DELETE", "key": key}


class TxnCase(ProtocolCase):
    def txn(self, conditions=None, then=None, otherwise=None, **members):
        lists = {"if": conditions, "then": then, "else": otherwise}
        return self.write("TXN", **{name: given for name, given in lists.items() if given is not None}, **members)

    def value(self, key, node=None):
        answer = (node or next(self.turns)).ask("GET", key=key, ts=self.ts)
        return self.assert_message(answer, "GET_OK")["value"]


class Transactions(TxnCase):
    def test_then_or_else(self):
        held = self.put("a", "1")
        cases = [
            ([], True), (None, True),
            ([{"key": "a", "ts": held}], True), ([{"key": "a", "ts": held - 1}], False),
            ([{"key": "a", "ts": held + 1}], False), ([{"key": "a", "ts": 0}], False),
            ([{"key": "absent", "ts": 0}], True), ([{"key": "absent", "ts": held}], False),
            ([{"key": "a", "ts": held}, {"key": "absent", "ts": 0}], True),
            ([{"key": "a", "ts": held}, {"key": "absent", "ts": 1}], False),
            ([{"key": "a", "ts": held}, {"key": "a", "ts": 0}], False),
        ]
        for number, (conditions, holds) in enumerate(cases):
            with self.subTest(conditions):
                answer = self.txn(conditions, [put("branch", f"then {number}")], [put("branch", f"else {number}")])
                self.assertIs(answer["succeeded"], holds)
                self.assertEqual(answer["results"], [{"op": "PUT", "key": "branch", "ts": answer["ts"]}])
                for node in self.servers:
                    self.assertEqual(self.value("branch", node), f"{'then' if holds else 'else'} {number}")

    def test_results(self):
        written = self.put("old", "o")
        bytes_ = {"op": "PUT", "key": "bytes", "value_base64": "//8="}
        answer = self.txn(then=[put("new", "n"), bytes_, delete("old"), delete("absent"), get("absent"), get("bytes")])
        ts = answer["ts"]
        self.assertGreater(ts, written)
        self.assertEqual(answer["results"], [
            {"op": "PUT", "key": "new", "ts": ts}, {"op": "PUT", "key": "bytes", "ts": ts},
            {"op": "DELETE", "key": "old", "ts": ts, "found": True},
            {"op": "DELETE", "key": "absent", "ts": ts, "found": False},
            {"op": "GET", "key": "absent", "value": None, "ts": 0},
            {"op": "GET", "key": "bytes", "value_base64": "//8=", "ts": ts}])
        for node in self.servers:
            self.assert_message(node.ask("GET", key="new", ts=ts), "GET_OK", value="n", ts=ts)
            self.assert_message(node.ask("GET", key="old", ts=ts), "GET_OK", value=None, ts=0)

    def test_an_operation_sees_those_before_it(self):
        before = self.put("a", "0")
        answer = self.txn([{"key": "a", "ts": before}], [
            get("a"), put("a", "1"), get("a"), put("a", "2"), get("a"), delete("a"), get("a"), delete("a"),
            put("a", "3"), get("a")])
        ts = answer["ts"]
        seen = [(result["value"], result["ts"]) for result in answer["results"] if result["op"] == "GET"]
        self.assertEqual(seen, [("0", before), ("1", ts), ("2", ts), (None, 0), ("3", ts)])
        self.assertEqual([result["found"] for result in answer["results"] if result["op"] == "DELETE"], [True, False])
        self.assert_message(self.ask("GET", key="a", ts=ts), "GET_OK", value="3", ts=ts)

    def test_128_operations_and_no_more(self):
        many = [put(f"k{i:03}", str(i)) for i in range(128)]
        conditions = [{"key": f"k{i:03}", "ts": 0} for i in range(128)]
        self.assertEqual(len(self.txn(conditions, many, many)["results"]), 128)
        self.assert_refused([("TXN", {"then": [*many, get("a")]}), ("TXN", {"else": [*many, get("a")]}),
                             ("TXN", {"if": [*conditions, {"key": "a", "ts": 0}]})])
        page = self.ask("LIST", ts=self.ts)
        self.assertEqual({item["ts"] for item in page["items"]}, {self.ts}, "all at one position")
        self.assertEqual(len(page["items"]), 128)

    def test_nothing_at_all(self):
        for answer in (self.txn(), self.txn([], [], []), self.txn([{"key": "a", "ts": 7}])):
            self.assertEqual(answer["results"], [])

    def test_refused_and_nothing_done(self):
        good = put("done", "1")
        operations = [5, None, "PUT", [], {}, {"key": "a"}, {"op": "PUT"}, {"op": "PUT", "key": "a"},
                      {"op": "put", "key": "a", "value": "1"}, {"op": "NOP", "key": "a"}, {"op": 1, "key": "a"},
                      get(""), get(5), put("", "1"), put("a", 5), put("a", None), {"op": "GET"},
                      {**put("a", "1"), "value_base64": "MQ=="}, {"op": "PUT", "key": "a", "value_base64": "?"}]
        conditions = [5, None, {}, {"key": "a"}, {"ts": 1}, {"key": "", "ts": 0}, {"key": "a", "ts": -1},
                      {"key": "a", "ts": "1"}, {"key": 1, "ts": 0}, {"key": "a", "ts": 1.5}]
        cases = [{name: [good, operation]} for name in ("then", "else") for operation in operations]
        cases += [{"if": [condition], "then": [good]} for condition in conditions]
        cases += [{"then": [good], name: wrong} for name in ("if", "else") for wrong in ({}, None, "x", 1)]
        cases += [{"then": [good], "seq": 1}, {"then": [good], "session": str(uuid.uuid4())},
                  {"then": [good], "session": "x", "seq": 1}, {"then": [good], "session": str(uuid.uuid4()), "seq": 0}]
        self.assert_refused([("TXN", members) for members in cases])
        too_large = [get("k" * 4097), put("k" * 4097, "1"), put("a", "v" * (MIB + 1))]
        self.assert_refused([("TXN", {"then": [good, operation]}) for operation in too_large], "TOO_LARGE")
        self.assert_message(self.ask("LIST", consistency="linearizable"), "LIST_OK", items=[])

    def test_an_answer_that_fits_into_no_frame(self):
        session = {"session": str(uuid.uuid4()), "seq": 1}
        for number in range(5):
            self.put(f"big{number}", "v" * MIB)
        reads = [get(f"big{number}") for number in range(5)]
        for _ in range(2 * self.size):
            self.assert_error(self.ask("TXN", then=[put("done", "1"), *reads], **session), "TOO_LARGE")
        self.assert_message(self.ask("GET", key="done", consistency="linearizable"), "GET_OK", value=None)
        results = self.txn(then=reads[:3])["results"]
        self.assertTrue(all(result["value"] == "v" * MIB for result in results))
        # The same key twice in an answer counts twice.
        self.assert_error(self.ask("TXN", then=[get("big0")] * 5), "TOO_LARGE")

    def test_a_frame_that_is_too_long(self):
        with next(self.turns).connect() as client:
            client.send("TXN", then=[put(f"k{i}", "v" * MIB) for i in range(3)])
            self.assert_message(client.receive(), "TXN_OK")
            body = kv.frame(client.message("TXN", then=[put(f"k{i}", "w" * MIB) for i in range(5)]))
            client.send_bytes(body[:1000])  # its length alone decides
            self.assert_error(client.receive(), "TOO_LARGE")
            self.assertTrue(client.is_closed_by_server())

    def test_pipelined_transactions_keep_their_order(self):
        with next(self.turns).connect() as client:
            chain = [client.message("TXN", then=[get("a"), put("a", str(i))]) for i in range(300)]
            answers = client.ask_all(chain)
        results = [answers[message["id"]]["results"][0]["value"] for message in chain]
        self.assertEqual(results, [None, *(str(i) for i in range(299))])


class TransactionsOfOneServer(Transactions):
    size = 1


class Retries(TxnCase):
    """A TXN that is sent again with its (session, seq) is not done again, and gets what it got."""

    flags = [*kv.QUICK, "--snapshot-every", "300"]

    def setUp(self):
        super().setUp()
        self.session = {"session": str(uuid.uuid4()), "session_from": self.ask("INIT", protocol=1)["applied"]}

    def txn_as(self, node, seq):
        """Counts, and tells what was there before: a second time it would answer otherwise."""
        answer = node.ask("TXN", **{"if": [{"key": "lock", "ts": 0}]},
                          then=[get("count"), put("count", "then"), put("lock", "held"), delete("gone")],
                          **{"else": [get("count"), put("count", "else"), get("lock")]}, seq=seq, **self.session)
        self.assert_message(answer, "TXN_OK")
        return {name: value for name, value in answer.items() if name != "id"}

    def assert_same_everywhere(self, first, seqs):
        for seq, answer in zip(seqs, first):
            for node in self.servers.running():
                self.assertEqual(self.txn_as(node, seq), answer, f"{node.name}, seq {seq}")

    def test_the_same_answer_from_everyone_whoever_died(self):
        self.put("gone", "1")
        first = [self.txn_as(next(self.turns), seq) for seq in (1, 2, 3)]
        self.assertEqual([answer["succeeded"] for answer in first], [True, False, False])
        self.assertEqual(first[2]["results"][0]["value"], "else")
        self.assert_same_everywhere(first, (1, 2, 3))
        for _ in range(2 if self.size == 3 else 0):
            leader = self.servers.wait_leader()
            leader.kill()
            self.servers.wait_leader()
            self.assert_same_everywhere(first, (1, 2, 3))
            leader.start().wait_ready()
        for node in self.servers:
            node.kill()
        self.servers.start().wait_ready()
        self.assert_same_everywhere(first, (1, 2, 3))
        self.assertEqual(len(self.ask("LIST", prefix="lock", consistency="linearizable")["items"]), 1)

    def test_a_snapshot_keeps_the_answers(self):
        """The start reads it, and no command that is older."""
        first = [self.txn_as(next(self.turns), 1)]
        self.put_all([(f"filler{i % 50}", "x" * 100) for i in range(1200)])
        for node in self.servers:
            node.wait_status("has a snapshot of it",
                             lambda status: status["snapshot"] > first[0]["ts"])
            node.kill()
        self.servers.start().wait_ready()
        self.assert_same_everywhere(first, (1,))

    def test_more_results_than_a_session_keeps(self):
        """8 MiB of results: the oldest are forgotten, and say so; none is done twice."""
        self.put("big", "v" * MIB)
        node = self.servers["n1"]
        for seq in range(1, 13):
            answer = node.ask("TXN", then=[get("big"), put("last", str(seq))], seq=seq, **self.session)
            self.assert_message(answer, "TXN_OK")
        last_ts = answer["ts"]
        self.assert_error(self.ask("TXN", then=[put("last", "again")], seq=1, **self.session), "SESSION_EXPIRED")
        again = self.ask("TXN", then=[put("last", "again")], seq=12, **self.session)
        self.assertEqual((again["ts"], again["results"][0]["value"]), (last_ts, "v" * MIB))
        self.assert_message(self.ask("GET", key="last", consistency="linearizable"), "GET_OK", value="12")


class RetriesOfOneServer(Retries):
    size = 1


class Quota(TxnCase):
    flags = [*kv.QUICK, "--quota", "1MiB"]

    def test_no_space(self):
        size = 100_000
        for number in range(8):
            self.put(f"full{number}", "x" * size)
        more = [put(f"more{i}", "y" * size) for i in range(5)]
        session = {"session": str(uuid.uuid4())}
        for node in self.servers:
            self.assert_error(node.ask("TXN", then=[put("small", "1"), *more]), "NO_SPACE")
        self.assert_error(self.ask("TXN", then=more, seq=1, **session), "NO_SPACE")
        self.assert_message(self.ask("LIST", prefix="more", consistency="linearizable"), "LIST_OK", items=[])
        self.assert_message(self.ask("GET", key="small"), "GET_OK", value=None)
        # What takes nothing more is done: reads, deletes.
        self.assertEqual(len(self.txn(then=[get("full0"), delete("full0"), delete("full1")])["results"]), 3)
        self.txn(then=[delete(f"full{i}") for i in range(2, 8)])
        self.assertEqual(self.ask("STATUS")["quota"], MIB)
        # And then there is room, also for the write that was refused, under the number that it had.
        first = self.txn(then=more, seq=1, **session)
        self.assertEqual(self.txn(then=more, seq=1, **session)["ts"], first["ts"])


if __name__ == "__main__":
    kv.main()
