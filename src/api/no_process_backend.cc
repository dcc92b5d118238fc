// Stands in for src/worker where that is not linked.
#include "rayx/detail/backend.hpp"

namespace rayx::detail {

__attribute__((weak)) std::unique_ptr<Backend> make_process_backend(const Config&, Failure& failure) {
  failure = std::make_unique<Error>(Error{ErrorCode::kUnsupported,
                                          "rayx: init: this build cannot start processes. Set RAYX_LOCAL=1 to run everything inside "
                                          "this process"});
  return nullptr;
}

}  // namespace rayx::detail
