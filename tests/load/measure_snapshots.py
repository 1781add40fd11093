"""What scripts/measure_snapshots.sh does, with the programs of BUILD: measure_snapshots.py BUILD [options]."""

import argparse
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from statistics import median

from servers import PATIENCE, Server, ask, free_ports, status, wait_for


class Measuring:
    def __init__(self, options):
        self.options = options
        self.build = pathlib.Path(options.build).resolve()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kvd-measure-"))
        self.servers = []
        self.missed = []

    # By default snapshots are taken when they are asked for, and only then.
    def cluster(self, size, flags=("--snapshot-every", "1000000000", "--quota", "64GiB")):
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)
        folder = self.folder / str(size)
        folder.mkdir(parents=True)
        ports = free_ports(2 * size)
        peers = ",".join(f"n{i + 1}=127.0.0.1:{ports[size + i]}" for i in range(size)) if size > 1 else ""
        self.servers = [Server(self.build, folder, f"n{i + 1}", ports[i], ports[size + i], peers, flags).start()
                        for i in range(size)]
        return wait_for("a leader", self.leader)

    def leader(self):
        for server in self.servers:
            if server.process.poll() is None and status(server.address)["role"] == "leader":
                return server
        return None

    def load(self, *words):
        result = subprocess.run([self.build / "tests/load/kvload", *map(str, words)], check=True, text=True,
                                stdout=subprocess.PIPE)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def end(self):
        for server in self.servers:
            server.end()
        self.servers = []

    def bar(self, what, value, most):
        if value > most:
            self.missed.append(f"{what}: {value:.2f}, and the bar is {most}")
        return f"{value:.2f} (at most {most})"

    # ---- What is measured

    def puts(self, size):
        keys, rate, rounds = self.options.keys, self.options.rate, self.options.rounds
        leader = self.cluster(size)
        self.load("fill", leader.address, keys)
        # By themselves servers take their snapshots one after the other; all at once is the hardest that can be.
        lines = self.load("turns", leader.address, keys, rate, rounds, *(server.address for server in self.servers))
        phases = {phase: [line for line in lines if line["phase"] == phase] for phase in ("quiet", "snapshot")}
        took = median(line["snapshot_us"] for line in phases["snapshot"]) / 1e6
        print(f"\n### PUTs while a snapshot is taken: {size} server{'s' if size > 1 else ''}\n")
        print(f"{rate} a second over 16 connections, each in a closed loop; {rounds} rounds in turns, medians of them. "
              f"A snapshot takes {took:.2f} s{'; all servers take one at once' if size > 1 else ''}.\n")
        print("| | p50 | p99 | p99.9 | longest |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for phase, name in (("quiet", "without"), ("snapshot", "with a snapshot")):
            row = [median(line[what] for line in phases[phase]) for what in ("p50", "p99", "p99.9", "max")]
            print(f"| {name} | " + " | ".join(f"{value:.0f} µs" for value in row) + " |")
        ratios = [snapshot["p99.9"] / quiet["p99.9"] for quiet, snapshot in zip(phases["quiet"], phases["snapshot"])]
        ratio = median(phases["snapshot"][i]["p99.9"] for i in range(rounds)) / \
            median(phases["quiet"][i]["p99.9"] for i in range(rounds))
        print(f"\np99.9 with : without = {self.bar(f'p99.9, {size} servers', ratio, 2)}; "
              f"the rounds' own: {', '.join(f'{r:.2f}' for r in sorted(ratios))}")

    def memory(self):
        server = self.cluster(1, [])
        self.load("fill", server.address, self.options.keys)
        ask(server.address, {"type": "BACKUP", "id": 1, "timeout_ms": PATIENCE * 1000})
        seen = status(server.address)
        filled = server.memory("VmRSS")
        peak = server.memory("VmHWM")
        print("\n### Memory\n")
        print(f"{seen['keys']} keys, {seen['bytes'] / 1e6:.0f} MB of keys and values: after filling and a snapshot "
              f"{filled / 1e6:.0f} MB resident, at most {peak / 1e6:.0f} MB on the way with the settings that kvd has by itself.")
        print(f"\nresident : data = {self.bar('memory', filled / seen['bytes'], 2.5)}; "
              f"the most : data = {peak / seen['bytes']:.2f}")
        return server, seen

    def start(self, server, seen):
        times = []
        for _ in range(5):
            server.end()
            begin = time.monotonic()
            server.start()
            wait_for("the listener", lambda: socket.create_connection(tuple_of(server.address), timeout=1).close() or True)
            times.append(time.monotonic() - begin)
            wait_for("the state", lambda: status(server.address)["keys"] == seen["keys"])
        resident = server.memory("VmRSS")
        print("\n### Start from the snapshot\n")
        told = [line for line in server.log.read_text().splitlines() if " read the snapshot" in line][-1]
        print(f"The last one says: `{told[told.index('read the snapshot'):]}`\n")
        print(f"to the open listener, in seconds, median of five = {self.bar('start', median(times), 2)}; "
              f"{', '.join(f'{t:.2f}' for t in sorted(times))}; then {resident / 1e6:.0f} MB resident "
              f"({resident / seen['bytes']:.2f} : data)")

    def comes_back(self):
        leader = self.cluster(3)
        self.load("fill", leader.address, self.options.keys)
        away = next(server for server in self.servers if server is not leader)
        away.end()
        missed = 200_000
        self.load("fill", leader.address, self.options.keys, missed)
        ask(leader.address, {"type": "BACKUP", "id": 1, "timeout_ms": PATIENCE * 1000})
        position = status(leader.address)["applied"]
        begin = time.monotonic()
        away.start()
        wait_for("the server that was away", lambda: status(away.address)["applied"] >= position)
        took = time.monotonic() - begin
        told = [line for line in away.log.read_text().splitlines() if "took over the snapshot" in line]
        print("\n### A server that was away\n")
        print(f"for {missed} writes, of a state of {self.options.keys} keys, has all of them {took:.2f} s after it was "
              f"started again, {'by a snapshot' if told else 'from the log'}.")


def tuple_of(address):
    host, port = address.split(":")
    return host, int(port)


def main():
    parser = argparse.ArgumentParser(prog="measure_snapshots")
    parser.add_argument("build")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rate", type=int, default=2000)
    measuring = Measuring(parser.parse_args())
    print(f"{os.cpu_count()} cores, Linux {os.uname().release}, {measuring.options.keys} keys of 16 bytes with values "
          "of 100")
    try:
        measuring.puts(1)
        measuring.puts(3)
        measuring.start(*measuring.memory())
        measuring.comes_back()
    except subprocess.CalledProcessError as error:
        sys.exit(f"measure_snapshots: {error}")
    finally:
        measuring.end()
        shutil.rmtree(measuring.folder, ignore_errors=True)
    for missed in measuring.missed:
        print(f"\nMissed: {missed}")
    sys.exit(1 if measuring.missed else 0)


if __name__ == "__main__":
    main()
