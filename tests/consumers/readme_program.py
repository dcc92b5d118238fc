"""The program of README.md, as it is printed there, is built by the line that is printed below it and prints what is printed there.

    readme_program.py BUILD README
"""

import pathlib
import re
import sys
import tempfile

import consumer_kit as kit


def main():
    build, readme = sys.argv[1], pathlib.Path(sys.argv[2]).read_text()
    [program] = re.findall(r"^```cpp\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    [command, printed] = re.search(r"^```sh\n\$ (g\+\+ [^\n]*)\n([^`]*)^```$", readme, re.DOTALL | re.MULTILINE).groups()
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        installed = kit.Installed(build, root / "installed")
        (root / "hello.cc").write_text(program)
        environment = dict(installed.pkg_config_environment(), LD_LIBRARY_PATH=str(installed.library_dir))
        out = kit.run(["bash", "-c", command], cwd=root, env=environment)
        if out != printed:
            kit.fail(f"README.md says {printed!r}, the program prints {out!r}")


main()
