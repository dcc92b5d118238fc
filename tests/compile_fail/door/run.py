#!/usr/bin/env python3
"""A wrong call gives exactly one error line. It begins with "rayx:", says which argument, and the few lines around it name what
was called and the user's own line.

run.py INCLUDE_DIR COMPILER...    compiles each case below with each compiler; exits 1 and prints what came if a case differs.
"""
import functools
import pathlib
import re
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
from compile_case import Compiler, run_all

HEADERS = """#include <rayx/rayx.hpp>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>
"""
# What every case may use.
DECLARATIONS = """
int square(int x) { return x * x; }
int add(int a, int b) { return a + b; }
void increase(int& x) { ++x; }
void fill(std::span<int>) {}
int peek(const int* x) { return *x; }
struct Node { int value; Node* next; };
int first(Node n) { return n.value; }
struct Named { std::string_view name; };
std::size_t length(Named n) { return n.name.size(); }
int apply(std::function<int(int)> f, int x) { return f(x); }
int run(int (*f)(int), int x) { return f(x); }
void write_to(std::ofstream) {}
int* leak() { return nullptr; }
int& global() { static int x; return x; }
std::string_view view() { return {}; }
std::span<const int> part() { return {}; }
std::vector<int*> leaks() { return {}; }
std::ofstream file() { return {}; }
struct Counter {
  explicit Counter(int start, std::string name = {}) : n(start) { (void)name; }
  int add(int k) { return n += k; }
  void into(int& out) { out = n; }
  const int& peek() const { return n; }
  int n;
};
struct Other { int get() { return 0; } int gone() = delete; };
struct NotMine { NotMine(const NotMine&) = default; int get() { return *p; } private: int* p = nullptr; int hidden() { return 0; } };
int take(int) { return 0; }
struct Abstract { virtual int f() = 0; virtual ~Abstract() = default; };
int own(std::unique_ptr<Abstract> p) { return p->f(); }
std::unique_ptr<Abstract> make() { return nullptr; }
int flag(bool b) { return b; }
int text(std::string s) { return s.empty(); }
class Taken {  // as those of <ranges>, which clang 15 cannot read
 public:
  std::vector<int>::iterator begin();
  std::vector<int>::iterator end();
 private:
  std::vector<int>* base_ = nullptr;
  std::ptrdiff_t first_ = 0, count_ = 0;
};
int front(Taken t) { return *t.begin(); }
Taken taken() { return {}; }
struct Functor { int k; int operator()(int x) const { return x + k; } };
struct AnonymousUnion { int kind; union { int a; float b; }; std::string s; };
int anonymous_union(AnonymousUnion u) { return u.a; }
struct NoDefault { explicit NoDefault(int) {} };
struct LateUnion { NoDefault n; int a[3]; union { int u; float f; }; };
int late_union(LateUnion u) { return u.u; }
struct NamedUnion { union { int a; float b; } u; };
int named_union(NamedUnion n) { return n.u.a; }
struct Derived : Node { int b; };
int derived(Derived d) { return d.b; }
struct Refers { int& r; };
int refers(Refers r) { return r.r; }
struct Bits { int a : 3; int b : 5; std::string s; };
int bits(Bits b) { return b.a; }
struct Grid { int numbers[3][4]; std::string cells[3][4]; };
std::size_t grid(Grid g) { return g.cells[0][0].size(); }
int deleted(int) = delete;
int take_over(std::string&& s) { return static_cast<int>(s.size()); }
struct Abstracted { virtual int f() = 0; virtual ~Abstracted() = default; };
struct Final final : std::runtime_error { using std::runtime_error::runtime_error; };
struct Hidden { int f() { return 0; } private: Hidden() {} };
int wait_for(std::thread t) { return t.joinable(); }
int held(std::map<std::string, std::vector<int*>>) { return 0; }
int text_of(const char* s) { return *s; }
int handle(rayx::ActorHandle<Counter>) { return 0; }
int numbers(std::vector<int>) { return 0; }
int ten(int, int, int, int, int, int, int, int, int, int) { return 0; }
std::function<int()> function() { return {}; }
"""
TOO = "the call has {} arguments than the function has parameters"

