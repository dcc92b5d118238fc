// Values on their way to another node and from there, with the references inside them.
#include <algorithm>
#include <cstring>

#include <rayx/detail/ref_positions.hpp>

#include "base/planted_bug.hpp"
#include "relay/relay.hpp"
#include "worker/object_there.hpp"

namespace rayx::relay {

using worker::BlockRef;
using worker::CallBlock;
using worker::CallPart;
using worker::PartForm;
using worker::Record;
using worker::RefCell;

static_assert(sizeof(detail::RefName) == kNameBytes);

// ---- Out

// The references inside a value of this node, which keeps them alive meanwhile; or what its reader is told instead, and `names` is empty.
std::optional<detail::RemoteFailure> Relay::read_names(std::span<const std::byte> value, bool has_refs,
                                                       std::vector<Named>& names, const char* whose) {
  if (!has_refs) return std::nullopt;
  std::optional<detail::RemoteFailure> problem;
  const bool is_sound = detail::visit_refs(value, [&](std::uint64_t position) {
    if (problem) return;
    detail::RefName name;
    std::memcpy(&name, value.data() + position, sizeof(name));
    if (RefCell* const cell = import_locked(name)) return names.push_back({position, cell});
    const bool is_there = worker::is_object_there(control(), {name.words[0]});
    problem.emplace();
    problem->code = is_there ? ErrorCode::kStoreFull : ErrorCode::kOwnerDied;
    problem->message = std::string("rayx: a reference inside ") + whose +
                       (is_there ? std::string(" cannot be taken to another node: ") + worker::kNoRoomForHolds
                                 : worker::kNamesNobodysObject);
  });
  if (!is_sound && !problem) {
    problem.emplace();
    problem->code = ErrorCode::kMalformed;
    problem->message = std::string("rayx: ") + whose + " has damaged bytes where its references are told";
  }
  if (problem) drop_names(names);
  return problem;
}

void Relay::drop_names(std::vector<Named>& names) {
  for (const Named& named : std::exchange(names, {})) drop_locked(named.cell);
}

void Relay::put_value(FrameWriter& writer, Peer& peer, Piece& piece, Cargo& cargo) {
  if (piece.is_stream()) {
    writer.put_stream(peer.next_stream);
    cargo.streams.push_back({peer.next_stream++, piece.bytes, std::move(piece.keep)});
  } else {
    writer.put_bytes(piece.bytes);
  }
  if (piece.names.empty()) return;
  writer.put(std::uint64_t{piece.names.size()});
  for (const Named& named : piece.names) {
    writer.put(name_for(peer, named));
    cargo.named.push_back(named.cell);
  }
  piece.names.clear();
}

void Relay::send_cargo(Peer& peer, FrameWriter& own, Cargo& cargo) {
  if (cargo.streams.empty()) {
    // Whatever gives a hold back goes behind the frame.
    for (RefCell* cell : std::exchange(cargo.named, {}))
      if (!RAYX_PLANTED_BUG(514)) drop_locked(cell);
    return;
  }
  if (!cargo.named.empty() || cargo.until_sent != nullptr) {
    // The frame waits for its streams, and other frames do not wait for it.
    using Pair = std::pair<std::shared_ptr<void>, std::shared_ptr<void>>;
    const auto names = std::make_shared<Pair>(keep_while_sent(std::move(cargo.named)), std::move(cargo.until_sent));
    for (OutgoingValue& value : cargo.streams)
      value.keep =
          std::make_shared<std::pair<std::shared_ptr<void>, std::shared_ptr<void>>>(std::move(value.keep), names);
  }
  if (peer.offering.bytes() >= kFrameBytes) flush(peer);
  const OfferHead head{peer.next_offer++, cargo.subject,
                       cargo.what,        static_cast<std::uint32_t>(cargo.streams.size()),
                       cargo.key,         store_use_() > store_bytes_ / kKeptForOthersShare ? 1u : 0u};
  peer.offering.add(FrameKind::kOffer, head);
  Peer::Offered& offered = peer.offered[head.number];
  for (const OutgoingValue& value : cargo.streams) {
    peer.offering.put(ValueHead{value.stream, value.bytes.size()});
    if (cargo.what == OfferedFor::kTask) offered.task_bytes += value.bytes.size();
  }
  peer.offered_task_bytes += offered.task_bytes;
  offered.values = std::move(cargo.streams);
  offered.frame = own.finish();
}

// One count of each cell until the last byte is sent.
std::shared_ptr<void> Relay::keep_while_sent(std::vector<RefCell*> cells) {
  auto* const kept = new std::vector<RefCell*>(std::move(cells));
  return {kept, [life = life_, arena = shared_arena_](std::vector<RefCell*>* sent) {
            const std::unique_ptr<std::vector<RefCell*>> gone(sent);
            const std::lock_guard lock(life->mutex);
            if (life->relay == nullptr) return;  // its books are gone, its memory is not
            life->sent.insert(life->sent.end(), sent->begin(), sent->end());
            life->relay->has_sent_.store(true, std::memory_order_seq_cst);
            life->relay->wake();
          }};
}

void Relay::drop_sent() {
  if (!has_sent_.exchange(false, std::memory_order_seq_cst) || RAYX_PLANTED_BUG(515)) return;
  std::vector<RefCell*> sent;
  std::vector<base::ActorId> streamed;
  {
    const std::lock_guard lock(life_->mutex);
    sent.swap(life_->sent);
    streamed.swap(life_->streamed);
  }
  for (const base::ActorId id : streamed)
    if (const auto actor = remote_actors_.find(id); actor != remote_actors_.end())
      actor->second.is_sending_stream = false;
  for (RefCell* cell : sent) drop_locked(cell);
}

// The arguments of a task that was claimed. False with an empty problem: not now. Without `problem` and on success, the pieces'
// names are the caller's.
bool Relay::read_task(const shm::LanePuller::Task& task, Needs& needs, std::string& problem, bool may_be_elsewhere) {
  const shm::Arena& arena = this->arena();
  Piece& arguments = needs.arguments;
  auto& parts = needs.parts;
  const auto flags = static_cast<std::uint8_t>(task.body.function_and_flags >> 8 & 3);  // see TaskBody
  bool has_refs = (task.body.function_and_flags & shm::kArgumentsHaveRefs) != 0;
  arguments.bytes = {task.body.arguments, shm::inline_bytes_of(task.body.function_and_flags)};
  const auto block_bytes = [&](const void* ref, std::span<const std::byte>& bytes) {
    BlockRef block;
    std::memcpy(&block, ref, sizeof(block));
    if (!arena.contains(block.offset, block.size)) return false;
    bytes = {arena.address(block.offset), block.size};
    return true;
  };
  const auto leave = [&](const char* what) {
    if (what != nullptr) problem = std::string("rayx: a task's arguments are damaged: ") + what;
    drop_names(arguments.names);
    for (auto& [position, piece] : parts) drop_names(piece.names);
    return false;
  };
  const auto leave_for = [&](const detail::RemoteFailure& why) {
    needs.code = why.code;
    problem = why.message;
    return leave(nullptr);
  };
  if ((flags & shm::kTaskArgumentsInParts) != 0) {
    std::span<const std::byte> where;
    if (!block_bytes(task.body.arguments, where) || where.size() < sizeof(CallBlock))
      return leave("their table lies outside the store");
    const auto& table = *reinterpret_cast<const CallBlock*>(where.data());
    if (table.parts > (where.size() - sizeof(CallBlock)) / sizeof(CallPart)) return leave("their table is cut");
    has_refs = table.has_refs != 0;
    arguments.bytes = {table.inline_arguments, std::min<std::size_t>(table.inline_bytes, shm::kCellInlineBytes)};
    if (table.block.size != 0 && !block_bytes(&table.block, arguments.bytes))
      return leave("their block lies outside the store");
    const auto* part = reinterpret_cast<const CallPart*>(&table + 1);
    for (std::uint32_t i = 0; i < table.parts; ++i, ++part) {
      const shm::ObjectKey key{part->key};
      if (key.owner() >= control().header().processes || key.record() >= shm::kRecordsPerSlab * shm::kRecordSlabsMax)
        return leave("a part names no record");
      // The task is its owner's, and with it all that it needs: the hold makes sure that it stays so while we look.
      RefCell* const cell = hold_locked(key);
      if (cell == nullptr && worker::is_object_there(control(), key)) {
        needs.code = ErrorCode::kStoreFull;
        problem = std::string("rayx: a task's arguments cannot be taken: ") + worker::kNoRoomForHolds;
        return leave(nullptr);
      }
      if (cell == nullptr) return leave("the owner of a value has died");
      const std::uint32_t state = cell->record.load(std::memory_order_acquire)->state.load(std::memory_order_acquire);
      // Its owner passes it on when it is done, also if that is an error.
      if (!detail::is_done(state) || (state & detail::kRecordIsError) != 0) {
        drop_locked(cell);
        const auto there = may_be_elsewhere ? elsewhere_.find(key.word) : elsewhere_.end();
        if (there == elsewhere_.end()) return leave(nullptr);
        Piece& piece = parts.emplace_back(part->position, Piece{}).second;
        piece.key = key;
        piece.cell = another_cell(index_of(there->second->name));
        piece.keep = keep_while_sent({piece.cell});
        piece.bytes_elsewhere = there->second->bytes;
        continue;
      }
      const detail::ValueView view = view_of_cell(cell);
      Piece& piece = parts.emplace_back(part->position, Piece{}).second;
      piece.bytes = {view.data, view.size};
      piece.key = key;
      const auto unreadable = read_names(piece.bytes, view.has_refs, piece.names, "an argument");
      // Inline bytes lie in the record, which stays as long as the task is not done; so does a block.
      if (!unreadable && piece.is_stream()) {
        piece.keep = keep_while_sent({cell});
        piece.cell = cell;
      } else {
        drop_locked(cell);
      }
      if (unreadable) return leave_for(*unreadable);
    }
  } else if ((flags & shm::kTaskArgumentsInBlock) != 0 && !block_bytes(task.body.arguments, arguments.bytes)) {
    return leave("their block lies outside the store");
  }
  if (const auto unreadable = read_names(arguments.bytes, has_refs, arguments.names, "arguments"))
    return leave_for(*unreadable);
  if (arguments.is_stream()) {
    // The block is the owner's alone, and goes with it.
    auto copy = std::make_shared<std::vector<std::byte>>(arguments.bytes.begin(), arguments.bytes.end());
    arguments.bytes = *copy;
    arguments.keep = std::move(copy);
  }
  return true;
}

// ---- In

// Every name is taken in any case: the sender counts it as given.
Relay::Arrived Relay::take_arrived(Peer* peer, const WireValue& value) {
  Arrived arrived;
  arrived.bytes = value.here;
  std::vector<std::uint64_t> positions;
  for (std::size_t i = 0; i < value.names.size(); ++i) {
    const NameEntry entry = value.names.at(i);
    RefCell* const cell = cell_for(peer, entry);
    if (cell == nullptr) {
      arrived.is_whole = false;
      continue;
    }
    arrived.refs.push_back(cell);
    positions.push_back(entry.position);
  }
  std::byte* writable = nullptr;
  if (value.stream != 0) {
    if (peer != nullptr) arrived.block = take_value(*peer, value.stream);
    if (arrived.block.size != value.bytes) {
      arrived.is_whole = false;
      if (arrived.block.size != 0) free_block(std::exchange(arrived.block, BlockRef{0, 0}), {me_, 0, 0});
      return arrived;
    }
    writable = arena().writable(arrived.block.offset);
    arrived.bytes = {arena().address(arrived.block.offset), arrived.block.size};
  } else if (!positions.empty()) {
    arrived.copy.assign(value.here.begin(), value.here.end());
    writable = arrived.copy.data();
    arrived.bytes = arrived.copy;
  }
  if (!arrived.is_whole || positions.empty()) return arrived;
  // A name that is not overwritten would mean another object here.
  std::size_t found = 0;
  const bool is_read = detail::visit_refs(arrived.bytes, [&](std::uint64_t position) {
    if (found < positions.size() && positions[found] == position) ++found;
  });
  arrived.is_whole = is_read && found == positions.size();
  if (!arrived.is_whole) return arrived;
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const detail::RefName name = name_in_values(arrived.refs[i]);
    std::memcpy(writable + positions[i], &name, sizeof(name));
  }
  return arrived;
}

void Relay::forget(Arrived& arrived) {
  if (arrived.block.size != 0) free_block(std::exchange(arrived.block, BlockRef{0, 0}), {me_, 0, 0});
  for (RefCell* cell : std::exchange(arrived.refs, {})) drop_locked(cell);
}

RefCell* Relay::keep_value(Arrived& value, detail::Failure& failure) {
  if (!value.is_whole) return nullptr;
  if (value.block.size == 0) return keep_copy(value.bytes, value.refs, failure);
  return keep_block(std::exchange(value.block, BlockRef{0, 0}), value.refs, failure);
}

}  // namespace rayx::relay
