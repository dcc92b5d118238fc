// The current backend of the thread that runs, which the machine sets: in place of api/runtime.cc, whose processes have one each.
#include <rayx/detail/backend.hpp>

#include "process/take_over.hpp"

namespace rayx::detail {

constinit std::atomic<Backend*> g_current_backend{nullptr};
constinit Record kRecordOfNoRuntime{
    .state = kRecordPending, .generation = 0, .queued_at = 0, .size = 0, .reserved = 0, .payload = {}};

namespace {
constinit std::atomic<std::uint32_t> g_runtimes{0};
}  // namespace
Backend::Backend() : runtime_(g_runtimes.fetch_add(1, std::memory_order_relaxed) % 1'000'000 + 1) {}
void set_current_backend(Backend* backend) noexcept { g_current_backend.store(backend, std::memory_order_release); }

}  // namespace rayx::detail

namespace rayx::process {

bool take_over_replaces_main() noexcept { return false; }

}  // namespace rayx::process
