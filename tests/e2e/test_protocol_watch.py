"""WATCH, EVENT and CANCEL: which changes are told, from where on, in which order, on which server, until when."""

import uuid

import kv
from protocol_case import ProtocolCase, told

MIB = 1 << 20


class Watches(ProtocolCase):
    def everywhere(self, **members):
        return [self.watch(node, **members) for node in self.servers]

    def assert_seen(self, watches, expected):
        """Each watch sees exactly these (op, key, value, ts), and then a change made now: nothing is between."""
        for watch in watches:
            self.assertEqual([event[:4] for event in watch.seen(len(expected))], expected)

    def assert_nothing_more(self, watches, key):
        ts = self.put(key, "the next")
        self.assert_seen(watches, [("PUT", key, b"the next", ts)])

    def test_a_key_and_nothing_else(self):
        watches = self.everywhere(key="a")
        self.put("ab", "")
        first = self.put("a", "1")
        self.put("A", "")
        deleted = self.write("DELETE", key="a")["ts"]
        self.assert_seen(watches, [("PUT", "a", b"1", first), ("DELETE", "a", None, deleted)])
        self.assert_nothing_more(watches, "a")

    def test_a_prefix(self):
        all_keys = self.everywhere(prefix="")
        some = self.everywhere(prefix="p/é")
        positions = [self.put(key, key) for key in ("p/é", "p/é/1", "p/", "p", "q", "p/é\x00", "p/e")]
        everything = [("PUT", key, key.encode(), ts)
                      for key, ts in zip(("p/é", "p/é/1", "p/", "p", "q", "p/é\x00", "p/e"), positions)]
        self.assert_seen(all_keys, everything)
        self.assert_seen(some, [everything[0], everything[1], everything[5]])
        self.assert_nothing_more(some, "p/é")

    def test_from_the_past_the_present_and_the_future(self):
        positions = self.put_all([("k", str(i)) for i in range(50)])
        events = [("PUT", "k", str(i).encode(), ts) for i, ts in enumerate(positions)]
        for node in self.servers:
            node.wait_applied(self.ts)
        for begin in (0, 1, 25, 49):
            self.assert_seen(self.everywhere(key="k", from_ts=positions[begin]), events[begin + 1:])
        watches = self.everywhere(key="k", from_ts=0)
        self.assert_seen(watches, events)
        now = self.everywhere(key="k")
        for watch in now:
            self.assertGreaterEqual(watch.first["applied"], self.ts)
        future = self.everywhere(key="k", from_ts=self.ts + 2)
        later = self.put_all([("k", "x"), ("k", "y"), ("k", "z")])
        self.assertEqual(later[0], positions[-1] + 1, "else the test means another future")
        self.assert_seen(future, [("PUT", "k", b"z", later[2])])
        self.assert_seen(now, [("PUT", "k", value, ts) for value, ts in zip((b"x", b"y", b"z"), later)])
        never = self.everywhere(key="k", from_ts=2**53 - 1)
        self.assert_nothing_more(now, "k")
        self.assertEqual([list(watch.client.arrived) for watch in never], [[]] * self.size)

    def test_values_are_bytes(self):
        watches = self.everywhere(key="b")
        forms = [{"value": ""}, {"value": 'quo"te\n'}, {"value_base64": "AP//"}, {"value": "x" * MIB}]
        for form in forms:
            self.write("PUT", key="b", **form)
        for watch in watches:
            for form, event in zip(forms, watch.events(len(forms))):
                self.assertEqual(kv.value_of(event), kv.value_of(form))
                self.assertNotEqual("value" in event, "value_base64" in event)

    def test_what_is_a_change(self):
        """What a command did, not what it asked."""
        watches = self.everywhere(prefix="")
        session = {"session": str(uuid.uuid4()), "seq": 1}
        first = self.put("a", "1", **session)
        self.put("a", "1", **session)  # a retry
        self.assert_error(self.ask("PUT", key="a", value="2", if_ts=0), "CONFLICT")
        self.assert_error(self.ask("DELETE", key="a", if_ts=first + 9), "CONFLICT")
        self.write("DELETE", key="absent")
        self.write("TXN", then=[{"op": "GET", "key": "a"}, {"op": "DELETE", "key": "absent"}])
        self.write("TXN", then=[{"op": "PUT", "key": "brief", "value": "1"}, {"op": "DELETE", "key": "brief"}])
        self.write("TXN", **{"if": [{"key": "a", "ts": 0}]}, then=[{"op": "PUT", "key": "a", "value": "3"}])
        again = self.put("a", "1")  # the same value is a change all the same: its ts is another
        self.assert_seen(watches, [("PUT", "a", b"1", first), ("PUT", "a", b"1", again)])
        self.assert_nothing_more(watches, "a")

    def test_more_says_that_another_of_the_same_ts_follows(self):
        self.put("t/gone", "1")
        begin = self.ts
        live = self.everywhere(prefix="t/")
        one_key = self.everywhere(key="t/1")
        operations = [{"op": "PUT", "key": "t/1", "value": "first"}, {"op": "PUT", "key": "other", "value": ""},
                      {"op": "DELETE", "key": "t/gone"}, {"op": "PUT", "key": "t/2", "value": "2"},
                      {"op": "PUT", "key": "t/1", "value": "last"}, {"op": "PUT", "key": "z", "value": ""}]
        ts = self.write("TXN", then=operations)["ts"]
        for node in self.servers:
            node.wait_applied(ts)
        replayed = self.everywhere(prefix="t/", from_ts=begin)
        for watch in live + replayed:
            events = watch.seen(3)
            self.assertEqual({event[:4] for event in events}, {
                ("PUT", "t/1", b"last", ts), ("DELETE", "t/gone", None, ts), ("PUT", "t/2", b"2", ts)})
            self.assertEqual([event[4] for event in events], [True, True, False])
        for watch in one_key:
            self.assertEqual(watch.seen(1), [("PUT", "t/1", b"last", ts, False)])

    def test_an_id_is_of_one_watch_until_it_ends(self):
        for node in self.servers:
            with node.connect() as client:
                watch = {"type": "WATCH", "id": 900, "key": "a"}
                client.send_all([watch, watch])
                self.assert_message(client.receive(), "WATCH_OK", id=900)
                self.assert_error(client.receive(), "BAD_REQUEST")
                ts = client.ask("PUT", key="a", value="1")["ts"]
                self.assertEqual(told(client.answer(900)), ("PUT", "a", b"1", ts, False))
                self.assert_message(client.ask("CANCEL", watch=900), "CANCEL_OK", watch=900, found=True)
                self.assert_message(client.ask("CANCEL", watch=900), "CANCEL_OK", watch=900, found=False)
                client.send_all([{**watch, "from_ts": ts - 1}])
                self.assert_message(client.answer(900), "WATCH_OK")
                self.assertEqual(told(client.answer(900))[3], ts)

    def test_watches_of_one_connection_are_told_each_for_itself(self):
        with next(self.turns).connect() as client:
            ids = {client.send("WATCH", prefix=prefix): prefix for prefix in ("", "x", "x", "x/", "y")}
            for id in ids:
                self.assert_message(client.answer(id), "WATCH_OK")
            keys = ["x", "x/1", "y", "z"]
            for key in keys:
                self.put(key, "")
            for id, prefix in ids.items():
                expected = [key for key in keys if key.startswith(prefix)]
                self.assertEqual([client.answer(id)["key"] for _ in expected], expected)
            self.assertEqual(list(client.arrived), [])

    def test_nothing_behind_cancel_ok(self):
        """While a stream of changes goes on."""
        for node in self.servers:
            with node.connect() as client:
                for round in range(30):
                    watch = client.send("WATCH", prefix="s")
                    puts = [client.message("PUT", key=f"s{i}", value="x" * 500) for i in range(40)]
                    client.send_all([*puts[:20], client.message("CANCEL", watch=watch)])
                    cancel = client.next_id
                    client.send_all(puts[20:])
                    self.read_past_cancel(client, watch, cancel, {put["id"] for put in puts})

    def read_past_cancel(self, client, watch, cancel, puts):
        last = 0
        cancelled = False
        while puts or not cancelled:
            message = client.receive()
            if message["id"] == watch and message["type"] == "EVENT":
                self.assertFalse(cancelled, "an EVENT behind CANCEL_OK")
                self.assertGreater(message["ts"], last)
                last = message["ts"]
            elif message["id"] == cancel:
                self.assert_message(message, "CANCEL_OK", found=True)
                cancelled = True
            puts.discard(message["id"])

    def test_status_counts_watches(self):
        for node in self.servers:
            watch = self.watch(node, prefix="a")
            watch.client.ask_all([watch.client.message("WATCH", key=f"k{i}") for i in range(9)])
            self.assertEqual(node.status()["watching"], 10)
            watch.client.ask("CANCEL", watch=watch.id)
            self.assertEqual(node.status()["watching"], 9)
            watch.close()
            node.wait_status("has let them go with their connection", lambda status: status["watching"] == 0)

    def test_refused(self):
        wrong = [{}, {"key": "a", "prefix": "a"}, {"key": ""}, {"key": 5}, {"key": None}, {"prefix": None},
                 {"prefix": 5}, *({"key": "a", "from_ts": ts} for ts in (-1, "1", 1.5, None, 2**53))]
        self.assert_refused([("WATCH", members) for members in wrong])
        self.assert_refused([("CANCEL", members) for members in ({}, *({"watch": id} for id in (-1, "7", None, 1.5)))])
        self.assert_refused([("EVENT", {"key": "a"}), ("WATCH_OK", {}), ("CANCEL_OK", {"watch": 1})])
        self.assert_refused([("WATCH", {"key": "k" * 4097}), ("WATCH", {"prefix": "k" * 4097})], "TOO_LARGE")
        self.put("a", "1")
        for node in self.servers:  # one that has applied this knows which cluster it is of
            self.assert_message(node.ask("GET", key="a", ts=self.ts), "GET_OK")
        mismatch = {"cluster": str(uuid.uuid4())}
        self.assert_refused([("WATCH", {"key": "a", **mismatch}), ("LIST", mismatch), ("TXN", mismatch)],
                            "CLUSTER_MISMATCH")
        self.assertEqual([node.status()["watching"] for node in self.servers], [0] * self.size)

    def test_sigterm(self):
        for node in self.servers:
            watches = [self.watch(node, prefix=""), self.watch(node, key="a", from_ts=2**50)]
            self.assertEqual(node.terminate(), 0)
            for watch in watches:
                self.assert_error(watch.next(), "SHUTTING_DOWN")
                self.assertTrue(watch.client.is_closed_by_server())
            node.start().wait_ready()


