// What two relays of a job say to each other: batches of fixed headers with bytes behind them. Little endian, 8-byte aligned.
//
// Both ends know the cluster's token, but a frame may come from a program of another build or a damaged memory: the reader checks
// every length against the frame and every count against a limit, and says what is wrong. It allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rayx::relay {

enum class FrameKind : std::uint32_t {
  kTasks = 1,     // TaskHead, arguments, parts
  kResults = 2,   // ResultHead, value or error
  kReturned = 3,  // ReturnHead: tasks that did not begin
  kLost = 4,      // ResultHead, the error: the worker died, and the task may have had effects
  kCapacity = 5,  // CapacityHead
  // Between those who hold the link, beside the relays: what workers printed, how much of it was taken, and the end of the job.
  kOutput = 7,      // OutputHead, text
  kOutputSeen = 8,  // OutputHead without text
  kEnd = 9,
  kOffer =
      10,  // OfferHead, ValueHeads: values that a frame needs which waits here until the receiver has room for all of them
  kGiveUp = 6,  // ReturnHead: the asker does not want the results any more
  // References: docs/design/relay.md tells who owes whom what.
  kFetch = 11,       // FetchHead: the value of an object of yours, when it is there
  kFetched = 12,     // FetchedHead, value or error
  kRelease = 13,     // CountHead: so many of the times that you have named this object to me are over
  kAskHold = 14,     // KeyHead: an object of yours that another node has named to me
  kHoldAnswer = 15,  // CountHead: 1, and it counts as named once; 0: there is no such object
  kLentBack = 16,    // LentHead: of the times that you have named this object to me, which is not yours, one is over
  // Actors.
  kCalls = 17,          // CallHead, arguments, parts: to the node where the actor lives, in each caller's order
  kKillActor = 18,      // ActorHead: of an actor that no head knows
  kReleaseActor = 19,   // ActorHead: nobody has a handle of it
  kActorReleased = 20,  // ActorHead: that is known here
  kAskCapacity = 22,    // AskHead: say your capacity again
  kAdmit = 23,  // AdmitHead: the answer to an offer. The values' chunks follow, if there is room, and then the frame
  kFetchFrom = 24,  // LentHead: the answer to kFetch: that node has a copy, or is getting it
  kFetchCopy = 25,  // LentHead: the value of another node's object, when it is there
  kCopied = 26,     // CopiedHead, value: the answer to that
  kRecall = 27,     // RecallHead: CPUs elsewhere are idle. Those that have not begun come back
  kModules = 28,   // ModulesHead, text: between two programs, before their first call: what their function numbers mean
  kCreation = 21,  // CreationHead, arguments, parts; never sent alone: a head carries it to who starts the actor
};

// Calls, what answers them, and the values and references in both. No tasks, and nobody is told of third ones.
constexpr bool may_cross_programs(FrameKind kind) {
  switch (kind) {
    case FrameKind::kCapacity:
    case FrameKind::kModules:
    case FrameKind::kCalls:
    case FrameKind::kResults:
    case FrameKind::kLost:
    case FrameKind::kReturned:
    case FrameKind::kGiveUp:
    case FrameKind::kOffer:
    case FrameKind::kAdmit:
    case FrameKind::kFetch:
    case FrameKind::kFetched:
    case FrameKind::kRelease: return true;
    default: return false;
  }
}

struct FrameHead {
  FrameKind kind;
  std::uint32_t count;  // of what follows
};
static_assert(sizeof(FrameHead) == 8);

// A task's number between two relays, given by the one that hands it out: index and life of its row there.
using TaskNumber = std::uint64_t;

struct TaskHead {
  TaskNumber number;
  std::uint64_t function;         // FunctionNumber of the job
  std::uint32_t cpu_units;        // 1/10000 of a CPU
  std::uint32_t parts;            // PartHead with bytes, after the arguments
  std::uint64_t arguments_bytes;  // the parameters that are values
};
static_assert(sizeof(TaskHead) == 32);

