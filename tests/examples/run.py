"""Runs an example and compares what it prints with what lies beside its source."""

import pathlib
import subprocess
import sys

program, expected = sys.argv[1], pathlib.Path(sys.argv[2])
run = subprocess.run([program], capture_output=True, text=True, timeout=100)
if run.returncode != 0 or run.stdout != expected.read_text():
    sys.exit(f"exit code {run.returncode}\n--- printed\n{run.stdout}--- expected\n{expected.read_text()}--- stderr\n{run.stderr}")
