// A user's program with everything that can happen to one. The first argument names what; cluster tests start it, hurt it, and
// look at what it prints and leaves behind.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <rayx/rayx.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

[[noreturn]] void pause_for_ever() {
  for (;;) ::pause();
}
void say(const std::string& text) { std::cout << text << '\n' << std::flush; }

// ---- Static constructors that behave in another way in workers

struct Constructor {
  Constructor() {
    const char* const what = std::getenv("SCENARIO_CONSTRUCTOR");
    if (what == nullptr || std::getenv("SCENARIO_DRIVER_PID") == nullptr) return;
    if (std::string(what) == "exit") {
      std::fputs("the licence is missing\n", stderr);
      std::exit(3);
    }
    if (std::string(what) == "hang") pause_for_ever();
  }
} constructor;

// A runtime of a static constructor, and functions and globals that come after it.
struct Global {
  Global() {
    if (std::getenv("SCENARIO_GLOBAL") != nullptr) runtime = rayx::init({.num_cpus = 1});
  }
  rayx::Runtime runtime;
} global;
const std::string after_global = std::string("made ") + "after it";
std::string read_after_global() { return after_global; }

// ---- Work

int one() { return 1; }
int my_pid() { return ::getpid(); }
int sleep_for_ever() { pause_for_ever(); }
int crash_by_null(int x) {
  std::cerr << "about to read through a null pointer\n";
  volatile int* null = nullptr;
  return *null + x;
}
int call_abort() {
  std::puts("before the abort");
  std::fflush(stdout);
  std::abort();
}
int call_exit() { std::exit(3); }
void throw_it() { throw std::runtime_error("nobody catches this"); }
int throw_through_noexcept() noexcept {
  throw_it();
  return 0;
}
int note_and_crash(const std::string& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (::write(file, "x", 1) != 1) std::abort();
  ::close(file);
  ::raise(SIGKILL);
  return 0;
}
// Crashes as long as fewer than `times` attempts are noted.
int crash_at_first(const std::string& path, int times) {
  const int file = ::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (::lseek(file, 0, SEEK_END) >= times) return 42;
  return note_and_crash(path);
}
int write_bytes(int descriptor, const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t bytes = ::write(descriptor, text.data() + at, text.size() - at);
    if (bytes <= 0) std::abort();
    at += static_cast<std::size_t>(bytes);
  }
  return 0;
}
int write_and_die(int descriptor, const std::string& text) {
  write_bytes(descriptor, text);
  ::raise(SIGKILL);
  return 0;
}
int spawn_and_sleep() {
  if (::fork() == 0) pause_for_ever();
  pause_for_ever();
}

struct Holder {
  std::vector<int> values = std::vector<int>(1000);
  int size() { return static_cast<int>(values.size()); }
  int crash() { return crash_by_null(1); }
  int wait_for_ever() { pause_for_ever(); }
};

// ---- Scenarios

// Everything is in use: tasks that never end, one of them with a child of its own, an actor, objects.
struct Busy {
  rayx::ObjectRef<int> sleeper = rayx::remote<sleep_for_ever>();
  rayx::ObjectRef<int> parent;
  rayx::ObjectRef<int> waiting = rayx::remote<one>();
  rayx::ActorHandle<Holder> holder = rayx::actor<Holder>();
  rayx::ObjectRef<std::vector<int>> object = rayx::put(std::vector<int>(1 << 20));
  explicit Busy(bool with_child) {
    parent = with_child ? rayx::remote<spawn_and_sleep>() : rayx::remote<sleep_for_ever>();
    if (rayx::get(holder.call<&Holder::size>()) != 1000) std::abort();
    say("busy");
  }
};

int end(const std::string& how) {
  rayx::Runtime runtime = rayx::init({.num_cpus = 2});
  static Busy* const busy = new Busy(how != "pause without children");  // not even its references are dropped
  if (how == "exit") std::exit(0);
  if (how == "exit in a thread") std::thread([] { std::exit(0); }).join();
  if (how == "_exit") ::_exit(0);
  if (how == "exception") throw std::runtime_error("leaves main");
  if (how == "abort") std::abort();
  if (how.starts_with("pause")) rayx::get(busy->sleeper);
  return 0;
}