class WatchesOfOneServer(Watches):
    size = 1


class PastCase(ProtocolCase):
    def assert_compacted(self, node, written, **members):
        """`oldest` is the first position from which on all is known: exactly that, of what was written at `written`."""
        with node.connect(30) as client:
            oldest = self.assert_error(client.ask("WATCH", prefix="", **members), "COMPACTED")["oldest"]
            self.assert_error(client.ask("WATCH", prefix="", from_ts=oldest - 2), "COMPACTED")
        first = self.watch(node, prefix="", from_ts=oldest - 1).seen(1)[0][3]
        self.assertEqual(first, min(ts for ts in written if ts >= oldest))
        return oldest


class History(PastCase):
    """What servers know of the past: the same everywhere, or they say that they do not."""

    def test_every_server_tells_the_same_also_after_a_restart(self):
        for round in range(40):
            self.put(f"k{round % 7}", str(round))
            self.write("TXN", then=[{"op": "PUT", "key": "both", "value": str(round)},
                                    {"op": "DELETE", "key": f"k{round % 5}"}])
        self.put("end", "")
        histories = [self.history(node) for node in self.servers]
        self.servers.wait_leader().restart()
        for node in self.servers:
            node.restart()
        histories += [self.history(node) for node in self.servers]
        self.assertGreater(len(histories[0]), 100)
        for history in histories[1:]:
            self.assertEqual(history, histories[0])

    def history(self, node):
        watch = self.watch(node, prefix="", from_ts=0)
        events = []
        while not events or events[-1][1] != "end":
            events += watch.seen(1)
        return events

    def test_from_the_first_server_to_the_next(self):
        """Each part of a history from another server, from the ts where the one before ended; one has been killed."""
        positions = self.put_all([("k", str(i)) for i in range(90)])
        last = 0
        for number, node in enumerate([*self.servers] * 3):
            if number in (2, 5):
                node.restart()
            watch = self.watch(node, key="k", from_ts=last)
            part = watch.seen(10)
            self.assertEqual([event[3] for event in part], positions[number * 10:number * 10 + 10])
            last = part[-1][3]
            watch.close()

    def test_more_bytes_than_the_ring_holds(self):
        begin = self.put("a", "1")
        positions = self.put_all([(f"big{i}", "v" * MIB) for i in range(40)])
        for node in self.servers:
            node.wait_applied(self.ts)
            oldest = self.assert_compacted(node, positions, from_ts=begin)
            self.assertIn(oldest, positions[5:12], "32 MiB of changes are known")
            page = self.assert_message(node.ask("LIST", keys_only=True), "LIST_OK")
            watch = self.watch(node, prefix="", from_ts=page["applied"])
            ts = self.put("after", "")
            self.assertEqual(watch.seen(1), [("PUT", "after", b"", ts, False)])

    def test_more_changes_than_the_ring_holds(self):
        with self.servers.wait_leader().connect(30) as client:
            txns = [client.message("TXN", then=[{"op": "PUT", "key": f"k{i}", "value": ""} for i in range(128)])
                    for _ in range(800)]
            answers = client.ask_all(txns, window=100)
        written = [answer["ts"] for answer in answers.values()]
        self.ts = max(written)
        for node in self.servers:
            node.wait_applied(self.ts, 60)
            oldest = self.assert_compacted(node, written, from_ts=0)
            # Whole transactions are forgotten, as few as can be.
            self.assertEqual(sum(ts >= oldest for ts in written), 100_000 // 128)


class Snapshots(PastCase):
    flags = [*kv.QUICK, "--snapshot-every", "100"]

    def overwrite(self, node=None):
        """So much over few keys that the log's beginning is dropped: their ts."""
        return self.put_all([(f"k{i % 20}", f"{i}".ljust(10_000, "x")) for i in range(1700)], node)

    def wait_short_log(self, node, position):
        node.wait_status(f"has no log up to {position}", lambda status: status["log_first"] > position)

    def test_a_start_knows_what_is_in_the_log(self):
        first = self.put("begin", "")
        written = self.overwrite()
        for node in self.servers:
            self.wait_short_log(node, first)
            node.restart()
        self.put("end", "")
        for node in self.servers:
            node.wait_applied(self.ts)
            self.assert_compacted(node, [first, *written, self.ts], from_ts=first)

    def test_a_watch_on_a_server_that_takes_over_a_snapshot(self):
        """It was away for longer than the log reaches back. Its watch says so, and skips nothing in silence."""
        leader = self.servers.wait_leader()
        away, other = self.servers.followers()
        before = self.put("k", "before")
        away.wait_applied(before)
        away.kill()
        self.overwrite(leader)
        self.wait_short_log(leader, before + 1)
        # The others hold still until it has its watches.
        for node in (leader, other):
            node.pause()
        away.start()
        kv.wait_until(f"{away.name} answers", away.status)
        watch = self.watch(away, prefix="k", from_ts=before)
        future = self.watch(away, prefix="k", from_ts=10**9)
        for node in (leader, other):
            node.resume()
        error = self.assert_error(watch.next(), "COMPACTED")
        away.wait_log(r"took over the snapshot of \d+: \d+ keys")
        self.assertGreater(error["oldest"], before + 1)
        ts = self.assert_message(away.ask("PUT", key="k", value="after"), "PUT_OK")["ts"]
        self.assertEqual(self.watch(away, prefix="k", from_ts=ts - 1).seen(1)[0][3], ts)
        self.assertEqual(list(future.client.arrived), [])


if __name__ == "__main__":
    kv.main()
