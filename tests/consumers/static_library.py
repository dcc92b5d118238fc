"""The library as an archive (-Ddefault_library=static) in a program: through pkg-config and through CMake.

    static_library.py PROJECT_ROOT BUILD SOURCE_DIR
"""

import pathlib
import sys
import tempfile

import consumer_kit as kit


def main():
    project_root, build, source = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    # Beside the build whose test this is: the sources then have the same relative names, and the compiler's cache knows most of
    # what is compiled here.
    with tempfile.TemporaryDirectory(prefix="static-", dir=build.parent) as archive_build, \
            tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        environment = kit.with_variables()
        kit.run(["meson", "setup", archive_build, project_root, "-Ddefault_library=static", "-Dtests=false"], env=environment)
        kit.run(["ninja", "-C", archive_build, "src/api/librayx.a", "tools/rayx/rayx"], env=environment, seconds=1000)
        installed = kit.Installed(archive_build, root / "installed")

        project = kit.copy_project(source, root / "project", "hello.cc", "cmake_project")
        # What main does before init happens once: also from an archive, workers are taken over before main.
        text = (project / "hello.cc").read_text()
        told = text.replace("int main() {", 'int main() {\n  std::cout << "main" << std::endl;')
        if told == text:
            kit.fail("hello.cc has no main that this test knows")
        (project / "hello.cc").write_text(told)

        kit.run(["g++", "-std=c++20", project / "hello.cc", *installed.pkg_config("--cflags", "--libs"), "-o", root / "hello"])
        kit.run(["cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={installed.prefix}"],
                env=kit.with_variables())
        kit.run(["cmake", "--build", project / "build"], env=kit.with_variables())
        for program in (root / "hello", project / "build" / "app"):
            kit.expect_output(program, "main\n9\n")
            if "librayx" in kit.run(["readelf", "-dW", program]):
                kit.fail(f"{program} needs the shared library")

        # Static as a whole: workers are taken over in init.
        kit.run(["g++", "-std=c++20", "-static", source / "hello.cc", *installed.pkg_config("--cflags", "--libs", "--static"),
                 "-o", root / "hello_static"])
        kit.expect_output(root / "hello_static", "9\n")


main()
