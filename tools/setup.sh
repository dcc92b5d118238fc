#!/usr/bin/env bash
# setup.sh [--group G]… [--peers]: installs the packages of tools/packages.txt that are missing, through apt.
# Silent and quick when nothing is missing. Exit 3: something is missing and may not be installed from here.
set -euo pipefail
RAYX_ROOT="${RAYX_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)}"
source "$RAYX_ROOT/tools/common.sh"

groups=()
peers=false
while [[ $# -gt 0 ]]; do
  case "$1" in
    --group)
      [[ $# -ge 2 ]] || die 2 "--group needs the name of a group of tools/packages.txt."
      groups+=("$2")
      shift 2
      ;;
    --peers)
      peers=true
      shift
      ;;
    *) die 2 "./dev setup does not know '$1'; it takes --peers and --group NAME." ;;
  esac
done
[[ ${#groups[@]} -gt 0 ]] || groups=(build test bench check)
$peers && groups+=(peers)
[[ "${RAYX_SKIP_SETUP:-0}" == 1 ]] && exit 0

wanted=()
for group in "${groups[@]}"; do
  before=${#wanted[@]}
  while read -r package_group package _; do
    [[ "$package_group" == "$group" ]] && wanted+=("$package")
  done <"$RAYX_ROOT/tools/packages.txt"
  [[ ${#wanted[@]} -gt $before ]] || die 2 "tools/packages.txt has no group '$group'."
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  die 3 "this system has no apt. Install the counterparts of these Debian packages: ${wanted[*]}" \
    "and then run the command again with RAYX_SKIP_SETUP=1."
fi

# list_missing: sets `missing`. A virtual or held package counts as there when dpkg says "installed".
list_missing() {
  local installed
  # dpkg-query fails when it has never heard of one of them; the others are listed all the same.
  installed=" $({ dpkg-query -W -f '${db:Status-Status}:${Package}\n' "${wanted[@]}" 2>/dev/null || true; } |
    sed -n 's/^installed://p' | tr '\n' ' ')"
  missing=()
  local package
  for package in "${wanted[@]}"; do
    [[ "$installed" == *" $package "* ]] || missing+=("$package")
  done
}

list_missing
[[ ${#missing[@]} -eq 0 ]] && exit 0

as_root=()
if [[ "$(id -u)" != 0 ]]; then
  # Without a terminal sudo must not stop at its question.
  if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 && -z "${CI:-}" ]]; }; then
    as_root=(sudo)
  else
    die 3 "packages are missing and this user may not install them. Run as root, then try again:" \
      "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  fi
fi

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1; }
install=(install -y --no-install-recommends "${missing[@]}")

say "installing ${missing[*]}"
# The lists may be absent (a fresh image) or too old (404 on a package that was replaced): update once, then once more try.
updated=false
if ! apt-cache policy "${missing[@]}" 2>/dev/null | grep -q 'Candidate: [0-9]' ||
  [[ "$(apt-cache policy "${missing[@]}" 2>/dev/null | grep -c 'Candidate: [0-9]')" != "${#missing[@]}" ]]; then
  apt update || true
  updated=true
fi
if ! apt "${install[@]}"; then
  if $updated || ! { apt update && apt "${install[@]}"; }; then
    tail -n 25 "$log" >&2
    die 3 "apt could not install what is missing; its last lines are above. The command was:" \
      "  ${as_root[*]:+sudo }apt-get ${install[*]}"
  fi
fi
list_missing
[[ ${#missing[@]} -eq 0 ]] || die 3 "apt reported success, but these packages are still not installed: ${missing[*]}"
