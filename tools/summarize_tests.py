#!/usr/bin/env python3
"""summarize_tests.py TESTLOG.JSON MESON-STATUS: names what failed or was skipped and ends with one plain line.

Skipped are whole programs, as meson counts them, and single tests of programs that passed, with the reason that the program
prints (tests/kit/main.cc). Exit status: 0 only if meson succeeded, at least one test ran and none failed."""
import json
import re
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP", "IGNORED"}
SKIPPED_LINE = re.compile(r"^rayx: skipped: (.*)$", re.MULTILINE)


def main(log_path, meson_status):
    results = {}
    try:
        with open(log_path, encoding="utf-8", errors="replace") as log:
            for line in log:
                if line.strip():
                    entry = json.loads(line)
                    results[entry["name"]] = entry
    except FileNotFoundError:
        pass

    failed = {n: e for n, e in results.items() if e["result"] not in PASSED | SKIPPED}
    skipped = {n: e for n, e in results.items() if e["result"] in SKIPPED}
    parts = [f"{name}: {line}" for name, entry in results.items() if entry["result"] in PASSED
             for line in SKIPPED_LINE.findall(entry.get("stdout", ""))]
    for name in [*skipped, *parts]:
        print(f"skipped: {name}")
    for name, entry in failed.items():
        print(f"failed: {name} ({entry['result']}, {entry.get('duration', 0):.1f} s)")
    if not results:
        print("rayx: no test ran; 'meson test -C build/release --list' shows the names and suites")
    elif meson_status != 0 and not failed:
        print(f"rayx: meson test ended with status {meson_status} although no test failed; its output is above")
    print(f"{len(results) - len(failed) - len(skipped)} passed, {len(failed)} failed, {len(skipped) + len(parts)} skipped")
    return 0 if results and not failed and meson_status == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
