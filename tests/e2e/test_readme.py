"""The README's tour, command by command: each does what is shown below it.

Numbers, names of servers and the columns' widths may differ, and where it has an ellipsis anything may stand. What
scripts/cluster.sh would do is done here to servers of this test's own, and the leader plays n1: the tour kills it.
"""

import os
import re
import signal
import subprocess

import kv
from page import commands_of, pattern_of

README = (kv.ROOT / "README.md").read_text()
# Not to be run here: the shell's own, and what needs another cluster than the tour's.
LEFT_OUT = ("export ", "kvctl dump | kvctl -e other:7401 load")


class Readme(kv.TestCase):
    def start(self):
        cluster = self.cluster(3)
        leader = cluster.wait_leader()
        return [leader, *(node for node in cluster if node is not leader)]

    def environment(self):
        folder = self.folder / "bin"
        if not folder.exists():
            folder.mkdir()
            (folder / "kvctl").symlink_to(kv.KVCTL)
        return self.kvctl_environment(PATH=f"{folder}:{os.environ['PATH']}",
                                      KVCTL_ENDPOINTS=",".join(node.address for node in self.roles))

    def with_addresses(self, text):
        return re.sub(r"127\.0\.0\.1:740([123])", lambda match: self.roles[int(match[1]) - 1].address, text)

    def control(self, command):
        """What scripts/cluster.sh does, in short."""
        delay, action, number = re.fullmatch(
            r"(?:KVD_DELAY_REPLICATION=(\S+) )?scripts/cluster\.sh (up|kill|restart) ?(\d?)", command).groups()
        if action == "up":
            return
        node = self.roles[int(number) - 1]
        if action == "restart":
            if node.is_running():
                node.terminate()
            node.environment = {"KVD_DELAY_REPLICATION": delay} if delay else {}
            node.start().wait_ready()
        else:
            node.kill()
            kv.wait_until("another one leads", lambda: any((other.status() or {}).get("role") == "leader"
                                                           for other in self.roles if other.is_running()))

    def run_command(self, command, shown):
        """Its output; where ^C is shown it is ended so, when all before that has come."""
        process = subprocess.Popen([*kv.DIE_WITH_ME, "bash", "-c", command], stdin=subprocess.DEVNULL, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.environment(),
                                   cwd=self.folder, start_new_session=True)
        if shown[-1:] != ["^C"]:
            return process.communicate(timeout=60 * kv.SLOWDOWN)[0]
        lines = [process.stdout.readline() for _ in shown[:-1]]
        os.killpg(process.pid, signal.SIGINT)
        rest = process.communicate(timeout=60 * kv.SLOWDOWN)[0]
        return "".join(lines) + rest

    def test_the_tour(self):
        self.roles = self.start()
        positions = {}  # of the page -> here, of all that were shown so far
        tour = commands_of(README.split("## A first tour\n", 1)[1].split("\n## ", 1)[0])
        self.assertGreater(len(tour), 20)
        for command, shown in tour:
            with self.subTest(command=command):
                if command.startswith(LEFT_OUT):
                    continue
                if "scripts/cluster.sh" in command:
                    self.control(command)
                    continue
                command = re.sub(r"(--from|--newer-than) (\d+)", lambda m: f"{m[1]} {positions[m[2]]}", command)
                said = self.run_command(self.with_addresses(command), shown)
                positions.update(zip(re.findall(r"\bts (\d+)", "\n".join(shown)), re.findall(r"\bts (\d+)", said)))
                expected = "\n".join(line for line in shown if line != "^C")
                if expected:
                    self.assertRegex(said.strip(), f"^{pattern_of(expected)}$", f"$ {command}\n{said}")


if __name__ == "__main__":
    kv.main()