# (name, statement, part of the message, what was called as the compiler spells it)
CASES = [
    ("wrong type", 'rayx::remote<square>("text");', "rayx: argument 1 cannot be converted", "square"),
    ("wrong second type", 'rayx::remote<add>(1, std::string());', "rayx: argument 2 cannot be converted", "add"),
    ("too few", "rayx::remote<add>(1);", "rayx: argument 2 is missing: " + TOO.format("fewer"), "add"),
    ("none at all", "rayx::remote<square>();", "rayx: argument 1 is missing", "square"),
    ("too many", "rayx::remote<square>(1, 2);", "rayx: argument 2 is one too many: " + TOO.format("more"), "square"),
    ("options are not an argument", "rayx::remote<square>(rayx::TaskOptions{});", "rayx: argument 1 is missing", "square"),
    ("capture by value", "int k = 1; rayx::remote([k](int x) { return x + k; }, 1);", "rayx: the function object has captures", None),
    ("capture by reference", "int k = 1; rayx::remote([&k] { ++k; });", "rayx: the function object has captures", None),
    ("members", "rayx::remote(Functor{3}, 1);", "rayx: the function object has captures or members", "Functor"),
    ("captures in bind", "int k = 1; rayx::bind([k](int x) { return x + k; });", "rayx: the function object has captures", None),
    ("function pointer", "rayx::remote(&square, 1);", "rayx: a function is named at compile time", None),
    ("not a function", "rayx::remote(3, 1);", "rayx: this cannot be called as a task", None),
    ("mutable reference", "int x = 1; rayx::remote<increase>(x);", "rayx: argument 1 goes to a parameter that is a non-const reference", "increase"),
    ("mutable span", "rayx::remote<fill>(std::vector<int>(3));", "rayx: argument 1 goes to a parameter that is a non-const reference or std::span", "fill"),
    ("pointer", "int x = 1; rayx::remote<peek>(&x);", "rayx: argument 1 goes to a parameter that is or holds a pointer", "peek"),
    ("pointer inside", "rayx::remote<first>(Node{});", "rayx: argument 1 goes to a parameter that is or holds a pointer", "first"),
    ("view inside", "rayx::remote<length>(Named{});", "rayx: argument 1 goes to a parameter that holds a view", "length"),
    ("function object", "rayx::remote<apply>([](int x) { return x; }, 1);", "rayx: argument 1 goes to a parameter that is or holds a function", "apply"),
    ("function pointer argument", "rayx::remote<run>(&square, 1);", "rayx: argument 1 goes to a parameter that is or holds", "run"),
    ("stream", "rayx::remote<write_to>(std::ofstream());", "rayx: argument 1 goes to a parameter of a class that cannot be encoded", "write_to"),
    ("other reference", "rayx::remote<square>(rayx::ObjectRef<std::string>());", "rayx: argument 1 is an ObjectRef of a type that does not convert", "square"),
    ("reference to nothing", "rayx::remote<square>(rayx::ObjectRef<void>());", "rayx: argument 1 is an ObjectRef", "square"),
    ("result pointer", "rayx::remote<leak>();", "rayx: the result is or holds a pointer into the worker's memory", "leak"),
    ("result reference", "rayx::remote<global>();", "rayx: the result is a reference into the worker's memory", "global"),
    ("result view", "rayx::remote<view>();", "rayx: the result is or holds a view into the worker's memory", "view"),
    ("result span", "rayx::remote<part>();", "rayx: the result is or holds a view into the worker's memory", "part"),
    ("result with pointers", "rayx::remote<leaks>();", "rayx: the result is or holds a pointer", "leaks"),
    ("result stream", "rayx::remote<file>();", "rayx: the result's class cannot be encoded", "file"),
    ("constructor's arguments", 'rayx::actor<Counter>(std::vector<int>());', "rayx: the actor's class has no constructor that takes these arguments", "Counter"),
    ("constructor's arguments missing", "rayx::actor<Counter>();", "rayx: the actor's class has no constructor", "Counter"),
    ("constructor's pointer", "int x = 1; rayx::actor<NotMine>(&x);", "rayx: argument 1 goes to a parameter that is or holds a pointer", "NotMine"),
    ("method of another class", "rayx::ActorHandle<Counter>().call<&Other::get>();", "rayx: this is not a method of the actor's class", "Other::get"),
    ("function for a method", "rayx::ActorHandle<Counter>().call<&square>(1);", "rayx: this is not a method of the actor's class", "square"),
    ("method's argument", 'rayx::ActorHandle<Counter>().call<&Counter::add>("x");', "rayx: argument 1 cannot be converted", "Counter::add"),
    ("method's arguments missing", "rayx::ActorHandle<Counter>().call<&Counter::add>();", "rayx: argument 1 is missing", "Counter::add"),
    ("method's out parameter", "int x = 1; rayx::ActorHandle<Counter>().call<&Counter::into>(x);", "rayx: argument 1 goes to a parameter that is a non-const", "Counter::into"),
    ("method's result", "rayx::ActorHandle<Counter>().call<&Counter::peek>();", "rayx: the result is a reference", "Counter::peek"),
    ("put a pointer", "int x = 1; rayx::put(&x);", "rayx: put: argument 1 is or holds a pointer", None),
    ("put a view", "rayx::put(std::vector<std::string_view>());", "rayx: put: argument 1 is or holds a view", None),
    ("put a closure", "int k = 1; rayx::put([k] { return k; });", "rayx: put: argument 1 is or holds a function", None),
    ("put a stream", "std::ofstream f; rayx::put(f);", "rayx: put: argument 1 is of a class that cannot be encoded", None),
    ("map's function", "rayx::map<square>(std::vector<std::string>());", "rayx: argument 1 cannot be converted", "square"),
    ("parallel_for's bound value", 'rayx::parallel_for(0, 10, rayx::bind<add>("x"));', "rayx: argument 1 cannot be converted", "add"),
    ("map's bound value", 'rayx::map(rayx::bind<add>("x"), std::vector<int>());', "rayx: argument 1 cannot be converted", "add"),
    ("map's captures", "int k = 1; rayx::map([k](int x) { return x + k; }, std::vector<int>{1});", "rayx: the function object has captures", None),
    ("map's function pointer", "rayx::map(&square, std::vector<int>{1});", "rayx: a function is named at compile time", None),
    ("map over a number", "rayx::map<square>(3);", "rayx: the items that map goes over are not a range", "square"),
    ("map over move-only items", "rayx::map([](const std::unique_ptr<int>& p) { return *p; }, std::vector<std::unique_ptr<int>>());", "rayx: the items that map goes over are copied", None),
    ("parallel_for's captures", "int k = 1; rayx::parallel_for(0, 10, [&k](int) { ++k; });", "rayx: the function object has captures", None),
    ("parallel_for's function pointer", "rayx::parallel_for(0, 10, &square);", "rayx: a function is named at compile time", None),
    ("parallel_for over numbers with a fraction", "rayx::parallel_for(0.0, 1.0, [](double) {});", "rayx: parallel_for counts with integers: argument 1", None),
    ("bind's function pointer", "rayx::bind(&square, 1);", "rayx: a function is named at compile time", None),
    ("get a number", "rayx::get(3);", "rayx: get: argument 1 is not an ObjectRef", None),
    ("get numbers", "rayx::get(std::vector<int>());", "rayx: get: argument 1 is not an ObjectRef", None),
    ("try_get a number", "rayx::try_get(3);", "rayx: try_get: argument 1 is not", None),
    ("wait for one", "rayx::ObjectRef<int> r; rayx::wait(r);", "rayx: wait: argument 1 is not", None),
    ("wait for numbers", "rayx::wait(std::vector<int>());", "rayx: wait: argument 1 is not", None),
    ("as_completed of numbers", "rayx::as_completed(std::vector<int>());", "rayx: as_completed: argument 1 is not", None),
    ("kill a task", "rayx::ObjectRef<int> r; rayx::kill(r);", "rayx: kill: argument 1 is not an ActorHandle", None),
    ("method as a task", "rayx::remote<&Counter::add>(1);", "rayx: this cannot be called as a task", "Counter::add"),
    ("method as a task without arguments", "rayx::remote<&Counter::peek>();", "rayx: this cannot be called as a task", "Counter::peek"),
    ("generic lambda", "int x = 1; rayx::remote([](auto& y) { return y; }, x);", "rayx: the function object cannot be called with these", None),
    ("const actor", "rayx::actor<const Counter>(1);", "rayx: an actor is made from a class", None),
    ("void actor", "rayx::actor<void>();", "rayx: an actor is made from a class", None),
    ("actor that is only declared", "rayx::actor<struct Declared>();", "rayx: an actor is made from a class", "Declared"),
    ("pointer to abstract", "rayx::remote<own>(std::unique_ptr<Abstract>());", "rayx: argument 1 goes to a parameter of a class that cannot", "own"),
    ("result abstract", "rayx::remote<make>();", "rayx: the result's class cannot be encoded", "make"),
    ("pointer for a bool", "int x = 1; rayx::remote<flag>(&x);", "rayx: argument 1 cannot be converted", "flag"),
    ("nullptr for a string", "rayx::remote<text>(nullptr);", "rayx: argument 1 cannot be converted", "text"),
    ("view", "rayx::remote<front>(Taken());", "rayx: argument 1 goes to a parameter that holds a view", "front"),
    ("result of a view class", "rayx::remote<taken>();", "rayx: the result is or holds a view", "taken"),
    ("parallel_for's function", "rayx::parallel_for<add>(0, 10);", "rayx: argument 2 is missing", "add"),
    ("anonymous union", "rayx::remote<anonymous_union>(AnonymousUnion{});", "rayx: argument 1 goes to a parameter of a class that cannot", "anonymous_union"),
    ("anonymous union beside what has no default", "rayx::remote<late_union>(LateUnion{NoDefault(1), {}, {}});", "rayx: argument 1 goes to a parameter of a class that cannot", "late_union"),
    ("put of an anonymous union", "rayx::put(std::vector<AnonymousUnion>());", "rayx: put: argument 1 is of a class that cannot", None),
    ("named union", "rayx::remote<named_union>(NamedUnion{});", "rayx: argument 1 goes to a parameter of a class that cannot", "named_union"),
    ("base class", "rayx::remote<derived>(Derived{});", "rayx: argument 1 goes to a parameter of a class that cannot", "derived"),
    ("reference member", "int x = 1; rayx::remote<refers>(Refers{x});", "rayx: argument 1 goes to a parameter that is or holds a pointer", "refers"),
    ("thread", "rayx::remote<wait_for>(std::thread());", "rayx: argument 1 goes to a parameter of a class that cannot", "wait_for"),
    ("pointers in containers", "rayx::remote<held>(std::map<std::string, std::vector<int*>>());", "rayx: argument 1 goes to a parameter that is or holds a pointer", "held"),
    ("C string", 'rayx::remote<text_of>("x");', "rayx: argument 1 goes to a parameter that is or holds a pointer", "text_of"),
    ("vector of references", "rayx::remote<numbers>(std::vector<rayx::ObjectRef<int>>());", "rayx: argument 1 cannot be converted", "numbers"),
    ("other handle", "rayx::remote<handle>(rayx::ActorHandle<Other>());", "rayx: argument 1 cannot be converted", "handle"),
    ("tenth", 'rayx::remote<ten>(1, 2, 3, 4, 5, 6, 7, 8, 9, "x");', "rayx: argument 9 or a later one cannot be converted", "ten"),
    ("result function", "rayx::remote<function>();", "rayx: the result's class cannot be encoded", "function"),
    ("std::function", "std::function<int(int)> f = square; rayx::remote(f, 1);", "rayx: the function object has captures", None),
    ("std::bind", "rayx::remote(std::bind(square, 1));", "rayx: the function object has captures", None),
    ("method and object", "Counter c(1); rayx::remote<&Counter::add>(c, 1);", "rayx: this cannot be called as a task", "Counter::add"),
    ("remote without a function", "rayx::remote();", "rayx: remote: argument 1 is missing", None),
    ("remote of a class", "rayx::remote<Counter>(1);", "rayx: remote: argument 1 is not of the type", "Counter"),
    ("options before a lambda", "rayx::remote(rayx::TaskOptions{}, [](int x) { return x; }, 1);", "rayx: remote: argument 1 is TaskOptions", None),
    ("options after the arguments", "rayx::remote<square>(1, rayx::TaskOptions{});", "rayx: argument 2 is one too many", "square"),
    ("options of an actor", "rayx::remote<square>(rayx::ActorOptions{}, 1);", "rayx: argument 2 is one too many", "square"),
    ("bind without a function", "rayx::bind();", "rayx: bind: argument 1 is missing", None),
    ("bound and too many", "rayx::remote(rayx::bind<add>(1), 1, 2);", "rayx: argument 3 is one too many", "add"),
    ("private constructor", "rayx::actor<Hidden>();", "rayx: the actor's class has no constructor", "Hidden"),
    ("abstract actor", "rayx::actor<Abstracted>();", "rayx: the actor's class has no constructor", "Abstracted"),
    ("actor by pointer", "rayx::actor<Counter*>(1);", "rayx: an actor is made from a class", "Counter"),
    ("method as an argument", "rayx::ActorHandle<Counter>().call(&Counter::add, 1);", "rayx: call: argument 1 is not where the method goes", "Counter"),
    ("member for a method", "rayx::ActorHandle<Counter>().call<&Counter::n>();", "rayx: this is not a method", "Counter::n"),
    ("put nothing", "rayx::put();", "rayx: put: argument 1 is missing", None),
    ("put two", "rayx::put(1, 2);", "rayx: put: argument 2 is one too many", None),
    ("put an array", "int a[3] = {}; rayx::put(a);", "rayx: put: argument 1 is a C array, which is passed as a pointer in C++. Use std::array", None),
    ("put a builder of strings", "rayx::ArrayBuilder<std::string> b(3); rayx::put(std::move(b));", "rayx: the elements of an Array are numbers", "basic_string"),
    ("get nothing", "rayx::get();", "rayx: get: argument 1 is missing", None),
    ("timeout without a unit", "rayx::ObjectRef<int> r; rayx::get(r, 3);", "rayx: get: argument 2 is neither a duration nor", None),
    ("timeout without a unit for several", "std::vector<rayx::ObjectRef<int>> r; rayx::get(r, 3);", "rayx: get: argument 2 is neither a duration nor", None),
    ("timeout after two", "rayx::ObjectRef<int> r; rayx::get(r, r, std::chrono::seconds(1));", "rayx: get: argument 3 is not an ObjectRef. For a timeout", None),
    ("number among references", "rayx::ObjectRef<int> r; rayx::get(r, 3, r);", "rayx: get: argument 2 is not an ObjectRef", None),
    ("try_get with a number", "rayx::ObjectRef<int> r; rayx::try_get(r, 3);", "rayx: try_get: argument 2 is not a duration", None),
    ("try_get nothing", "rayx::try_get();", "rayx: try_get: argument 1 is missing", None),
    ("wait with a number", "std::vector<rayx::ObjectRef<int>> r; rayx::wait(r, 3);", "rayx: wait: argument 2 is not WaitOptions", None),
    ("wait nothing", "rayx::wait();", "rayx: wait: argument 1 is missing", None),
    ("as_completed with a number", "std::vector<rayx::ObjectRef<int>> r; rayx::as_completed(r, 1);", "rayx: as_completed: argument 2 is one too many", None),
    ("kill nothing", "rayx::kill();", "rayx: kill: argument 1 is missing", None),
    ("map without items", "rayx::map<square>();", "rayx: map: argument 1 is missing", "square"),
    ("map without a function", "rayx::map(std::vector<int>{1});", "rayx: map: argument 2 is missing", None),
    ("map over two ranges", "rayx::map<square>(std::vector<int>{1}, std::vector<int>{2});", "rayx: map: argument 2 is not ChunkOptions", "square"),
    ("map with a number", "rayx::map([](int x) { return x; }, std::vector<int>{1}, 4);", "rayx: map: argument 3 is not ChunkOptions", None),
    ("parallel_for without a function", "rayx::parallel_for(0, 10);", "rayx: parallel_for: argument 3 is missing, the function", None),
    ("parallel_for without an end", "rayx::parallel_for<square>(10);", "rayx: parallel_for: argument 2 is missing", "square"),
    ("parallel_for with a step", "rayx::parallel_for(0, 10, 1, [](int) {});", "rayx: parallel_for: argument 4 is not ChunkOptions", None),
    ("register a number", "rayx::register_exception<int>();", "rayx: register_exception: a class that is not final", None),
    ("register a final class", "rayx::register_exception<Final>();", "rayx: register_exception: a class that is not final", "Final"),
    ("init with a number", "rayx::init(8);", "rayx: init: argument 1 is not a Config", None),
]
# The compilers' own lines come first here, and nothing can be done about it: one error line, and few lines. (name, statement, part of the
# message of either compiler.)
OWN_WORDS = [
    ("private method", "rayx::ActorHandle<NotMine>().call<&NotMine::hidden>();", "private"),
    ("deleted method", "rayx::ActorHandle<Other>().call<&Other::gone>();", "deleted function"),
    ("get as a method", "rayx::remote<square>(1).get();", "no member named"),
]
# clang has a line of its own, g++ has none.
DELETED = ("deleted function", "rayx::remote<deleted>(1);",
           {"rayx: the function is declared with = delete", "attempt to use a deleted function"})
