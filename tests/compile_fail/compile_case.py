"""Compiles a piece of source and tells what the compiler said; shared by the runners in this folder."""

import os
import re
import subprocess
import tempfile


def compile_source(compiler, include, source):
    """Exit code, the error lines, and all that was printed. Checks only: nothing is generated."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "case.cc")
        with open(path, "w") as file:
            file.write(source)
        answer = subprocess.run(compiler.split() + ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-I", include, path],
                                capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    errors = [line for line in answer.stderr.splitlines() if re.search(r"(^|\s)(fatal )?error:", line)]
    return answer.returncode, errors, answer.stderr
