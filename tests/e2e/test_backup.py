"""Backups of running clusters, dump and load: consistent, whole, and moved from one cluster to another."""

import base64
import contextlib
import json
import re
import signal
import subprocess
import threading
import time

import kv
from fake_server import SAY_NOTHING, FakeServer


def items(text):
    """What dump printed, by key."""
    found = {}
    for line in text.splitlines():
        item = json.loads(line)
        value = base64.b64decode(item["value_base64"]) if "value_base64" in item else item["value"].encode()
        assert item["key"] not in found, f"{item['key']} is there twice"
        found[item["key"]] = (value, item["ts"])
    return found


def lines(count, prefix="k", value="x" * 100):
    return "".join(json.dumps({"key": f"{prefix}{i:06}", "value": f"{i} {value}"}) + "\n" for i in range(count))


class Writer(threading.Thread):
    """Writes a number to a and then, when that is answered, to b; and so on."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.client = node.connect()
        self.answered = 0  # the last number that is in both
        self.stopping = False
        self.failure = None

    def run(self):
        try:
            while not self.stopping:
                number = self.answered + 1
                for key in ("a", "b"):
                    answer = self.client.ask("PUT", key=key, value=str(number))
                    assert answer["type"] == "PUT_OK", answer
                self.answered = number
        except Exception as failure:  # told by the test
            self.failure = failure

    def stop(self):
        self.stopping = True
        self.join()
        self.client.close()
        assert self.failure is None, self.failure


class Backups(kv.TestCase):
    def setUp(self):
        self.file = self.folder / "kv.backup"

    def save(self, endpoints, *words):
        return json.loads(self.check(self.kvctl("backup", "save", self.file, "-o", "json", *words, endpoints=endpoints))
                          .stdout)

    def saved_items(self):
        return items(self.check(self.kvctl("dump", "--from", self.file)).stdout)

    def test_a_backup_under_load_is_of_one_moment(self):
        servers = self.cluster(3)
        self.check(self.kvctl("load", stdin=lines(20000), endpoints=servers.endpoints()))
        follower = servers.followers()[0]
        writer = Writer(servers.wait_leader())
        writer.start()
        try:
            for _ in range(5):
                kv.wait_until("a few writes more", lambda seen=writer.answered: writer.answered > seen + 5)
                before = writer.answered
                told = self.save(follower.address, "--force")
                after = writer.answered
                self.assertEqual(told["node"], follower.name)
                self.assertEqual(told["keys"], 20002)
                saved = self.saved_items()
                a, b = int(saved["a"][0]), int(saved["b"][0])
                self.assertIn(a - b, (0, 1), "a is written first, and then b")
                self.assertGreaterEqual(b, before, "what was answered before is in it")
                self.assertLessEqual(a, after + 1)
                self.assertLessEqual(max(ts for _, ts in saved.values()), told["position"])
        finally:
            writer.stop()
        verified = json.loads(self.check(self.kvctl("backup", "verify", self.file, "-o", "json")).stdout)
        self.assertEqual({**verified, "node": told["node"]}, told)

    def test_ones_own_writes_are_in_it_whichever_server_is_asked(self):
        servers = self.late_cluster("n3", "1s")
        for number in range(3):
            self.check(self.kvctl("put", "a", f"v{number}", endpoints=servers["n1"].address), 0, "OK\n")
            self.save(servers["n3"].address, "--force")
            self.assertEqual(self.saved_items()["a"][0], f"v{number}".encode())

    def test_the_same_position_is_the_same_backup_and_the_servers_digest(self):
        servers = self.cluster(3)
        self.check(self.kvctl("load", stdin=lines(500), endpoints=servers.endpoints()))
        seen = set()
        for node in servers:
            self.save(node.address, "--force")
            seen.add(self.file.read_bytes())
        self.assertEqual(len(seen), 1)
        told = json.loads(self.kvctl("backup", "verify", self.file, "-o", "json").stdout)
        for node in servers:
            status = node.wait_applied(told["position"])
            self.assertEqual((status["digest"], status["keys"]), (told["digest"], told["keys"]))
        with open("/dev/full", "w") as full:
            lost = subprocess.run([kv.KVCTL, "-e", servers["n1"].address, "backup", "save", "-"], stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=60, env=self.kvctl_environment())
        self.assertEqual((lost.returncode, lost.stderr), (2, "kvctl: cannot write the output: is the disk full?\n"))
        piped = self.check(self.kvctl("backup", "save", "-", endpoints=servers["n1"].address), 0, None, "position")
        self.assertEqual(piped.stdout_bytes, self.file.read_bytes())

    def test_a_flipped_bit_is_found_and_where(self):
        node = self.node().start().wait_ready()
        self.check(self.kvctl("load", stdin=lines(3000), endpoints=node.address))
        told = self.save(node.address)
        self.assertEqual(self.file.stat().st_size, told["file_size"])
        self.assertEqual(self.file.stat().st_mode & 0o077, 0, "not anybody's business")
        whole = self.file.read_bytes()
        for at in (10, 100, len(whole) // 2, len(whole) - 1):
            damaged = bytearray(whole)
            damaged[at] ^= 4
            self.file.write_bytes(damaged)
            result = self.check(self.kvctl("backup", "verify", self.file), 1, "", "kv.backup")
            offset = int(re.search(r"damaged at offset (\d+): ", result.stderr)[1])
            self.assertLessEqual(offset, at)
            self.assertLess(at - offset, 200 << 10)
            self.check(self.kvctl("dump", "--from", self.file, "out"), 1, "", f"offset {offset}")
            self.assertFalse((self.folder / "out").exists())
        self.file.write_bytes(whole[:-1])
        self.check(self.kvctl("backup", "verify", self.file), 1, "", "damaged at offset")

    def test_a_cluster_begins_with_it(self):
        node = self.node().start().wait_ready()
        self.check(self.kvctl("load", stdin=lines(2000), endpoints=node.address))
        told = self.save(node.address)
        restored = self.node("restored", ["--restore", str(self.file)]).start().wait_ready()
        status = restored.wait_status("has all", lambda status: status["applied"] > told["position"])
        self.assertEqual((status["keys"], status["digest"]), (told["keys"], told["digest"]))
        self.assertNotEqual(status["cluster"], told["cluster"])
        dumped = self.check(self.kvctl("dump", endpoints=restored.address)).stdout
        self.assertEqual(dumped, self.check(self.kvctl("dump", "--from", self.file)).stdout)

    def begun_bytes(self):
        """How much there is of the backup that is being saved; 0 also when it is whole."""
        for path in self.folder.glob("kv.backup.*.tmp"):
            with contextlib.suppress(FileNotFoundError):  # it has just got its name
                return path.stat().st_size
        return 0

    def save_while_it_dies(self, victim):
        """Saves a backup from a server that is killed meanwhile: how much there was by then, and what kvctl said."""
        process = subprocess.Popen([kv.KVCTL, "-e", victim.address, "backup", "save", self.file, "--force"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.kvctl_environment())

        def has_ended():
            return process.poll() is not None

        kv.wait_until("the backup has begun", lambda: has_ended() or self.begun_bytes() > 0, 60, every=0.001)
        process.send_signal(signal.SIGSTOP)
        kv.wait_until("kvctl is stopped", lambda: has_ended() or kv.proc_state(process.pid) == "T")
        begun = self.begun_bytes()
        victim.kill()
        process.send_signal(signal.SIGCONT)
        output, errors = process.communicate(timeout=60 * kv.SLOWDOWN)
        self.assertEqual(process.returncode, 0, errors)
        return begun, output.decode()

    def test_a_server_that_dies_in_the_middle(self):
        servers = self.cluster(3)
        self.check(self.kvctl("load", stdin=lines(30000, value="x" * 1000), endpoints=servers.endpoints(), timeout=120))
        for _ in range(10):
            victim = servers.followers()[0]
            begun, output = self.save_while_it_dies(victim)
            self.check(self.kvctl("backup", "verify", self.file), 0)
            self.assertEqual(len(self.saved_items()), 30000)
            self.assertEqual(list(self.folder.glob("*.tmp")), [])
            # More than this may have been under way to kvctl, and then it has it all.
            if 0 < begun < self.file.stat().st_size / 2:
                self.assertRegex(output, r"from n\d\n")
                self.assertNotIn(f"from {victim.name}\n", output)
                break
            victim.start().wait_ready()
        else:
            self.fail("no server was killed in the middle")

    def test_files_that_are_there_stay(self):
        node = self.node().start().wait_ready()
        self.file.write_text("mine")
        self.check(self.kvctl("backup", "save", self.file, endpoints=node.address), 2, "", "exists already.*--force")
        self.check(self.kvctl("dump", self.file, endpoints=node.address), 2, "", "exists already.*--force")
        self.assertEqual(self.file.read_text(), "mine")
        self.check(self.kvctl("backup", "save", "no/such/folder", endpoints=node.address), 2, "", "No such file")
        self.save(node.address, "--force")
        self.check(self.kvctl("backup", "verify", self.file), 0)

    def test_ctrl_c_leaves_nothing(self):
        for words in (["backup", "save", str(self.file)], ["dump", str(self.file)]):
            with self.subTest(words), FakeServer({"BACKUP": lambda _: SAY_NOTHING}) as fake:
                process = subprocess.Popen([kv.KVCTL, "-e", fake.address, *words], stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE, env=self.kvctl_environment())
                fake.wait_for("BACKUP")
                process.send_signal(signal.SIGINT)
                output, errors = process.communicate(timeout=5 * kv.SLOWDOWN)
                self.assertEqual((process.returncode, output), (130, b""), errors)
                self.assertEqual(list(self.folder.glob("kv.backup*")), [])


class Moving(kv.TestCase):
    """dump and load."""

    def pipe(self, source, destination, *words):
        dump = subprocess.Popen([kv.KVCTL, "-e", source, "dump"], stdout=subprocess.PIPE,
                                env=self.kvctl_environment())
        load = subprocess.run([kv.KVCTL, "-e", destination, "load", *words], stdin=dump.stdout,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60 * kv.SLOWDOWN,
                              env=self.kvctl_environment())
        dump.stdout.close()
        self.assertEqual(dump.wait(), 0)
        self.assertEqual((load.returncode, load.stderr), (0, b""))
        return load.stdout.decode()

    def test_from_one_cluster_into_another(self):
        servers = self.cluster(3)
        other = self.node("other").start().wait_ready()
        values = {f"key/{i}": f"value {i}".encode() for i in range(2000)}
        values.update({"größe \x01\x7f\"": b"\xff\x00\xfe", "empty": b"", "big": b"\x80" * (1 << 20), "lines": b"a\nb\r\n"})
        with servers["n1"].connect() as client:
            client.ask_all(client.message("PUT", key=key, value_base64=base64.b64encode(value).decode())
                           for key, value in values.items())
        self.check(self.kvctl("put", "stays", "here", endpoints=other.address))
        self.assertEqual(self.pipe(servers["n2"].address, other.address), f"loaded {len(values)} items\n")
        here, there = (items(self.check(self.kvctl("dump", endpoints=node.address)).stdout)
                       for node in (servers["n3"], other))
        self.assertEqual({key: value for key, (value, _) in here.items()}, values)
        self.assertEqual({key: value for key, (value, _) in there.items()}, {**values, "stays": b"here"})
        self.assertEqual(list(here), sorted(here, key=str.encode), "in the order of the keys")
        only = items(self.check(self.kvctl("dump", "--prefix", "key/1", endpoints=other.address)).stdout)
        self.assertEqual(set(only), {key for key in values if key.startswith("key/1")})

    def test_a_leader_that_dies_while_much_is_loaded(self):
        servers = self.cluster(3)
        count = 40000
        (self.folder / "lines").write_text(lines(count))
        process = subprocess.Popen([kv.KVCTL, "-e", servers.endpoints(), "load", self.folder / "lines"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.kvctl_environment())
        node = servers["n1"]
        node.wait_status("has a part", lambda status: status["keys"] > count / 10)
        victim = servers.wait_leader()
        victim.kill()
        output, errors = process.communicate(timeout=120 * kv.SLOWDOWN)
        self.assertEqual((process.returncode, output.decode()), (0, f"loaded {count} items\n"), errors)
        left = servers.running()[0]
        found = items(self.check(self.kvctl("dump", endpoints=left.address)).stdout)
        self.assertEqual(found.keys(), {f"k{i:06}" for i in range(count)})
        self.assertEqual(len({ts for _, ts in found.values()}), count)

    def test_lines_that_come_slowly(self):
        node = self.node().start().wait_ready()
        process = subprocess.Popen([kv.KVCTL, "-e", node.address, "load", "--timeout", "3s"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.kvctl_environment())
        for number in range(1, 4):
            process.stdin.write(f'{{"key":"k{number}","value":"1"}}\n{{"key":"half'.encode())
            process.stdin.flush()
            node.wait_status(f"has {number} keys", lambda status, number=number: status["keys"] == 2 * number - 1)
            process.stdin.write(f'{number}","value":"2"}}\n'.encode())
            process.stdin.flush()
            node.wait_status("has one more", lambda status, number=number: status["keys"] == 2 * number)
        time.sleep(4.5)  # that nothing comes from the input is no reason to give up
        output, errors = process.communicate(b'{"key":"last","value":""}', timeout=10 * kv.SLOWDOWN)
        self.assertEqual((process.returncode, output, errors), (0, b"loaded 7 items\n", b""))

    def test_ctrl_c_while_waiting_for_lines(self):
        node = self.node().start().wait_ready()
        process = subprocess.Popen([kv.KVCTL, "-e", node.address, "load"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.kvctl_environment())
        process.stdin.write(b'{"key":"a","value":"1"}\n')
        process.stdin.flush()
        node.wait_status("has it", lambda status: status["keys"] == 1)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(5 * kv.SLOWDOWN), 130)
        self.assertEqual(process.stdout.read(), b"loaded 1 item\n")
        self.assertIn(b"interrupted", process.stderr.read())
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()

    def test_a_bad_line(self):
        node = self.node().start().wait_ready()
        text = lines(10) + "oops\n" + lines(10, "later")
        self.check(self.kvctl("load", stdin=text, endpoints=node.address), 2, "loaded 10 items, 1 bad\n",
                   "standard input, line 11: it is not JSON")
        self.check(self.kvctl("load", "--keep-going", stdin=text, endpoints=node.address), 2,
                   "loaded 20 items, 1 bad\n", "line 11")

    def test_what_was_loaded_is_read_by_whichever_server(self):
        servers = self.late_cluster("n3", "3s")

        def told():
            self.check(self.kvctl("load", stdin=lines(100), endpoints=servers["n1"].address), 0, "loaded 100 items\n")
            result = self.kvctl("get", "k000099", endpoints=servers["n3"].address)
            return self.check(result, 0, "99 " + "x" * 100 + "\n").stderr

        # A get that has come too late to wait says nothing.
        self.assertRegex(kv.wait_until("a get waits", told, 30), r"^n3 is behind \(\d+ < \d+\): waiting\n$")


if __name__ == "__main__":
    kv.main()
