"""The name under which programs need the library, and that it lends them symbols of rayx and of nothing else.

    exported_symbols.py BUILD SOURCE_DIR
"""

import pathlib
import re
import subprocess
import sys
import tempfile

import consumer_kit as kit

# The door's names, as librayx.map has them. No other namespace of ours: rooms are private.
NAME = re.compile(r"(?:(?:typeinfo|typeinfo name|vtable) for )?rayx::(?:[A-Z]|detail::|codec::|(?:init|shutdown|is_initialized|cluster_status|drain_node|publish|(?:local::|spark::)?setup_cluster|(?:spark::)?shutdown_cluster)\()")
# Functions and data; weak ones are inline functions, vtables and typeinfo, which must be one in the whole program. `UNIQUE` is not
# among them: one such symbol and the library can never be unloaded.
BINDINGS = {"GLOBAL", "WEAK"}
# What the library needs is the C and C++ run time, and nothing else.
MAY_NEED = re.compile(r"lib(?:stdc\+\+|gcc_s|c|m)\.so\.\d+|ld-linux-x86-64\.so\.2")


def needed(path):
    return re.findall(r"\(NEEDED\).*\[(.*)\]", kit.run(["readelf", "-dW", path]))


def dynamic_symbols(path):
    """(binding, place, name) of each; place is UND where another file must have it. Names without the version behind @."""
    symbols = []
    for line in kit.run(["readelf", "--dyn-syms", "-W", path]).splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[0].rstrip(":").isdigit() and fields[6] != "Ndx":
            symbols.append((fields[4], fields[6], fields[7].split("@")[0]))
    return symbols


def readable(names):
    text = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True, timeout=20).stdout
    return text.splitlines()


def check_library(library):
    if "[librayx.so.0]" not in kit.run(["readelf", "-dW", library]):
        kit.fail("the library has no SONAME librayx.so.0")
    strange = [name for name in needed(library) if not MAY_NEED.fullmatch(name)]
    if strange:
        kit.fail(f"programs of the library's users need {strange} as well")
    exported = [(binding, name) for binding, place, name in dynamic_symbols(library) if place != "UND"]
    # Far fewer than there are: nobody listed them, so the list cannot be empty by mistake.
    names = readable([name for _, name in exported])
    if len(names) != len(exported) or len(names) < 100:
        kit.fail(f"{len(names)} exported symbols were found: readelf's output is not what this test reads")
    for expected in ("rayx::init(rayx::Config const&)", "rayx::shutdown()", "typeinfo for rayx::TaskError", "__libc_start_main"):
        if expected not in names:
            kit.fail(f"{expected} is not exported")
    strange = [f"{binding} {readable_name}" for (binding, _), readable_name in zip(exported, names)
               if binding not in BINDINGS or not (NAME.match(readable_name) or readable_name == "__libc_start_main")]
    if strange:
        kit.fail("symbols that are not the door's are exported:\n" + "\n".join(strange[:20]))
    print(f"{len(names)} symbols are exported")


def check_program(program):
    strange = [name for name in needed(program) if not re.fullmatch(r"librayx\.so\.0|lib(?:stdc\+\+|gcc_s|c|m)\.so\.\d+", name)]
    if strange:
        kit.fail(f"a program that was linked with rayx needs {strange} as well")
    # A program's own copies of header code are its own; what it asks others for is rayx's or the run time's.
    names = [name for _, _, name in dynamic_symbols(program)]
    alien = [name for name in readable(names) if re.search(r"\b(?:fmt|backtrace_|asio|capnp|kj)(?:::|_|\b)", name)]
    if alien:
        kit.fail("the program has symbols of the library's private needs:\n" + "\n".join(alien[:20]))


def main():
    build, source = sys.argv[1], pathlib.Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        installed = kit.Installed(build, root / "installed")
        check_library(installed.library)
        flags = installed.pkg_config("--cflags", "--libs")
        kit.run(["g++", "-std=c++20", source / "hello.cc", *flags, "-o", root / "hello"])
        check_program(root / "hello")


main()
