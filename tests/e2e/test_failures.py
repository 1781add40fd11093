"""What must hold when servers die, hang, stop or lose their disk: no answered write is lost, nothing stale is
served, and the cluster answers again."""

import shutil
import threading
import time

import kv

ELECTION_TIMEOUT = 1.0  # kvd's default, which these tests leave as it is: they measure
DEFAULTS = []


class Writers:
    """Threads that write unique keys, each to one server at a time, and note what was answered.

    `written` maps a key to its ts: the writes that must never be lost."""

    def __init__(self, nodes, count=4):
        self.written = {}
        self.unknown = 0
        self.refused = 0
        self.acknowledged = []  # (when sent, when answered), by time.monotonic()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(nodes, number)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @staticmethod
    def value(key):
        return f"value of {key}"

    def _write(self, nodes, number):
        count = 0
        turn = number  # so that the writers begin at different servers
        while not self._stop.is_set():
            turn += 1
            node = nodes[turn % len(nodes)]
            try:
                with node.connect(timeout=10) as client:
                    while not self._stop.is_set():
                        count += 1
                        self._put(client, f"{number}/{count}")
            except kv.Closed:
                self.unknown += 1
            except OSError:
                time.sleep(0.01)  # it is down: the next one

    def _put(self, client, key):
        sent = time.monotonic()
        answer = client.ask("PUT", key=key, value=self.value(key))
        if answer["type"] == "PUT_OK":
            self.written[key] = answer["ts"]
            self.acknowledged.append((sent, time.monotonic()))
        elif answer["code"] == "UNKNOWN_OUTCOME":
            self.unknown += 1
        else:
            assert answer["code"] in ("NO_LEADER", "SHUTTING_DOWN"), answer
            self.refused += 1

    def wait_acknowledged(self, count, since=0.0, timeout=20.0):
        """Waits until so many writes that were sent after `since` are acknowledged."""
        kv.wait_until(f"{count} more writes are acknowledged",
                      lambda: sum(sent > since for sent, _ in list(self.acknowledged)) >= count, timeout)

    def first_acknowledged(self, since):
        return min(answered for sent, answered in self.acknowledged if sent > since)


class FailureTest(kv.TestCase):
    def tearDown(self):
        if hasattr(self, "writers"):
            self.writers.stop()

    def load(self, nodes):
        self.writers = Writers(list(nodes))
        self.writers.wait_acknowledged(200)
        return self.writers

    def assert_nothing_lost(self, writers, nodes):
        """Every acknowledged write is at every server, under its ts."""
        highest = max(writers.written.values())
        for node in nodes:
            node.wait_applied(highest)
            with node.connect() as client:
                gets = {key: client.message("GET", key=key, ts=ts) for key, ts in writers.written.items()}
                answers = client.ask_all(gets.values())
            for key, ts in writers.written.items():
                answer = answers[gets[key]["id"]]
                self.assert_message(answer, "GET_OK", key=key, value=writers.value(key), ts=ts, node=node.name)
        print(f"{len(writers.written)} acknowledged writes are at every one of {len(list(nodes))} servers; "
              f"{writers.unknown} of unknown outcome, {writers.refused} refused")


class Death(FailureTest):
    def test_leader_killed_under_load(self):
        servers = self.cluster(3, flags=DEFAULTS)
        leader = servers.wait_leader()
        writers = self.load(servers)
        killed = time.monotonic()
        leader.kill()
        writers.wait_acknowledged(200, since=killed)
        writers.stop()
        again = writers.first_acknowledged(killed) - killed
        print(f"first new PUT_OK {again:.2f} s after kill -9 of the leader "
              f"({again / ELECTION_TIMEOUT:.2f} election timeouts)")
        self.assertLess(again, 10 * kv.SLOWDOWN)
        leader.start().wait_ready()
        self.assert_nothing_lost(writers, servers)

    def test_all_killed_under_load(self):
        servers = self.cluster(3)
        writers = self.load(servers)
        for node in servers:
            node.kill()
        writers.stop()
        started = time.monotonic()
        servers.start().wait_ready()
        print(f"all three ready again {time.monotonic() - started:.2f} s after their start")
        self.assert_nothing_lost(writers, servers)
        self.assert_message(servers["n2"].ask("PUT", key="new", value="1"), "PUT_OK")

    def test_followers_killed_in_turns(self):
        servers = self.cluster(3)
        writers = self.load(servers)
        for _ in range(2):
            for node in servers.followers():
                moment = time.monotonic()
                node.kill()
                writers.wait_acknowledged(50, since=moment)
                node.start().wait_ready()
        writers.stop()
        self.assert_nothing_lost(writers, servers)


