#!/usr/bin/env bash
# Measures kvd against Redis and etcd, where they are installed, and against what this machine's disk and loopback allow,
# and prints the ratios as a table in Markdown: scripts/bench.sh [options]
#   --rounds N        how often each, in turns (5)
#   --seconds N       how long each time (3)
#   --only WORD…      the lines with all of these words only, as in: --only put pipelined
#   --without NAME…   not against redis, or etcd
#   --folder DIR      where the data is written, on the disk to measure (the system's temporary folder)
# For all lines: apt-get install redis-server etcd-server etcd-client nghttp2-client (h2load is etcd's load). It starts
# servers of its own on ports that are free. Exit status: 0 if every ratio is as wanted, 1 if one is not, 2 for a wrong
# option.
set -euo pipefail
self=$(readlink -f "${BASH_SOURCE[0]}")
cd "$(dirname "$self")/.."
case " $* " in *' -h '* | *' --help '*) sed -n '2,12s/^# //p' "$self"; exit 0 ;; esac
scripts/install-deps.sh
[[ -d build/release ]] || cmake --preset release >/dev/null
cmake --build build/release --target kvd kvctl kvfloor kvquorum --parallel "$(nproc)" >/dev/null
ulimit -n "$(ulimit -Hn)"
exec python3 tests/load/bench.py build/release "$@"
