"""docs/spark.md, as its reader follows it: each command of its shell blocks, in their order, and its program while the cluster runs.

    guide.py PROJECT_ROOT BUILD
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

SKIPPED = 77  # Meson's exit code for a test that cannot run here
CANNOT_INSTALL = 3  # of tools/spark.sh
TIMEOUT_S = 600  # the first start installs Java and Spark

root, build = (pathlib.Path(word) for word in sys.argv[1:])
page = (root / "docs" / "spark.md").read_text(encoding="utf-8")
cluster = root / "build" / "spark" / "cluster.env"


def fail(text):
    sys.exit(text)


def blocks(language):
    found = re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    if not found:
        fail(f"docs/spark.md has no block of {language}")
    return found


def run(command, environment=None):
    result = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            timeout=TIMEOUT_S, env={**os.environ, **(environment or {})}, check=False)
    print(f"$ {shlex.join(map(str, command))}\n{result.stdout}", flush=True)
    return result


def compile_program(folder):
    """The first lines that a reader sees, inside a main."""
    source = folder / "guide.cc"
    source.write_text("#include <rayx/rayx.hpp>\n#include <rayx/spark.hpp>\n#include <iostream>\nint main() {\n" + blocks("cpp")[0] + "}\n")
    program = folder / "guide"
    library = build / "src" / "api"
    command = ["g++", "-std=c++20", "-I", root / "include", source, "-o", program, "-L", library, f"-Wl,-rpath,{library}", "-lrayx",
               "-pthread"]
    if run(command).returncode != 0:
        fail("the page's program does not compile")
    return program


def main():
    if cluster.exists():
        print("a cluster of the name that the page uses runs already, and is not this test's to end")
        sys.exit(SKIPPED)
    commands = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines() if line.strip()]
    wanted = re.search(r"std::cout << rayx::nodes\(\)\.size\(\).*// (\d+)", page)
    has_run = False
    with tempfile.TemporaryDirectory() as scratch:
        program = compile_program(pathlib.Path(scratch))
        try:
            for command in commands:
                result = run(command)
                if command[:3] == ["./dev", "spark", "start"] and result.returncode == CANNOT_INSTALL:
                    sys.exit(SKIPPED)
                if result.returncode != 0:
                    fail(f"{shlex.join(command)} of docs/spark.md ended with {result.returncode}")
                if cluster.exists() and not has_run:
                    settings = dict(line.split("=", 1) for line in cluster.read_text(encoding="utf-8").splitlines())
                    printed = run([program], settings)
                    lines = printed.stdout.splitlines()
                    if printed.returncode != 0 or not wanted or wanted.group(1) not in lines:
                        fail("the page's program does not print what the page says")
                    has_run = True
        finally:
            subprocess.run(["./dev", "spark", "stop"], cwd=root, stdin=subprocess.DEVNULL, check=False)
    if not has_run:
        fail("no command of docs/spark.md has started a cluster")
    if cluster.exists():
        fail("the commands of docs/spark.md leave a cluster behind")


main()