// Set in a length: the bytes do not follow, but the number of the stream that has brought them.
inline constexpr std::uint64_t kByStream = std::uint64_t{1} << 63;
// Set in a length: behind the bytes, or the stream's number, come a count (uint64) and so many NameEntries.
inline constexpr std::uint64_t kHasNames = std::uint64_t{1} << 62;
inline constexpr std::uint64_t kLengthMask = kHasNames - 1;
// Values from this size on cross as streams, from store to store.
inline constexpr std::size_t kStreamBytesMin = 256u << 10;

struct ValueHead {
  std::uint64_t stream;
  std::uint64_t bytes;
};
inline constexpr std::uint64_t kValueBytesMax = std::uint64_t{1} << 44;  // no store is larger

// What the frame is that waits for its values, so that the receiver knows how long it may wait, and who waits with it.
enum class OfferedFor : std::uint32_t { kTask = 1, kResult = 2, kObject = 3, kCall = 4, kCopy = 5 };

struct OfferHead {
  std::uint64_t number;   // of the sender's offers on this link; never 0
  std::uint64_t subject;  // kResult: the TaskNumber that the receiver has given
  OfferedFor what;
  std::uint32_t values;   // so many ValueHeads follow
  std::uint64_t key = 0;  // kResult: of the object that has the value, which is named with this once; 0: of none
  std::uint64_t is_store_full = 0;  // the sender's, nearly: it wants to be rid of what it has
};
struct AdmitHead {
  std::uint64_t number;
  std::uint64_t has_room;  // 0: the frame comes alone
};

// A reference inside a value, by the name that holds on every node of the job. What stands in the value's own bytes there means
// something on the sender's node only: the receiver overwrites it.
struct NameEntry {
  std::uint64_t position;  // of its sizeof(detail::RefName) bytes in the value; they do not overlap, and ascend
  std::uint64_t origin;    // NodeId of the arena in which the object lies
  std::uint64_t key;       // ObjectKey there
  std::uint64_t actor;     // ActorId, 0: not an actor's handle
  std::uint64_t home;      // NodeId where the actor lives for ever; 0: the head knows where it is
};
static_assert(sizeof(NameEntry) == 40);
inline constexpr std::size_t kNameBytes = 16;

struct KeyHead {
  std::uint64_t key;
};
struct CountHead {
  std::uint64_t key;
  std::uint64_t count;
};
struct LentHead {
  std::uint64_t origin;
  std::uint64_t key;
};
struct FetchHead {
  std::uint64_t key;
  std::uint64_t is_direct;  // 1: no other node is to be named, for it was asked in vain
};
struct CopiedHead {
  std::uint64_t origin;
  std::uint64_t key;
  std::uint64_t has_copy;  // 0: no value follows
  std::uint64_t bytes;
};
struct FetchedHead {
  std::uint64_t key;
  std::uint32_t is_error;
  std::uint32_t reserved;
  std::uint64_t bytes;
};

struct PartHead {
  std::uint32_t position;
  // 1, in a creation: the value is the name of the object that is the part, and nothing else. In a task or call: and behind it the
  // object's size. It is there, and is sent to who asks for it.
  std::uint32_t is_named;
  std::uint64_t bytes;
};

inline constexpr std::size_t kNamedPartBytes = kNameBytes + sizeof(std::uint64_t);  // in a task

struct CallHead {
  TaskNumber number;
  std::uint64_t actor;        // ActorId
  std::uint32_t incarnation;  // 0: of an actor that no head knows
  std::uint32_t caller;  // process slot on the sender's node. Calls of one caller run in the order in which they come
  std::uint64_t function;
  std::uint32_t parts;
  std::uint32_t reserved;
  std::uint64_t arguments_bytes;
};
static_assert(sizeof(CallHead) == 48);

struct ActorHead {
  std::uint64_t actor;
};

struct CreationHead {
  std::uint64_t function;  // the constructor
  std::uint32_t cpu_units;
  std::uint32_t parts;
  std::uint64_t arguments_bytes;
  char label[24];  // before the lines that its process prints
};
static_assert(sizeof(CreationHead) == 48);

struct ResultHead {
  TaskNumber number;
  std::uint32_t is_error;
  std::uint32_t reserved;
  std::uint64_t bytes;
};

enum class ReturnReason : std::uint32_t { kStoreFull = 1, kClosing = 2, kRefused = 3, kTooLarge = 4, kRecalled = 5 };