class Stopping(FailureTest):
    def test_sigterm_hands_leadership_over(self):
        # So long a time-out that a gap without a hand-over could not be taken for one with it.
        election_timeout = 10.0
        servers = self.led_cluster("n1", ["--election-timeout", "10s"])
        leader = servers["n1"]
        writers = self.load(node for node in servers if node is not leader)
        asked = time.monotonic()
        self.assertEqual(leader.terminate(), 0)
        stopped = time.monotonic() - asked
        writers.wait_acknowledged(100, since=asked + stopped)
        writers.stop()
        answered = sorted(answered for _, answered in writers.acknowledged)
        gap = max(later - earlier for earlier, later in zip(answered, answered[1:]) if later >= asked)
        print(f"SIGTERM of the leader: exit 0 after {stopped:.2f} s; the longest time without a PUT_OK was "
              f"{gap * 1000:.0f} ms (election timeout {election_timeout * 1000:.0f} ms)")
        self.assertLess(gap, election_timeout / 2)
        self.assertLess(stopped, 5 * kv.SLOWDOWN)
        self.assertEqual(writers.refused, 0, "a handed-over leadership refuses no one")
        leader.start().wait_ready()
        self.assert_nothing_lost(writers, servers)

    def test_sigint_of_a_follower(self):
        servers = self.cluster(3)
        follower = servers.followers()[0]
        client = follower.connect()
        client.ask("PUT", key="a", value="1")
        follower.process.send_signal(2)
        self.assertEqual(follower.wait(5), 0)
        self.assertTrue(client.is_closed_by_server())
        self.assert_message(servers.wait_leader().ask("GET", key="a"), "GET_OK", value="1")

    def test_sigterm_of_all_at_once(self):
        servers = self.cluster(3)
        ts = servers["n1"].ask("PUT", key="a", value="1")["ts"]
        for node in servers:
            node.process.terminate()
        self.assertEqual([node.wait(5) for node in servers], [0, 0, 0])
        servers.start().wait_ready()
        self.assert_message(servers["n3"].ask("GET", key="a", ts=ts), "GET_OK", value="1", ts=ts)


class Hanging(FailureTest):
    def test_a_leader_that_hangs_serves_nothing_stale_when_it_wakes(self):
        servers = self.cluster(3)
        old = servers.wait_leader()
        client = old.connect(timeout=20)
        self.assert_message(client.ask("PUT", key="a", value="old"), "PUT_OK")
        term = old.status()["term"]
        old.pause()
        new = servers.wait_leader()
        self.assertIsNot(new, old)
        ts = self.assert_message(new.ask("PUT", key="a", value="new"), "PUT_OK")["ts"]
        # The questions wait in its socket: they are the first thing it finds on waking.
        read = client.send("GET", key="a", consistency="linearizable")
        fresh = client.send("GET", key="a", ts=ts)
        write = client.send("PUT", key="a", value="late", if_ts=1)
        old.resume()
        self.assert_message(client.final_answer(read), "GET_OK", value="new", ts=ts)
        self.assert_message(client.final_answer(fresh), "GET_OK", value="new", ts=ts)
        answer = client.final_answer(write)
        self.assertIn(answer.get("code"), ("CONFLICT", "UNKNOWN_OUTCOME", "NO_LEADER"), answer)
        leader = servers.wait_leader()
        self.assertGreater(leader.status()["term"], term)
        self.assert_message(leader.ask("GET", key="a", consistency="linearizable"), "GET_OK", value="new", ts=ts)
        client.close()

    def test_a_follower_that_hangs_holds_nobody_up(self):
        servers = self.cluster(3)
        leader = servers.wait_leader()
        follower, _ = servers.followers()
        term = leader.status()["term"]
        follower.pause()
        with leader.connect() as client:
            ts = [client.ask("PUT", key=f"k{i}", value="1")["ts"] for i in range(100)][-1]
        follower.resume()
        follower.wait_applied(ts)
        # With PreVote its waking disturbs nobody.
        self.assertEqual(servers.wait_leader().status()["term"], term)


