"""PUT_OK comes after the write is durable, at the leader and at a follower: seen from outside, with strace.

A batch of the log is one write of the kernel's own with RWF_DSYNC, which is over when an fdatasync behind it would be;
where the kernel has none for us, it is a write and an fdatasync.
"""

import re
import shutil
import subprocess
import time
import unittest

import kv

# "7 1700000000.123456 fdatasync(5) = 0 <0.000100>", or the end of one that was interleaved.
SYNCED = re.compile(r"(\d+\.\d+) (?:fdatasync\(\d+\)|<\.\.\. fdatasync resumed>\)?)\s*\)?\s*= 0 <(\d+\.\d+)>")
# What became of the write that was submitted last: "io_getevents(0x7f, 1, 1, [{…, res=4096, …}], …) = 1 <0.000014>".
WRITTEN = re.compile(r"(\d+\.\d+) (?:io_getevents\(|<\.\.\. io_getevents resumed>).*\bres=(-?\d+).*= 1 <(\d+\.\d+)>")
SUBMITTED = re.compile(r"\bio_submit\(.*\baio_rw_flags=([A-Z_|]+).*aio_nbytes=(\d+)")


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
    """A node that is started under strace, and when something of its became durable."""

    def __init__(self, node, *options):
        self.path = node.folder / f"{node.name}.strace"
        # The tracer is the node's grandchild: the node's process id is its own, and ends when that does.
        node.under = ["strace", "-D", "-f", "-ttt", "-T", "-e", "trace=fdatasync,io_setup,io_submit,io_getevents",
                      "-o", str(self.path), *options]
        node.environment |= {"ASAN_OPTIONS": "detect_leaks=0"}  # which a sanitizer can't do under a tracer

    def lines(self):
        return self.path.read_text().splitlines()

    def syncs(self):
        return [self.end(line, match[1], match[2]) for line in self.lines() if (match := SYNCED.search(line))]

    def writes(self):
        """Those that were submitted as durable ones and were written whole."""
        ends, wanted = [], None
        for line in self.lines():
            if match := SUBMITTED.search(line):
                wanted = match[2] if "RWF_DSYNC" in match[1].split("|") else None
            if (match := WRITTEN.search(line)) and match[2] == wanted:
                ends.append(self.end(line, match[1], match[3]))
        return ends

    @staticmethod
    def end(line, stamp, took):
        """The time stands for the call's start, or for the resumption where it was interleaved."""
        return float(stamp) if "resumed" in line else float(stamp) + float(took)


@unittest.skipUnless(strace_works(), "strace is not there or may not trace here")
class Durability(kv.TestCase):
    def hold(self, *options):
        """Puts at the leader and at a follower: each one's time, and the traces of both."""
        servers = self.cluster(3, start=False)
        traces = {node: Trace(node, *options) for node in servers}
        servers.start().wait_ready()
        leader = servers.wait_leader()
        follower, third = servers.followers()
        # With the third gone both others must have every write on disk: which two is not left to chance.
        third.kill()
        windows = []
        for node in (leader, follower):
            with node.connect() as client:
                for number in range(10):
                    sent = time.time()
                    self.assert_message(client.ask("PUT", key="a", value=str(number)), "PUT_OK")
                    windows.append((sent, time.time()))
        for node in (leader, follower):
            self.assertEqual(node.terminate(), 0)
        return windows, {node.name: traces[node] for node in (leader, follower)}

    def check(self, windows, ends):
        for name, times in ends.items():
            for sent, answered in windows:
                self.assertTrue(any(sent <= end <= answered for end in times),
                                f"{name}: nothing became durable between {sent:.6f} and {answered:.6f}; at {times}")

    def test_durable_before_put_ok(self):
        windows, traces = self.hold()
        self.check(windows, {name: trace.syncs() + trace.writes() for name, trace in traces.items()})

    def test_fdatasync_before_put_ok_where_the_kernel_has_no_writes_of_its_own(self):
        windows, traces = self.hold("-e", "inject=io_setup:error=ENOSYS")
        self.check(windows, {name: trace.syncs() for name, trace in traces.items()})
        for name, trace in traces.items():
            self.assertEqual(trace.writes(), [], name)
            self.assertTrue(any("INJECTED" in line for line in trace.lines()), name)


if __name__ == "__main__":
    kv.main()