int died(const std::string& how) {
  const rayx::Runtime runtime = rayx::init();
  const rayx::TaskOptions once{.max_retries = 0};
  try {
    if (how == "null") rayx::get(rayx::remote<crash_by_null>(once, 1));
    if (how == "abort") rayx::get(rayx::remote<call_abort>(once));
    if (how == "exit") rayx::get(rayx::remote<call_exit>(once));
    if (how == "terminate") rayx::get(rayx::remote<throw_through_noexcept>(once));
    if (how == "actor") {
      auto holder = rayx::actor<Holder>();
      rayx::get(holder.call<&Holder::crash>());
    }
    return 1;
  } catch (const rayx::WorkerDied& error) {
    say(std::string("WorkerDied: ") + error.what());
  } catch (const rayx::ActorDied& error) {
    say(std::string("ActorDied: ") + error.what());
  }
  say("and the next task gives " + std::to_string(rayx::get(rayx::remote<one>())));
  return 0;
}

int retries(const std::string& path) {
  const rayx::Runtime runtime = rayx::init();
  say("in the end " + std::to_string(rayx::get(rayx::remote<crash_at_first>(path, 3))));
  try {
    rayx::get(rayx::remote<note_and_crash>(path + ".never"));
  } catch (const rayx::WorkerDied& error) {
    say(error.what());
  }
  return 0;
}

int output() {
  const rayx::Runtime runtime = rayx::init({.num_cpus = 1});  // one worker: lines of several have no order
  std::string many;
  for (int i = 0; i < 20'000; ++i) many += "line " + std::to_string(i) + "\n";
  rayx::get(rayx::remote<write_bytes>(1, many));
  rayx::get(rayx::remote<write_bytes>(2, std::string("to stderr\n")));
  rayx::get(rayx::remote<write_bytes>(1, std::string("no line end")));
  try {
    rayx::get(rayx::remote<write_and_die>(rayx::TaskOptions{.max_retries = 0}, 1, many + "and death"));
  } catch (const rayx::WorkerDied&) {
  }
  return 0;
}

int thread() {
  int result = 0;
  std::thread([&] {
    const rayx::Runtime runtime = rayx::init();
    result = rayx::get(rayx::remote<one>());
  }).join();
  // The thread that called init is gone; another one goes on.
  rayx::Runtime second;
  std::thread([&] { second = rayx::init(); }).join();
  for (int i = 0; i < 100; ++i) result += rayx::get(rayx::remote<one>());
  say("result " + std::to_string(result));
  return 0;
}

int before_init(int argc, char** argv) {
  say("side effect");
  for (int i = 1; i < argc; ++i) say(std::string("argument ") + argv[i]);
  const rayx::Runtime runtime = rayx::init();
  std::vector<rayx::ObjectRef<int>> refs;
  for (int i = 0; i < 10; ++i) refs.push_back(rayx::remote<one>());
  say("tasks " + std::to_string(rayx::get(refs).size()));
  return 0;
}

// Both sides of a fork of the user's go on as they should; the child ends with exit(), through all destructors.
int user_fork() {
  rayx::Runtime runtime = rayx::init();
  auto ref = rayx::remote<one>();
  auto array = rayx::put(std::vector<int>(100'000, 7));
  rayx::get(ref);
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      rayx::get(rayx::remote<one>());
      say("child: no error");
    } catch (const rayx::Exception& error) {
      say(std::string("child: ") + error.what());
    }
    return 0;
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  say("child ended with " + std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : -1));
  say("parent: " + std::to_string(rayx::get(rayx::remote<one>()) + rayx::get(array)[5]));
  // exec after fork, as system() and popen() do it
  say("system: " + std::to_string(std::system("true")));
  return 0;
}

int constructor_in_worker() {
  ::setenv("SCENARIO_DRIVER_PID", std::to_string(::getpid()).c_str(), 1);
  try {
    const rayx::Runtime runtime = rayx::init();
    say("initialised");
    rayx::get(rayx::remote<one>());
    say("no error");
  } catch (const std::exception& error) {
    say(std::string("error: ") + error.what());
  }
  return 0;
}

void forbid(std::vector<long> calls, int error) {
  std::vector<sock_filter> code = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const long call : calls) {
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    say("no seccomp here");
    std::exit(77);
  }
}

