"""What a GET may answer, and when: WAIT_FOR_RESPONSE, time-outs, the three consistencies."""

import time

import kv

DELAY = 2.0  # seconds by which the late server's map is behind


class Late(kv.TestCase):
    """n3 applies everything DELAY later, so that a client can be ahead of it."""

    def setUp(self):
        self.servers = self.late_cluster("n3", f"{DELAY:.0f}s")
        self.late = self.servers["n3"]

    def put(self, key, value):
        return self.assert_message(self.servers["n1"].ask("PUT", key=key, value=value), "PUT_OK")["ts"]

    def test_wait_for_response_and_then_the_value(self):
        clients = [self.late.connect(), self.late.connect()]
        ts = self.put("colour", "blue")
        put_ok = time.monotonic()
        for client in clients:
            client.read = client.send("GET", key="colour", ts=ts)
        for client in clients:
            wait = client.receive()
            self.assert_message(wait, "WAIT_FOR_RESPONSE", id=client.read, key="colour", ts=ts, node="n3")
            self.assertLess(wait["applied"], ts)
        told = time.monotonic() - put_ok
        self.late.wait_status("has two parked reads", lambda status: status["waiting"] == 2, timeout=DELAY)
        for client in clients:
            answer = client.receive()
            self.assert_message(answer, "GET_OK", id=client.read, value="blue", ts=ts, node="n3")
            self.assertGreaterEqual(answer["applied"], ts)
        came = time.monotonic() - put_ok
        print(f"WAIT_FOR_RESPONSE after {told * 1000:.0f} ms, the value after {came:.2f} s (delay {DELAY} s)")
        self.assertLess(told, DELAY / 2 * kv.SLOWDOWN)
        self.assertGreater(came, DELAY / 2, "the delay has not worked, so nothing was tested")
        self.assertEqual(self.late.status()["waiting"], 0)
        for client in clients:
            client.close()

    def test_others_are_answered_meanwhile(self):
        with self.late.connect() as client:
            ts = self.put("a", "1")
            parked = client.send("GET", key="a", ts=ts)
            self.assert_message(client.answer(parked), "WAIT_FOR_RESPONSE")
            # Behind the parked read on the same connection, answered before it.
            self.assert_message(client.ask("GET", key="a"), "GET_OK", value=None, ts=0)
            self.assert_message(client.ask("GET", key="a", ts=ts, consistency="local"), "GET_OK", value=None)
            self.assert_message(client.answer(parked), "GET_OK", value="1", ts=ts)

    def test_time_out(self):
        with self.late.connect() as client:
            ts = self.put("a", "1")
            started = time.monotonic()
            id = client.send("GET", key="a", ts=ts, timeout_ms=200)
            self.assert_message(client.answer(id), "WAIT_FOR_RESPONSE")
            answer = self.assert_error(client.answer(id), "TIMEOUT")
            self.assertGreater(time.monotonic() - started, 0.19)
            self.assertEqual(answer["ts"], ts)
            self.assertLess(answer["applied"], ts)
            self.assertEqual(answer["leader"], self.servers.wait_leader().name)
            # One final answer only: the value must not come behind the ERROR.
            self.late.wait_applied(ts)
            self.assert_message(client.ask("GET", key="a"), "GET_OK", value="1")
            self.assertEqual(list(client.arrived), [])

    def test_a_read_is_dropped_with_its_connection(self):
        client = self.late.connect()
        ts = self.put("a", "1")
        id = client.send("GET", key="a", ts=ts + 1000, timeout_ms=60_000)
        self.assert_message(client.answer(id), "WAIT_FOR_RESPONSE")
        self.late.wait_status("has a parked read", lambda status: status["waiting"] == 1)
        client.close()
        self.late.wait_status("has dropped it", lambda status: status["waiting"] == 0, timeout=5)

    def test_linearizable_waits_for_the_map_too(self):
        ts = self.put("a", "1")
        answer = self.late.ask("GET", key="a", consistency="linearizable")
        self.assert_message(answer, "GET_OK", value="1", ts=ts)


class Fresh(kv.TestCase):
    def setUp(self):
        self.servers = self.cluster(3)

    def test_linearizable_everywhere_right_after_a_put(self):
        clients = {node.name: node.connect() for node in self.servers}
        for round in range(10):
            for writer in clients:
                value = f"{writer} {round}"
                ts = self.assert_message(clients[writer].ask("PUT", key="a", value=value), "PUT_OK")["ts"]
                for reader in clients:
                    answer = clients[reader].ask("GET", key="a", consistency="linearizable")
                    self.assert_message(answer, "GET_OK", value=value, ts=ts, node=reader)
        for client in clients.values():
            client.close()

    def test_a_read_that_need_not_wait_is_answered_at_once(self):
        with self.servers["n2"].connect() as client:
            ts = client.ask("PUT", key="a", value="1")["ts"]
            # The first message is the answer: no WAIT_FOR_RESPONSE.
            client.send("GET", key="a", ts=ts)
            self.assert_message(client.receive(), "GET_OK", value="1", ts=ts)
            client.send("GET", key="absent")
            self.assert_message(client.receive(), "GET_OK", value=None, ts=0)

    def test_local_ignores_ts(self):
        answer = self.servers["n2"].ask("GET", key="a", ts=10**9, consistency="local")
        self.assert_message(answer, "GET_OK", value=None, ts=0)

    def test_a_ts_far_in_the_future_times_out(self):
        for node in self.servers:
            answer = node.ask("GET", key="a", ts=2**53 - 1, timeout_ms=100)
            self.assert_error(answer, "TIMEOUT")
            self.assertEqual(answer["ts"], 2**53 - 1)

    def test_bad_reads(self):
        with self.servers["n1"].connect() as client:
            for members in ({}, {"key": ""}, {"key": 1}, {"key": "a", "ts": -1}, {"key": "a", "ts": "1"},
                            {"key": "a", "consistency": "eventual"}, {"key": "a", "timeout_ms": -5}):
                with self.subTest(members):
                    self.assert_error(client.ask("GET", **members), "BAD_REQUEST")
            self.assert_message(client.ask("GET", key="a"), "GET_OK")


if __name__ == "__main__":
    kv.main()
