"""One line of a compiler through pkg-config, against an installed copy.

    pkg_config.py BUILD SOURCE_DIR COMPILER
"""

import pathlib
import shutil
import sys
import tempfile

import consumer_kit as kit


def main():
    build, source, compiler = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    if not shutil.which(compiler):
        kit.skip(f"{compiler} is not installed")
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        installed = kit.Installed(build, root / "installed")
        flags = installed.pkg_config("--cflags", "--libs")
        # Users' warnings find nothing in the header either.
        warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
        kit.run([compiler, "-std=c++20", *warnings, source / "hello.cc", *flags, "-o", root / "hello"])
        kit.expect_nine(root / "hello", LD_LIBRARY_PATH=installed.library_dir)


main()