class Minority(FailureTest):
    def test_a_minority_refuses_writes_and_serves_reads(self):
        servers = self.cluster(3)
        for role in ("follower", "leader"):
            with self.subTest(f"the {role} is left alone"):
                leader = servers.wait_leader()
                left = leader if role == "leader" else servers.followers()[0]
                ts = self.assert_message(left.ask("PUT", key="a", value=role), "PUT_OK")["ts"]
                for node in servers:
                    if node is not left:
                        node.kill()
                answer = left.ask("PUT", key="a", value="lost?", timeout_ms=1500)
                self.assert_error(answer, "NO_LEADER", "UNKNOWN_OUTCOME")
                # Once it knows that it is alone it can say that nothing was done.
                left.wait_status("knows no leader", lambda status: not status["leader"])
                self.assertNotEqual(left.status()["role"], "leader")
                self.assert_error(left.ask("PUT", key="b", value="lost", timeout_ms=300), "NO_LEADER")
                self.assert_error(left.ask("DELETE", key="a", timeout_ms=300), "NO_LEADER")
                answer = left.ask("GET", key="a", consistency="linearizable", timeout_ms=300)
                self.assert_error(answer, "NO_LEADER", "TIMEOUT")
                self.assert_message(left.ask("GET", key="a", ts=ts), "GET_OK", value=role, ts=ts)
                self.assert_message(left.ask("GET", key="a", consistency="local"), "GET_OK", value=role)
                answer = left.ask("GET", key="a", ts=ts + 1000, timeout_ms=300)
                self.assertEqual(self.assert_error(answer, "TIMEOUT")["leader"] or "", "")
                for node in servers:
                    if not node.is_running():
                        node.start()
                servers.wait_leader()
                self.assert_message(left.ask("GET", key="b", consistency="linearizable"), "GET_OK", value=None)
                self.assert_message(left.ask("PUT", key="a", value="again"), "PUT_OK")

    def test_a_first_start_needs_everybody(self):
        servers = self.cluster(3, start=False)
        for name in ("n1", "n2"):
            servers[name].start()
        kv.wait_until("n1 answers", servers["n1"].status)
        answer = servers["n1"].ask("INIT", protocol=1, timeout_ms=500)
        self.assert_error(answer, "NO_LEADER")
        self.assert_error(servers["n2"].ask("PUT", key="a", value="1", timeout_ms=500), "NO_LEADER")
        waiting = servers["n1"].connect()
        init = waiting.send("INIT", protocol=1, timeout_ms=20_000)
        servers["n3"].start()
        self.assert_message(waiting.final_answer(init, timeout=20), "INIT_OK")
        servers.wait_ready()
        self.assert_message(servers["n2"].ask("PUT", key="a", value="1"), "PUT_OK")
        waiting.close()


class LostDisk(FailureTest):
    def test_a_wiped_node_is_refused_and_does_not_vote(self):
        servers = self.cluster(3)
        leader = servers.wait_leader()
        wiped, other = servers.followers()
        self.assert_message(leader.ask("PUT", key="a", value="1"), "PUT_OK")
        term = leader.status()["term"]
        wiped.kill()
        shutil.rmtree(wiped.data_dir)
        wiped.start()
        # The others say so in their logs, and go on without it.
        for node in (leader, other):
            node.wait_log(rf"(?i){wiped.name}.*identity")
        ts = self.assert_message(other.ask("PUT", key="a", value="2"), "PUT_OK")["ts"]
        self.assert_message(leader.ask("GET", key="a", consistency="linearizable"), "GET_OK", value="2", ts=ts)
        self.assertEqual(servers["n1"].status()["term"] if wiped.name != "n1" else leader.status()["term"], term)
        # With one of them gone its vote would make a majority.
        leader.kill()
        other.wait_status("knows no leader", lambda status: not status["leader"])
        self.assert_error(other.ask("PUT", key="a", value="3", timeout_ms=2000), "NO_LEADER", "UNKNOWN_OUTCOME")
        self.assertNotEqual(other.status()["role"], "leader")
        leader.start()
        kv.wait_until("the two lead again", lambda: other.status()["leader"])
        self.assert_message(other.ask("PUT", key="a", value="4"), "PUT_OK")


class Preferred(FailureTest):
    def test_the_preferred_leader_gets_leadership_back(self):
        servers = self.cluster(3, flags=[*kv.QUICK, "--preferred-leader", "n2"])
        preferred = servers["n2"]
        preferred.wait_status("leads", lambda status: status["role"] == "leader")
        preferred.kill()
        substitute = servers.wait_leader()
        self.assert_message(substitute.ask("PUT", key="a", value="1"), "PUT_OK")
        preferred.start().wait_ready()
        ready = time.monotonic()
        preferred.wait_status("leads again", lambda status: status["role"] == "leader")
        print(f"the preferred leader led again {time.monotonic() - ready:.2f} s after it was ready")
        servers.wait_leader()
        self.assert_message(substitute.ask("PUT", key="a", value="2"), "PUT_OK")


if __name__ == "__main__":
    kv.main()
