#!/usr/bin/env bash
# Installs the Debian 12 packages that building and testing need: those that are missing, and nothing else.
# Says nothing when there is nothing to do. KV_SKIP_DEPS=1 skips it (another distribution, packages by hand).
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache pkg-config git                        # to build
  libasio-dev rapidjson-dev libcli11-dev libspdlog-dev               # what the programs are made of
  libxxhash-dev libabsl-dev libjemalloc-dev uuid-dev libedit-dev libsystemd-dev
  liburing-dev
  catch2 python3 strace valgrind tmux                                # to test, and scripts/demo.sh
  clang-19 libclang-rt-19-dev                                        # scripts/fuzz.sh, and the simulator once more
  clang-format                                                       # scripts/check.sh
)

fail() {
  printf 'install-deps: %s\n' "$*" >&2
  exit 1
}

[[ ${KV_SKIP_DEPS:-} == 1 ]] && exit 0
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  fail "this is not Debian. Install what these packages hold, then set KV_SKIP_DEPS=1: ${packages[*]}"
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $(id -u) != 0 ]]; then
  command -v sudo >/dev/null || fail "these packages are missing, and only root can install them: ${missing[*]}"
  as_root=(sudo)
fi

printf 'Installing %s\n' "${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

apt() {
  # From a script apt must not ask anything.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 "$@" \
    </dev/null >"$log" 2>&1 && return
  tail -n 15 "$log" >&2
  fail "'apt-get $*' failed: see above. Is there a network, and is this Debian 12?"
}

apt update
apt install --no-install-recommends "${missing[@]}"
