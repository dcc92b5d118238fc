#include "wire/endpoint.hpp"
#include "wire/loop_core.hpp"

namespace rayx::wire {

struct Resolution::State {
  explicit State(Loop& loop) : core(loop.core()), resolver(core.io) {}
  Loop::Core& core;
  asio::ip::tcp::resolver resolver;
  std::function<void(Result<std::vector<Address>>)> answer;
  bool has_ended = false;
};

Resolution::~Resolution() {
  if (!state_) return;
  state_->has_ended = true;
  state_->resolver.cancel();
}

void Resolution::begin(Loop& loop, const Endpoint& endpoint, std::function<void(Result<std::vector<Address>>)> answer) {
  state_ = std::make_shared<State>(loop);
  state_->answer = std::move(answer);
  const auto give = [](const std::shared_ptr<State>& state, Result<std::vector<Address>> result) {
    if (!std::exchange(state->has_ended, true)) state->core.turn([&] { state->answer(std::move(result)); });
  };
  // Numbers need no name server, and no thread that asks it.
  if (Result<Address> numbers = Address::from_numbers(endpoint.host, endpoint.port)) {
    loop.post([give, state = state_, address = *numbers] { give(state, std::vector<Address>{address}); });
    return;
  }
  state_->resolver.async_resolve(
      endpoint.host, std::to_string(endpoint.port), asio::ip::tcp::resolver::numeric_service,
      [give, state = state_, host = endpoint.host](const asio::error_code& error,
                                                   const asio::ip::tcp::resolver::results_type& found) {
        std::vector<Address> addresses;
        for (const auto& entry : found) {
          const asio::ip::tcp::endpoint address = entry.endpoint();
          addresses.push_back(Address::from_system(address.data(), static_cast<socklen_t>(address.size())));
        }
        if (!addresses.empty()) return give(state, std::move(addresses));
        give(state, Error{ErrorCode::kSystemError, "the name " + host + " of a node was not found: " + error.message() +
                                                       ". Look at `getent hosts " + host + "`, or give its address"});
      });
}

}  // namespace rayx::wire
