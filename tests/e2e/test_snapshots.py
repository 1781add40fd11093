"""Snapshots: the log is kept short by them, whoever was away for too long comes back by one, no kill in the middle
of one costs an answered write, and a damaged one is named and made good.

KV_TEST_KILLS is how often servers are killed (20); KV_TEST_SEED repeats the choice of moments."""

import os
import random
import re
import sys
import threading
import time

import kv

FEW_KEYS = 40
STARTED = r"read the snapshot of (\d+) \([^)]+\) and (\d+) entries behind it \([^)]+ in \d+ segments\)"

# What the core keeps of the log before the newest snapshot: so much must be written that older entries are gone.
KEPT_LOG_BYTES = 8 << 20


def put_many(test, client, count, value_bytes, keys=FEW_KEYS, first=0):
    """Pipelined PUTs in turns over a few keys. Returns key -> (value, ts) as it is afterwards."""
    puts = {}
    for number in range(first, first + count):
        message = client.message("PUT", key=f"k{number % keys}", value=f"{number}:".ljust(value_bytes, "x"))
        puts[message["id"]] = message
    written = {}
    for id, answer in client.ask_all(puts.values(), window=200).items():
        test.assert_message(answer, "PUT_OK")
        old = written.get(answer["key"], (None, 0))
        written[answer["key"]] = max(old, (puts[id]["value"], answer["ts"]), key=lambda one: one[1])
    return written


def assert_reads(test, node, written):
    """The server has every key as it was written."""
    with node.connect() as client:
        gets = [client.message("GET", key=key, ts=ts) for key, (_, ts) in written.items()]
        answers = client.ask_all(gets, window=50)
    for get in gets:
        value, ts = written[get["key"]]
        test.assert_message(answers[get["id"]], "GET_OK", key=get["key"], value=value, ts=ts)


def wait_short_log(node):
    """The two newest snapshots are kept, and no more; of the log the beginning is gone."""
    kv.wait_until(f"{node.name} keeps two snapshots", lambda: len(node.files(".snap")) == 2)
    kv.wait_until(f"{node.name} drops its first segment", lambda: "0000000000000001.wal" not in node.files(".wal"))


def flip_a_bit(path, random):
    """Returns the offset of the byte that is another one now."""
    offset = random.randrange(path.stat().st_size)
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << random.randrange(8)]))
    return offset


class Sampler:
    """Asks again and again, in a thread of its own, how much a data directory takes on the disk: `most`."""

    def __init__(self, nodes):
        self.most = {node.name: 0 for node in nodes}
        self.samples = 0
        self._nodes = nodes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(0.005):
            for node in self._nodes:
                self.most[node.name] = max(self.most[node.name], sum(node.files("").values()))
            self.samples += 1


class Bounds(kv.TestCase):
    def test_snapshots_take_the_place_of_the_log(self):
        servers = self.cluster(3, [*kv.QUICK, "--snapshot-every", "200"])
        client = servers.wait_leader().connect()
        written = put_many(self, client, 2 * KEPT_LOG_BYTES // 10_000, 10_000)
        client.close()
        for node in servers:
            wait_short_log(node)
            self.assertGreater(node.status()["log_first"], 1)
        before = servers.wait_same_state()
        for node in servers:
            node.kill()
        log_before = {node: len(node.log_text()) for node in servers}
        servers.start().wait_ready()
        for node in servers:
            found = re.search(STARTED + r".* in (\d+(?:\.\d+)? ?m?s)", node.log_text(log_before[node]))
            self.assertTrue(found, node.log_text())
            print(f"{node.name}: snapshot of {found[1]}, {found[2]} entries behind it, read in {found[3]}")
            assert_reads(self, node, written)
        self.assertEqual(servers.wait_same_state()["digest"], before["digest"])

    def test_a_data_directory_stays_small(self):
        servers = self.cluster(3, [*kv.QUICK, "--snapshot-every", "2000"])
        leader = servers.wait_leader()
        sampler = Sampler(list(servers))
        try:
            with leader.connect() as client:
                written = put_many(self, client, 40_000, 1000)
            servers.wait_same_state()
        finally:
            sampler.stop()
        most = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sampler.most.items())
        print(f"40 MB written over {FEW_KEYS} keys; the most that each directory took, looked at {sampler.samples} times: "
              f"{most}")
        for size in sampler.most.values():
            self.assertLess(size, 20e6 + 3 * FEW_KEYS * 1000)
        assert_reads(self, leader, written)


