#!/usr/bin/env bash
# Measures how many events a second one server delivers to many watchers, and prints it as a table in Markdown:
# scripts/measure_watches.sh [options]
#   --watchers N   connections that watch one prefix (1000)
#   --changes N    of keys below it in each round (20000)
#   --rounds N     with and without a watcher that never reads, in turns (5)
# It starts a server of its own on a port that is free, in a temporary folder. Exit status: 0 if there were at least
# 500,000 a second, 1 if not, 2 for a wrong option.
set -euo pipefail
self=$(readlink -f "${BASH_SOURCE[0]}")
cd "$(dirname "$self")/.."
case " $* " in *' -h '* | *' --help '*) sed -n '2,8s/^# //p' "$self"; exit 0 ;; esac
scripts/install-deps.sh
[[ -d build/release ]] || cmake --preset release >/dev/null
cmake --build build/release --target kvd kvwatch --parallel "$(nproc)" >/dev/null
exec python3 tests/load/measure_watches.py build/release "$@"
