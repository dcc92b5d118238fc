#!/usr/bin/env python3
"""Holds what no compiler holds: who includes whom, which calls are banned, what no file may contain.

tidy.py [--root DIR] [--strict]. Prints one line for each violation, `file:line: rule: what to do`, and exits 1 if there
is one. Warnings exit 0, with --strict 1. A line that has to break a rule says so and why:
    // tidy: allow <rule>: <reason>
"""
import argparse
import collections
import os
import re
import subprocess
import sys

Finding = collections.namedtuple("Finding", "path line rule text")

CPP_ENDINGS = (".cc", ".hpp")
SKIPPED_FOLDERS = {".git", ".cache", "__pycache__", "packagecache"}

# The door's nouns that every room may name.
DOOR_NOUNS = {"rayx/result.hpp", "rayx/error_code.hpp", "rayx/cluster_provider.hpp", "rayx/detail/record.hpp",
              "rayx/detail/ref_positions.hpp"}
ROOMS_THAT_SEE_THE_DOOR = {"api", "worker", "relay"}
# What one room owns, nobody else includes.
OWNED_HEADERS = [
    (re.compile(r"^(asio|boost/asio)\b"), "wire"),
    (re.compile(r"^(capnp|kj)/"), "wire"),
    (re.compile(r"^http_parser\.h$"), "http"),
    (re.compile(r"^sqlite3\.h$"), "disk"),
]

STANDARD_HEADERS = set("""
algorithm any array atomic barrier bit bitset cassert cctype cerrno cfenv cfloat charconv chrono cinttypes climits
clocale cmath codecvt compare complex concepts condition_variable coroutine csetjmp csignal cstdarg cstddef cstdint
cstdio cstdlib cstring ctime cuchar cwchar cwctype deque exception execution filesystem format forward_list fstream
functional future initializer_list iomanip ios iosfwd iostream istream iterator latch limits list locale map memory
memory_resource mutex new numbers numeric optional ostream queue random ranges ratio regex scoped_allocator semaphore
set shared_mutex source_location span sstream stack stdexcept stop_token streambuf string string_view strstream
syncstream system_error thread tuple type_traits typeindex typeinfo unordered_map unordered_set utility valarray
variant vector version
""".split())

Ban = collections.namedtuple("Ban", "rule pattern folders except_files instead")
SLEEP_INSTEAD = "wait for the event itself (poll, futex, a condition) or move a base::ManualClock"
BANS = [
    Ban("no-sleep", r"\bsleep_(for|until)\s*\(", ("src", "include", "tests"), (), SLEEP_INSTEAD),
    Ban("no-sleep", r"(?:(?<=return )|(?<![\w.>:])(?<!\w ))(::|std::)?(usleep|sleep|nanosleep|clock_nanosleep)\s*\(", ("src", "include", "tests"), (),
        SLEEP_INSTEAD),
    Ban("no-clock", r"\b(steady_clock|high_resolution_clock)::now\b|(?<![\w.>])(::)?clock_gettime\s*\(",
        ("src", "include", "tests"), ("src/base/clock.cc",),
        "time is handed in: take a base::Clock& (base::SteadyClock, in tests base::ManualClock)"),
    Ban("no-assert", r"(?<![\w.>:])assert\s*\(", ("src", "include", "tests", "examples", "bench", "tools"), (),
        "RAYX_CHECK or RAYX_DCHECK, which name the values and stay in release builds as chosen"),
    Ban("no-using-namespace", r"\busing\s+namespace\s+std\s*;", ("src", "include", "tests", "examples", "bench", "tools"),
        (), "name what is used: using std::vector;"),
    Ban("no-endl", r"\bstd::endl\b|<<\s*endl\b", ("src", "include", "tests", "examples", "bench", "tools"), (),
        "'\\n'; where the line must be out at once, std::flush beside it"),
]

# Spelled so that this file does not find itself.
MACHINE_PATH = re.compile(r"(?<![\w.~}$)-])/(work|root|home)/[\w.]")
REGISTRY_URL = re.compile(
    r"https?://[^\s\"'<>)]*(pypi\.|pythonhosted\.|npmjs\.|crates\.io|rubygems\.|maven\.|repo1\.|proxy\.golang\.|"
    r"deb\.debian\.|security\.debian\.|archive\.ubuntu\.|conan\.io|anaconda\.|artifactory|nexus|devpi)", re.IGNORECASE)

TEST = re.compile(r"^TEST(?:_F|_P)?\((\w+), *(\w+)\)", re.MULTILINE)
TEST_NAME = re.compile(r"`([A-Z]\w+\.[A-Z]\w+)`")

