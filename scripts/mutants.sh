#!/usr/bin/env bash
# Shows that the simulator finds mistakes: scripts/mutants.sh [--seconds N] [--check] [NN…]
#   scripts/mutants.sh                       each mistake of tests/mutants, at most 60 seconds of simulation each
#   scripts/mutants.sh --seconds 300 01 12   these: 01 and all of 12a, 12b, …
#   scripts/mutants.sh --check               only: does every patch apply, and change nothing but the product?
# Each patch is applied to a copy of the source, kvsim is built from it and runs fresh seeds until it finds a
# violation with a seed that the unchanged source passes. At the end the unchanged source must pass fresh seeds for
# as long as the slowest took, and 20 seconds at least.
# Works in build/mutants, where the last output of each run is kept; the source itself is never changed.
# Exit status: 0 if all were found, 1 if one was not, or the unchanged source has failed, or something was not built.
set -euo pipefail
self=$(readlink -f "${BASH_SOURCE[0]}")
cd "$(dirname "$self")/.."

patches=tests/mutants
work=$PWD/build/mutants
least_control=20
seconds=60
check=false
asked=()

say() { printf '%s\n' "$*"; }
fail() {
  printf 'mutants.sh: %s\n' "$*" >&2
  exit "${status:-1}"
}
misuse() { status=2 fail "$*"; }

while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help) sed -n '2,10s/^# //p' "$self"; exit 0 ;;
    --seconds)
      [[ ${2:-} =~ ^[1-9][0-9]{0,5}$ ]] || misuse "--seconds takes a whole number from 1 on, not '${2:-}'"
      seconds=$2
      shift
      ;;
    --check) check=true ;;
    -*) misuse "'$1' is not known: see --help" ;;
    *) asked+=("$1") ;;
  esac
  shift
done

