"""A watch over many changes while servers are killed: each change is told once and in order, whichever server tells
it, or it is said that changes are not known any more; there is never a gap in silence.

KV_TEST_CHANGES is how many changes there are (5,000). By hand:

    KV_TEST_CHANGES=100000 python3 tests/e2e/test_long_watch.py"""

import os
import threading
import time
import unittest

import kv
from retrying import RetryingClient

CHANGES = int(os.environ.get("KV_TEST_CHANGES", "5000"))
WRITERS = 2
WINDOW = 50  # writes of one client on their way
FEWEST_KILLS = 3
END = "w/end"


class Writer(threading.Thread):
    """Pipelines PUTs of its own keys until each is answered, and sends what has no certain outcome again, as the
    same write of its session. `written` maps ts to (key, value): what must be told, and nothing else."""

    def __init__(self, nodes, number, count):
        super().__init__()
        self.number = number
        self.count = count
        self.written = {}
        self.again = 0
        self.failure = None
        self.retrying = RetryingClient(nodes, number)
        self.start()

    def run(self):
        try:
            for first in range(1, self.count + 1, WINDOW):
                self.put_all(range(first, min(first + WINDOW, self.count + 1)))
        except BaseException as error:
            self.failure = error
        finally:
            self.retrying.close()

    def put_all(self, seqs):
        """A window: first pipelined, and then one by one what was not answered for certain."""
        puts = {seq: {"key": f"w/{self.number}/{seq % 100}", "value": f"{self.number}-{seq}", "seq": seq,
                      **self.retrying.session} for seq in seqs}
        answered = self.pipeline(puts)
        for seq, put in puts.items():
            answer = answered.get(seq)
            if answer is None or answer["type"] != "PUT_OK":
                self.again += 1
                answer = self.retrying.ask("PUT", **put)
                assert answer["type"] == "PUT_OK", answer
            assert answer["ts"] not in self.written, answer
            self.written[answer["ts"]] = (put["key"], put["value"])

    def pipeline(self, puts):
        """The answers that came, by seq, before the connection ended."""
        answers = {}
        try:
            client = self.retrying.connection()
            seqs = {}
            for seq, put in puts.items():
                seqs[client.send("PUT", timeout_ms=2000, **put)] = seq
            while len(answers) < len(puts):
                answer = client.receive()
                answers[seqs[answer["id"]]] = answer
        except (OSError, kv.Closed, kv.Timeout):
            self.retrying.next_server()
        return answers


class Follower(threading.Thread):
    """Watches a prefix, from server to server, until the end is told. `told` holds (ts, key, value) in the order in
    which they came; what a LIST had to stand in for lies in `listed`, as (from, to] positions."""

    def __init__(self, nodes, last=0):
        super().__init__()
        self.nodes = list(nodes)
        self.turn = 0
        self.last = last  # the last complete ts
        self.told = []
        self.listed = []
        self.resumed = 0
        self.failure = None
        self.ended = False
        self.start()

    def run(self):
        try:
            end = time.monotonic() + 240 * kv.SLOWDOWN
            while not self.ended:
                assert time.monotonic() < end, f"the end is not told; the last was {self.last}"
                self.watch_one_server(self.nodes[self.turn % len(self.nodes)])
                self.turn += 1
        except BaseException as error:
            self.failure = error

    def watch_one_server(self, node):
        """Until it is gone, or knows no further."""
        try:
            with node.connect(20) as client:
                watch = client.send("WATCH", prefix="w/", from_ts=self.last)
                first = client.answer(watch)
                if first["type"] == "WATCH_OK":
                    self.resumed += 1
                    first = self.take_events(client, watch)
                assert self.ended or first["code"] in ("COMPACTED", "OVERLOADED", "SHUTTING_DOWN"), first
                if not self.ended and first["code"] != "SHUTTING_DOWN":
                    self.list_instead(client, first["oldest"])
        except (OSError, kv.Closed, kv.Timeout):
            time.sleep(0.005)  # not as fast as a server that is down can refuse

    def take_events(self, client, watch):
        """Until the end is told (None), or the ERROR that ends the watch."""
        incomplete = []
        while not self.ended:
            event = client.answer(watch)
            if event["type"] == "ERROR":
                return event
            incomplete.append((event["ts"], event["key"], event["value"]))
            if event.get("more"):
                continue
            self.told += incomplete
            incomplete = []
            self.last = event["ts"]
            self.ended = event["key"] == END
        return None

    def list_instead(self, client, oldest):
        """A server that has forgotten: what there is now, and on from there."""
        assert oldest > self.last + 1, f"COMPACTED, but {self.last + 1} is known"
        page = client.ask("LIST", prefix="w/", ts=self.last, keys_only=True)
        if page["type"] != "LIST_OK":
            return
        self.listed.append((self.last, page["applied"]))
        self.last = page["applied"]
        self.ended = any(item["key"] == END for item in page["items"])


