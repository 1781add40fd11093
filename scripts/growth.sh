#!/usr/bin/env bash
# Measures how PUT and GET grow with keys, connections, the size of values and the number of servers, and draws it:
# scripts/growth.sh [options]
#   --rounds N       how often each, in turns (3)
#   --seconds N      how long each time (2)
#   --only-plot      draws what the table has, and measures nothing
#   --table FILE     where the figures go (docs/growth.csv)
#   --svg FILE       where the picture goes (docs/growth.svg)
# It needs gnuplot: apt-get install gnuplot-nox. It starts servers of its own on ports that are free.
set -euo pipefail
self=$(readlink -f "${BASH_SOURCE[0]}")
cd "$(dirname "$self")/.."
case " $* " in *' -h '* | *' --help '*) sed -n '2,9s/^# //p' "$self"; exit 0 ;; esac
scripts/install-deps.sh
[[ -d build/release ]] || cmake --preset release >/dev/null
cmake --build build/release --target kvd kvctl --parallel "$(nproc)" >/dev/null
ulimit -n "$(ulimit -Hn)"
exec python3 tests/load/growth.py build/release "$@"
