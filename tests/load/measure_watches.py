"""What scripts/measure_watches.sh does, with the programs of BUILD: measure_watches.py BUILD [options]."""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from statistics import median

from servers import Server, free_ports, status, wait_for

BAR = 500_000  # deliveries a second


def rounds_of(options, server):
    words = [pathlib.Path(options.build) / "tests/load/kvwatch", server.address, options.watchers, options.changes,
             options.rounds]
    result = subprocess.run([str(word) for word in words], check=True, text=True, stdout=subprocess.PIPE)
    return [json.loads(line) for line in result.stdout.splitlines()]


def print_table(rounds, options):
    print(f"{options.watchers} watchers of one prefix on one server, {options.changes} changes of 16-byte keys and 100-byte "
          f"values in each round, medians of {options.rounds} rounds; each watcher has checked that it got every change once "
          "and in order.\n")
    print("| | deliveries a second | rounds | a GET meanwhile, p50 | p99 |")
    print("| --- | ---: | --- | ---: | ---: |")
    for slow, name in ((0, "all read"), (1, "and one more that never reads")):
        these = [one for one in rounds if one["slow"] == slow]
        rates = sorted(one["deliveries_per_second"] for one in these)
        print(f"| {name} | {median(rates):,.0f} | {rates[0]:,.0f} to {rates[-1]:,.0f} | "
              f"{median(one['get_p50_us'] for one in these):.0f} µs | {median(one['get_p99_us'] for one in these):.0f} µs |")
    return min(median(one["deliveries_per_second"] for one in rounds if one["slow"] == slow) for slow in (0, 1))


def main():
    parser = argparse.ArgumentParser(prog="measure_watches")
    parser.add_argument("build")
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kvd-measure-"))
    port, peer_port = free_ports(2)
    server = Server(pathlib.Path(options.build).resolve(), folder, "n1", port, peer_port, "",
                    ["--max-connections", str(options.watchers + 100)]).start()
    try:
        wait_for("the server", lambda: status(server.address)["role"] == "leader")
        print(f"{os.cpu_count()} cores, Linux {os.uname().release}\n")
        least = print_table(rounds_of(options, server), options)
        print(f"\nThe most memory that the server took: {server.memory('VmHWM') / 1e6:.0f} MB.")
        print(f"At least {BAR:,} a second are wanted: {'met' if least >= BAR else 'missed'}.")
    except subprocess.CalledProcessError as error:
        sys.exit(f"measure_watches: {error}")
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if least >= BAR else 1)


if __name__ == "__main__":
    main()