struct ReturnHead {
  TaskNumber number;
  ReturnReason reason;
  std::uint32_t reserved;
};

// What the sender's node gives to this job now.
struct CapacityHead {
  std::uint64_t cpu_units;
  std::uint64_t cpu_units_of_node;  // no task that needs more can ever run there
  std::uint64_t node;               // NodeId of the sender; never 0. The first frame on a link says it
  std::uint64_t idle_units;         // that nobody uses there, or tasks of the receiver
  std::uint64_t lent_units;         // of workers that wait inside a task: others may run meanwhile
};
struct RecallHead {
  std::uint64_t cpu_units;  // of the class
  std::uint64_t tasks;      // at most
};
struct AskHead {
  std::uint64_t reserved;
};

struct ModulesHead {
  std::uint64_t bytes;  // of FunctionNumbers::encode
};

struct OutputHead {
  std::uint32_t is_err;
  std::uint32_t reserved;
  std::uint64_t bytes;
};

inline constexpr std::size_t kFrameBytes = 256u << 10;  // a batch is sent when it has this size
inline constexpr std::uint32_t kPartsMax = 1u << 16;

constexpr std::size_t padded(std::size_t bytes) { return (bytes + 7) & ~std::size_t{7}; }

// Builds one frame at a time.
class FrameWriter {
 public:
  bool is_empty() const { return count_ == 0; }
  std::size_t bytes() const { return bytes_.size(); }

  template <class Head>
  void add(FrameKind kind, const Head& head) {
    if (bytes_.empty()) put(FrameHead{kind, 0});
    ++count_;
    put(head);
  }
  template <class T>
  void put(const T& value) {
    static_assert(sizeof(T) % 8 == 0);
    append(&value, sizeof(value));
  }
  void put_bytes(std::span<const std::byte> value) {
    append(value.data(), value.size());
    bytes_.resize(padded(bytes_.size()));
  }
  // What a length that says kByStream is followed by.
  void put_stream(std::uint64_t stream) { put(stream); }
  // The finished frame. The writer begins another one.
  std::vector<std::byte> finish() {
    if (!bytes_.empty()) std::memcpy(bytes_.data() + offsetof(FrameHead, count), &count_, sizeof(count_));
    count_ = 0;
    return std::exchange(bytes_, {});
  }

 private:
  void append(const void* from, std::size_t bytes) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + bytes);
    if (bytes != 0) std::memcpy(bytes_.data() + at, from, bytes);
  }
  std::vector<std::byte> bytes_;
  std::uint32_t count_ = 0;
};

// NameEntries where they lie in a frame.
class WireNames {
 public:
  WireNames() = default;
  explicit WireNames(std::span<const std::byte> entries) : entries_(entries) {}
  std::size_t size() const { return entries_.size() / sizeof(NameEntry); }
  NameEntry at(std::size_t i) const {
    NameEntry entry;
    std::memcpy(&entry, entries_.data() + i * sizeof(entry), sizeof(entry));
    return entry;
  }

 private:
  std::span<const std::byte> entries_;
};

// A value in a frame: its bytes, or the stream that has brought them.
struct WireValue {
  std::span<const std::byte> here;
  std::uint64_t bytes = 0;
  std::uint64_t stream = 0;  // 0: none
  WireNames names = {};
};

// Reads a frame that was received. After a failure every read fails; `problem` says what was wrong.
class FrameReader {
 public:
  explicit FrameReader(std::span<const std::byte> frame, std::vector<NameEntry>* handles = nullptr)
      : rest_(frame), handles_(handles) {}

