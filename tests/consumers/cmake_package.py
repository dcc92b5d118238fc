"""find_package(rayx) against an installed copy that was moved after the installation, and how it refuses.

    cmake_package.py BUILD SOURCE_DIR
"""

import pathlib
import shutil
import sys
import tempfile

import consumer_kit as kit


def configure(project, prefix, seconds=60):
    build = project / "build"
    shutil.rmtree(build, ignore_errors=True)
    return kit.run_anyhow(["cmake", "-S", project, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}"], seconds=seconds,
                          env=kit.with_variables()), build


def expect_refusal(project, prefix, request, *texts):
    lists = project / "CMakeLists.txt"
    before = lists.read_text()
    lists.write_text(before.replace("find_package(rayx REQUIRED)", f"find_package(rayx {request} REQUIRED)"))
    result, _ = configure(project, prefix)
    lists.write_text(before)
    # CMake breaks its lines where it likes.
    said = " ".join(result.stderr.split())
    if result.returncode == 0 or not all(text in said for text in texts):
        kit.fail(f"find_package(rayx {request}) ends with {result.returncode} and says, without {texts}:\n{result.stderr}")


def expect_acceptance(project, prefix, request):
    lists = project / "CMakeLists.txt"
    before = lists.read_text()
    lists.write_text(before.replace("find_package(rayx REQUIRED)", f"find_package(rayx {request} REQUIRED)"))
    result, _ = configure(project, prefix)
    lists.write_text(before)
    if result.returncode != 0:
        kit.fail(f"find_package(rayx {request}) refuses:\n{result.stderr}")


def main():
    build, source = sys.argv[1], sys.argv[2]
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        installed = kit.Installed(build, root / "installed")
        # Moved, and to a path with a space: nothing in the files may know where it was installed to.
        prefix = root / "moved" / "with space"
        shutil.copytree(installed.prefix, prefix, symlinks=True)
        shutil.rmtree(installed.root)

        project = kit.copy_project(source, root / "project", "hello.cc", "cmake_project")
        result, cmake_build = configure(project, prefix)
        if result.returncode != 0:
            kit.fail(f"cmake: {result.stdout}\n{result.stderr}")
        made = kit.run(["cmake", "--build", cmake_build, "--verbose"], env=kit.with_variables())
        if "c++20" not in made and "gnu++20" not in made and "++2a" not in made:
            kit.fail(f"the target asks for no C++20:\n{made}")
        # CMake gives the program a run path to the library, so that it runs without LD_LIBRARY_PATH.
        kit.expect_nine(cmake_build / "app")

        expect_acceptance(project, prefix, "0.1")
        expect_acceptance(project, prefix, "0.1.0 EXACT")
        for request in ("0.2", "0.1.99", "1.0", "0.0.1"):
            expect_refusal(project, prefix, request, "0.1.0 (fits requests for 0.1 up to 0.1.0 only)")
        # The range syntax is CMake 3.19's; before it, this is a request for 0.2.
        expect_refusal(project, prefix, "0.2...0.9", "0.1.0")
        next(prefix.rglob("librayx.so")).unlink()
        expect_refusal(project, prefix, "", "librayx.so is missing", "install rayx again")


main()
