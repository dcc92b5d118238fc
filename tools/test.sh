#!/usr/bin/env bash
# test.sh [NAME…] [--suite S]…: builds build/release and runs its tests. Ends with "N passed, N failed, N skipped".
set -euo pipefail
RAYX_ROOT="${RAYX_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)}"
source "$RAYX_ROOT/tools/common.sh"
cd "$RAYX_ROOT"

select=()
while [[ $# -gt 0 ]]; do
  case "$1" in
    --suite)
      [[ $# -ge 2 ]] || die 2 "--suite needs a name; 'meson test -C build/release --list' shows them."
      select+=(--suite "$2")
      shift 2
      ;;
    -*) die 2 "./dev test does not know '$1'; it takes names of tests and --suite NAME." ;;
    *)
      select+=("$1")
      shift
      ;;
  esac
done

tools/setup.sh --group build --group test
configure_build release
compile_build release
exec tools/run_tests.sh build/release --no-rebuild ${select[@]+"${select[@]}"}
