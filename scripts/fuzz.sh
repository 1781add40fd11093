#!/usr/bin/env bash
# Builds the fuzzers of tests/fuzz with clang++-19 and runs them: scripts/fuzz.sh [--seconds N] [target…]
#   scripts/fuzz.sh                            all targets, 60 seconds each, one after the other
#   scripts/fuzz.sh --seconds 600 message wal  these two
# Each starts from tests/fuzz/corpus/TARGET and what it found before. What it finds is kept in build/fuzz/TARGET:
# new inputs in corpus/, those that break a promise beside it. Targets: command, frame, message, snapshot,
# wal, wal_forged.
# Exit status: 0 if nothing was found, 1 if something was or the build failed, 77 without clang++-19.
set -euo pipefail
self=$(readlink -f "${BASH_SOURCE[0]}")
cd "$(dirname "$self")/.."

known=(command frame message snapshot wal wal_forged)
binaries=build/clang/tests/fuzz
seconds=60
targets=()

say() { printf '%s\n' "$*"; }
fail() {
  printf 'fuzz.sh: %s\n' "$*" >&2
  exit "${status:-1}"
}
misuse() { status=2 fail "$*"; }

while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help) sed -n '2,8s/^# //p' "$self"; exit 0 ;;
    --seconds)
      [[ ${2:-} =~ ^[1-9][0-9]{0,5}$ ]] || misuse "--seconds takes a whole number from 1 on, not '${2:-}'"
      seconds=$2
      shift
      ;;
    -*) misuse "'$1' is not known: see --help" ;;
    *)
      [[ " ${known[*]} " == *" $1 "* ]] || misuse "no target is called '$1': ${known[*]}"
      targets+=("$1")
      ;;
  esac
  shift
done
[[ ${#targets[@]} -gt 0 ]] || targets=("${known[@]}")

if ! command -v clang++-19 >/dev/null; then
  status=77 fail 'skipped: clang++-19 is missing (packages clang-19 and libclang-rt-19-dev)'
fi

# One at a time: two builds in one folder would disturb each other.
mkdir -p build/fuzz
exec 9>build/fuzz/lock
if ! flock --nonblock 9; then
  say 'Waiting for another run of this script to end'
  flock 9
fi

build() {
  cmake --preset clang >build/fuzz/build.log 2>&1 &&
    cmake --build build/clang --parallel "${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}" \
      --target "${targets[@]/#/fuzz_}" >>build/fuzz/build.log 2>&1 && return
  tail -n 30 build/fuzz/build.log >&2
  fail 'the build failed: see above'
}

# Small pieces of the heap are kept back for use-after-free, so that memory stays what the target takes. Other
# versions of llvm-symbolizer than the compiler's own cannot be used for stacks, addr2line can.
export ASAN_OPTIONS=quarantine_size_mb=16:malloc_context_size=8${ASAN_OPTIONS:+:$ASAN_OPTIONS}
if ! command -v llvm-symbolizer-19 >/dev/null && addr2line=$(command -v addr2line); then
  ASAN_OPTIONS+=:external_symbolizer_path=$addr2line:allow_addr2line=1
fi
export UBSAN_OPTIONS=print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}

# The number behind a name in libFuzzer's own statistics.
statistic() { sed -n "s/^stat::$1: *//p" "$2"; }

run() {
  local target=$1 folder=build/fuzz/$1 log=build/fuzz/$1.log options=() result=0 coverage finding
  mkdir -p "$folder/corpus"
  # Memory follows the input: no target has any business with more.
  options=(-timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=64)
  # What describes a log is short: longer inputs only take longer.
  [[ $target == wal ]] && options+=(-max_len=256)
  [[ -f tests/fuzz/${target%_forged}.dict ]] && options+=("-dict=tests/fuzz/${target%_forged}.dict")
  "$binaries/fuzz_$target" "${options[@]}" "-max_total_time=$seconds" -print_final_stats=1 \
    "-artifact_prefix=$folder/" "$folder/corpus" "tests/fuzz/corpus/$target" >"$log" 2>&1 || result=$?

  coverage=$(sed -nE 's/.* cov: ([0-9]+) ft: ([0-9]+) corp: ([0-9]+).*/\1 edges, \2 features, \3 inputs/p' "$log")
  coverage=${coverage##*$'\n'}
  printf '%-11s %9s runs, %6s/s, %s, %s MB\n' "$target" "$(statistic number_of_executed_units "$log")" \
    "$(statistic average_exec_per_sec "$log")" "${coverage:-no coverage}" "$(statistic peak_rss_mb "$log")"
  [[ $result -ne 0 ]] || return 0

  say "$target: found something (exit status $result, log: $log)"
  grep -aE -m 8 'PROMISE BROKEN|runtime error|ERROR: |SUMMARY: |Assertion|what\(\)' "$log" | sed 's/^/  /' || true
  grep -aE '^ +#[0-9]+ .* in kv::' "$log" | head -n 6 || true
  finding=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
  if [[ -n $finding ]]; then
    say "  Input: $finding"
    say "  Again: $binaries/fuzz_$target ${options[*]:0:3} $finding"
  fi
  return 1
}

build
found=()
for target in "${targets[@]}"; do
  run "$target" || found+=("$target")
done
[[ ${#found[@]} -eq 0 ]] || fail "findings in: ${found[*]}"
