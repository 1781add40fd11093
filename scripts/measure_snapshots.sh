#!/usr/bin/env bash
# Measures what snapshots of a big state cost, and prints it as tables in Markdown: scripts/measure_snapshots.sh [options]
#   --keys N      how many keys of 16 bytes with values of 100 (1000000)
#   --rounds N    how often with and without a snapshot, in turns (7)
#   --rate N      PUTs a second meanwhile (2000)
# PUTs while a snapshot is taken against PUTs while none is, on one server and on three; memory; the time to start from
# a snapshot; the time until a server is back that was away. It starts servers of its own on ports that are free, in a
# temporary folder. Exit status: 0 if every bar is met, 1 if one is not, 2 for a wrong option.
set -euo pipefail
self=$(readlink -f "${BASH_SOURCE[0]}")
cd "$(dirname "$self")/.."
case " $* " in *' -h '* | *' --help '*) sed -n '2,8s/^# //p' "$self"; exit 0 ;; esac
scripts/install-deps.sh
[[ -d build/release ]] || cmake --preset release >/dev/null
cmake --build --preset release --target kvd kvctl kvload --parallel "$(nproc)" >/dev/null
exec python3 tests/load/measure_snapshots.py build/release "$@"
