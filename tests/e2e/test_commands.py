"""kvctl's list, watch, wait, txn, put --create, and what helps to use it; on three servers, one of them late."""

import json
import os
import shutil
import signal
import subprocess
import tempfile

import kv


def count_of(servers, what):
    """Of all that run: how many watches, or waiting reads, they have."""
    return sum((server.status() or {what: 0})[what] for server in servers if server.is_running())


class Commands(kv.TestCase):
    def setUp(self):
        self.servers = self.cluster(3)

    def run_kvctl(self, *words, status=0, stdin=None):
        return self.check(self.kvctl(*words, endpoints=self.servers.endpoints(), stdin=stdin or b""), status)

    def lines(self, *words, **more):
        return self.run_kvctl(*words, **more).stdout.splitlines()

    def put_all(self, **pairs):
        for key, value in pairs.items():
            self.run_kvctl("put", key.replace("_", "/"), value)

    def test_list(self):
        self.put_all(a_2="two", a_1="one", b="other")
        self.assertEqual(self.lines("list"), ["a/1", "a/2", "b"])
        self.assertEqual(self.lines("list", "a/", "--values"), ["a/1\tone", "a/2\ttwo"])
        self.assertEqual(self.lines("ls", "--limit", "1", "--after", "a/1"), ["a/2"])
        self.assertEqual(self.lines("list", "nothing/"), [])
        items = [json.loads(line) for line in self.lines("list", "a/", "--values", "-o", "json")]
        self.assertEqual([(item["key"], item["value"]) for item in items], [("a/1", "one"), ("a/2", "two")])
        self.assertRegex(self.run_kvctl("list", "-o", "table").stdout, r"KEY +TS\n")
        for none in ("0", "-1", "many"):
            self.assertEqual(self.run_kvctl("list", "--limit", none, status=2).stderr.splitlines()[0],
                             f'kvctl: --limit: "{none}" is no whole number, 1 or more')

    def test_list_of_more_than_a_page(self):
        lines = "".join(json.dumps({"key": f"k{i:05}", "value": "v"}) + "\n" for i in range(2500))
        self.run_kvctl("load", stdin=lines)
        self.assertEqual(self.lines("list"), [f"k{i:05}" for i in range(2500)])
        self.assertEqual(len(self.lines("list", "--limit", "1500")), 1500)

    def test_create_and_if_ts(self):
        self.assertEqual(self.lines("put", "--create", "lock", "me"), ["OK"])
        refused = self.run_kvctl("put", "--create", "lock", "you", status=1)
        self.assertIn("the key is there already, with ts", refused.stderr)
        ts = json.loads(self.lines("get", "lock", "-o", "json")[0])["ts"]
        self.assertIn(f"the key's ts is {ts}", self.run_kvctl("put", "lock", "x", "--if-ts", str(ts + 1), status=1).stderr)
        self.run_kvctl("put", "lock", "x", "--if-ts", str(ts))
        self.assertIn("contradict", self.run_kvctl("put", "--create", "--if-ts", "5", "k", "v", status=2).stderr)

    def test_txn(self):
        script = "if lock absent\nput lock me\nget job\nelse\nget lock\n"
        self.assertEqual(self.lines("txn", stdin=script), ["OK", "PUT lock", "GET job: no such key"])
        self.assertRegex("\n".join(self.lines("txn", stdin=script, status=1)), r"^ELSE\nGET lock = me   ts \d+$")
        self.assertEqual(self.lines("txn", "put a 1; del lock; del lock"),
                         ["OK", "PUT a", "DELETE lock   found", "DELETE lock   not found"])
        result = json.loads(self.lines("txn", "get a", "-o", "json")[0])
        self.assertTrue(result["succeeded"])
        self.assertEqual(result["results"][0]["value"], "1")
        with tempfile.NamedTemporaryFile("w", suffix=".txn") as file:
            file.write("put a 'two words'\n")
            file.flush()
            self.assertEqual(self.lines("txn", f"@{file.name}"), ["OK", "PUT a"])
        self.assertIn('line 2: "putt" is none of', self.run_kvctl("txn", "get a; putt a 1", status=2).stderr)
        self.assertIn("No such file", self.run_kvctl("txn", "@/nowhere/at/all", status=2).stderr)

    def test_wait(self):
        self.put_all(job="one")
        ts = json.loads(self.lines("get", "job", "-o", "json")[0])["ts"]
        self.assertEqual(self.lines("wait", "job", "--newer-than", str(ts - 1)), ["one"])
        waiting = self.start_kvctl("wait", "job", "--timeout", "60s", "-v")
        kv.wait_until("it waits", lambda: count_of(self.servers, "waiting"))
        self.put_all(job="two")
        out, err = waiting.communicate(timeout=30 * kv.SLOWDOWN)
        self.assertEqual((waiting.returncode, out), (0, "two\n"), err)
        late = self.run_kvctl("wait", "job", "--timeout", "200ms", status=4)
        self.assertRegex(late.stderr, r"no version newer than \d+ came in time: the key's ts is \d+ on n\d")
        waiting = self.start_kvctl("wait", "job", "--timeout", "60s")
        kv.wait_until("it waits", lambda: count_of(self.servers, "waiting"))
        self.run_kvctl("del", "job")
        waiting.communicate(timeout=30 * kv.SLOWDOWN)
        self.assertEqual(waiting.returncode, 1)

    def start_kvctl(self, *words):
        return super().start_kvctl(*words, endpoints=self.servers.endpoints())

    def test_watch_goes_on_at_another_server(self):
        self.put_all(w_0="before")
        watching = self.start_kvctl("watch", "--prefix", "w/", "-o", "json")
        kv.wait_until("it watches", lambda: count_of(self.servers, "watching"))
        for i in range(1, 4):
            at = next(s for s in self.servers if count_of([s], "watching"))
            self.put_all(**{f"w_{i}": "v"})
            self.assertEqual(json.loads(watching.stdout.readline())["key"], f"w/{i}")
            at.kill()
            kv.wait_until("it watches elsewhere", lambda: count_of(self.servers, "watching"))
            at.start()
            at.wait_ready()
            self.servers.wait_leader()
        watching.send_signal(signal.SIGINT)
        out, err = watching.communicate(timeout=30 * kv.SLOWDOWN)
        self.assertEqual((watching.returncode, out), (130, ""), err)
        self.assertEqual(err.count("watching at n"), 3)
        self.assertIn("KEY or --prefix is missing", self.run_kvctl("watch", status=2).stderr)

    def test_watch_from_a_timestamp(self):
        self.put_all(k="v")
        watching = self.start_kvctl("watch", "k", "--from", "0")
        self.assertRegex(watching.stdout.readline(), r"^PUT k = v   ts \d+$")
        watching.kill()
        watching.communicate()

    def test_status_of_a_server_that_hangs(self):
        follower = self.servers.followers()[0]
        follower.pause()
        try:
            result = self.run_kvctl("status", "--timeout", "500ms")
        finally:
            follower.resume()
        self.assertIn("unreachable", result.stdout)

    def test_completion_scripts(self):
        for shell in ("bash", "zsh", "fish"):
            script = self.run_kvctl("completion", shell).stdout
            for word in ("list", "watch", "--if-ts", "--consistency"):
                self.assertIn(word if shell != "fish" else word.lstrip("-"), script)
            if shutil.which(shell):
                self.assertEqual(subprocess.run([shell, "-n"], input=script, text=True).returncode, 0)
        self.assertIn("none of bash, zsh, fish", self.run_kvctl("completion", "tcsh", status=2).stderr)

    def test_bash_completes(self):
        self.put_all(colour="blue", colours_dark="red", shape="round")
        script = self.run_kvctl("completion", "bash").stdout
        folder = os.path.dirname(kv.KVCTL)

        def completed(*words):
            ask = (f"{script}\nCOMP_WORDS=(kvctl {' '.join(words)})\nCOMP_CWORD={len(words)}\n_kvctl\n"
                   "printf '%s\\n' \"${COMPREPLY[@]}\"\n")
            env = {**self.kvctl_environment(), "PATH": f"{folder}:{os.environ['PATH']}",
                   "KVCTL_ENDPOINTS": self.servers.endpoints()}
            return subprocess.run(["bash"], input=ask, text=True, env=env, capture_output=True).stdout.split()

        self.assertEqual(completed("wa"), ["wait", "watch"])
        self.assertEqual(completed("get", "col"), ["colour", "colours/dark"])
        self.assertEqual(completed("-o", "j"), ["json"])
        self.assertIn("--create", completed("put", "--c"))

    def test_manual_page(self):
        page = self.run_kvctl("--man-page").stdout
        self.assertIn(".SH COMMANDS", page)
        self.assertIn("\\-\\-newer\\-than", page)
        page = subprocess.run([kv.KVD, "--man-page"], text=True, capture_output=True, check=True).stdout
        self.assertIn("\\-\\-data\\-dir", page)


class Late(kv.TestCase):
    def test_status_says_why_a_server_is_behind(self):
        servers = self.late_cluster("n3", "60s")
        self.check(self.kvctl("put", "k", "v", endpoints=servers["n1"].address))
        servers["n3"].wait_status("has it in its log", lambda status: status["log_last"] > status["applied"])
        result = self.check(self.kvctl("status", endpoints=servers["n1"].address))
        self.assertRegex(result.stderr, r"n3 is \d+ behind: it has everything and applies it 1m late: --delay-replication")


if __name__ == "__main__":
    kv.main()