  template <class T>
  bool take(T& value) {
    if (!problem_.empty() || rest_.size() < sizeof(T)) return fail("it ends inside a head");
    std::memcpy(&value, rest_.data(), sizeof(T));
    rest_ = rest_.subspan(sizeof(T));
    return true;
  }
  bool take_bytes(std::uint64_t bytes, std::span<const std::byte>& value) {
    if (!problem_.empty() || bytes > rest_.size() || padded(bytes) > rest_.size())
      return fail("a length goes beyond its end");
    value = rest_.first(bytes);
    rest_ = rest_.subspan(padded(bytes));
    return true;
  }
  bool take_value(std::uint64_t length, WireValue& value) {
    value.bytes = length & kLengthMask;
    if ((length & kByStream) == 0) {
      if (!take_bytes(value.bytes, value.here)) return false;
    } else {
      if (!take(value.stream)) return false;
      if (value.stream == 0) return fail("a stream has no number");
    }
    return (length & kHasNames) == 0 || take_names(value);
  }
  bool fail(std::string_view problem) {
    if (problem_.empty()) problem_ = problem;
    return false;
  }
  bool is_at_end() const { return rest_.empty(); }
  std::string_view problem() const { return problem_; }

 private:
  bool take_names(WireValue& value) {
    std::uint64_t count = 0;
    std::span<const std::byte> entries;
    if (!take(count)) return false;
    if (count > rest_.size() / sizeof(NameEntry)) return fail("a value has more names than the frame holds");
    if (!take_bytes(count * sizeof(NameEntry), entries)) return false;
    value.names = WireNames(entries);
    std::uint64_t end = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const NameEntry entry = value.names.at(i);
      if (entry.position < end || entry.position > value.bytes || value.bytes - entry.position < kNameBytes)
        return fail("a name stands outside its value");
      if (entry.origin == 0 || entry.key == 0) return fail("a name names nothing");
      if (entry.actor != 0 && handles_ != nullptr) handles_->push_back(entry);
      end = entry.position + kNameBytes;
    }
    return true;
  }

  std::span<const std::byte> rest_;
  std::vector<NameEntry>* handles_;  // of the names that were read, those of actors
  std::string_view problem_;
};

// What a whole frame holds, for those who act on it.
class FrameHandler {
 public:
  struct Part {
    std::uint32_t position;
    bool is_named;
    WireValue value;
  };
  using Parts = std::span<const Part>;
  virtual void on_task(const TaskHead&, const WireValue& /*arguments*/, Parts) {}
  virtual void on_call(const CallHead&, const WireValue& /*arguments*/, Parts) {}
  virtual void on_creation(const CreationHead&, const WireValue& /*arguments*/, Parts) {}
  virtual void on_result(const ResultHead&, const WireValue&) {}
  virtual void on_offer(const OfferHead&, std::span<const ValueHead>) {}
  virtual void on_admit(const AdmitHead&) {}
  virtual void on_lost(const ResultHead&, std::span<const std::byte> /*error*/) {}
  virtual void on_returned(const ReturnHead&) {}
  virtual void on_give_up(TaskNumber) {}
  virtual void on_capacity(const CapacityHead&) {}
  virtual void on_modules(std::span<const std::byte> /*text*/) {}
  virtual void on_ask_capacity(const AskHead&) {}
  virtual void on_recall(const RecallHead&) {}
  virtual void on_fetch(const FetchHead&) {}
  virtual void on_fetch_from(const LentHead&) {}
  virtual void on_fetch_copy(const LentHead&) {}
  virtual void on_copied(const CopiedHead&, const WireValue&) {}
  virtual void on_fetched(const FetchedHead&, const WireValue&) {}
  virtual void on_release(const CountHead&) {}
  virtual void on_ask_hold(const KeyHead&) {}
  virtual void on_hold_answer(const CountHead&) {}
  virtual void on_lent_back(const LentHead&) {}
  virtual void on_kill_actor(const ActorHead&) {}
  virtual void on_release_actor(const ActorHead&) {}
  virtual void on_actor_released(const ActorHead&) {}

 protected:
  ~FrameHandler() = default;
};

// Checks the whole frame before it hands on anything of it: a damaged frame has no effect. The text that is returned says what is
// wrong with it, or is empty.
std::string read_frame(std::span<const std::byte> frame, FrameHandler& handler);
// The two halves of it. `handles` gets the names of actors inside values, if it is not nullptr.
std::string check_frame(std::span<const std::byte> frame, std::vector<NameEntry>* handles = nullptr);
void apply_frame(std::span<const std::byte> checked, FrameHandler& handler);
FrameKind kind_of(std::span<const std::byte> frame);

}  // namespace rayx::relay
