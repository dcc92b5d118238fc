#!/usr/bin/env python3
"""tidy.py on planted trees: each violation is found where it is, and what is allowed is not."""
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import tidy  # noqa: E402

ARCHITECTURE = """
  ------------------------------ include/rayx (the door) ---
  4            api            T, templates erased to bytes; the current runtime
  3   worker      node                                        threads and loops run here only
  2   store       owner       sched       actor               decide: no sockets
  1   shm     codec     wire                                  mechanisms; each owns one outside thing
  0            base           ids, limits, checks, Clock
"""
SLASH = "/"  # Paths of machines are put together here, or tidy would find them in this file.
HTTPS = "https:" + "//"


def violations(files):
    with tempfile.TemporaryDirectory() as root:
        for name, text in {"docs/ARCHITECTURE.md": ARCHITECTURE, **files}.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        checker = tidy.Tidy(root)
        checker.run()
        return [(f.path, f.line, f.rule) for f in checker.findings], [w.path for w in checker.warnings]


class Planted(unittest.TestCase):
    def expect(self, path, text, *lines_and_rules, others=None):
        found, _ = violations({path: text, **(others or {})})
        self.assertEqual([(path, line, rule) for line, rule in lines_and_rules], [f for f in found if f[0] == path])

    def test_floors_are_read_from_the_drawing(self):
        self.assertEqual({"api": 4, "worker": 3, "node": 3, "store": 2, "owner": 2, "sched": 2, "actor": 2, "shm": 1,
                          "codec": 1, "wire": 1, "base": 0}, tidy.read_floors(ARCHITECTURE))

    def test_a_drawing_that_cannot_be_read_is_a_violation(self):
        found, _ = violations({"docs/ARCHITECTURE.md": "# nothing\n"})
        self.assertEqual([("docs/ARCHITECTURE.md", 1, "floors")], found)

    def test_includes_go_down(self):
        self.expect("src/store/a.cc", '#include "store/a.hpp"\n#include "shm/b.hpp"\n#include "base/c.hpp"\n#include <vector>\n')

    def test_includes_up(self):
        self.expect("src/shm/a.cc", '#include "base/x.hpp"\n\n#include "store/b.hpp"\n', (3, "includes"))

    def test_includes_sideways(self):
        self.expect("src/store/a.cc", '#include "owner/b.hpp"\n', (1, "includes"))

    def test_includes_by_angle_brackets_and_by_dots_count_too(self):
        self.expect("src/shm/a.cc", "#include <store/b.hpp>\n", (1, "includes"))
        self.expect("src/shm/a.cc", '#include "../store/b.hpp"\n', (1, "includes"), others={"src/store/b.hpp": "#pragma once\n"})

    def test_room_without_floor(self):
        found, _ = violations({"src/cellar/a.cc": "#include <vector>\n#include \"base/x.hpp\"\n"})
        self.assertEqual([("src/cellar", 1, "floors")], found)
        self.expect("src/node/a.cc", "#include \"cellar/x.hpp\"\n", (1, "includes"), others={"src/cellar/x.hpp": "#pragma once\n"})

    def test_folder_of_tests_that_is_never_built(self):
        folder = {"tests/unit/shm/meson.build": "test()\n", "tests/unit/base/meson.build": "test()\n"}
        self.expect("tests/unit/shm/meson.build", "test()\n", (1, "unbuilt-tests"), others={**folder, "tests/meson.build": "'base'"})

    def test_rows_of_the_failure_page_name_tests_that_exist(self):
        page = ("| what | tests |\n| --- | --- |\n| a | `Links.Hold` |\n| b | nobody |\n| c | `Links.Hold`, `Links.Break` |\n"
                "Beside the table nothing is asked.\n")
        self.expect("docs/failure.md", page, (4, "failure-tests"), (5, "failure-tests"),
                    others={"tests/a_test.cc": "TEST_F(Links, Hold) {}\n"})

    def test_door_needs_the_standard_library_only(self):
        self.expect("include/rayx/a.hpp", "#pragma once\n#include <vector>\n#include <rayx/b.hpp>\n")
        self.expect("include/rayx/a.hpp", '#pragma once\n#include <fmt/core.h>\n#include <unistd.h>\n#include "base/check.hpp"\n',
                    (2, "includes"), (3, "includes"), (4, "includes"))

    def test_rooms_see_the_nouns_of_the_door_only(self):
        nouns = "".join(f"#include <{name}>\n" for name in sorted(tidy.DOOR_NOUNS))
        self.expect("src/base/a.cc", nouns)
        self.expect("src/store/a.cc", "#include <rayx/rayx.hpp>\n#include <rayx/codec.hpp>\n", (1, "includes"), (2, "includes"))
        self.expect("src/codec/a.cc", "#include <rayx/codec.hpp>\n#include <rayx/detail/codec_flat.hpp>\n#include <rayx/get.hpp>\n",
                    (3, "includes"))
        self.expect("src/api/a.cc", "#include <rayx/rayx.hpp>\n")
        self.expect("src/worker/a.cc", "#include <rayx/rayx.hpp>\n")

    def test_examples_see_the_door_only(self):
        self.expect("examples/a.cc", "#include <rayx/rayx.hpp>\n#include <iostream>\n#include \"base/check.hpp\"\n",
                    (3, "includes"))

    def test_owned_libraries(self):
        self.expect("src/wire/a.cc", "#include <asio.hpp>\n#include <capnp/message.h>\n")
        self.expect("src/node/a.cc", "#include <asio.hpp>\n#include <sqlite3.h>\n", (1, "includes"), (2, "includes"))

    def test_commented_includes_do_not_count(self):
        self.expect("src/shm/a.cc", '// #include "store/b.hpp"\n/*\n#include "store/b.hpp"\n*/\n')

    def test_banned_calls(self):
        banned = [
            ("no-sleep", "std::this_thread::sleep_for(1s);"),
            ("no-sleep", "std::this_thread::sleep_until(t);"),
            ("no-sleep", "usleep(5);"),
            ("no-sleep", "::sleep(5);"),
            ("no-sleep", "nanosleep(&t, nullptr);"),
            ("no-sleep", "return sleep(5);"),
            ("no-clock", "auto t = std::chrono::steady_clock::now();"),
            ("no-clock", "clock_gettime(CLOCK_MONOTONIC, &t);"),
            ("no-assert", "assert(x > 0);"),
            ("no-using-namespace", "using namespace std;"),
            ("no-endl", "std::cout << 1 << std::endl;"),
        ]
        for rule, line in banned:
            for path in ("src/base/a.cc", "tests/unit/base/a_test.cc"):
                with self.subTest(line=line, path=path):
                    self.expect(path, "int a;\n" + line + "\n", (2, rule))

    def test_what_looks_like_a_banned_call(self):
        self.expect("src/base/a.cc", "static_assert(sizeof(int) == 4);\ncontrol.sleep(word);\nnode->sleep(word);\n"
                    "void go_to_sleep(int);\nvoid sleep(Slot& slot);\nvoid Lane::sleep(Slot& slot) {}\nusing namespace std::chrono_literals;\nint sleepers(int);\n"
                    "// assert( and std::endl in a comment\nauto text = \"usleep(5) std::endl\";\n"
                    "auto raw = R\"x(\nassert(1)\n)x\";\nint million = 1'000'000; /* assert(2) */\n")

    def test_lines_keep_their_numbers_behind_literals(self):
        self.expect("src/base/a.cc", "/* one\ntwo */ auto s = R\"(\n\n)\"; char c = '\"';\nassert(c);\n", (5, "no-assert"))

    def test_the_clock_may_read_the_clock(self):
        self.expect("src/base/clock.cc", "auto t = std::chrono::steady_clock::now();\n")
        self.expect("examples/a.cc", "auto t = std::chrono::steady_clock::now();\n")

    def test_pragma_once(self):
        self.expect("src/base/a.hpp", "// #pragma once\nint a();\n", (1, "pragma-once"))

    def test_allowed_with_a_reason_only(self):
        self.expect("tests/a.cc", "usleep(5);  // tidy: allow no-sleep: measures the kernel's sleep itself\n")
        self.expect("tests/a.cc", "usleep(5);  // tidy: allow no-sleep:\n", (1, "no-sleep"))
        self.expect("tests/a.cc", "usleep(5);  // tidy: allow no-endl: the wrong rule\n", (1, "no-sleep"))

    def test_paths_of_machines(self):
        for folder in ("work", "root", "home"):
            self.expect("README.md", f"see {SLASH}{folder}{SLASH}someone/x\n", (1, "no-machine-path"))
            self.expect("tools/a.sh", f'cd "{SLASH}{folder}{SLASH}x"\n', (1, "no-machine-path"))
        self.expect("README.md", "see src/work/x, ../home/x, $HOME/x, ${dir}" + SLASH + "home/x, ~/root/x\n")

    def test_registries(self):
        for host in ("pypi.org/simple", "files.pythonhosted.org/x", "registry.npmjs.org", "crates.io/crates/x",
                     "repo1.maven.org/maven2", "deb.debian.org/debian"):
            self.expect("docs/a.md", f"from {HTTPS}{host}\n", (1, "no-registry-url"))
        self.expect("docs/a.md", f"{HTTPS}github.com/google/googletest and {HTTPS}spark.apache.org/docs\n")

    def test_missing_pages_are_warnings(self):
        files = {"src/base/a.cc": "int a;\n", "src/shm/a.cc": "int a;\n", "docs/design/base.md": "# base\n"}
        found, warnings = violations(files)
        self.assertEqual([], found)
        self.assertEqual(["src/shm"], warnings)

    def test_exit_status(self):
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "docs"))
            os.makedirs(os.path.join(root, "src", "shm"))
            with open(os.path.join(root, "docs", "ARCHITECTURE.md"), "w", encoding="utf-8") as file:
                file.write(ARCHITECTURE)
            source = os.path.join(root, "src", "shm", "a.cc")

            def status(text, *flags):
                with open(source, "w", encoding="utf-8") as file:
                    file.write(text)
                command = [sys.executable, os.path.join(HERE, "tidy.py"), "--root", root, *flags]
                return subprocess.run(command, capture_output=True, check=False).returncode

            self.assertEqual(0, status("int a;\n"))
            self.assertEqual(1, status("int a;\n", "--strict"))
            self.assertEqual(1, status("#include \"api/x.hpp\"\n"))


if __name__ == "__main__":
    unittest.main()
