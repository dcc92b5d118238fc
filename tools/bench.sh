#!/usr/bin/env bash
# bench.sh [--peers] [ARGS…]: builds the benches into build/release and hands ARGS (and --peers) to bench/run.
set -euo pipefail
RAYX_ROOT="${RAYX_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)}"
source "$RAYX_ROOT/tools/common.sh"
cd "$RAYX_ROOT"

groups=(--group build --group test --group bench)
for argument in "$@"; do [[ "$argument" == --peers ]] && groups+=(--group peers); done
tools/setup.sh "${groups[@]}"
[[ -x bench/run ]] || die 1 "bench/run is not part of this checkout, so there is nothing to measure."

configure_build release
option="$(sed -n "s/^option('\(bench[a-z]*\)'.*/\1/p" meson_options.txt | head -n 1)"
if [[ -n "$option" ]]; then
  # Stays on in this directory; ./dev test then builds the benches too, so that they keep compiling.
  meson configure build/release "-D$option=true" >/dev/null
fi
compile_build release
exec bench/run "$@"