int seccomp(const std::string& what) {
  const int error = what.ends_with("EPERM") ? EPERM : ENOSYS;
  if (what.starts_with("pidfd")) forbid({SYS_pidfd_open, SYS_pidfd_send_signal}, error);
  if (what.starts_with("memfd")) forbid({SYS_memfd_create}, error);
  if (what.starts_with("both")) forbid({SYS_pidfd_open, SYS_pidfd_send_signal, SYS_memfd_create}, error);
  try {
    const rayx::Runtime runtime = rayx::init();
    say("result " + std::to_string(rayx::get(rayx::remote<one>())));
    auto holder = rayx::actor<Holder>();
    say("size " + std::to_string(rayx::get(holder.call<&Holder::size>())));
    ::kill(rayx::get(rayx::remote<my_pid>()), SIGKILL);
    say("after a kill " + std::to_string(rayx::get(rayx::remote<one>())));
  } catch (const std::exception& error_of_init) {
    say(std::string("error: ") + error_of_init.what());
  }
  return 0;
}

// Destroyed after main, when the runtime is gone or going.
struct GetsAtTheEnd {
  std::string name;
  rayx::ObjectRef<int> ref;
  rayx::ObjectRef<int> never;
  ~GetsAtTheEnd() {
    if (!ref) return;
    for (auto* one_of_them : {&ref, &never}) {
      try {
        say(name + ": got " + std::to_string(rayx::get(*one_of_them)));
      } catch (const std::exception& error) {
        say(name + ": " + error.what());
      }
    }
    try {
      (void)rayx::remote<one>();
      say(name + ": no error");
    } catch (const std::exception& error) {
      say(name + ": " + error.what());
    }
  }
};
GetsAtTheEnd of_the_program;

int get_in_destructor(const std::string& how) {
  static rayx::Runtime runtime_of_function;
  rayx::Runtime runtime = rayx::init({.num_cpus = 1});
  of_the_program.name = "static";
  of_the_program.ref = rayx::remote<one>();
  rayx::get(of_the_program.ref);
  of_the_program.never = rayx::remote<sleep_for_ever>();
  if (how == "static") {
    runtime_of_function = std::move(runtime);  // ends after main, before what was made before it
  } else if (how == "thread") {
    static GetsAtTheEnd of_the_thread{"thread", {}, {}};
    static std::atomic<bool> is_at_get = false;
    static std::thread waiter([] {
      of_the_thread.ref = of_the_program.ref;
      of_the_thread.never = of_the_program.never;
      is_at_get = true;
      is_at_get.notify_one();
      try {
        rayx::get(of_the_program.never);
        say("waiter: no error");
      } catch (const std::exception& error) {
        say(std::string("waiter: ") + error.what());
      }
    });
    is_at_get.wait(false);  // most often it sleeps a little later; whenever the end comes, it must hear of it
    rayx::shutdown();
    waiter.join();
  }
  return 0;
}

// A task that forks. The child does what a child should not; the task gives what became of it.
int fork_and(const std::string& what) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (what == "return") return 100;
    if (what == "throw") throw std::runtime_error("in the child");
    try {
      (void)rayx::remote<one>();
    } catch (const std::exception& error) {
      std::cerr << error.what() << '\n' << std::flush;
      ::_exit(5);
    }
    ::_exit(6);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}
