"""A Meson project of a stranger's that asks for rayx with a fallback: it takes the installed copy, or builds the sources.

    meson_project.py installed BUILD SOURCE_DIR
    meson_project.py subproject PROJECT_ROOT SOURCE_DIR
"""

import json
import pathlib
import shlex
import sys
import tempfile

import consumer_kit as kit

# What rayx compiles itself with, and what a program that uses it must not be compiled with because of that.
PRIVATE_FLAGS = ("-fvisibility=hidden", "-march=", "-fno-omit-frame-pointer", "-Wextra", "-Wpedantic")


def flags_of(build, source_name):
    commands = json.loads((build / "compile_commands.json").read_text())
    [command] = [entry["command"] for entry in commands if pathlib.Path(entry["file"]).name == source_name
                 and "subprojects" not in entry["file"]]
    return shlex.split(command)


def check_flags(build):
    flags = flags_of(build, "hello.cc")
    leaked = [flag for flag in flags for private in PRIVATE_FLAGS if flag.startswith(private)]
    if leaked:
        kit.fail(f"the outer project's file is compiled with rayx's own flags {leaked}: {flags}")


def with_installed(build, project, root):
    installed = kit.Installed(build, root / "installed")
    environment = installed.pkg_config_environment()
    out = kit.run(["meson", "setup", "build", "--wrap-mode=nofallback"], cwd=project, env=environment)
    if "Run-time dependency rayx found: YES 0." not in out:
        kit.fail(f"rayx was not found through pkg-config:\n{out}")
    kit.run(["ninja", "-C", "build"], cwd=project, env=environment)
    # Meson gives the program a run path to the library, so that it runs without LD_LIBRARY_PATH.
    kit.expect_nine(project / "build" / "app")


def as_subproject(project_root, project):
    # A link: Meson reads the sources where they are and writes nothing there.
    (project / "subprojects").mkdir()
    (project / "subprojects" / "rayx").symlink_to(project_root, target_is_directory=True)
    # So that a second run of this test finds in the cache what the first one compiled in another temporary folder.
    environment = kit.with_variables(CCACHE_NOHASHDIR="1", PKG_CONFIG_PATH="", PKG_CONFIG_LIBDIR=without_rayx(project))
    out = kit.run(["meson", "setup", "build"], cwd=project, env=environment)
    if "Dependency rayx found: YES" not in out:
        kit.fail(f"rayx was not built from its sources:\n{out}")
    targets = json.loads(kit.run(["meson", "introspect", "--targets", "build"], cwd=project, env=environment))
    programs = [target["name"] for target in targets if target["type"] == "executable"]
    if programs != ["app"]:
        kit.fail(f"a project that uses rayx builds programs of rayx's own: {programs}")
    tests = json.loads(kit.run(["meson", "introspect", "--tests", "build"], cwd=project, env=environment))
    if tests:
        kit.fail(f"a project that uses rayx has {len(tests)} tests of rayx's own")
    kit.run(["ninja", "-C", "build", "app"], cwd=project, env=environment, seconds=1000)
    kit.expect_nine(project / "build" / "app")


def without_rayx(project):
    """pkg-config's folders, with an installed rayx hidden, so that the fallback is what is tested."""
    folder = project / "pkgconfig"
    folder.mkdir()
    for path in kit.run(["pkg-config", "--variable", "pc_path", "pkg-config"]).strip().split(":"):
        for file in sorted(pathlib.Path(path).glob("*.pc")):
            if file.name != "rayx.pc" and not (folder / file.name).exists():
                (folder / file.name).symlink_to(file)
    return folder


def main():
    how, what, source = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        project = kit.copy_project(source, root / "project", "hello.cc", "meson_project")
        if how == "installed":
            with_installed(what, project, root)
        else:
            as_subproject(what, project)
        check_flags(project / "build")


main()
