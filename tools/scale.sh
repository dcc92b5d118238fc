#!/usr/bin/env bash
# scale.sh [--before REV] [ARGS…]: simulates large clusters (tests/sim/scale; ARGS are handed to it) and writes what they cost
# their head into docs/scale.md. --before REV: with the registry and the simulation of that revision, built below build/.
set -euo pipefail
RAYX_ROOT="${RAYX_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)}"
source "$RAYX_ROOT/tools/common.sh"
cd "$RAYX_ROOT"

command="./dev scale${*:+ $*}"
block=now
revision="$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
git diff --quiet HEAD -- src tests 2>/dev/null || revision+=' and what is not committed'
source_dir="$RAYX_ROOT"
build_dir=build/release
if [[ "${1:-}" == --before ]]; then
  [[ $# -ge 2 ]] || die 2 "--before needs a revision, as 'git rev-parse' knows it."
  revision="$(git rev-parse --short "$2")" || die 2 "'$2' is no revision of this checkout."
  shift 2
  block=before
  source_dir="$RAYX_ROOT/build/scale-$revision"
  build_dir="$source_dir/build/release"
  [[ -d "$source_dir" ]] || git worktree add --detach "$source_dir" "$revision" >/dev/null
fi

tools/setup.sh --group build --group test
(
  RAYX_ROOT="$source_dir"
  cd "$source_dir"
  configure_build release
  has_target release tests/sim/scale/scale ||
    die 1 "tests/sim/scale is not part of revision $revision, so there is nothing to run."
  compile_build release tests/sim/scale/scale
)
log=build/scale.log
status=0
tables="$("$build_dir/tests/sim/scale/scale" "$@" 2> >(tee "$log" >&2))" || status=$?
# What was mended is shown as it was.
[[ $status -eq 0 || ($status -eq 1 && $block == before) ]] ||
  die 1 "something that must hold in a cluster did not, or its arguments were wrong (above); docs/scale.md is as it was."
failures="$(sed -n 's/^rayx: \(with .*\)/What did not hold: \1\n/p' "$log")"

RAYX_MADE_BY="Made by \`$command\` from $revision, on $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)." \
  RAYX_TABLES="$tables" RAYX_FAILURES="$failures" python3 - "$block" <<'PYTHON'
import os
import re
import sys

block = sys.argv[1]
with open("docs/scale.md", encoding="utf-8") as file:
    text = file.read()
head = "\n".join(filter(None, [os.environ["RAYX_MADE_BY"], os.environ["RAYX_FAILURES"]]))
content = f"<!-- {block}: written by tools/scale.sh -->\n{head}\n\n{os.environ['RAYX_TABLES']}\n<!-- end -->"
text, count = re.subn(rf"<!-- {block}: .*?<!-- end -->", lambda _: content, text, flags=re.DOTALL)
if count != 1:
    sys.exit(f"rayx: docs/scale.md has {count} blocks called \"{block}\"; it must have one")
with open("docs/scale.md", "w", encoding="utf-8") as file:
    file.write(text)
PYTHON
say "docs/scale.md has the figures now"
