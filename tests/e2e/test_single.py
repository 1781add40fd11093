"""One kvd on its own: the first minutes of a new user, and what it says when it can't start."""

import json
import os
import re
import subprocess
import unittest

import kv

DEFAULT_PORT = 7401


class Bare(kv.Node):
    """kvd with no flags but those of the test: data in ./kvd-data of its folder."""

    def __init__(self, folder, address=None, **environment):
        super().__init__(folder, "kvd", single=True)
        self.data_dir = self.folder / "kvd-data"
        self.environment = environment
        self.address = address or self.address

    def command(self):
        return [kv.KVD, *self.flags]


class FirstMinutes(kv.TestCase):
    def bare(self, **arguments):
        node = Bare(self.folder, **arguments)
        self.nodes.append(node)
        return node

    def try_it(self, node, endpoints):
        node.start().wait_ready()
        self.check(self.kvctl("put", "a", "1", endpoints=endpoints), 0, "OK\n")
        self.check(self.kvctl("get", "a", endpoints=endpoints), 0, "1\n")
        self.assertEqual(node.terminate(5), 0)
        node.start().wait_ready()
        self.check(self.kvctl("get", "a", endpoints=endpoints), 0, "1\n")
        node.kill()
        node.start().wait_ready()
        self.check(self.kvctl("get", "a", endpoints=endpoints), 0, "1\n")
        self.assertTrue(node.data_dir.is_dir())

    @unittest.skipUnless(kv.reserve_port(DEFAULT_PORT), f"port {DEFAULT_PORT} is in use here")
    def test_no_flags_at_all(self):
        self.try_it(self.bare(address=f"127.0.0.1:{DEFAULT_PORT}"), endpoints=None)

    def test_an_empty_folder(self):
        node = self.bare()
        node.environment["KVD_LISTEN"] = node.address
        self.try_it(node, endpoints=node.address)

    def test_ready_is_one_line(self):
        node = self.node().start().wait_ready()
        lines = [line for line in node.log_text().splitlines() if re.search(r"(?i)\bready\b", line)]
        self.assertEqual(len(lines), 1, node.log_text())
        self.assertIn(node.address, lines[0])

    def test_it_leads_itself(self):
        status = self.node().start().wait_ready().status()
        self.assert_message(status, "STATUS_OK", role="leader", leader=status["node"])
        self.assertEqual(status["peers"], [])


class CannotStart(kv.TestCase):
    def refused(self, *words, status, says, env=None):
        """kvd ends at once, and its last word is one line that names what is wrong."""
        try:
            result = kv.run([kv.KVD, *words], env=kv.clean_environment(env), cwd=self.folder, timeout=10)
        except subprocess.TimeoutExpired:
            self.fail(f"kvd {' '.join(words)} has started")
        self.assertEqual(result.status, status, result)
        lines = result.stderr.splitlines()
        self.assertTrue(lines, result)
        self.assertRegex(lines[-1], says, result)
        if status == 2:
            self.assertEqual(len(lines), 1, result)
        self.assertNotIn("terminate called", result.stderr)
        return lines[-1]

    def test_wrong_flags(self):
        cluster = "n1=127.0.0.1:7501,n2=127.0.0.1:7502,n3=127.0.0.1:7503"
        cases = [
            (["--election-timeout", "fast"], "election-timeout"),
            (["--election-timeout", "-1s"], "election-timeout"),
            (["--heartbeat-interval", "100"], "heartbeat-interval"),
            (["--heartbeat-interval", "10s", "--election-timeout", "1s"], "(heartbeat-interval|election-timeout)"),
            (["--delay-replication", "2 weeks"], "delay-replication"),
            (["--max-value", "lots"], "max-value"),
            (["--max-value", "-1"], "max-value"),
            (["--max-connections", "many"], "max-connections"),
            (["--listen", "localhost"], "listen"),
            (["--listen", "127.0.0.1:99999"], "listen"),
            (["--listen", "127.0.0.1:"], "listen"),
            (["--cluster", "n1", "--name", "n1"], "cluster"),
            (["--cluster", "n1=nowhere", "--name", "n1"], "cluster"),
            (["--cluster", "n1=127.0.0.1:7501,n1=127.0.0.1:7502", "--name", "n1"], "cluster"),
            (["--cluster", "n1=127.0.0.1:7501,n2=127.0.0.1:7501", "--name", "n1"], "n1 and n2 have one address"),
            (["--cluster", cluster, "--name", "n4"], "n4"),
            (["--cluster", cluster, "--name", "n1", "--preferred-leader", "n9"], "n9"),
            (["--name", "n1", "--preferred-leader", "n9"], "without which n1 is alone"),
            (["--cluster", cluster, "--cluster", cluster], "--cluster is given more than once"),
            (["--log-level", "chatty"], "log-level"),
            (["--log-format", "xml"], "log-format"),
            (["--no-such-flag"], "no-such-flag"),
            (["surplus"], "surplus"),
            (["--listen"], "listen"),
            (["--config", "missing.toml"], "missing.toml"),
        ]
        for words, says in cases:
            with self.subTest(" ".join(words)):
                self.refused("--data-dir", "d", *words, status=2, says=says)
        self.assertFalse((self.folder / "d").exists(), "a wrong flag must not leave anything behind")

    def test_wrong_environment(self):
        self.refused(status=2, says="(?i)election.timeout", env={"KVD_ELECTION_TIMEOUT": "fast"})

    def test_wrong_config_file(self):
        for content, says in (("electon-timeout = \"1s\"\n", "electon-timeout"),
                              ("election-timeout = \"fast\"\n", "election-timeout"),
                              ("[section]\nx = 1\n", "section"),
                              ("quota = \"1MiB\"\nquota = \"2MiB\"\n", "quota needs one value, and to be there once")):
            (self.folder / "bad.toml").write_text(content)
            with self.subTest(content):
                self.refused("--config", "bad.toml", "--data-dir", "d", status=2, says=says)

    def test_port_in_use(self):
        first = self.node("first").start().wait_ready()
        line = self.refused("--listen", first.address, "--data-dir", "other", status=1, says=re.escape(first.address))
        self.assertRegex(line, "(?i)in use")

    def test_data_directory_in_use(self):
        first = self.node("first").start().wait_ready()
        line = self.refused("--listen", f"127.0.0.1:{kv.free_port()}", "--data-dir", str(first.data_dir), status=1,
                            says=re.escape(str(first.data_dir)))
        self.assertRegex(line, "(?i)(in use|another|locked|runs|running)")
        self.assertIsNotNone(first.status())

    def test_unreachable_data_directory(self):
        (self.folder / "file").write_text("not a folder")
        self.refused("--listen", f"127.0.0.1:{kv.free_port()}", "--data-dir", "file/data", status=1, says="file/data")

    def test_version_and_help(self):
        result = self.check(kv.run([kv.KVD, "--version"]), 0)
        self.assertRegex(result.stdout, r"^kvd \d+\.\d+\.\d+")
        result = self.check(kv.run([kv.KVD, "--help"]), 0)
        for flag in ("--name", "--listen", "--peer-listen", "--cluster", "--data-dir", "--advertise", "--config",
                     "--preferred-leader", "--delay-replication", "--heartbeat-interval", "--election-timeout",
                     "--log-level", "--log-format", "--log-file", "--max-connections", "--version"):
            self.assertIn(flag, result.stdout)


