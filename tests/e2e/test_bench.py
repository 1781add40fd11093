"""kvctl bench against real servers: what it counts, whom it asks, and that it survives what happens to them."""

import json
import re
import resource
import signal

import kv


class Bench(kv.TestCase):
    def setUp(self):
        self.servers = self.cluster(3)
        self.servers.wait_leader()

    def bench(self, *words, status=0):
        result = self.kvctl("bench", *words, "-o", "json", endpoints=self.servers.endpoints())
        self.check(result, status)
        return json.loads(result.stdout)

    def assert_all_right(self, report, right, **series):
        self.assertEqual(report["right"], right, report)
        self.assertEqual(report["others"], {}, report)
        self.assertEqual({one["request"]: one["right"] for one in report["series"]}, series)
        for one in report["series"]:
            times = [one[name] for name in ("p50", "p90", "p99", "p999", "max")]
            self.assertEqual(times, sorted(times))
            self.assertGreater(times[0], 0)

    def test_puts_are_counted_exactly(self):
        report = self.bench("put", "-c", "8", "-p", "4", "-n", "1000", "--warm-up", "0ms", "-k", "50",
                            "--value-size", "20")
        self.assert_all_right(report, 1000, put=1000)
        self.assertEqual(report["servers"], 3)
        status = self.servers.wait_leader().status()
        self.assertEqual(status["keys"], 50)
        self.assertEqual(status["bytes"], 50 * (len("bench/0000000000") + 20))
        listed = self.kvctl("list", "--limit", "2", endpoints=self.servers.endpoints()).stdout.splitlines()
        self.assertEqual(listed, ["bench/0000000000", "bench/0000000001"])

    def test_exactly_once_and_prefix(self):
        report = self.bench("put", "-c", "4", "-p", "8", "-n", "500", "--warm-up", "0ms", "--exactly-once", "-k", "10",
                            "--prefix", "other/")
        self.assert_all_right(report, 500, put=500)
        self.assertTrue(self.kvctl("get", "other/0000000009", endpoints=self.servers.endpoints()).status == 0)

    def test_reads_of_each_consistency(self):
        for consistency in ("session", "linearizable", "local"):
            with self.subTest(consistency):
                report = self.bench("get", "-c", "4", "-n", "400", "-k", "100", "--warm-up", "0ms", "--consistency",
                                    consistency)
                self.assert_all_right(report, 400, get=400)
                self.assertEqual(report["consistency"], consistency)

    def test_keys_that_nobody_wrote(self):
        report = self.bench("get", "-c", "1", "-n", "10", "--warm-up", "0ms", "--no-fill", "--prefix", "none/", status=4)
        self.assertEqual(report["right"], 0)
        self.assertEqual(report["others"], {"no such key": 10})

    def test_values_that_somebody_else_wrote(self):
        self.check(self.kvctl("put", "bench/0000000000", "mine", endpoints=self.servers.endpoints()))
        report = self.bench("get", "-c", "1", "-n", "5", "-k", "1", "--warm-up", "0ms", "--no-fill", status=4)
        self.assertEqual(report["others"], {"wrong value": 5})

    def test_mixed_with_zipf_and_a_rate(self):
        report = self.bench("mixed", "-c", "4", "-n", "300", "--rate", "1000", "--reads", "50", "--distribution", "zipf",
                            "--warm-up", "0ms", "-k", "100")
        self.assertEqual(report["right"], 300)
        self.assertEqual(report["others"], {})
        self.assertEqual(sum(one["right"] for one in report["series"]), 300)
        # It takes as long as the rate says: 300 of 1,000 a second.
        self.assertGreater(report["seconds"], 0.25)

    def test_a_rate_that_is_out_of_reach(self):
        report = self.bench("put", "-c", "1", "--rate", "1000000", "--warm-up", "500ms", "-d", "500ms", "-k", "100", status=4)
        unsent = report["others"].pop("due but not sent")
        self.assertEqual(report["others"], {})
        # What was due while it warmed up is not among them.
        self.assertLessEqual(unsent, 1_000_000 * (report["seconds"] + 0.001))  # which is told to the ms
        self.assertGreater(unsent, 0.5 * 1_000_000 * report["seconds"])

    def test_targets(self):
        for target, count in (("leader", 1), ("followers", 2), ("all", 3)):
            with self.subTest(target):
                report = self.bench("put", "-c", "3", "-n", "30", "--warm-up", "0ms", "--target", target)
                self.assertEqual((report["servers"], report["right"]), (count, 30), report)

    def test_follow(self):
        report = self.bench("follow", "-c", "2", "-n", "50", "--warm-up", "0ms")
        self.assert_all_right(report, 150, **{"put": 50, "get after put": 50, "get again": 50})

    def test_the_table(self):
        result = self.kvctl("bench", "put", "-n", "20", "-c", "2", "--warm-up", "0ms", endpoints=self.servers.endpoints())
        self.assertRegex(
            self.check(result).stdout,
            r"^put: 2 connections to 3 servers, 1 request at a time on each; 10000 keys \(uniform\), "
            r"values of 100 bytes; .* s\nREQUEST +RIGHT +PER SECOND +P50 +P90 +P99 +P99.9 +MAX\n"
            r"put +20 .*\nall answers were right\n$")

    def test_a_server_that_is_killed_costs_its_answers_and_no_more(self):
        follower = self.servers.followers()[0]
        bench = self.start_kvctl("bench", "put", "-c", "9", "-d", "3s", "--warm-up", "0ms", "-o", "json",
                                 endpoints=self.servers.endpoints())
        follower.wait_status("it is asked", lambda status: status["connections"] > 3)
        follower.kill()
        out, err = bench.communicate(timeout=30)
        report = json.loads(out)
        self.assertEqual(bench.returncode, 4, err)
        self.assertGreater(report["right"], 0)
        self.assertIn("connection lost", report["others"])
        self.assertLessEqual(report["others"]["connection lost"], 3)

    def test_interrupted(self):
        bench = self.start_kvctl("bench", "put", "-c", "2", "-d", "60s", "--warm-up", "0ms",
                                 endpoints=self.servers.endpoints())
        kv.wait_until("something is written", lambda: self.servers.followers()[0].status()["keys"])
        bench.send_signal(signal.SIGINT)
        out, err = bench.communicate(timeout=20)
        self.assertEqual(bench.returncode, 130)
        self.assertIn("interrupted: that is what there was until then", err)
        self.assertTrue(re.search(r"put +\d+", out), out)

    def test_too_many_connections_and_nobody_there(self):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        result = self.kvctl("bench", "put", "-c", str(min(most, 100_000)), endpoints=self.servers.endpoints())
        self.check(result, 4, "", "connections take more files than this process may open" if most <= 100_000 else "")
        result = self.kvctl("bench", "put", endpoints="127.0.0.1:9")
        self.check(result, 3, "", "no server reached: 127.0.0.1:9: connection refused")


if __name__ == "__main__":
    kv.main()