class Backup(kv.TestCase):
    def test_one_backup_takes_one_snapshot(self):
        node = self.node(flags=["--snapshot-every", "1000000"]).start().wait_ready()
        with node.connect() as client:
            put_many(self, client, 3000, 10_000, keys=3000)  # so many that it takes a while
            position = node.status()["applied"]
            backup = client.ask("BACKUP")
            self.assert_message(backup, "BACKUP_OK", offset=0)
            self.assertGreaterEqual(backup["snapshot"], position)
            # Time enough for another one, which needs something to be new.
            put_many(self, client, 1, 10)
            uptime = node.status()["uptime_ms"]
            node.wait_status("has run on", lambda status: status["uptime_ms"] > uptime + 1000)
            self.assertEqual(len(re.findall(r"snapshot of \d+: \d+ bytes", node.log_text())), 1, node.log_text())


class ComesBack(kv.TestCase):
    def test_a_follower_that_was_away_for_too_long(self):
        servers = self.cluster(3, [*kv.QUICK, "--snapshot-every", "1000"])
        leader = servers.wait_leader()
        away = servers.followers()[0]
        others = [node for node in servers if node is not away]
        with leader.connect() as client:
            put_many(self, client, 100, 1000, keys=12_000)
            last = away.wait_applied(leader.status()["applied"])["log_last"]
            away.kill()
            written = put_many(self, client, 12_000, 1000, keys=12_000)
        leader.wait_status("has dropped what the follower needs", lambda status: status["log_first"] > last + 1)
        ts = max(ts for _, ts in written.values())
        # The others hold still until it has been asked for what it cannot have yet.
        for node in others:
            node.pause()
        away.start()
        kv.wait_until(f"{away.name} answers", away.status)
        with away.connect(timeout=30) as client:
            get = client.send("GET", key="k7", ts=ts, timeout_ms=int(30_000 * kv.SLOWDOWN))
            self.assert_message(client.answer(get), "WAIT_FOR_RESPONSE", ts=ts, node=away.name)
            started = time.monotonic()
            for node in others:
                node.resume()
            answer = client.answer(get)
        self.assert_message(answer, "GET_OK", key="k7", value=written["k7"][0], ts=written["k7"][1])
        self.assertGreaterEqual(answer["applied"], ts)
        print(f"behind by {ts - last} entries: answered {time.monotonic() - started:.2f} s after the others went on")
        away.wait_log(r"took over the snapshot of \d+: \d+ keys")
        self.assertTrue(any(f"{away.name} is too far behind for the log: it gets the snapshot" in node.log_text()
                            for node in others))
        servers.wait_ready().wait_same_state()
        assert_reads(self, away, written)


