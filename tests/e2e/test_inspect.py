"""kvd inspect: on the data directory of a server that runs, that has stopped, and that has been damaged."""

import json
import re
import shutil
import subprocess
import unittest

import kv


def inspect(*words):
    return kv.run([kv.KVD, "inspect", *words])


def contents(folder):
    """Everything that a change would show in: names, times and bytes."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.iterdir())}


class Inspect(kv.TestCase):
    def filled(self):
        """A server with two snapshots that its log has been told of, and a log behind them."""
        node = self.node(flags=["--snapshot-every", "25"]).start().wait_ready()
        with node.connect() as client:
            for number in range(60):
                self.assert_message(client.ask("PUT", key=f"key {number}", value="v" * number), "PUT_OK")
            self.assert_message(client.ask("PUT", key="line\nbreak", value="x"), "PUT_OK")
            self.assert_message(client.ask("DELETE", key="key 3"), "DELETE_OK")

        def snapshots_in_log():
            return [line["index"] for line in self.of_type(self.lines(node, "--entries"), "entry")
                    if line["record"] == "SNAPSHOT"]

        kv.wait_until("the log knows of two snapshots", lambda: len(snapshots_in_log()) == 2)
        return node

    def lines(self, node, *words, status=0):
        result = self.check(inspect(node.data_dir, "-o", "json", *words), status)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def of_type(self, lines, type):
        return [line for line in lines if line["type"] == type]

    def test_running_and_stopped(self):
        node = self.filled()
        result = self.check(inspect(node.data_dir), 0)
        self.assertIn(f"in use by process {node.pid}: what it is writing now may look torn", result.stdout)
        self.assertIn("Nothing is wrong.", result.stdout)
        self.assert_message(node.ask("PUT", key="after", value="it"), "PUT_OK")
        self.assert_message(node.ask("TXN", **{"if": [{"key": "after", "ts": 1}],
                                               "else": [{"op": "PUT", "key": "after", "value": "all"}]}), "TXN_OK")

        node.terminate()
        before = contents(node.data_dir)
        node.data_dir.chmod(0o500)
        result = self.check(inspect(node.data_dir, "--entries", "--keys"), 0, stderr="^$")
        lines = self.lines(node, "--entries", "--keys")
        node.data_dir.chmod(0o700)
        self.assertEqual(contents(node.data_dir), before)

        self.assertNotIn("in use", result.stdout)
        self.assertRegex(result.stdout, r"A server that starts here begins with the snapshot of \d+ and the log \d+-\d+")
        self.assertRegex(result.stdout, r'\n +5 +1  PUT "key 3", 3 bytes\n')
        self.assertRegex(result.stdout, r'\n +\d+ +1  PUT "line\\nbreak", 1 bytes\n')
        self.assertRegex(result.stdout, r'\n +\d+ +1  DELETE "key 3"\n')
        self.assertRegex(result.stdout, r'\n +\d+ +1  TXN if "after"; else PUT "after", 3 bytes\n')
        self.assertRegex(result.stdout, r'\n +2 +0  "key 0"\n')

        self.assertEqual(lines[0]["type"], "directory")
        self.assertIsNone(lines[0]["in_use_by"])
        self.assertEqual([member["node"] for member in lines[0]["members"]], ["n1"])
        segments = self.of_type(lines, "segment")
        self.assertEqual([segment["spare"] for segment in segments], [False, True])
        snapshots = self.of_type(lines, "snapshot")
        self.assertEqual([snapshot["whole"] for snapshot in snapshots], [True, True])
        for snapshot in snapshots:
            self.assertTrue((node.data_dir / snapshot["file"]).stat().st_size == snapshot["size"])
            self.assertRegex(snapshot["digest"], "^[0-9a-f]{16}$")
        entries = [line["index"] for line in self.of_type(lines, "entry") if line["record"] in ("PUT", "DELETE")]
        self.assertEqual(entries, sorted(set(entries)))
        self.assertEqual(len(entries), 63)
        self.assertEqual(len(self.of_type(lines, "key")), snapshots[0]["keys"])
        summary = lines[-1]
        self.assertEqual((summary["type"], summary["starts"], summary["problems"]), ("summary", True, 0))
        self.assertEqual(summary["snapshot"], snapshots[0]["index"])

        # And that is what a server begins with.
        status = node.start().wait_ready().status()
        self.assertGreaterEqual(status["applied"], summary["commit"])

    def test_flipped_bits(self):
        node = self.filled()
        node.terminate()
        segment = node.data_dir / "0000000000000001.wal"
        newest = max(node.data_dir.glob("*.snap"))
        for path, offset in ((newest, 100), (segment, 1024 + 50)):
            data = bytearray(path.read_bytes())
            data[offset] ^= 16
            path.write_bytes(data)
        before = contents(node.data_dir)
        result = self.check(inspect(node.data_dir), 1)
        self.assertEqual(contents(node.data_dir), before)
        self.assertIn("2 problems:", result.stdout)
        self.assertIn("A server refuses to start here.", result.stdout)
        self.assertIn("0000000000000001.wal at offset 1024: ", result.stdout)
        self.assertRegex(result.stdout, re.escape(newest.name) + r" at offset 64: ")
        problems = self.of_type(self.lines(node, status=1), "problem")
        self.assertEqual([problem["file"] for problem in problems], [segment.name, newest.name])

        # The server says the same of the log, in the same words.
        self.assertEqual(node.start().wait(), 1)
        self.assertIn(f"0000000000000001.wal at offset 1024: {problems[0]['what'].split(' (')[0]}", node.log_text())

    def test_torn_end(self):
        node = self.filled()
        with node.connect() as client:
            client.ask("PUT", key="long", value="v" * 1000)
        node.kill()
        lines = self.lines(node)
        segment = self.of_type(lines, "segment")[0]
        with open(node.data_dir / segment["file"], "r+b") as file:
            file.seek(segment["size"] - segment["free"] - 512)
            file.write(bytes(512))
        result = self.check(inspect(node.data_dir), 0)
        self.assertRegex(result.stdout, r"Note: 0000000000000001\.wal at offset \d+: 1024 bytes of a write that was not "
                                        r"finished, .* A start cuts them off\.\nNothing is wrong\.\n$")
        node.start().wait_ready()
        self.assertIn("cut off 1024 bytes at 0000000000000001.wal", node.log_text())

    def test_wrong_usage(self):
        (self.folder / "empty").mkdir()
        (self.folder / "file").write_text("x")
        for words, pattern in (([], "DIR is required: see kvd inspect --help"),
                               ([self.folder / "none"], "there is no such folder"),
                               ([self.folder / "empty"], "is no data directory.* --data-dir"),
                               ([self.folder / "file"], "is no folder"),
                               ([self.folder, "-o", "xml"], "'xml' is not one of text, json"),
                               ([self.folder, "--nonsense"], "see kvd inspect --help")):
            result = self.check(inspect(*words), 2, "", pattern)
            self.assertEqual(len(result.stderr.splitlines()), 1, result)
        self.assertEqual(list((self.folder / "empty").iterdir()), [])
        (self.folder / "0000000000000001.wal").write_bytes(b"")
        with open("/dev/full", "w") as full:
            lost = subprocess.run([kv.KVD, "inspect", self.folder], stdout=full, stderr=subprocess.PIPE, text=True,
                                  timeout=60)
        self.assertEqual((lost.returncode, lost.stderr),
                         (1, "kvd inspect: cannot write the report: is the disk full?\n"))
        self.check(inspect("--help"), 0)
        self.assertIn("kvd inspect DIR", self.check(kv.run([kv.KVD, "--help"]), 0).stdout)

    def test_cluster_that_is_writing(self):
        """While servers write, nothing is found wrong that is not."""
        cluster = self.cluster(3, [*kv.QUICK, "--snapshot-every", "50"])
        leader = cluster.wait_leader()
        with leader.connect() as client:
            for round in range(10):
                client.send_all([client.message("PUT", key=f"k{number}", value="v" * 3000) for number in range(100)])
                for node in cluster:
                    self.check(inspect(node.data_dir), 0)
                for _ in range(100):
                    self.assert_message(client.receive(), "PUT_OK")
        copy = shutil.copytree(leader.data_dir, self.folder / "copy")
        result = inspect(copy)
        self.assertNotIn("in use", result.stdout)
        self.assertEqual(len(re.findall(r"^n\d ", result.stdout, re.MULTILINE)), 3)


if __name__ == "__main__":
    kv.main()