class LongWatch(kv.TestCase):
    def watch_while_servers_are_killed(self, flags):
        servers = self.cluster(3, [*kv.QUICK, *flags])
        # Two from the beginning, one of them with a single server; another one comes later and asks for all.
        followers = [Follower(servers), Follower([servers["n3"]])]
        started = time.monotonic()
        writers = [Writer(servers, number, CHANGES // WRITERS) for number in range(WRITERS)]
        kills = self.kill_servers(servers, writers, lambda: followers.append(Follower(servers)))
        for writer in writers:
            writer.join()
            if writer.failure:
                raise writer.failure
        servers.wait_ready()
        servers["n1"].ask("PUT", key=END, value="")
        for follower in followers:
            follower.join()
            if follower.failure:
                raise follower.failure
        took = time.monotonic() - started
        written = {ts: change for writer in writers for ts, change in writer.written.items()}
        self.assertEqual(len(written), CHANGES // WRITERS * WRITERS)
        for follower in followers:
            self.assert_told(follower, written)
        again = sum(writer.again for writer in writers)
        print(f"{len(written)} changes, {kills} kills, {took:.1f} s, {again} writes sent again; "
              + "; ".join(f"told of {sum(key != END for _, key, _ in follower.told)} over {follower.resumed} watches, "
                          f"COMPACTED {len(follower.listed)} times" for follower in followers))
        self.assertGreaterEqual(kills, FEWEST_KILLS)
        return followers

    def kill_servers(self, servers, writers, after_some_kills):
        """In turns, the leader and others, each when some changes were answered since the last: how many."""
        apart = max(500, CHANGES // 40)
        kills = 0
        while True:
            due = (kills + 1) * apart
            kv.wait_until(f"{due} changes are answered, or all",
                          lambda: sum(len(writer.written) for writer in writers) >= due
                          or not any(writer.is_alive() for writer in writers), 120)
            if not any(writer.is_alive() for writer in writers):
                return kills
            leader = servers.wait_leader()
            (leader if kills % 2 == 0 else servers.followers()[kills // 2 % 2]).restart()
            kills += 1
            if kills == FEWEST_KILLS:
                after_some_kills()

    def assert_told(self, follower, written):
        """Once each, in order, with the right content, and all but what it was said to be missing."""
        positions = [ts for ts, _, _ in follower.told]
        self.assertEqual(positions, sorted(set(positions)), "not in order, or twice")
        told = {ts: (key, value) for ts, key, value in follower.told if key != END}
        unknown = {ts: change for ts, change in told.items() if written.get(ts) != change}
        self.assertEqual(unknown, {}, "told, and never written so")
        missing = [ts for ts in written if ts not in told
                   and not any(begin < ts <= end for begin, end in follower.listed)]
        self.assertEqual(missing, [], "a gap in silence")

    def test_all_is_known(self):
        followers = self.watch_while_servers_are_killed([])
        if CHANGES <= 50_000:
            self.assertEqual([follower.listed for follower in followers], [[], [], []])

    @unittest.skipIf(CHANGES > 50_000, "the other one forgets by itself then")
    def test_servers_that_forget(self):
        """With a snapshot every few writes: a server that starts again knows only what came behind it."""
        late = self.watch_while_servers_are_killed(["--snapshot-every", "300"])[-1]
        self.assertEqual(len(late.listed), 1)


if __name__ == "__main__":
    kv.main()