# Nothing wrong: the runner itself and the declarations work.
GOOD = """auto r = rayx::remote<square>(3); auto c = rayx::actor<Counter>(1, "name"); (void)c.call<&Counter::add>(r);
(void)rayx::remote<take>(rayx::TaskOptions{}, 1); (void)rayx::map<square>(std::vector<int>{1}); rayx::get(r);
(void)rayx::remote<bits>(Bits{}); (void)rayx::remote<grid>(Grid{}); (void)rayx::map<take_over>(std::vector<std::string>{""});
rayx::parallel_for(0, 3, [](int&&) {}); (void)rayx::get(r, r); (void)rayx::get(r, std::chrono::seconds(1));"""

LINES_MAX = 10
PLAIN_STEP = 16  # each 16th case is compiled without the precompiled header too


def source(statement):
    # The results are not used: warnings of that would be lines of their own.
    before, call = re.fullmatch(r"(.*; )?(rayx::.*)", statement, re.DOTALL).groups("")
    return f"{DECLARATIONS}\nvoid user() {{\n  {before}(void){call}\n}}\n"


def check(compiler, name, statement, messages, called):
    """What is wrong with the compiler's answer, or None."""
    answer = compiler.compile(source(statement))
    problems = []
    if answer.code == 0:
        problems.append("it compiled")
    if len(answer.errors) != 1:
        problems.append(f"{len(answer.errors)} error lines instead of 1")
    elif not any(message in answer.errors[0] for message in messages):
        problems.append(f"the error does not say {' or '.join(messages)!r}")
    around = answer.text.split("error:")[0] + "".join(l for l in answer.lines if "note:" in l or "required from" in l)
    if called is not None and called not in around:
        problems.append(f"nothing names {called!r}")
    if len(answer.lines) > LINES_MAX:
        problems.append(f"{len(answer.lines)} lines, at most {LINES_MAX} are allowed")
    return f"{compiler.name}: {name}: {'; '.join(problems)}\n{statement}\n{answer.text}" if problems else None


def check_good(compiler):
    answer = compiler.compile(source(GOOD))
    return f"{compiler.name}: right calls do not compile:\n{answer.text}" if answer.code != 0 else None


def main():
    include, commands = sys.argv[1], sys.argv[2:]
    with tempfile.TemporaryDirectory() as scratch:
        compilers = [Compiler(command, include, HEADERS, scratch) for command in commands]
        jobs = [functools.partial(check_good, compiler) for compiler in compilers]
        for compiler in compilers:
            jobs += [functools.partial(check, compiler, name, statement, [": " + message], called)
                     for name, statement, message, called in CASES]
            jobs += [functools.partial(check, compiler, name, statement, [message], None)
                     for name, statement, message in OWN_WORDS]
            jobs.append(functools.partial(check, compiler, *DELETED, None))
        jobs += [functools.partial(compiler.differs_from_plain, source(case[1]))
                 for compiler in compilers for case in CASES[::PLAIN_STEP]]
        failures = run_all(jobs)
    print("\n".join(failures))
    print(f"door_compile_fail: {len(jobs)} runs, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
