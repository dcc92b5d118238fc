"""Runs a GoogleTest program that has rayx inside, with a filter and repetitions, and counts what was executed in all processes.

    gtest_host.py PROGRAM
"""

import collections
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "consumers"))
import consumer_kit as kit

REPEAT = 3


def main():
    with tempfile.TemporaryDirectory() as scratch:
        file = pathlib.Path(scratch) / "executions"
        result = kit.run_anyhow([sys.argv[1], "--gtest_filter=Inside.*-*.FilteredAway", f"--gtest_repeat={REPEAT}"],
                                env=kit.with_variables(EXECUTIONS=file))
        counted = collections.Counter(file.read_text().splitlines())
    # Whether environments are set up anew for each repetition differs between GoogleTest's versions.
    environments = counted.pop("environment", 0)
    expected = {"suite": REPEAT, "test Tasks": REPEAT, "test AnActor": REPEAT, "task": 3 * REPEAT}
    if result.returncode != 0 or counted != expected or environments not in (1, REPEAT):
        kit.fail(f"exit code {result.returncode}; executed were {dict(counted)}, not {expected}; {environments} environments\n"
                 f"{result.stdout}\n{result.stderr}")
    # Workers print no banner of GoogleTest's either.
    if result.stdout.count("2 tests from 1 test suite ran") != REPEAT:
        kit.fail(result.stdout)


main()
