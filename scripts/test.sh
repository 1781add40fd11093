#!/usr/bin/env bash
# Builds everything and runs every test: scripts/test.sh [release|debug|asan|tsan] [options for ctest…]
#   scripts/test.sh                     the release build
#   scripts/test.sh asan -R e2e         the end-to-end tests under AddressSanitizer and UBSan
# Exit status: 0 if every test passed.
set -euo pipefail
self=$(readlink -f "${BASH_SOURCE[0]}")
cd "$(dirname "$self")/.."

preset=release
case ${1:-} in
  release | debug | asan | tsan) preset=$1; shift ;;
  -h | --help) sed -n '2,5s/^# //p' "$self"; exit 0 ;;
  -* | '') ;;
  *) printf "test.sh: no preset is called '%s': release, debug, asan or tsan\n" "$1" >&2; exit 2 ;;
esac

scripts/install-deps.sh
cmake --preset "$preset"
cmake --build --preset "$preset" --parallel "$(nproc)"
# Two at a time whatever the machine: the end-to-end tests measure time and start three servers each.
status=0
ctest --preset "$preset" --parallel 2 "$@" || status=$?
# Which seeds it was this time: a run that was good can be repeated too.
grep -h '^seeds from' "build/$preset/Testing/Temporary/LastTest.log" || true
exit "$status"