class Writers:
    """Threads that overwrite keys of their own with values that are used once, and note what was answered.

    `answered` maps a key to the (ts, number) of its last answered write: what must never be lost. `perhaps` maps it
    to the numbers of those whose outcome is not known, which may have been done."""

    VALUE_BYTES = 4000
    BATCH = 20

    def __init__(self, nodes, count=3, keys=600):
        self.answered = {}
        self.perhaps = {}
        self.acknowledged = 0
        self.problem = None
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(list(nodes), writer, keys))
                         for writer in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.problem:
            raise AssertionError(f"a write was answered with {self.problem}")

    def wait_more(self, count):
        enough = self.acknowledged + count
        kv.wait_until(f"{count} more writes are acknowledged",
                      lambda: self.problem or self.acknowledged >= enough, 30)

    @classmethod
    def value(cls, key, number):
        return f"{key}:{number}:".ljust(cls.VALUE_BYTES, "x")

    def _run(self, nodes, writer, keys):
        number = 0
        turn = writer
        while not self._stop.is_set() and not self.problem:
            turn += 1
            try:
                with nodes[turn % len(nodes)].connect(timeout=10) as client:
                    while not self._stop.is_set() and not self.problem:
                        batch = {}
                        for _ in range(self.BATCH):
                            number += 1
                            key = f"{writer}/{number % keys}"
                            message = client.message("PUT", key=key, value=self.value(key, number))
                            batch[message["id"]] = (key, number, message)
                        self._put(client, batch)
            except OSError:
                time.sleep(0.01)  # it is down: the next one
            except (kv.Closed, kv.Timeout):
                pass

    def _put(self, client, batch):
        try:
            client.send_all([message for _, _, message in batch.values()])
            while batch:
                answer = client.receive()
                key, number, _ = batch.pop(answer["id"])
                self._note(key, number, answer)
        finally:
            for key, number, _ in batch.values():
                self.perhaps.setdefault(key, set()).add(number)

    def _note(self, key, number, answer):
        if answer["type"] == "PUT_OK":
            self.answered[key] = max(self.answered.get(key, (0, 0)), (answer["ts"], number))
            self.acknowledged += 1
        elif answer.get("code") == "UNKNOWN_OUTCOME":
            self.perhaps.setdefault(key, set()).add(number)
        elif answer.get("code") not in ("NO_LEADER", "OVERLOADED"):
            self.problem = answer

    def assert_nothing_lost(self, test, node):
        with node.connect() as client:
            gets = [client.message("GET", key=key, consistency="local") for key in self.answered]
            answers = client.ask_all(gets, window=100)
        for get in gets:
            key, answer = get["key"], answers[get["id"]]
            ts, number = self.answered[key]
            test.assert_message(answer, "GET_OK", key=key)
            if answer["ts"] == ts:
                test.assertEqual(answer["value"], self.value(key, number))
                continue
            test.assertGreater(answer["ts"], ts, f"{node.name} has lost the write of {key} at {ts}")
            found = int(answer["value"].split(":")[1])
            test.assertEqual(answer["value"], self.value(key, found))
            test.assertIn(found, self.perhaps.get(key, ()), f"{node.name} has a write of {key} that nobody made")


class Kills(kv.TestCase):
    """kill -9 while a file is being written that has not got its name yet: what is left of it tells that it was hit."""

    SAVING = "saving.snap.tmp"
    RECEIVING = "receiving.snap.tmp"

    def setUp(self):
        self.seed = int(os.environ.get("KV_TEST_SEED") or random.randrange(1 << 32))
        self.random = random.Random(self.seed)
        # The thread that watches for the moment must not wait for the writers' turns.
        interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0005)
        self.addCleanup(sys.setswitchinterval, interval)
        self.cut = {self.SAVING: 0, self.RECEIVING: 0}
        self.named = 0

    def wait_for_moment(self, node, name, otherwise=lambda: False):
        """A moment while the file is being written, from its first byte on to just after it got its name."""
        share = self.random.uniform(0, 1.1)
        before = set(node.files(".snap"))
        usual = max([*node.files(".snap").values(), Writers.VALUE_BYTES * 600])
        wanted = share * usual if self.cut[name] else 0

        def has_come():
            files = node.files("")
            if share >= 1:
                return any(file.endswith(".snap") and file not in before for file in files) or otherwise()
            return (name in files and files[name] >= wanted) or otherwise()

        kv.wait_until(f"{node.name} writes {name} ({share:.2f} of {usual} bytes)", has_come, 30, 0.0005)
        return share >= 1

    def note_hits(self, named, victims):
        hit = False
        for node in victims:
            for name in self.cut:
                if name in node.files(".tmp"):
                    self.cut[name] += 1
                    hit = True
        self.named += named and not hit

    def kill_during_a_snapshot(self, servers):
        victim = self.random.choice(list(servers))
        named = self.wait_for_moment(victim, self.SAVING)
        victims = list(servers) if self.random.random() < 0.2 else [victim]
        for node in victims:
            self.assertTrue(node.is_running(), node.name)
            node.kill()
        self.note_hits(named, victims)
        for node in victims:
            node.start()

    def kill_during_an_install(self, servers):
        away = self.random.choice(list(servers))
        away.kill()
        leader = servers.wait_leader()
        last = leader.status()["log_last"]
        # All that it may have had must be gone at whoever leads when it comes back.
        for node in servers.running():
            node.wait_status(f"has dropped what {away.name} needs", lambda status: status["log_first"] > last, 30)
        log_before = len(away.log_text())
        away.start()
        named = self.wait_for_moment(away, self.RECEIVING,
                                     lambda: "took over the snapshot" in away.log_text(log_before))
        if self.random.random() < 0.25:  # who sends it
            self.cut[self.RECEIVING] += self.RECEIVING in away.files(".tmp")
            leader.kill()
            leader.start()
        else:
            away.kill()
            self.note_hits(named, [away])
            away.start()

    def test_kill_at_any_moment_of_snapshots_and_installs(self):
        rounds = int(os.environ.get("KV_TEST_KILLS", "20"))
        servers = self.cluster(3, [*kv.QUICK, "--snapshot-every", "300"])
        writers = Writers(servers)
        self.addCleanup(writers.stop)
        try:
            for number in range(rounds):
                writers.wait_more(1)
                if number % 2:
                    self.kill_during_an_install(servers)
                else:
                    self.kill_during_a_snapshot(servers)
        except AssertionError:
            print(f"KV_TEST_SEED={self.seed}", file=sys.stderr)
            raise
        writers.wait_more(100)
        writers.stop()
        servers.wait_ready().wait_same_state()
        for node in servers:
            writers.assert_nothing_lost(self, node)
        print(f"{rounds} rounds of kill -9: {self.cut[self.SAVING]} in the middle of a snapshot, "
              f"{self.cut[self.RECEIVING]} of an install, {self.named} just after one had got its name; "
              f"{writers.acknowledged} answered writes, none lost (seed {self.seed})")


