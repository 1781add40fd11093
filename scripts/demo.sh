#!/usr/bin/env bash
# Five windows in one terminal: three servers, two clients, and what happens between them, played by itself in a minute:
# scripts/demo.sh [options]
#   --step      waits for the space bar before each step
#   --quick     without pauses for reading (as a test: exit status 0 if each step showed what it should)
# Needs tmux, and a terminal of at least 150 × 40 to look at it; without a terminal it plays unseen, and says what it
# does. It starts servers of its own on 127.0.0.1:7411-7413 and 7511-7513, and ends all that it has started.
set -euo pipefail
self=$(readlink -f "${BASH_SOURCE[0]}")
cd "$(dirname "$self")/.."
case " $* " in *' -h '* | *' --help '*) sed -n '2,8s/^# //p' "$self"; exit 0 ;; esac
scripts/install-deps.sh
if [[ -z ${KVD_BIN:-} ]]; then
  [[ -d build/release ]] || cmake --preset release >/dev/null
  cmake --build build/release --target kvd kvctl --parallel "$(nproc)" >/dev/null
fi
# One at a time: the ports are always the same.
exec 9>"${TMPDIR:-/tmp}/kvd-demo-$UID.lock"
flock --nonblock 9 || { echo 'Another demonstration is running: this one waits for its end.'; flock 9; }
exec python3 scripts/demo.py "${KVD_BIN:-$PWD/build/release/kvd}" "${KVCTL_BIN:-$PWD/build/release/kvctl}" "$@"
