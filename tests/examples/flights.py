"""Runs the main job on a few rows: it checks its result against a sequential run itself and says so."""

import subprocess
import sys

run = subprocess.run([sys.argv[1], "--rows", "3000000", "--sample", sys.argv[2]], capture_output=True, text=True, timeout=280)
print(run.stdout, run.stderr)
if run.returncode != 0:
    sys.exit(f"exit code {run.returncode}")
for needed in ("rows/s", "finds the same"):
    if needed not in run.stdout:
        sys.exit(f"the output does not say {needed!r}")