ALLOW = re.compile(r"tidy: allow ([\w-]+): \S+")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


def list_files(root):
    """Tracked files and new ones that git does not ignore; without git all files but the builds."""
    try:
        answer = subprocess.run(["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                capture_output=True, check=True)
        # A folder inside some other checkout lists nothing of its own or only ignored files: walk it.
        names = [name for name in answer.stdout.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        names = []
    if not names:
        for folder, folders, files in os.walk(root):
            relative = os.path.relpath(folder, root)
            folders[:] = [f for f in folders if f not in SKIPPED_FOLDERS and not (relative == "." and f.startswith("build"))]
            names += [os.path.normpath(os.path.join(relative, file)) for file in files]
    return sorted({name for name in names if os.path.isfile(os.path.join(root, name))})


def read_text(path):
    """The file's text, or None if it is no text."""
    with open(path, "rb") as file:
        content = file.read()
    if b"\0" in content[:8192]:
        return None
    return content.decode("utf-8", errors="replace")


TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^()\\\s]{0,16})\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|'
    r"(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'", re.DOTALL)


def strip_cpp(text):
    """The code without comments and the contents of literals; lines keep their numbers."""

    def blank(match):
        token = match.group(0)
        filler = "\n" * token.count("\n")
        return filler if token.startswith("/") else '""' + filler

    return TOKEN.sub(blank, text)


def read_floors(architecture):
    """Rooms and their floors from the drawing: lines of a digit, names, and what the floor is for."""
    floors = {}
    for line in architecture.splitlines():
        match = re.match(r"^\s{1,4}(\d)\s{2,}(\S.*)$", line)
        if not match:
            continue
        for column in re.split(r"\s{2,}", match.group(2).strip()):
            if re.fullmatch(r"[a-z_]+", column):
                floors[column] = int(match.group(1))
            else:
                break
    return floors