class Damage(kv.TestCase):
    FLAGS = [*kv.QUICK, "--snapshot-every", "200"]

    def setUp(self):
        self.random = random.Random()

    def fill(self, node):
        """So much that the beginning of the log is gone. Returns what was written."""
        with node.connect() as client:
            return put_many(self, client, 2 * KEPT_LOG_BYTES // 10_000, 10_000)

    def damage(self, node, names):
        """Returns name -> the byte that is another one now."""
        return {name: flip_a_bit(node.data_dir / name, self.random) for name in names}

    def assert_told(self, text, node, damaged):
        for name, offset in damaged.items():
            found = re.search(re.escape(str(node.data_dir / name)) + r" at offset (\d+): [^.]+", text)
            self.assertTrue(found, f"{name} at {offset}: {text}")
            self.assertLessEqual(int(found[1]), offset, found[0])

    def test_a_damaged_snapshot_on_a_follower(self):
        servers = self.cluster(3, self.FLAGS)
        written = self.fill(servers.wait_leader())
        follower = servers.followers()[0]
        wait_short_log(follower)
        servers.wait_same_state()

        with self.subTest("the newest: the older one and the log take its place"):
            follower.kill()
            older, newest = sorted(follower.files(".snap"))
            damaged = self.damage(follower, [newest])
            log_before = len(follower.log_text())
            follower.start().wait_ready()
            text = follower.log_text(log_before)
            self.assert_told(text, follower, damaged)
            self.assertRegex(text, re.escape(f"set aside as {newest}.damaged") + ".*an older one and the log")
            self.assertEqual(re.search(STARTED, text)[1], str(int(older.split("-")[0])), text)
            self.assertNotIn("took over the snapshot", text)
            servers.wait_same_state()
            assert_reads(self, follower, written)

        with self.subTest("all: the state comes from the leader"):
            follower.kill()
            damaged = self.damage(follower, follower.files(".snap"))
            log_before = len(follower.log_text())
            follower.start().wait_ready()
            follower.wait_log("took over the snapshot", since=log_before)
            text = follower.log_text(log_before)
            self.assert_told(text, follower, damaged)
            self.assertRegex(text, "the state is asked for from the leader")
            servers.wait_same_state()
            assert_reads(self, follower, written)

    def finished_files(self, node):  # what the kill has left half made goes at the next start
        return {name for name in node.files("") if not name.endswith(".tmp")}

    def test_a_single_server_without_a_way_out_refuses_to_start(self):
        node = self.node(flags=["--snapshot-every", "200"]).start().wait_ready()
        self.fill(node)
        wait_short_log(node)
        node.kill()
        names = self.finished_files(node)
        damaged = self.damage(node, node.files(".snap"))
        for _ in range(2):  # the second time it says the same
            log_before = len(node.log_text())
            self.assertEqual(node.start().wait(), 1)
            text = node.log_text(log_before)
            self.assert_told(text, node, damaged)
            self.assertRegex(text, "Restore this server's data directory from a backup")
            self.assertEqual(self.finished_files(node), names, "nothing is touched")


if __name__ == "__main__":
    kv.main()
