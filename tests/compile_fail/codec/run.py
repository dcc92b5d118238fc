#!/usr/bin/env python3
"""A type that cannot be encoded gives exactly one error line, and it begins with "rayx:" and says what to do.

run.py INCLUDE_DIR COMPILER...    compiles each case below with each compiler; exits 1 and prints what came if a case differs.
"""
import functools
import pathlib
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
from compile_case import Compiler, run_all

HEADERS = """#include <rayx/codec.hpp>
#include <atomic>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <vector>
"""

# (name, declarations, type, a part of the message). Each type goes through encoded_size, encode and decode.
CASES = [
    ("pointer", "struct T { int a; const char* text; };", "T", "raw pointer"),
    ("deep pointer", "struct T { std::map<int, std::vector<std::optional<int*>>> m; };", "T", "raw pointer"),
    ("reference", "struct T { int& r; };", "T", "a reference"),
    ("string_view", "", "std::vector<std::string_view>", "a view"),
    ("span", "struct T { std::span<const int> s; };", "T", "a view"),
    ("span of strings", "", "std::span<const std::string>", "a view"),
    ("reference_wrapper", "", "std::reference_wrapper<int>", "a view"),
    ("mutable span", "", "std::span<int>", "std::span<const T>"),
    ("function pointer", "using T = void (*)();", "T", "a function"),
    ("member pointer", "struct S { int a; }; using T = int S::*;", "T", "a function"),
    ("function", "struct T { std::function<int()> f; };", "T", "a function"),
    ("closure", "inline auto make() { int k = 3; return [k] { return k; }; } using T = decltype(make());", "T", "captures"),
    ("atomic", "struct T { std::atomic<int> a; };", "T", "an atomic"),
    ("mutex", "struct T { std::mutex m; };", "T", "a lock"),
    ("stream", "", "std::ofstream", "a stream"),
    ("union", "union T { int a; float b; };", "T", "std::variant"),
    ("base", "struct B { int a; }; struct T : B { int b; };", "T", "a base class"),
    ("33 members", "struct T { int " + ", ".join(f"a{i}" for i in range(33)) + "; };", "T", "more than 32 members"),
    ("unknown class", "class T { public: T(); private: std::string s; };", "T", "rayx_serialize"),
    ("inside a class of its own", "class T { public: template <class A> friend void rayx_serialize(A& a, T& t) { a(t.p); } "
     "private: int* p = nullptr; };", "T", "raw pointer"),
    ("polymorphic", "struct T { virtual ~T(); template <class A> friend void rayx_serialize(A&, T&) {} };",
     "std::unique_ptr<T>", "virtual functions"),
    ("pointer to array", "", "std::unique_ptr<int[]>", "std::vector"),
    ("deleter", "struct D { void operator()(int*); };", "std::unique_ptr<int, D>", "deleter"),
    ("comparator", "", "std::set<int, bool (*)(int, int)>", "comparator"),
    ("incomplete", "struct T;", "std::unique_ptr<T>", "only declared"),
]
# Nothing wrong: the runner itself works.
PLAIN_STEP = 10  # each 10th case is compiled without the precompiled header too
GOOD = ("good", "struct T { int a; std::map<std::string, std::vector<T>> m; };", "T")

USES = {
    "encode": "void use(const {t}& v, rayx::codec::SizeContext& s, rayx::codec::Encoder& e) "
              "{{ rayx::codec::encoded_size(v, s); rayx::codec::encode(v, e); }}",
    "decode": "void use(rayx::codec::Decoder& d) {{ rayx::codec::decode<{t}>(d); }}",
    "trait": "static_assert(!rayx::codec::is_encodable_v<{t}>);",
}


def source(declarations, use):
    return f"{declarations}\n{use}\n"


def check(compiler, each, kind):
    """What is wrong with the compiler's answer, or None."""
    case, declarations, name, message = each
    answer = compiler.compile(source(declarations, USES[kind].format(t=name)))
    # Wherever decode is reached by a parameter's view, the value itself is refused.
    wanted = "a view" if (case == "mutable span" and kind == "decode") else message
    errors = answer.errors
    if answer.code == 0 or len(errors) != 1 or "rayx: " not in errors[0] or wanted not in errors[0]:
        return (f"{compiler.name}: {case} ({kind}): wanted one error line with 'rayx: ' and '{wanted}', got "
                f"{len(errors)}:\n{answer.text or '(it compiled)'}")
    return None


def check_good(compiler, declarations, use, what):
    answer = compiler.compile(source(declarations, use))
    return f"{compiler.name}: {what}:\n{answer.text}" if answer.code != 0 else None


def main():
    include, commands = sys.argv[1], sys.argv[2:]
    _, good, good_name = GOOD
    # All traits in one file: none is an error by itself.
    traits = "\n".join(f"namespace n{i} {{ {case[1]}\n{USES['trait'].format(t=case[2])} }}"
                       for i, case in enumerate(CASES) if case[0] != "inside a class of its own")
    with tempfile.TemporaryDirectory() as scratch:
        jobs = []
        for compiler in [Compiler(command, include, HEADERS, scratch) for command in commands]:
            jobs += [functools.partial(check_good, compiler, good, USES[kind].format(t=good_name),
                                       f"a good type does not compile ({kind})") for kind in ("encode", "decode")]
            jobs.append(functools.partial(check_good, compiler, traits, "", "a trait is not false or is an error itself"))
            # The caller of decode destroys what he asked for, and the compiler has its own line for a class that is only declared.
            jobs += [functools.partial(check, compiler, case, kind) for case in CASES for kind in ("encode", "decode")
                     if (case[0], kind) != ("incomplete", "decode")]
            jobs += [functools.partial(compiler.differs_from_plain, source(case[1], USES["encode"].format(t=case[2])))
                     for case in CASES[::PLAIN_STEP]]
        failures = run_all(jobs)
    print("\n".join(failures))
    print(f"codec_compile_fail: {len(jobs)} runs, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
