#!/usr/bin/env bash
# All that a reviewer would run: format, include rule, shellcheck, a build with warnings as errors, tests.
# Runs every step even if one fails, and says at the end which did. Exit status: 0 if all passed.
#   scripts/check.sh            everything
#   scripts/check.sh --quick    without building and testing
set -euo pipefail
self=$(readlink -f "${BASH_SOURCE[0]}")
cd "$(dirname "$self")/.."

quick=false
case ${1:-} in
  '') ;;
  --quick) quick=true ;;
  -h | --help) sed -n '2,5s/^# //p' "$self"; exit 0 ;;
  *) printf "check.sh: '%s' is not known: --quick or nothing\n" "$1" >&2; exit 2 ;;
esac

scripts/install-deps.sh
failed=()

step() {
  local name=$1
  shift
  printf '== %s\n' "$name"
  "$@" || failed+=("$name")
}

# Files that are not committed yet count too: they will be.
files() { git ls-files -z --cached --others --exclude-standard -- "$@"; }

format() { files '*.cpp' '*.hpp' | xargs -0 --no-run-if-empty clang-format --dry-run -Werror; }

shells() {
  if ! command -v shellcheck >/dev/null; then
    echo 'shellcheck is not installed: skipped'
    return
  fi
  files '*.sh' '.ci/run' | xargs -0 shellcheck
}

step 'format (clang-format)' format
step 'include rule' scripts/check_includes.py
step 'shell scripts (shellcheck)' shells
$quick || step 'build with warnings as errors, and tests' scripts/test.sh release

if [[ ${#failed[@]} -gt 0 ]]; then
  printf '\nNot passed:\n'
  printf '  %s\n' "${failed[@]}"
  exit 1
fi
printf '\nAll checks passed.\n'
