"""Compiles pieces of source and tells what the compiler said; shared by the runners in this folder.

The headers of all cases are read once for each compiler and kept as a precompiled header in a scratch folder, because reading them
is five sixths of a case's time. Each case is still a run of its own: in one run for several, a compiler leaves out what it has
said before, and the lines would not be those of a user with one mistake. A precompiled header changes no line of what is printed;
`differs_from_plain` compares, and the runners ask it for some of their cases.
"""

import concurrent.futures
import itertools
import os
import pathlib
import re
import subprocess

ENVIRONMENT = {**os.environ, "LC_ALL": "C", "CCACHE_DISABLE": "1"}


class Answer:
    """What a compiler said about a case: its exit code, all that it printed, and the error lines."""

    def __init__(self, code, text):
        self.code = code
        self.text = text
        self.lines = text.splitlines()
        self.errors = [line for line in self.lines if re.search(r"(^|\s)(fatal )?error:", line)]


class Compiler:
    """A compiler that has read `headers`, in `scratch`. Any thread may compile."""

    def __init__(self, command, include, headers, scratch):
        self.name = command
        self.headers = headers
        self.folder = pathlib.Path(scratch, re.sub(r"\W", "_", command))
        self.folder.mkdir()
        self.command = command.split() + ["-std=c++20", "-Wall", "-Wextra", "-Winvalid-pch", "-I", include]
        self.counter = itertools.count()
        self.header = self.folder / "headers.hpp"
        self.header.write_text(headers)
        macros = subprocess.run(command.split() + ["-dM", "-E", "-x", "c++", os.devnull], capture_output=True, text=True,
                                env=ENVIRONMENT, check=True).stdout
        self.is_clang = "__clang__" in macros
        subprocess.run(self.command + ["-x", "c++-header", str(self.header), "-o", f"{self.header}.gch"],
                       env=ENVIRONMENT, check=True)

    def compile(self, source):
        """Checks only: nothing is generated."""
        rest = "\n" * self.headers.count("\n") + source  # each line has the number that it would have below the headers
        if self.is_clang:
            return self._run(rest, ["-include-pch", f"{self.header}.gch"])
        return self._run(f'#include "{self.header}"{rest}', [])  # g++ finds what is precompiled beside it

    def differs_from_plain(self, source):
        """What is printed with and without the precompiled header, where that is not the same; else None."""
        precompiled, plain = self.compile(source).text, self._run(self.headers + source, []).text
        return None if precompiled == plain else f"{self.name}: precompiled:\n{precompiled}\nplain:\n{plain}"

    def _run(self, text, options):
        path = self.folder / f"case{next(self.counter)}.cc"
        path.write_text(text)
        answer = subprocess.run(self.command + options + ["-fsyntax-only", str(path)], capture_output=True, text=True,
                                env=ENVIRONMENT)
        path.unlink()
        # A user's file includes the headers itself. clang has a line for the file and one for the file of headers; g++ the latter.
        text = answer.stderr.replace(f"In file included from {path}:1:\nIn file included from {self.header}:",
                                     f"In file included from {self.header}:")
        return Answer(answer.returncode, text.replace(str(self.header), "case.cc").replace(str(path), "case.cc"))


def run_all(jobs):
    """Calls each, as many at a time as there are CPUs, and returns the answers that are not None."""
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return [answer for answer in pool.map(lambda job: job(), jobs) if answer is not None]
