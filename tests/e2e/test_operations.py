"""docs/operations.md, command by command: each does what is shown below it.

What may differ is said in page.py. The cluster has less in it than the page's, and n1 leads as there.
"""

import os
import re
import subprocess

import kv
from page import commands_of, pattern_of

PAGE = (kv.ROOT / "docs/operations.md").read_text()
# What needs a second cluster, or damage of just that kind (test_damage.py has all kinds).
LEFT_OUT = ("kvctl -e old:7401", 'kvd inspect data/n1; echo "exit status')
USERS = 900


class Operations(kv.TestCase):
    def start(self):
        """Three servers with the page's keys in them, of which n1 has two snapshots; their folders are data/n1 and so on."""
        cluster = self.cluster(3, [*kv.QUICK, "--preferred-leader", "n1"])
        cluster["n1"].wait_status("leads", lambda status: status["role"] == "leader")
        (self.folder / "data").symlink_to(self.folder)
        with cluster["n1"].connect() as client:
            for _ in range(2):
                answers = client.ask_all([client.message("PUT", key=f"users/{number:05}", value="x" * 100)
                                          for number in range(USERS)])
                self.assertEqual({answer["type"] for answer in answers.values()}, {"PUT_OK"})
                subprocess.run([kv.KVCTL, "-e", cluster["n1"].address, "backup", "save", "-"],
                               env=self.kvctl_environment(), check=True, capture_output=True)
            for value in ("red", "blue"):  # behind both
                self.assert_message(client.ask("PUT", key="colour", value=value), "PUT_OK")
        return cluster

    def environment(self, cluster):
        folder = self.folder / "bin"
        folder.mkdir()
        (folder / "kvctl").symlink_to(kv.KVCTL)
        (folder / "kvd").symlink_to(kv.KVD)
        return self.kvctl_environment(PATH=f"{folder}:{os.environ['PATH']}",
                                      KVCTL_ENDPOINTS=",".join(node.address for node in cluster))

    def damage(self, whole, damaged):
        """A copy in which one bit is another one."""
        contents = bytearray((self.folder / whole).read_bytes())
        contents[len(contents) // 2] ^= 1
        (self.folder / damaged).write_bytes(contents)

    def test_the_page(self):
        cluster = self.start()
        environment = self.environment(cluster)
        commands = [(command, shown) for command, shown in commands_of(PAGE)
                    if not any(words in command for words in LEFT_OUT)]
        self.assertGreater(len(commands), 7)
        for command, shown in commands:
            with self.subTest(command=command):
                if "bad.backup" in command:
                    self.damage("kv.backup", "bad.backup")
                said = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True, env=environment, cwd=self.folder,
                                      timeout=60 * kv.SLOWDOWN).stdout
                self.assertRegex(said.strip(), f"^{pattern_of(self.expected(shown))}$", f"$ {command}\n{said}")

    def test_the_majority_is_lost(self):
        cluster = self.cluster(3, kv.QUICK)
        self.assert_message(cluster["n1"].ask("PUT", key="colour", value="blue"), "PUT_OK")
        cluster["n3"].wait_status("knows of it", lambda status: status["keys"] == 1)
        for lost in ("n1", "n2"):
            cluster[lost].kill()
        left = cluster["n3"]
        left.wait_status("knows no leader", lambda status: status["leader"] == "")
        status = self.check(self.kvctl("status", endpoints=left.address), 1)
        self.assertIn("knows no leader", status.stderr)
        self.check(self.kvctl("--timeout", "1s", "put", "colour", "red", endpoints=left.address), 4)
        dump = ["--consistency", "local", "dump"]
        saved = self.check(self.kvctl(*dump, endpoints=left.address), 0).stdout
        self.assertRegex(saved, r'^{"key":"colour","value":"blue","ts":\d+}\n$')
        left.kill()
        left.start()
        left.wait_status("has read its log", lambda status: status["keys"] == 1)
        self.assertEqual(self.check(self.kvctl(*dump, endpoints=left.address), 0).stdout, saved)
        folder = self.folder / "new"
        folder.mkdir()
        new = kv.Node(folder, "n1", kv.QUICK, single=True)
        self.nodes.append(new)
        new.start()
        new.wait_status("leads", lambda status: status["role"] == "leader")
        self.check(self.kvctl("load", "-", endpoints=new.address, stdin=saved.encode()), 0)
        self.check(self.kvctl("get", "colour", endpoints=new.address), 0, "blue\n")

    @staticmethod
    def expected(shown):
        """Members have other addresses here."""
        return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", "\n".join(shown))


if __name__ == "__main__":
    kv.main()
