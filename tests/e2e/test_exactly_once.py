"""Exactly once: clients count in one key while leaders are killed, and no increment is lost or done twice.

KV_TEST_INCREMENTS is how many increments there are (600). By hand:

    KV_TEST_INCREMENTS=10000 python3 tests/e2e/test_exactly_once.py"""

import os
import threading
import time

import kv
from retrying import RetryingClient

INCREMENTS = int(os.environ.get("KV_TEST_INCREMENTS", "600"))
CLIENTS = 4
FEWEST_KILLS = 3


class Counter(threading.Thread):
    """A client that increments until `count` of its increments are answered; one is answered once it is certain."""

    def __init__(self, nodes, number, count, progress):
        super().__init__()
        self.count = count
        self.progress = progress
        self.client = RetryingClient(nodes, number)
        self.conflicts = 0
        self.failure = None
        self.start()

    def run(self):
        try:
            for _ in range(self.count):
                while not self.increment():
                    self.conflicts += 1
                self.progress.one_more()
        except BaseException as error:
            self.failure = error
        finally:
            self.client.close()


class PutCounter(Counter):
    def increment(self):
        """False: another one was quicker."""
        before = self.client.ask("GET", key="count", consistency="linearizable")
        assert before["type"] == "GET_OK", before
        value = str(int(before["value"] or "0") + 1)
        answer = self.client.write("PUT", key="count", value=value, if_ts=before["ts"])
        if answer["type"] == "PUT_OK":
            return True
        assert answer["code"] == "CONFLICT", answer
        return False


class TxnCounter(Counter):
    """Reads what is there in the TXN that failed, and notes each increment of its own in the same TXN."""

    ts = 0
    value = 0

    def increment(self):
        new = str(self.value + 1)
        answer = self.client.write("TXN", **{"if": [{"key": "count", "ts": self.ts}]}, then=[
            {"op": "PUT", "key": "count", "value": new}, {"op": "PUT", "key": f"by/{new}", "value": self.name}
        ], **{"else": [{"op": "GET", "key": "count"}]})
        assert answer["type"] == "TXN_OK", answer
        if answer["succeeded"]:
            self.ts, self.value = answer["ts"], int(new)
        else:
            found = answer["results"][0]
            self.ts, self.value = found["ts"], int(found["value"] or "0")
        return answer["succeeded"]


class Progress:
    def __init__(self):
        self.done = 0
        self._lock = threading.Lock()

    def one_more(self):
        with self._lock:
            self.done += 1


class ExactlyOnce(kv.TestCase):
    def count(self, kind):
        servers = self.cluster(3)
        progress = Progress()
        started = time.monotonic()
        counters = [kind(servers, number, INCREMENTS // CLIENTS, progress) for number in range(CLIENTS)]
        kills = self.kill_leaders(servers, counters, progress)
        for counter in counters:
            counter.join()
            if counter.failure:
                raise counter.failure
        took = time.monotonic() - started
        answered = INCREMENTS // CLIENTS * CLIENTS
        print(f"{answered} increments by {kind.__name__} while a leader was killed {kills} times: {took:.1f} s; "
              f"{sum(counter.client.retries for counter in counters)} requests sent again, "
              f"{sum(counter.conflicts for counter in counters)} increments that came too late")
        self.assertGreaterEqual(kills, FEWEST_KILLS)
        for node in servers.wait_ready():
            answer = node.ask("GET", key="count", consistency="linearizable")
            self.assert_message(answer, "GET_OK", value=str(answered))
        servers.wait_same_state()
        return servers, answered

    def kill_leaders(self, servers, counters, progress):
        """One after the other, each when some increments were answered since the last: how many."""
        kills = 0
        apart = max(100, INCREMENTS // 100)
        while True:
            due = (kills + 1) * apart
            kv.wait_until(f"{due} increments are answered, or all",
                          lambda: progress.done >= due or not any(c.is_alive() for c in counters), 120)
            if progress.done >= INCREMENTS - CLIENTS or not any(counter.is_alive() for counter in counters):
                return kills
            leader = servers.wait_leader()
            leader.kill()
            kills += 1
            leader.start().wait_ready()

    def test_put_if_ts(self):
        self.count(PutCounter)

    def test_txn(self):
        servers, answered = self.count(TxnCounter)
        # Each number was given to exactly one client, and each client has all of its own.
        items, after = [], ""
        while True:
            page = servers["n1"].ask("LIST", prefix="by/", after=after, consistency="linearizable")
            items += page["items"]
            if not page["more"]:
                break
            after = items[-1]["key"]
        self.assertEqual(sorted(int(item["key"][3:]) for item in items), list(range(1, answered + 1)))
        per_client = {}
        for item in items:
            per_client[item["value"]] = per_client.get(item["value"], 0) + 1
        self.assertEqual(sorted(per_client.values()), [answered // CLIENTS] * CLIENTS)


if __name__ == "__main__":
    kv.main()
