#!/usr/bin/env bash
# digits.sh: prints the path of digits.csv: 1,797 handwritten digits of 8 by 8 grey values, which ship in the scikit-learn wheel (from
# the UCI repository, "Optical Recognition of Handwritten Digits"). Fetched once into build/digits. Exit 3: it cannot be had from here.
set -euo pipefail
RAYX_ROOT="${RAYX_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)}"
source "$RAYX_ROOT/tools/common.sh"
cd "$RAYX_ROOT"

folder="$RAYX_ROOT/build/digits"
if [[ ! -f "$folder/digits.csv" ]]; then
  mkdir -p "$folder"
  tools/setup.sh --group spark || exit $?
  if ! /usr/bin/env python3 -m venv "$folder/venv" >"$folder/pip.log" 2>&1 ||
    ! "$folder/venv/bin/pip" download --quiet --no-input --no-deps --only-binary :all: --dest "$folder" scikit-learn \
      >>"$folder/pip.log" 2>&1; then
    tail -n 15 "$folder/pip.log" >&2
    die 3 "pip could not download scikit-learn, which has the digits in it; its last lines are above."
  fi
  /usr/bin/env python3 - "$folder" <<'PYTHON'
import gzip, pathlib, sys, zipfile

folder = pathlib.Path(sys.argv[1])
wheel = max(folder.glob("scikit_learn-*.whl"), key=lambda path: path.stat().st_mtime)
with zipfile.ZipFile(wheel) as files:
    name = next(name for name in files.namelist() if name.endswith("datasets/data/digits.csv.gz"))
    (folder / "digits.csv.new").write_bytes(gzip.decompress(files.read(name)))
(folder / "digits.csv.new").rename(folder / "digits.csv")
PYTHON
  rm -rf "$folder"/*.whl "$folder/venv"
fi
echo "$folder/digits.csv"
