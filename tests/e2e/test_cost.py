"""What a request costs a server, in numbers that no other load on the machine changes: instructions, allocations and
system calls per operation, of a fixed workload, held against what tests/e2e/costs.json records.

The workload is one connection to the leader of three that sends 16 requests at once, waits for their 16 answers, and
does so again. Each number is the difference of two runs, divided by the operations that one has more than the other:
what starting and stopping cost is not in it. Instructions and allocations are counted by valgrind's callgrind, system
calls by strace. A little depends on time all the same (a tick comes each 10 ms, and what arrives together is handled
together): so there is a tolerance, and where it does not suffice all is counted again, up to TRIES times, and the least
of each run is taken, since whatever disturbs adds to it. What has become cheaper than recorded fails too, so that the
record is renewed:

    KV_REWRITE_COSTS=1 python3 tests/e2e/test_cost.py
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

import kv
from test_durability import strace_works

RECORD = Path(__file__).with_name("costs.json")
REWRITE = os.environ.get("KV_REWRITE_COSTS")
FEW, MANY, AT_ONCE = 1024, 5120, 16
TRIES = 3
# Slow as a server is under valgrind: nobody is to take it for dead.
CALM = ["--heartbeat-interval", "500ms", "--election-timeout", "10s"]
# Of the record, and beside it a part of one operation's: of system calls there are few, and turns come as they come.
TOLERANCE = {"instructions": (0.12, 0), "allocations": (0.10, 0.1), "system calls": (0.15, 0.4)}
ALLOCATORS = ("malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "operator new(")
SYSTEM_CALLS_OF_DATA = ("sendto,sendmsg,recvfrom,recvmsg,epoll_wait,epoll_ctl,write,writev,read,fdatasync,pwrite64,"
                        "io_submit,io_getevents,io_uring_enter")
WAYS = {"by io_uring": "on", "by epoll": "off"}  # of sockets: the value of --io-uring


def is_released_build():
    """Sanitizers and debug builds have costs of their own."""
    return "/release/" in kv.KVD


def is_as_recorded(what, cost, before):
    of_record, beside_it = TOLERANCE[what]
    return abs(cost - before) <= of_record * before + beside_it


def requests(client, puts, gets):
    for number in range(puts):
        yield client.message("PUT", key=f"key-{number % 500:04}", value=f"{number:0100}")
    for number in range(gets):
        yield client.message("GET", key=f"key-{number % 500:04}")


class Callgrind:
    """Starts a server under callgrind; when it has ended: what it has counted."""

    def __init__(self, node):
        self.path = node.folder / f"{node.name}.callgrind"
        node.under = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.path}", "--log-file=/dev/null"]

    def started(self, node):
        pass

    def counts(self):
        text = self.path.read_text()
        return {"instructions": int(re.search(r"^(?:summary|totals): (\d+)", text, re.M)[1]),
                "allocations": self.calls_of_allocators(text)}

    # A name is written once, as (number) name, and then stands for itself as (number).
    @staticmethod
    def calls_of_allocators(text):
        count, is_allocator, names = 0, False, {}
        for line in text.splitlines():
            if line.startswith(("cfn=", "fn=")):
                number, _, name = line.partition("=")[2].partition(" ")
                if name:
                    names[number] = name
                is_allocator = line.startswith("cfn=") and names[number].startswith(ALLOCATORS)
            elif line.startswith("calls=") and is_allocator:
                count += int(line.removeprefix("calls=").split()[0])
        return count


class Strace:
    def __init__(self, node):
        self.path = node.folder / f"{node.name}.strace"

    def started(self, node):
        self.tracer = subprocess.Popen(["strace", "-f", "-c", "-U", "calls,name", "-e", f"trace={SYSTEM_CALLS_OF_DATA}",
                                        "-o", str(self.path), "-p", str(node.pid)], stderr=subprocess.PIPE, text=True)
        attached = self.tracer.stderr.readline()
        if "attached" not in attached:
            raise AssertionError(f"strace: {attached}")

    def counts(self):
        self.tracer.wait(30)
        self.tracer.stderr.close()
        total = next(line for line in self.path.read_text().splitlines() if line.split()[-1] == "total")
        return {"system calls": int(total.split()[0])}


@unittest.skipUnless(is_released_build() and shutil.which("valgrind"), "only for the release build, with valgrind")
class Cost(kv.TestCase):
    def count(self, measure, way, name, puts, gets=0):
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        cluster = kv.Cluster(folder, 3, [*CALM, "--preferred-leader", "n1", "--io-uring", WAYS[way]], {})
        self.nodes += list(cluster)
        node = cluster[name]
        meter = measure(node)
        cluster.start().wait_ready(60)
        node.under = []
        kv.wait_until("n1 leads", lambda: cluster.wait_leader().name == "n1", 60)
        if name == "n2" and measure is Callgrind:
            # With n3 a majority would not need n2: how far it lags, and in how many REPLICATIONs the PUTs come to it,
            # would be chance.
            cluster["n3"].stop_for_good()
        meter.started(node)
        with cluster["n1"].connect(60) as client:
            answers = client.ask_all(requests(client, puts, gets), window=AT_ONCE)
        self.assertEqual({answer["type"] for answer in answers.values()}, {"PUT_OK"} | ({"GET_OK"} if gets else set()))
        node.wait_applied(cluster["n1"].status()["applied"], 60)
        self.assertEqual(node.terminate(60), 0)
        counts = meter.counts()
        for other in cluster.running():
            other.stop_for_good()
        return counts

    def per_operation(self, measure, way, least):
        """Counts all; `least` is the least that each run has counted so far."""
        def difference(after, before):
            return {what: (after[what] - before[what]) / (MANY - FEW) for what in after}

        def count(*arguments):
            now = self.count(measure, way, *arguments)
            before = least.get(arguments, now)
            least[arguments] = {what: min(now[what], before[what]) for what in now}
            return least[arguments]

        few = count("n1", FEW)
        return {"PUT at the leader": difference(count("n1", MANY), few),
                "PUT at a follower": difference(count("n2", MANY), count("n2", FEW)),
                "GET": difference(count("n1", FEW, MANY - FEW), few)}

    def hold(self, measure):
        recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
        for way in WAYS:
            if way == "by io_uring" and not kv.io_uring_works():
                print("the kernel has no io_uring for us: its costs are not counted")
                continue
            least = {}
            for _ in range(TRIES):
                measured = self.per_operation(measure, way, least)
                if not REWRITE and all(is_as_recorded(what, cost, recorded[way][work][what])
                                       for work, costs in measured.items() for what, cost in costs.items()):
                    break
            self.compare(way, measured, recorded.setdefault(way, {}))
        if REWRITE:
            RECORD.write_text(json.dumps(recorded, indent=2) + "\n")

    def compare(self, way, measured, recorded):
        for work, costs in measured.items():
            if REWRITE:
                recorded.setdefault(work, {}).update({what: round(cost, 2) for what, cost in costs.items()})
            for what, cost in costs.items():
                with self.subTest(way=way, work=work, what=what):
                    before = recorded[work][what]
                    self.assertTrue(is_as_recorded(what, cost, before),
                                    f"{way}, {work}: {cost:.2f} {what}, and {before} are recorded: find out why; if "
                                    f"it is meant to be so, renew {RECORD.name} (see the head of this file)")

    def test_instructions_and_allocations(self):
        self.hold(Callgrind)

    @unittest.skipUnless(strace_works(), "strace is not there or may not trace here")
    def test_system_calls(self):
        self.hold(Strace)


if __name__ == "__main__":
    kv.main()
