#!/usr/bin/env bash
# run_tests.sh BUILD-DIR [MESON-TEST-ARGS…]: runs tests of a configured build directory and sums them up.
# Fails if a test failed and also if no test ran. RAYX_SEED reaches the tests through the environment.
set -euo pipefail
RAYX_ROOT="${RAYX_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)}"
source "$RAYX_ROOT/tools/common.sh"
dir="$1"
shift

log="$dir/meson-logs/testlog.json"
rm -f "$log"
status=0
# One at a time: many tests are clusters of their own and time-outs should not depend on the neighbour. stdin is
# closed so that no test waits for a terminal.
meson test -C "$dir" --num-processes "${RAYX_TEST_JOBS:-1}" --print-errorlogs "$@" </dev/null || status=$?
python3 "$RAYX_ROOT/tools/summarize_tests.py" "$log" "$status"