class Precedence(kv.TestCase):
    def test_flag_beats_environment_beats_file(self):
        addresses = [f"127.0.0.1:{kv.free_port()}" for _ in range(3)]
        by_file, by_environment, by_flag = addresses
        (self.folder / "kvd.toml").write_text(f'listen = "{by_file}"\ndata-dir = "data"\n')
        for environment, flags, expected in (
                ({}, [], by_file),
                ({"KVD_LISTEN": by_environment}, [], by_environment),
                ({"KVD_LISTEN": by_environment}, ["--listen", by_flag], by_flag),
                ({}, ["--listen", by_flag], by_flag)):
            with self.subTest(environment=environment, flags=flags):
                node = Bare(self.folder, expected, **environment)
                self.nodes.append(node)
                node.flags = ["--config", "kvd.toml", *flags]
                node.start().wait_ready()
                for address in addresses:
                    if address != expected:
                        with self.assertRaises(ConnectionRefusedError):
                            kv.Client(address)
                self.assertEqual(node.terminate(5), 0)

    def test_the_config_files_of_the_repository(self):
        for name in ("n1", "n2", "n3", "single"):
            # A wrong flag behind the file: kvd reads the file first and would complain of that.
            result = kv.run([kv.KVD, "--config", kv.ROOT / "config" / f"{name}.toml", "--log-level", "chatty"],
                            cwd=self.folder)
            self.check(result, 2, stderr="log-level")
            self.assertNotIn(".toml", result.stderr, result)

    def test_json_log(self):
        node = self.node(flags=["--log-format", "json", "--log-level", "debug"]).start().wait_ready()
        node.ask("PUT", key='with "quotes"\n', value="1")
        node.terminate()
        for line in node.log_text().splitlines():
            self.assertIsInstance(json.loads(line), dict, line)

    def test_log_file(self):
        node = self.node(flags=["--log-file", str(self.folder / "kvd.log")]).start().wait_ready()
        self.assertRegex((self.folder / "kvd.log").read_text(), "(?i)ready")
        node.terminate()


class Damage(kv.TestCase):
    """A damaged log is found, named and never served."""

    def damaged(self, needle, change):
        node = self.node().start().wait_ready()
        with node.connect() as client:
            for number in range(20):
                client.ask("PUT", key=f"k{number}", value=f"value-{number:04}-" + "x" * 600)
        self.assertEqual(node.terminate(5), 0)
        for path in sorted(node.data_dir.glob("*.wal")):
            data = path.read_bytes()
            offset = data.find(needle)
            if offset >= 0:
                with open(path, "r+b") as file:
                    file.seek(offset)
                    file.write(change(data[offset:offset + len(needle)]))
                return node, path, offset
        raise AssertionError(f"{needle} is in none of {list(node.data_dir.iterdir())}")

    def assert_refuses(self, node, path, offset):
        node.log.unlink()
        node.start()
        self.assertEqual(node.wait(10), 1)
        last = node.log_text().splitlines()[-1]
        self.assertIn(path.name, last)
        named = [int(number) for number in re.findall(r"offset (\d+)", last)]
        self.assertTrue(any(offset - 65536 <= number <= offset + 64 for number in named), f"{offset} is not near: {last}")
        # What to do about it.
        self.assertRegex(last, r"(?i)\b(remove|restore|replace|backup|copy)\b")
        # It has not made things worse: the second try says the same.
        node.start()
        self.assertEqual(node.wait(10), 1)

    def test_a_flipped_bit_in_the_middle(self):
        self.assert_refuses(*self.damaged(b"value-0010-", lambda old: bytes([old[0] ^ 1]) + old[1:]))

    def test_a_flipped_bit_in_the_last_answered_batch(self):
        self.assert_refuses(*self.damaged(b"value-0019-", lambda old: bytes([old[0] ^ 1]) + old[1:]))

    def test_zeroes_in_the_middle(self):
        self.assert_refuses(*self.damaged(b"value-0005-", lambda old: bytes(600)))


if __name__ == "__main__":
    kv.main()
