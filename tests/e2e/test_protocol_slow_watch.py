"""Watchers that do not read: nobody else is harmed, the servers' memory stays bounded, and what they read at last
has no gap: all events, or the first ones and then OVERLOADED, or a closed connection."""

import threading

import kv
from protocol_case import ProtocolCase, Watch

MIB = 1 << 20
VALUE = "v" * 4000
FEW_KEYS = 40
RING = 32 * MIB
TINY = 4096  # bytes of a socket's receive buffer


class Reader(threading.Thread):
    """Someone who reads: keeps the positions that it was told of."""

    def __init__(self, watch, last_key):
        super().__init__()
        self.watch = watch
        self.last_key = last_key
        self.positions = []
        self.start()

    def run(self):
        while True:
            event = self.watch.next()
            if event["type"] != "EVENT" or event["key"] == self.last_key:
                return
            self.positions.append(event["ts"])


class Slow(ProtocolCase):
    def slow_watch(self, node, **members):
        watch = Watch(node, 60, TINY, **members)
        self.addCleanup(watch.close)
        self.assert_message(watch.first, "WATCH_OK")
        return watch

    def write_much(self, megabytes):
        """Over few keys, so that it is not the data that take the memory: the positions."""
        return self.put_all((f"s{i % FEW_KEYS}", VALUE) for i in range(megabytes * MIB // len(VALUE)))

    def assert_memory_grew_less(self, before, mib):
        for node in self.servers:
            grown = (node.rss_bytes() - before[node]) / MIB
            print(f"{node.name}: memory grew by {grown:.0f} MiB")
            self.assertLess(grown, mib * kv.SLOWDOWN, node.name)

    def assert_too_slow_without_a_gap(self, watch, positions):
        seen = 0
        try:
            while (message := watch.next())["type"] == "EVENT":
                self.assertEqual(message["ts"], positions[seen])
                seen += 1
        except kv.Closed:
            return
        oldest = self.assert_error(message, "OVERLOADED")["oldest"]
        self.assertGreater(oldest, positions[seen])

    def test_they_harm_nobody_and_see_no_gap(self):
        before = {node: node.rss_bytes() for node in self.servers}
        slow = [self.slow_watch(node, prefix="s") for node in self.servers for _ in range(12)]
        readers = [Reader(self.watch(node, prefix="s"), "s/end") for node in self.servers]
        positions = self.write_much(48)
        self.put("s/end", "")
        for reader in readers:
            reader.join()
            self.assertEqual(reader.positions, positions)
        # What they did not take would be 12 times 48 MiB.
        self.assert_memory_grew_less(before, 300)
        for watch in slow:
            self.assert_too_slow_without_a_gap(watch, positions)
        for node in self.servers:
            node.wait_status("has ended the slow ones", lambda status: status["watching"] <= 1)

    def test_who_reads_slowly_gets_all_that_is_known(self):
        positions = self.write_much(20)
        self.assertLess(20 * MIB, RING)
        for node in self.servers:
            node.wait_applied(self.ts)
            slow = self.slow_watch(node, prefix="s", from_ts=0)
            quick = self.watch(node, prefix="s", from_ts=0)
            for watch in (quick, slow):
                self.assertEqual([event[3] for event in watch.seen(len(positions))], positions)
        self.put("s", "live again")
        self.assertEqual(slow.seen(1)[0][2], b"live again")

    def test_a_watch_after_the_other_takes_no_more_memory(self):
        """Who does not read and begins one watch after the other gets no more held for it than for the first."""
        self.write_much(24)
        for node in self.servers:
            node.wait_applied(self.ts)
        slow = [self.slow_watch(node, prefix="", from_ts=0) for node in self.servers for _ in range(12)]
        before = {node: node.rss_bytes() for node in self.servers}
        for watch in slow:
            watch.client.send("CANCEL", watch=watch.id)
            watch.client.send("WATCH", prefix="", from_ts=0)
        for node in self.servers:
            # Both requests of each have been taken, and a while of the server's own work is behind them.
            watch = self.watch(node, prefix="", from_ts=0)
            watch.seen(24 * MIB // len(VALUE))
        self.assert_memory_grew_less(before, 64)

    def test_sigterm_does_not_wait_for_them(self):
        slow = [self.slow_watch(node, prefix="s", from_ts=0) for node in self.servers for _ in range(3)]
        positions = self.write_much(16)
        for node in self.servers:
            self.assertEqual(node.terminate(20), 0)
        for watch in slow:
            try:
                seen = 0
                while (message := watch.next())["type"] == "EVENT":
                    self.assertEqual(message["ts"], positions[seen])
                    seen += 1
                self.assert_error(message, "SHUTTING_DOWN")
            except kv.Closed:
                pass


if __name__ == "__main__":
    kv.main()
