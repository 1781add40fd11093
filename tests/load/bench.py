"""What scripts/bench.sh does, with the programs of BUILD: bench.py BUILD [options]."""

import argparse
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
from statistics import median

from systems import Barest, BarestReads, Etcd, Kvd, Redis, Work, failover, floors

MANY_KEYS = 1_000_000  # of servers of their own
ELECTION_TIMEOUT = 1.0  # seconds: kvd's default


class Bar:
    """A line of the table: what kvd did, against what, and the ratio that is wanted. A p50 is wanted to be low.
    Without a ratio that is wanted it only shows how far it is."""

    def __init__(self, what, work, rival, rival_work, wanted, ours="kvd"):
        self.what, self.work, self.rival, self.rival_work, self.wanted = what, work, rival, rival_work, wanted
        self.ours = ours


def against_etcd():
    for what, name, wanted in (("put", "PUT", 6), ("linearizable", "GET linearizable", 6)):
        for connections in (64, 256):
            work = Work(what, connections, target="all")
            yield Bar(f"{name}, {connections} connections, to all servers", work, "etcd", work, wanted)


def against_redis():
    for connections in (64, 256):
        yield Bar(f"PUT, {connections} connections", Work("put", connections), "redis3", Work("put", connections), 1.2)
    yield Bar("PUT, 64 × 16 pipelined", Work("put", 64, 16), "redis3", Work("put", 64, 16), 0.8)
    yield Bar("GET session, 64 connections", Work("get", 64), "redis1", Work("get", 64), 1.2)
    yield Bar("GET session, 64 × 16 pipelined", Work("get", 64, 16), "redis1", Work("get", 64, 16), 1.0)


def against_the_machine():
    for connections, pipeline, name in ((64, 1, "64 connections"), (256, 1, "256 connections"), (64, 16, "64 × 16 pipelined")):
        work = Work("put", connections, pipeline)
        yield Bar(f"PUT, {name}", work, "barest", work, None)


def against_itself():
    for what in ("put", "get"):
        name = what.upper()
        yield Bar(f"{name}, 64 connections, 1,000,000 keys against 10,000", Work(what, 64, keys=MANY_KEYS), "kvd",
                  Work(what, 64), 0.8, ours="many")
        yield Bar(f"{name}, 4,000 connections against 64", Work(what, 4000), "kvd", Work(what, 64), 0.7)
    yield Bar("GET of the barest server that answers, 4,000 connections against 64", Work("get", 4000), "barest_reads",
              Work("get", 64), None, ours="barest_reads")


class Bench:
    def __init__(self, options):
        self.options = options
        self.build = pathlib.Path(options.build).resolve()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kvd-bench-", dir=options.folder))
        self.missed = []
        self.systems = {"kvd": Kvd(self.build, self.folder), "barest": Barest(self.build, self.folder),
                        "barest_reads": BarestReads(self.build, self.folder)}
        if Redis.is_installed() and "redis" not in options.without:
            self.systems |= {"redis3": Redis(self.folder, 3), "redis1": Redis(self.folder, 1)}
        if Etcd.is_installed() and "etcd" not in options.without:
            self.systems["etcd"] = Etcd(self.folder)

    def start(self):
        print(f"{os.cpu_count()} cores, Linux {platform.release()}; values of 100 bytes, 10,000 keys, medians of "
              f"{self.options.rounds} rounds of {self.options.seconds} s in turns; servers and load on the same cores.\n")
        for system in self.systems.values():
            system.start()

    def end(self):
        for system in self.systems.values():
            system.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    # How often each is run in turn with the other.
    def turns(self, bar):
        ours, theirs = [], []
        for _ in range(self.options.rounds):
            ours.append(self.systems[bar.ours].run(bar.work, self.options.seconds))
            theirs.append(self.systems[bar.rival].run(bar.rival_work, self.options.seconds))
        return ours, theirs

    def row(self, what, figures, ratios, wanted, lower_is_better=False):
        ratio = median(ratios)
        bar = verdict = ""
        if wanted is not None:
            good = ratio <= wanted if lower_is_better else ratio >= wanted
            bar, verdict = f"{'≤' if lower_is_better else '≥'} {wanted}", "met" if good else "missed"
            if not good:
                self.missed.append(what)
        print(f"| {what} | {figures} | **{ratio:.2f}** ({min(ratios):.2f} to {max(ratios):.2f}) | {bar} | {verdict} |",
              flush=True)

    def compare(self, bar):
        if bar.rival not in self.systems or not self.is_wanted(bar.what):
            return
        if bar.ours == "many" and "many" not in self.systems:
            self.systems["many"] = Kvd(self.build, self.folder / "many").start()
            self.systems["many"].fill(MANY_KEYS)
        ours, theirs = self.turns(bar)
        ratios = [our.rate / their.rate for our, their in zip(ours, theirs)]
        name = "the same of the other" if bar.rival in ("kvd", bar.ours) else self.systems[bar.rival].name
        self.row(bar.what, f"{median(one.rate for one in ours):,.0f}/s, {name}: {median(one.rate for one in theirs):,.0f}/s",
                 ratios, bar.wanted)

    def is_wanted(self, what):
        return all(word.lower() in what.lower() for word in self.options.only)

    def one_put(self):
        what = "PUT, one client, p50 to its floor"
        if not self.is_wanted(what):
            return
        ours, bounds = [], []
        for _ in range(self.options.rounds):
            floor = floors(self.build, self.folder)
            bounds.append(floor["second"] + 2 * floor["round_trip"])
            ours.append(self.systems["kvd"].run(Work("put"), self.options.seconds).p50)
        self.row(what, f"{median(ours):.0f} µs, the second of three concurrent fdatasyncs and two loopback round trips: "
                 f"{median(bounds):.0f} µs", [our / bound for our, bound in zip(ours, bounds)], 1.5, True)

    def follow(self):
        what = "GET at another server right after PUT_OK, p50"
        if not self.is_wanted(what):
            return
        seen = [self.systems["kvd"].run(Work("follow", target="all"), self.options.seconds).series
                for _ in range(self.options.rounds)]
        after, again = [one["get after put"] for one in seen], [one["get again"] for one in seen]
        self.row(what, f"{median(after):.0f} µs, a GET that need not wait: {median(again):.0f} µs",
                 [a / b for a, b in zip(after, again)], 3, True)

    def failover(self):
        what = "from kill -9 of the leader to the first PUT_OK"
        if not self.is_wanted(what):
            return
        took = [failover(self.systems["kvd"]) for _ in range(self.options.rounds)]
        self.row(what, f"{median(took):.2f} s, the election timeout: {ELECTION_TIMEOUT:.0f} s",
                 [one / ELECTION_TIMEOUT for one in took], 2, True)

    def run(self):
        self.start()
        print("| work | figures | ratio (the rounds') | wanted | |\n| --- | --- | --- | --- | --- |")
        for bar in (*against_redis(), *against_etcd(), *against_the_machine(), *against_itself()):
            self.compare(bar)
        self.one_put()
        self.follow()
        self.failover()


def main():
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--without", nargs="*", default=[], choices=("redis", "etcd"))
    parser.add_argument("--folder")
    bench = Bench(parser.parse_args())
    try:
        bench.run()
    except subprocess.CalledProcessError as error:
        sys.exit(f"bench: {error}\n{error.stdout}")
    finally:
        bench.end()
    sys.exit(1 if bench.missed else 0)


if __name__ == "__main__":
    main()
