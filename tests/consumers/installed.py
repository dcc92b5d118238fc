"""Installs the library and uses it as a stranger's program would: one g++ line through pkg-config.

    installed.py BUILD SOURCE_DIR
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HEADER_SECONDS_MAX = 15  # a bound for a loaded machine; the figure is printed


def run(command, **options):
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, **options)
    if result.returncode != 0:
        sys.exit(f"{command}: exit code {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result.stdout


def main():
    build, source = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        run(["meson", "install", "-C", str(build), "--destdir", str(root), "--no-rebuild", "--quiet"])
        [found] = root.rglob("rayx.pc")
        library = next(root.rglob("librayx.so"))
        env = dict(os.environ, PKG_CONFIG_PATH=str(found.parent), PKG_CONFIG_SYSROOT_DIR=str(root))
        flags = run(["pkg-config", "--cflags", "--libs", "rayx"], env=env).split()
        begun = time.monotonic()
        run(["g++", "-std=c++20", str(source / "hello.cc"), *flags, "-o", str(root / "hello")])
        seconds = time.monotonic() - begun
        print(f"compiled and linked in {seconds:.2f} s")
        if seconds > HEADER_SECONDS_MAX:
            sys.exit("the header costs too much")
        for local in ("0", "1"):
            printed = run([str(root / "hello")], env=dict(os.environ, LD_LIBRARY_PATH=str(library.parent), RAYX_LOCAL=local))
            if printed != "9\n":
                sys.exit(f"hello prints {printed!r} with RAYX_LOCAL={local}")
        if "librayx.so.0" not in run(["readelf", "-d", str(library)]):
            sys.exit("the library has no SONAME librayx.so.0")
        symbols = run(["nm", "-D", "--defined-only", "-C", str(library)]).splitlines()
        strange = [line for line in symbols if not re.search(r"rayx|__libc_start_main", line)]
        if strange:
            sys.exit("symbols that are not rayx's are exported:\n" + "\n".join(strange[:20]))
        print(f"{len(symbols)} symbols")


main()
