#include "machine.hpp"

#include <cxxabi.h>
#include <sys/mman.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "api/inside_task.hpp"
#include "base/check.hpp"

// Saves what a call keeps, takes another stack, and goes on there.
extern "C" void rayx_sim_switch(void** from, void* to);
asm(R"(
.text
.globl rayx_sim_switch
.type rayx_sim_switch, @function
rayx_sim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size rayx_sim_switch, .-rayx_sim_switch
)");

namespace rayx::sim {
namespace {

constexpr std::size_t kStackBytes = 256 * 1024;

// What the C++ runtime keeps for each thread: exceptions that are being handled.
struct Exceptions {
  void* caught = nullptr;
  unsigned int uncaught = 0;
};
Exceptions& exceptions() { return *reinterpret_cast<Exceptions*>(abi::__cxa_get_globals()); }

}  // namespace

struct Machine::Fiber {
  FiberId id = 0;
  Process* process = nullptr;
  std::function<void()> body;
  void* stack = nullptr;
  void* sp = nullptr;
  std::uint64_t ticket = 0;  // of what it waits for
  Why why = Why::kBegin;
  bool is_over = false;
  Exceptions exceptions;
  int task_depth = 0;
};

Machine* Machine::current_ = nullptr;

Machine::Machine(std::uint64_t, Events& events, Chance& chance)
    : events_(events), chance_(chance), is_logging_(std::getenv("RAYX_SIM_LOG") != nullptr) {
  RAYX_CHECK(current_ == nullptr, "two machines at one time", 0);
  current_ = this;
}

Machine::~Machine() {
  for (const auto& [id, fiber] : fibers_) stacks_.push_back(fiber->stack);
  for (void* stack : stacks_) ::munmap(stack, kStackBytes);
  detail::g_current_backend.store(nullptr, std::memory_order_relaxed);
  current_ = nullptr;
}

Process& Machine::add_process(HostId host) {
  auto process = std::make_unique<Process>();
  process->id = ++last_process_;
  process->host = host;
  return *processes_.emplace(process->id, std::move(process)).first->second;
}

// Most of what is woken runs soon, and now and then the system takes its time.
TimeNs Machine::latency() {
  const TimeNs usual = 200 + static_cast<TimeNs>(chance_.below(20'000));
  return chance_.one_in(50) ? usual + chance_.between(0, 3 * kMillisecond) : usual;
}

FiberId Machine::start(Process& process, std::function<void()> body) {
  auto made = std::make_unique<Fiber>();
  Fiber& fiber = *made;
  fiber.id = ++last_fiber_;
  fiber.process = &process;
  fiber.body = std::move(body);
  if (stacks_.empty()) {
    fiber.stack =
        ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    RAYX_CHECK(fiber.stack != MAP_FAILED, "no memory for a stack", kStackBytes);
  } else {
    fiber.stack = stacks_.back();
    stacks_.pop_back();
  }
  auto* top = reinterpret_cast<std::uint64_t*>(static_cast<std::byte*>(fiber.stack) + kStackBytes);
  *--top = 0;  // aligned as after a call; where a walk over the stack ends
  *--top = reinterpret_cast<std::uint64_t>(+[] { enter(current_->running_); });
  for (int i = 0; i < 6; ++i) *--top = 0;
  fiber.sp = top;
  process.fibers.insert(fiber.id);
  fibers_.emplace(fiber.id, std::move(made));
  resume_later(fiber, latency(), Why::kBegin);
  return fiber.id;
}

void Machine::enter(Fiber* fiber) {
  fiber->body();
  fiber->is_over = true;
  current_->give_way();
  std::abort();
}

void Machine::resume_later(Fiber& fiber, TimeNs delay, Why why) {
  const std::uint64_t ticket = ++fiber.ticket;
  events_.after(delay, [this, id = fiber.id, ticket, why] { resume(id, ticket, why); });
}

void Machine::resume(FiberId id, std::uint64_t ticket, Why why) {
  const auto found = fibers_.find(id);
  if (found == fibers_.end() || found->second->ticket != ticket) return;
  Fiber& fiber = *found->second;
  if (const auto frozen = frozen_.find(fiber.process->host); frozen != frozen_.end()) {
    frozen->second.push_back({id, ticket, why});
    return;
  }
  ++fiber.ticket;
  ++switches_;
  note(id << 2 | static_cast<std::uint64_t>(why));
  fiber.why = why;
  running_ = &fiber;
  detail::g_current_backend.store(fiber.process->backend, std::memory_order_relaxed);
  const Exceptions before = std::exchange(exceptions(), fiber.exceptions);
  const int depth = std::exchange(detail::t_task_depth, fiber.task_depth);
  rayx_sim_switch(&main_sp_, fiber.sp);
  fiber.exceptions = std::exchange(exceptions(), before);
  fiber.task_depth = std::exchange(detail::t_task_depth, depth);
  running_ = nullptr;
  Process* const process = fiber.process;
  if (process->is_dead) {
    const std::set<FiberId> fibers = process->fibers;
    for (const FiberId each : fibers) end(*fibers_.at(each));
    if (on_killed) on_killed(*process);
  } else if (fiber.is_over) {
    end(fiber);
  }
}

Machine::Why Machine::give_way() {
  Fiber& fiber = *running_;
  rayx_sim_switch(&fiber.sp, main_sp_);
  return fiber.why;
}

void Machine::end(Fiber& fiber) {
  const FiberId id = fiber.id;
  fiber.process->fibers.erase(id);
  stacks_.push_back(fiber.stack);
  fibers_.erase(id);
  wake(reinterpret_cast<const void*>(id << 3 | 1), 1'000);
}

void Machine::kill(Process& process) {
  if (std::exchange(process.is_dead, true)) return;
  note(0xdead00000000 | process.id);
  if (running_ != nullptr && running_->process == &process) {
    give_way();
    std::abort();
  }
  const std::set<FiberId> fibers = process.fibers;
  for (const FiberId each : fibers) end(*fibers_.at(each));
  if (on_killed) on_killed(process);
}

void Machine::kill_host(HostId host) {
  for (const auto& [id, process] : processes_)
    if (process->host == host) kill(*process);
  frozen_.erase(host);
}

void Machine::set_frozen(HostId host, bool is_frozen) {
  if (is_frozen) {
    frozen_[host];
    return;
  }
  const auto found = frozen_.find(host);
  if (found == frozen_.end()) return;
  const std::vector<Deferred> deferred = std::move(found->second);
  frozen_.erase(found);
  for (const Deferred& each : deferred) {
    const auto fiber = fibers_.find(each.fiber);
    if (fiber != fibers_.end() && fiber->second->ticket == each.ticket)
      resume_later(*fiber->second, latency(), each.why);
  }
}

FiberId Machine::running() const noexcept { return running_ == nullptr ? 0 : running_->id; }
Process& Machine::process() const noexcept { return *running_->process; }

void Machine::rest(TimeNs time) {
  resume_later(*running_, time, Why::kTimedOut);
  give_way();
}

void Machine::yield() { rest(100 + static_cast<TimeNs>(chance_.below(2'000))); }

bool Machine::wait(const void* key, TimeNs timeout) {
  Fiber& fiber = *running_;
  const std::uint64_t ticket = ++fiber.ticket;
  waiting_[key].emplace_back(fiber.id, ticket);
  if (timeout != base::kNever)
    events_.after(timeout, [this, id = fiber.id, ticket] { resume(id, ticket, Why::kTimedOut); });
  return give_way() == Why::kWoken;
}

void Machine::join(FiberId fiber) {
  while (fibers_.contains(fiber)) wait(reinterpret_cast<const void*>(fiber << 3 | 1), base::kNever);
}

void Machine::wake(const void* key, int count) {
  const auto found = waiting_.find(key);
  if (found == waiting_.end()) return;
  auto& queue = found->second;
  while (count > 0 && !queue.empty()) {
    const auto [id, ticket] = queue.front();
    queue.pop_front();
    const auto fiber = fibers_.find(id);
    if (fiber == fibers_.end() || fiber->second->ticket != ticket) continue;
    resume_later(*fiber->second, latency(), Why::kWoken);
    --count;
  }
  if (queue.empty()) waiting_.erase(found);
}

void Machine::log(const char* format, ...) const {
  if (!is_logging_) return;
  std::printf("%10.3f ms fiber %llu: ", static_cast<double>(now() - kSecond) / 1e6,
              static_cast<unsigned long long>(running()));
  va_list arguments;
  va_start(arguments, format);
  std::vprintf(format, arguments);
  va_end(arguments);
  std::printf("\n");
}

std::string Machine::describe() const {
  std::string text;
  for (const auto& [id, fiber] : fibers_) {
    char line[64];
    std::snprintf(line, sizeof(line), "fiber %llu of process %u on host %u:", static_cast<unsigned long long>(id),
                  fiber->process->id, fiber->process->host);
    text += line;
    const auto* const saved = static_cast<const std::uint64_t*>(fiber->sp);
    const auto low = reinterpret_cast<std::uint64_t>(fiber->stack);
    std::uint64_t frame = saved[5];
    std::snprintf(line, sizeof(line), " 0x%llx", static_cast<unsigned long long>(saved[6]));
    text += line;
    for (int depth = 0; depth < 20 && frame > low && frame < low + kStackBytes - 16; ++depth) {
      const auto* const at = reinterpret_cast<const std::uint64_t*>(frame);
      std::snprintf(line, sizeof(line), " 0x%llx", static_cast<unsigned long long>(at[1]));
      text += line;
      frame = at[0];
    }
    text += '\n';
  }
  return text;
}

void Machine::at_kill_point(std::string_view name) {
  if (running_ == nullptr) return;
  if (name == "cpu.lend" || name == "cpu.taken_back") on_cpu_lent(name == "cpu.lend");
  if (held_up_one_in != 0 && chance_.one_in(held_up_one_in)) {
    ++held_up;
    rest(chance_.one_in(4) ? chance_.between(0, 2 * kMillisecond) : chance_.between(50, 20'000));
  }
  if (killed_one_in != 0 && running_->process->is_worker && chance_.one_in(killed_one_in)) kill(*running_->process);
}

}  // namespace rayx::sim
