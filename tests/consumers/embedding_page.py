"""docs/embedding.md says what strangers copy: its lines are those of the tested projects, and its command is run.

    embedding_page.py BUILD SOURCE_DIR PAGE
"""

import pathlib
import re
import shutil
import sys
import tempfile

import consumer_kit as kit


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def main():
    build, source, page = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    for language, file in (("cmake", "cmake_project/CMakeLists.txt"), ("meson", "meson_project/meson.build")):
        tested = "".join(line for line in (source / file).read_text().splitlines(keepends=True) if not line.startswith("#"))
        if blocks(page, language) != [tested]:
            kit.fail(f"the block of {language} in {page} is not what tests/consumers/{file} tests")
    commands = [line for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("g++ ")]
    if len(commands) != 1:
        kit.fail(f"{page} has {len(commands)} lines of g++: {commands}")
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        installed = kit.Installed(build, root / "installed")
        shutil.copy(source / "hello.cc", root)
        kit.run(["bash", "-c", commands[0]], cwd=root, env=installed.pkg_config_environment())
        kit.expect_nine(root / "hello", LD_LIBRARY_PATH=installed.library_dir)


main()