int fork_in_task() {
  const rayx::Runtime runtime = rayx::init({.num_cpus = 1});
  for (const std::string what : {"return", "throw", "use"})
    say(what + " " + std::to_string(rayx::get(rayx::remote<fork_and>(rayx::TaskOptions{.max_retries = 0}, what))));
  return 0;
}

// As after `>&-`, or in a daemon: what is written to stdout must not end up in a file of the runtime's.
int closed_descriptors() {
  for (const int descriptor : {0, 1, 2}) ::close(descriptor);
  try {
    const rayx::Runtime runtime = rayx::init({.num_cpus = 1});
    for (int i = 0; i < 100; ++i) {
      say("a line");
      std::cerr << "another line\n";
      if (rayx::get(rayx::remote<one>()) != 1) return 1;
    }
  } catch (const std::exception&) {
    return 2;
  }
  return 0;
}

int global_runtime() {
  say(rayx::get(rayx::remote<read_after_global>()));
  return 0;
}

int say_lines(const std::string& text, bool on_stderr) {
  (on_stderr ? std::cerr : std::cout) << text << '\n' << std::flush;
  return 0;
}
int crash_after(const std::string& text) {
  std::cout << text << '\n' << std::flush;
  ::raise(SIGKILL);
  return 0;
}
int last_lines() {
  const rayx::Runtime runtime = rayx::init({.num_cpus = 1});
  rayx::get(rayx::remote<say_lines>("of another task", true));
  try {
    rayx::get(rayx::remote<crash_after>(rayx::TaskOptions{.max_retries = 0}, "of the task that dies"));
  } catch (const std::exception& error) {
    say(error.what());
  }
  return 0;
}

// A task in a process that may not start a thread any more, or take memory.
int throw_with_little_room() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_NPROC, &none);
  const rlimit little{1 << 20, 1 << 20};
  ::setrlimit(RLIMIT_AS, &little);
  throw std::bad_alloc();
}
int little_room() {
  const rayx::Runtime runtime = rayx::init({.num_cpus = 1});
  try {
    rayx::get(rayx::remote<throw_with_little_room>());
    say("no error");
  } catch (const std::bad_alloc& error) {
    say("bad_alloc");
  }
  return 0;
}

int first_task() {
  const rayx::Runtime runtime = rayx::init();
  say("result " + std::to_string(rayx::get(rayx::remote<one>())));
  return 0;
}

// Servers and workers are killed from outside; the results come nevertheless.
int work_until_told() {
  const rayx::Runtime runtime = rayx::init({.num_cpus = 2});
  const rayx::TaskOptions for_ever{.max_retries = -1};
  rayx::get(rayx::remote<one>());
  say("working");
  for (int i = 0; i < 10'000; ++i) {
    std::vector<rayx::ObjectRef<int>> refs;
    for (int j = 0; j < 100; ++j) refs.push_back(rayx::remote<one>(for_ever));
    int sum = 0;
    for (const int value : rayx::get(refs)) sum += value;
    if (sum != 100) return 1;
  }
  say("all right");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const std::string how = argc > 2 ? argv[2] : "";
  if (what == "end") return end(how);
  if (what == "died") return died(how);
  if (what == "retries") return retries(how);
  if (what == "output") return output();
  if (what == "thread") return thread();
  if (what == "before_init") return before_init(argc, argv);
  if (what == "user_fork") return user_fork();
  if (what == "constructor_in_worker") return constructor_in_worker();
  if (what == "seccomp") return seccomp(how);
  if (what == "get_in_destructor") return get_in_destructor(how);
  if (what == "first_task") return first_task();
  if (what == "little_room") return little_room();
  if (what == "fork_in_task") return fork_in_task();
  if (what == "last_lines") return last_lines();
  if (what == "global_runtime") return global_runtime();
  if (what == "closed_descriptors") return closed_descriptors();
  if (what == "work_until_told") return work_until_told();
  std::cerr << "there is no scenario '" << what << "'\n";
  return 2;
}