# Names as in the table: 12 stands for 12a, 12b and so on.
select_mutants() {
  local file name number want found
  for file in "$patches"/*.patch; do
    name=$(basename "$file" .patch)
    mutants+=("$name")
  done
  [[ ${#asked[@]} -gt 0 ]] || return 0
  local all=("${mutants[@]}")
  mutants=()
  for want in "${asked[@]}"; do
    found=false
    for name in "${all[@]}"; do
      number=${name%%-*}
      [[ $want == "$number" || $want == "${number%[a-z]}" || $want == "$name" ]] || continue
      mutants+=("$name")
      found=true
    done
    $found || misuse "no mutant is called '$want': see $patches"
  done
}

# Git must take the folder for what it is, whatever repository it lies in.
apply() {
  local folder=$1
  shift
  (cd "$folder" && GIT_CEILING_DIRECTORIES=$(dirname "$folder") git apply "$@")
}

check_patch() {
  local name=$1 file=$PWD/$patches/$1.patch changed path
  if [[ $(head -n 1 "$file") != "$((10#$(grep -oE '^[0-9]+' <<<"$name"))). "* ]]; then
    say "$name: does not begin with its number and the mistake"
    return 1
  fi
  if ! grep -qF "$name.patch" "$patches/README.md"; then
    say "$name: $patches/README.md does not name it"
    return 1
  fi
  apply "$PWD" --check "$file" || {
    say "$name: does not apply"
    return 1
  }
  changed=$(apply "$PWD" --numstat "$file" | cut -f 3)
  for path in $changed; do
    [[ $path == server/* && -f $path ]] && continue
    say "$name: changes $path, which is not the product"
    return 1
  done
  if [[ -z $changed || -n $(apply "$PWD" --summary "$file") ]]; then
    say "$name: must change lines of files, and nothing else"
    return 1
  fi
}

check_all() {
  local name bad=0
  for name in "${mutants[@]}"; do
    check_patch "$name" || bad=$((bad + 1))
  done
  [[ $bad -eq 0 ]] || fail "$bad of ${#mutants[@]} patches are not in order"
  say "All ${#mutants[@]} patches apply."
}

copy_source() {
  rm -rf "$work/source" "$work/build"
  mkdir -p "$work/source"
  local file
  # Files that are not committed yet count too; those that were deleted do not.
  git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    [[ ! -e $file ]] || printf '%s\0' "$file"
  done | xargs -0 cp --parents -t "$work/source"
}

build() {
  CCACHE_BASEDIR=$work cmake --build "$work/build" --parallel "${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}" \
    --target kvsim >"$work/build.log" 2>&1
}

show_build_log() { tail -n 30 "$work/build.log" >&2; }

seed_of() { sed -nE 's/^VIOLATION with seed ([0-9]+) .*/\1/p' "$1" | head -n 1; }

# Runs fresh seeds for so many seconds or up to the first violation, which is status 0.
simulate() {
  local name=$1 most=$2 begin
  begin=$(date +%s%N)
  timeout --kill-after 5 "$most" "$work/build/tests/sim/kvsim" --runs 1000000000 --stop-at-first \
    >"$work/$name.log" 2>&1 || true
  tenths=$((($(date +%s%N) - begin) / 100000000))
  grep -q '^VIOLATION with seed ' "$work/$name.log"
}

# Likewise, until there is one that is the mutant's own: where the unchanged source fails too, nothing was found.
hunt() {
  local name=$1 spent=0 seed
  while [[ $((spent / 10)) -lt $seconds ]]; do
    simulate "$name" "$((seconds - spent / 10))" || break
    spent=$((spent + tenths))
    seed=$(seed_of "$work/$name.log")
    if timeout --kill-after 5 120 "$work/kvsim" --runs 1 --seed "$seed" >"$work/unchanged.log" 2>&1; then
      tenths=$spent
      return 0
    fi
    say "The unchanged source fails as well: $(what_was_found "$work/unchanged.log")"
    failures=$((failures + 1))
  done
  tenths=$((seconds * 10))
  return 1
}

spell() { printf '%d.%d s' $(($1 / 10)) $(($1 % 10)); }

# "seed S  RULE" of the first violation; of an abort, what the code under test had to say.
what_was_found() {
  local log=$1 seed rule last
  seed=$(seed_of "$log")
  rule=$(sed -nE 's/^VIOLATION with seed [0-9]+ after [0-9.]+ s: ([^:]*).*/\1/p' "$log" | head -n 1)
  if [[ $rule == 'the code under test has aborted' ]]; then
    last=$(sed -nE "s/.*broken invariant: (.*)/\1/p; s/.*Assertion (.*) failed\.$/\1/p" "$log" | head -n 1)
    rule="the code's own check: ${last:-not known}"
  fi
  printf 'seed %-13s %s' "$seed" "$rule"
}

run_mutant() {
  local name=$1 found=false
  apply "$work/source" "$PWD/$patches/$name.patch" || fail "$name does not apply"
  if ! build; then
    show_build_log
    fail "$name does not build: see above"
  fi
  if hunt "$name"; then
    found=true
    count=$((count + 1))
    if [[ $tenths -gt $slowest ]]; then
      slowest=$tenths
      slowest_name=${name%%-*}
    fi
    printf '%-34s found      %8s  %s\n' "$name" "$(spell "$tenths")" "$(what_was_found "$work/$name.log")"
  else
    printf '%-34s NOT FOUND  %8s\n' "$name" "$(spell "$tenths")"
  fi
  apply "$work/source" --reverse "$PWD/$patches/$name.patch" || fail "$name cannot be taken back"
  $found
}

mutants=()
select_mutants
if $check; then
  check_all
  exit 0
fi

# One at a time: two builds in one folder would disturb each other.
mkdir -p "$work"
exec 9>"$work/lock"
if ! flock --nonblock 9; then
  say 'Waiting for another run of this script to end'
  flock 9
fi

copy_source
export CCACHE_BASEDIR=$work
if ! cmake -S "$work/source" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release >"$work/build.log" 2>&1 || ! build; then
  show_build_log
  fail 'the unchanged source does not build: see above'
fi

cp "$work/build/tests/sim/kvsim" "$work/kvsim"

count=0
failures=0
slowest=0
slowest_name=none
tenths=0
missed=()
for name in "${mutants[@]}"; do
  run_mutant "$name" || missed+=("$name")
done

build || fail 'the unchanged source does not build any more'
control=$(((slowest + 9) / 10))
[[ $control -ge $least_control ]] || control=$least_control
say "Control: the unchanged source for $control s"
if simulate unchanged "$control"; then
  say "The unchanged source has failed, $(what_was_found "$work/unchanged.log")"
  failures=$((failures + 1))
fi

printf 'mutants %d, found %d, slowest %s (%s)\n' "${#mutants[@]}" "$count" "$(spell "$slowest")" "$slowest_name"
[[ ${#missed[@]} -eq 0 ]] || fail "not found: ${missed[*]}"
[[ $failures -eq 0 ]] || fail "the unchanged source has failed $failures times"
