#include "relay/frames.hpp"

#include <type_traits>

namespace rayx::relay {
namespace {

// Each walks the frame once; `handler` is nullptr for the first walk, which only checks.
// Tasks, calls and creations: a head, the arguments, and parts.
template <class Head>
bool walk_tasks(FrameReader& reader, std::uint32_t count, FrameHandler* handler,
                void (FrameHandler::*on_task)(const Head&, const WireValue&, FrameHandler::Parts)) {
  constexpr bool kIsCreation = std::is_same_v<Head, CreationHead>;
  if (kIsCreation && count != 1) return reader.fail("a creation is alone");
  std::vector<FrameHandler::Part> parts;
  for (std::uint32_t i = 0; i < count; ++i) {
    Head head{};
    WireValue arguments;
    if (!reader.take(head)) return false;
    if (head.parts > kPartsMax) return reader.fail("a task has more parts than a call can have");
    if (!reader.take_value(head.arguments_bytes, arguments)) return false;
    parts.clear();
    for (std::uint32_t p = 0; p < head.parts; ++p) {
      PartHead part{};
      WireValue value;
      if (!reader.take(part) || !reader.take_value(part.bytes, value)) return false;
      const bool is_size_right = kIsCreation || value.here.size() == kNamedPartBytes;
      if (part.is_named != 0 && (!is_size_right || value.names.size() != 1))
        return reader.fail("a part is named where it cannot be");
      parts.push_back({part.position, part.is_named != 0, value});
    }
    if (handler != nullptr) (handler->*on_task)(head, arguments, parts);
  }
  return true;
}

bool walk_results(FrameReader& reader, std::uint32_t count, bool is_lost, FrameHandler* handler) {
  for (std::uint32_t i = 0; i < count; ++i) {
    ResultHead head;
    WireValue value;
    if (!reader.take(head) || !reader.take_value(head.bytes, value)) return false;
    if (is_lost && value.stream != 0) return reader.fail("an error comes as a stream");
    if (is_lost && value.names.size() != 0) return reader.fail("an error has references inside");
    if (handler == nullptr) continue;
    if (is_lost) {
      handler->on_lost(head, value.here);
    } else {
      handler->on_result(head, value);
    }
  }
  return true;
}

bool walk_returns(FrameReader& reader, std::uint32_t count, bool is_give_up, FrameHandler* handler) {
  for (std::uint32_t i = 0; i < count; ++i) {
    ReturnHead head;
    if (!reader.take(head)) return false;
    if (handler == nullptr) continue;
    if (is_give_up) {
      handler->on_give_up(head.number);
    } else {
      handler->on_returned(head);
    }
  }
  return true;
}

bool walk_capacity(FrameReader& reader, std::uint32_t count, FrameHandler* handler) {
  CapacityHead head{};
  if (count != 1) return reader.fail("a capacity is said once in a frame");
  if (!reader.take(head)) return false;
  if (head.node == 0) return reader.fail("its node has no number");
  if (handler != nullptr) handler->on_capacity(head);
  return true;
}

bool walk_modules(FrameReader& reader, std::uint32_t count, FrameHandler* handler) {
  ModulesHead head{};
  std::span<const std::byte> text;
  if (count != 1) return reader.fail("modules are said once in a frame");
  if (!reader.take(head) || !reader.take_bytes(head.bytes, text)) return false;
  if (handler != nullptr) handler->on_modules(text);
  return true;
}

bool walk_offers(FrameReader& reader, std::uint32_t count, FrameHandler* handler) {
  std::vector<ValueHead> values;
  for (std::uint32_t i = 0; i < count; ++i) {
    OfferHead head{};
    if (!reader.take(head)) return false;
    if (head.number == 0) return reader.fail("an offer has no number");
    if (head.what < OfferedFor::kTask || head.what > OfferedFor::kCopy)
      return reader.fail("what is offered is of no known kind");
    if (head.values == 0 || head.values > kPartsMax + 1) return reader.fail("an offer has no values, or too many");
    values.clear();
    for (std::uint32_t v = 0; v < head.values; ++v) {
      ValueHead value{};
      if (!reader.take(value)) return false;
      if (value.stream == 0 || value.bytes < kStreamBytesMin || value.bytes > kValueBytesMax)
        return reader.fail("a value that is none is offered");
      values.push_back(value);
    }
    if (handler != nullptr) handler->on_offer(head, values);
  }
  return true;
}

bool walk_fetched(FrameReader& reader, std::uint32_t count, FrameHandler* handler) {
  for (std::uint32_t i = 0; i < count; ++i) {
    FetchedHead head{};
    WireValue value;
    if (!reader.take(head) || !reader.take_value(head.bytes, value)) return false;
    if (handler != nullptr) handler->on_fetched(head, value);
  }
  return true;
}

bool walk_copied(FrameReader& reader, std::uint32_t count, FrameHandler* handler) {
  for (std::uint32_t i = 0; i < count; ++i) {
    CopiedHead head{};
    WireValue value;
    if (!reader.take(head) || !reader.take_value(head.bytes, value)) return false;
    if (value.names.size() != 0) return reader.fail("a copy has references inside");
    if (handler != nullptr) handler->on_copied(head, value);
  }
  return true;
}

// Frames of heads alone.
template <class Head>
bool walk_heads(FrameReader& reader, std::uint32_t count, FrameHandler* handler,
                void (FrameHandler::*on_head)(const Head&)) {
  for (std::uint32_t i = 0; i < count; ++i) {
    Head head{};
    if (!reader.take(head)) return false;
    if (handler != nullptr) (handler->*on_head)(head);
  }
  return true;
}

bool walk(std::span<const std::byte> frame, FrameHandler* handler, std::vector<NameEntry>* handles,
          std::string& problem) {
  FrameReader reader(frame, handles);
  FrameHead head{};
  bool is_whole = reader.take(head);
  if (is_whole) {
    switch (head.kind) {
      case FrameKind::kTasks: is_whole = walk_tasks(reader, head.count, handler, &FrameHandler::on_task); break;
      case FrameKind::kCalls: is_whole = walk_tasks(reader, head.count, handler, &FrameHandler::on_call); break;
      case FrameKind::kCreation: is_whole = walk_tasks(reader, head.count, handler, &FrameHandler::on_creation); break;
      case FrameKind::kResults: is_whole = walk_results(reader, head.count, false, handler); break;
      case FrameKind::kLost: is_whole = walk_results(reader, head.count, true, handler); break;
      case FrameKind::kReturned: is_whole = walk_returns(reader, head.count, false, handler); break;
      case FrameKind::kGiveUp: is_whole = walk_returns(reader, head.count, true, handler); break;
      case FrameKind::kOffer: is_whole = walk_offers(reader, head.count, handler); break;
      case FrameKind::kAdmit: is_whole = walk_heads(reader, head.count, handler, &FrameHandler::on_admit); break;
      case FrameKind::kCapacity: is_whole = walk_capacity(reader, head.count, handler); break;
      case FrameKind::kModules: is_whole = walk_modules(reader, head.count, handler); break;
      case FrameKind::kAskCapacity:
        is_whole = walk_heads(reader, head.count, handler, &FrameHandler::on_ask_capacity);
        break;
      case FrameKind::kRecall: is_whole = walk_heads(reader, head.count, handler, &FrameHandler::on_recall); break;
      case FrameKind::kFetch: is_whole = walk_heads(reader, head.count, handler, &FrameHandler::on_fetch); break;
      case FrameKind::kFetchFrom:
        is_whole = walk_heads(reader, head.count, handler, &FrameHandler::on_fetch_from);
        break;
      case FrameKind::kFetchCopy:
        is_whole = walk_heads(reader, head.count, handler, &FrameHandler::on_fetch_copy);
        break;
      case FrameKind::kCopied: is_whole = walk_copied(reader, head.count, handler); break;
      case FrameKind::kFetched: is_whole = walk_fetched(reader, head.count, handler); break;
      case FrameKind::kRelease: is_whole = walk_heads(reader, head.count, handler, &FrameHandler::on_release); break;
      case FrameKind::kAskHold: is_whole = walk_heads(reader, head.count, handler, &FrameHandler::on_ask_hold); break;
      case FrameKind::kHoldAnswer:
        is_whole = walk_heads(reader, head.count, handler, &FrameHandler::on_hold_answer);
        break;
      case FrameKind::kLentBack: is_whole = walk_heads(reader, head.count, handler, &FrameHandler::on_lent_back); break;
      case FrameKind::kKillActor:
        is_whole = walk_heads(reader, head.count, handler, &FrameHandler::on_kill_actor);
        break;
      case FrameKind::kReleaseActor:
        is_whole = walk_heads(reader, head.count, handler, &FrameHandler::on_release_actor);
        break;
      case FrameKind::kActorReleased:
        is_whole = walk_heads(reader, head.count, handler, &FrameHandler::on_actor_released);
        break;
      default: is_whole = reader.fail("its kind is unknown"); break;
    }
  }
  if (is_whole && !reader.is_at_end()) is_whole = reader.fail("something follows its last entry");
  if (!is_whole)
    problem = "a frame of kind " + std::to_string(static_cast<std::uint32_t>(head.kind)) + " and " +
              std::to_string(frame.size()) + " bytes is damaged: " + std::string(reader.problem());
  return is_whole;
}

}  // namespace

std::string check_frame(std::span<const std::byte> frame, std::vector<NameEntry>* handles) {
  std::string problem;
  walk(frame, nullptr, handles, problem);
  return problem;
}

void apply_frame(std::span<const std::byte> checked, FrameHandler& handler) {
  std::string problem;
  walk(checked, &handler, nullptr, problem);
}

std::string read_frame(std::span<const std::byte> frame, FrameHandler& handler) {
  std::string problem = check_frame(frame);
  if (problem.empty()) apply_frame(frame, handler);
  return problem;
}

FrameKind kind_of(std::span<const std::byte> frame) {
  FrameHead head{};
  if (frame.size() >= sizeof(head)) std::memcpy(&head, frame.data(), sizeof(head));
  return head.kind;
}

}  // namespace rayx::relay