class Tidy:
    def __init__(self, root):
        self.root = root
        self.findings = []
        self.warnings = []
        self.files = list_files(root)
        self.file_set = set(self.files)
        architecture = os.path.join(root, "docs", "ARCHITECTURE.md")
        self.floors = read_floors(read_text(architecture) or "") if os.path.isfile(architecture) else {}

    def run(self):
        if not self.floors:
            self.add("docs/ARCHITECTURE.md", 1, "floors", "has no drawing of the rooms and their floors that can be read")
        for path in self.files:
            text = read_text(os.path.join(self.root, path))
            if text is None:
                continue
            raw_lines = text.splitlines()
            self.check_text(path, raw_lines)
            if path.endswith(CPP_ENDINGS) and not path.startswith("subprojects/"):
                code_lines = strip_cpp(text).splitlines()
                self.check_bans(path, raw_lines, code_lines)
                self.check_includes(path, raw_lines, code_lines)
        self.check_rooms()
        self.check_failure_page()

    def add(self, path, line, rule, text, raw_line=""):
        allowed = ALLOW.search(raw_line)
        if not (allowed and allowed.group(1) == rule):
            self.findings.append(Finding(path, line, rule, text))

    def check_text(self, path, lines):
        for number, line in enumerate(lines, 1):
            if MACHINE_PATH.search(line):
                self.add(path, number, "no-machine-path", "names a folder of one machine; make it relative or a variable",
                         line)
            if REGISTRY_URL.search(line) and not path.endswith(".wrap"):
                self.add(path, number, "no-registry-url", "names a package registry; name the package and its version", line)

    def check_bans(self, path, raw_lines, code_lines):
        folder = path.split("/", 1)[0]
        for ban in BANS:
            if folder not in ban.folders or path in ban.except_files:
                continue
            for number, line in enumerate(code_lines, 1):
                if re.search(ban.pattern, line):
                    self.add(path, number, ban.rule, "instead: " + ban.instead, raw_lines[number - 1])
        if path.endswith(".hpp") and not any(line.strip() == "#pragma once" for line in code_lines):
            self.add(path, 1, "pragma-once", "instead: #pragma once after the file's comment")

    def check_includes(self, path, raw_lines, code_lines):
        for number, line in enumerate(raw_lines, 1):
            # The stripped line tells whether this is code; the raw line has the name.
            match = INCLUDE.match(line)
            if not match or not re.match(r"^\s*#\s*include", code_lines[number - 1]):
                continue
            name = match.group(1) or match.group(2)
            problem = self.include_problem(path, name, quoted=match.group(1) is not None)
            if problem:
                self.add(path, number, "includes", problem, line)

    def include_problem(self, path, name, quoted):
        parts = path.split("/")
        room = parts[1] if parts[0] == "src" and len(parts) > 2 else None
        target_room = self.room_of(path, name, quoted)
        if parts[0] == "include":
            if name.startswith("rayx/") or name in STANDARD_HEADERS:
                return None
            return f"{name}: the door includes the standard library and rayx/ only, so that users need nothing else"
        if parts[0] == "examples" or parts[0] == "tools":
            return f"{name}: {parts[0]} see include/rayx only" if target_room else None
        if room is None:
            return None
        if room not in self.floors:
            return None  # check_rooms says it once
        for pattern, owner in OWNED_HEADERS:
            if pattern.search(name) and room != owner:
                return f"{name}: only the room {owner} may include it"
        if name.startswith("rayx/"):
            return None if self.may_see_door(room, name) else (
                f"{name}: of the door, room {room} may include {', '.join(sorted(DOOR_NOUNS))} only")
        if target_room is None or target_room == room:
            return None
        if target_room not in self.floors:
            return f"{name}: room {target_room} has no floor in docs/ARCHITECTURE.md"
        mine, theirs = self.floors[room], self.floors[target_room]
        if theirs == mine:
            return f"{name}: rooms {room} and {target_room} are on one floor ({mine}) and do not know each other"
        if theirs > mine:
            return f"{name}: room {room} (floor {mine}) must not look up to {target_room} (floor {theirs})"
        return None

    def room_of(self, path, name, quoted):
        """The room that an include leads to, or None if it leads out of src."""
        if quoted:
            beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
            if beside in self.file_set:
                parts = beside.split("/")
                return parts[1] if parts[0] == "src" and len(parts) > 2 else None
        first = name.split("/", 1)[0]
        if "/" in name and (first in self.floors or f"src/{name}" in self.file_set):
            return first
        return None

    @staticmethod
    def may_see_door(room, name):
        if room in ROOMS_THAT_SEE_THE_DOOR or name in DOOR_NOUNS:
            return True
        return room == "codec" and re.match(r"^rayx/(detail/)?codec", name) is not None

    def check_rooms(self):
        rooms = sorted({path.split("/")[1] for path in self.files if re.match(r"^src/[^/]+/", path)})
        for room in rooms:
            if self.floors and room not in self.floors:
                self.add(f"src/{room}", 1, "floors", f"room {room} has no floor in docs/ARCHITECTURE.md; draw it there")
            if f"docs/design/{room}.md" not in self.file_set:
                self.warnings.append(Finding(f"src/{room}", 1, "design-page", f"docs/design/{room}.md is missing"))
        listed = read_text(os.path.join(self.root, "tests/meson.build")) if "tests/meson.build" in self.file_set else ""
        for path in self.files:
            match = re.fullmatch(r"tests/unit/([^/]+)/meson\.build", path)
            if match and f"'{match.group(1)}'" not in listed:
                self.add(path, 1, "unbuilt-tests", "tests/meson.build does not name this folder, so its tests never run")

    def check_failure_page(self):
        """A promise about failures that no test keeps is none: each row names tests, and all of them exist."""
        page = "docs/failure.md"
        if page not in self.file_set:
            return
        tests = set()
        for path in self.files:
            if path.startswith("tests/") and path.endswith(".cc"):
                tests |= {".".join(names) for names in TEST.findall(read_text(os.path.join(self.root, path)) or "")}
        lines = read_text(os.path.join(self.root, page)).splitlines()
        for number, line in enumerate(lines, 1):
            is_title = number < len(lines) and re.match(r"\| *---", lines[number])
            if not line.startswith("|") or line.startswith("| ---") or is_title:
                continue
            named = TEST_NAME.findall(line)
            if not named:
                self.add(page, number, "failure-tests", "the row names no test that makes it happen: `Suite.Name`")
            for name in named:
                if name not in tests:
                    self.add(page, number, "failure-tests", f"there is no test {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    parser.add_argument("--strict", action="store_true", help="warnings count too")
    arguments = parser.parse_args()
    tidy = Tidy(os.path.abspath(arguments.root))
    tidy.run()
    for finding in tidy.findings:
        print(f"{finding.path}:{finding.line}: {finding.rule}: {finding.text}")
    for warning in tidy.warnings:
        print(f"{warning.path}: warning: {warning.rule}: {warning.text}")
    print(f"tidy: {len(tidy.files)} files, {len(tidy.findings)} violations, {len(tidy.warnings)} warnings")
    return 1 if tidy.findings or (arguments.strict and tidy.warnings) else 0


if __name__ == "__main__":
    sys.exit(main())
