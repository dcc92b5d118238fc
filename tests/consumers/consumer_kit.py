"""What the tests of consumers share: commands with a limit, an installed copy, and the program of DESIGN.md that prints 9."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

SKIPPED = 77  # Meson's exit code for a test that cannot run here


def fail(text):
    sys.exit(text)


def skip(text):
    print(text)
    sys.exit(SKIPPED)


def run_anyhow(command, seconds=100, **options):
    """The finished command, whatever its exit code. Past the limit it is ended together with all that it started."""
    command = [str(part) for part in command]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True, **options)
    try:
        out, err = process.communicate(timeout=seconds)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        fail(f"{command}: not done after {seconds} s\n{out}\n{err}")
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def run(command, **options):
    """What the command prints. It must end well."""
    result = run_anyhow(command, **options)
    if result.returncode != 0:
        fail(f"{result.args}: exit code {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result.stdout


def with_variables(**variables):
    """This environment with these and without what would lead a consumer to another rayx or another mode of it."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("RAYX_", "DESTDIR")) and name not in ("LD_LIBRARY_PATH", "CXXFLAGS", "LDFLAGS")}
    return {**kept, **{name: str(value) for name, value in variables.items()}}


class Installed:
    """What `meson install` of a build lays down, below a folder of the test's own."""

    def __init__(self, build, root):
        self.root = pathlib.Path(root)
        run(["meson", "install", "-C", build, "--destdir", self.root, "--no-rebuild", "--quiet"])
        [found] = self.root.rglob("rayx.pc")
        self.pkg_config_dir = found.parent
        self.library_dir = found.parent.parent
        self.library = self.library_dir / "librayx.so"  # where the build is not a static one
        [header] = self.root.rglob("rayx.hpp")
        self.include_dir = header.parent.parent
        [config] = self.root.rglob("rayxConfig.cmake")
        self.prefix = pathlib.Path(os.path.commonpath([self.library_dir, self.include_dir]))
        if config.parent != self.library_dir / "cmake" / "rayx":
            fail(f"{config} is not where CMake looks for it")

    def pkg_config_environment(self):
        # The file names the prefix that was configured; the root before it is what --destdir adds.
        return with_variables(PKG_CONFIG_PATH=self.pkg_config_dir, PKG_CONFIG_SYSROOT_DIR=self.root)

    def pkg_config(self, *what):
        return run(["pkg-config", *what, "rayx"], env=self.pkg_config_environment()).split()


def copy_project(source, scratch, *names):
    """The files and folders of tests/consumers that make a stranger's project, side by side in a new folder."""
    project = pathlib.Path(scratch)
    project.mkdir()
    for name in names:
        part = pathlib.Path(source) / name
        shutil.copytree(part, project, dirs_exist_ok=True) if part.is_dir() else shutil.copy(part, project)
    return project


def expect_output(program, expected, **variables):
    """Runs it with processes and inside one process."""
    for local in ("0", "1"):
        printed = run([program], env=with_variables(RAYX_LOCAL=local, **variables))
        if printed != expected:
            fail(f"{program} prints {printed!r} with RAYX_LOCAL={local}, not {expected!r}")


def expect_nine(program, **variables):
    """The program of DESIGN.md."""
    expect_output(program, "9\n", **variables)


def compilers():
    """Those of the platform that are here, by name."""
    return {name: path for name in ("g++", "clang++-15") if (path := shutil.which(name))}
