#!/usr/bin/env bash
# Runs the same fresh seeds three times: twice with this kvsim, once with one that clang has built. All hashes must
# be equal.   tests/sim/same_hash.sh KVSIM
# Exit status: 0 if they are; 1 if not; 77 if there is no clang++-19 to compare with.
set -euo pipefail
kvsim=$(readlink -f "$1")
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."

seed=$((RANDOM * 1000))
hash_of() { "$1" --runs 20 --seed "$seed" --hash --jobs 1 | sed -n 's/^hash //p'; }

first=$(hash_of "$kvsim")
second=$(hash_of "$kvsim")
printf 'seeds from %s: %s, again %s' "$seed" "$first" "$second"
[[ -n $first && $first == "$second" ]] || { printf '\nthe same seeds have given different runs\n'; exit 1; }
if ! command -v clang++-19 >/dev/null; then
  printf '\nclang++-19 is not installed: not compared with it\n'
  exit 77
fi
cmake --preset clang >/dev/null
cmake --build --preset clang --target kvsim >/dev/null
third=$(hash_of build/clang/tests/sim/kvsim)
printf ', with clang %s\n' "$third"
[[ $first == "$third" ]] || { printf 'the compilers disagree on what a seed means\n'; exit 1; }
