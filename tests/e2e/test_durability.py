"""PUT_OK comes after fdatasync, at the leader and at a follower: seen from outside, with strace."""

import re
import shutil
import subprocess
import time
import unittest

import kv

# "[pid 7] 1700000000.123456 fdatasync(5) = 0 <0.000100>", or the end of one that was interleaved.
DONE = re.compile(r"(\d+\.\d+) (?:fdatasync\(\d+\)|<\.\.\. fdatasync resumed>\)?)\s*\)?\s*= 0 <(\d+\.\d+)>")


def strace_works():
    """Whether strace is there and may look at another process."""
    if not shutil.which("strace"):
        return False
    with subprocess.Popen(["sleep", "10"]) as victim:
        try:
            tracer = subprocess.Popen(["strace", "-p", str(victim.pid)], stderr=subprocess.PIPE, text=True)
            attached = "attached" in tracer.stderr.readline()
            tracer.terminate()
            tracer.communicate()
        finally:
            victim.kill()
    return attached


class Trace:
    """strace on a running node: when its fdatasyncs ended."""

    def __init__(self, node, path):
        self.path = path
        self.process = subprocess.Popen(
            ["strace", "-f", "-ttt", "-T", "-e", "trace=fdatasync,fsync", "-o", str(path), "-p", str(node.pid)],
            stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        assert "attached" in line, line

    def ends(self):
        ends = []
        for line in self.path.read_text().splitlines():
            if match := DONE.search(line):
                # The time stands for the call's start, or for the resumption where it was interleaved.
                start = float(match[1])
                ends.append(start if "resumed" in line else start + float(match[2]))
        return ends

    def stop(self):
        self.process.terminate()
        self.process.communicate()


@unittest.skipUnless(strace_works(), "strace is not there or may not trace here")
class Durability(kv.TestCase):
    def test_fdatasync_before_put_ok(self):
        servers = self.cluster(3)
        leader = servers.wait_leader()
        follower, third = servers.followers()
        # With the third gone both others must have every write on disk: which two is not left to chance.
        third.kill()
        traces = {node: Trace(node, self.folder / f"{node.name}.strace") for node in (leader, follower)}
        windows = []
        try:
            for node in (leader, follower):
                with node.connect() as client:
                    for number in range(10):
                        sent = time.time()
                        self.assert_message(client.ask("PUT", key="a", value=str(number)), "PUT_OK")
                        windows.append((sent, time.time()))
        finally:
            for trace in traces.values():
                trace.stop()
        for node, trace in traces.items():
            ends = trace.ends()
            for sent, answered in windows:
                self.assertTrue(any(sent <= end <= answered for end in ends),
                                f"{node.name}: no fdatasync between {sent:.6f} and {answered:.6f}; they were at {ends}")


if __name__ == "__main__":
    kv.main()
