// Who on this node reads which channel of the cluster, and what waits for him. The node reads each channel once, however many read it
// here. A reader says with each question what has arrived, so an answer that is lost is given again. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <rayx/detail/cluster_words.hpp>

#include "registry/limits.hpp"

namespace rayx::relay {

class Subscriptions {
 public:
  static constexpr std::size_t kReadersMax = 1'000;
  static constexpr std::size_t kWaitingMax = registry::kPublishQueueMax;  // messages of one reader
  static constexpr std::size_t kWaitingBytesMax = 16u << 20;
  static constexpr std::size_t kGivenBytesMax = 1u << 20;  // in one answer, unless a single message has more

  // What comes of it. Each question is answered once, or forgotten by who asked.
  class Sink {
   public:
    virtual void begin_reading(const std::string& channel) = 0;  // `confirmed` follows
    virtual void end_reading(const std::string& channel) = 0;
    virtual void reader_is_there(std::uint64_t question, std::uint64_t reader) = 0;
    virtual void give_news(std::uint64_t question, const detail::News& news) = 0;
    virtual void refuse(std::uint64_t question, ErrorCode code, const std::string& why) = 0;

   protected:
    ~Sink() = default;
  };
  explicit Subscriptions(Sink& sink) : sink_(sink) {}

  // `owner`: a process of this node.
  void open(const std::string& channel, std::uint32_t owner, std::uint64_t question);
  // Answered when there is news.
  void read(std::uint64_t reader, std::uint32_t owner, std::uint64_t seen, std::uint64_t question);
  void close(std::uint64_t reader, std::uint32_t owner);
  void owner_has_died(std::uint32_t owner);

  // What the cluster says.
  void confirmed(const std::string& channel, bool is_refused);
  void published(const std::string& channel, const std::string& payload, std::uint64_t missed);
  void missed(const std::string& channel, std::optional<std::uint64_t> count);

  std::size_t readers() const { return readers_.size(); }

 private:
  struct Waiting {
    std::shared_ptr<const std::string> payload;  // of all readers
    std::uint64_t missed = 0;
  };
  struct Reader {
    std::string channel;
    std::uint32_t owner = 0;
    std::uint64_t opening = 0;  // the question that is not answered yet
    std::uint64_t asking = 0;
    std::uint64_t seen = 0;   // what has arrived, when it asked last
    std::uint64_t first = 1;  // the number of the first that waits
    std::deque<Waiting> waiting;
    std::size_t waiting_bytes = 0;
    std::uint64_t missed = 0;  // before the next one
    // Of those between `seen` and `first`, which were dropped: what each said to be missed before it, by its number, unless nothing.
    std::deque<std::pair<std::uint64_t, std::uint64_t>> dropped;
  };
  using Readers = std::map<std::uint64_t, Reader>;

  Reader* find(std::uint64_t reader, std::uint32_t owner);
  Readers::iterator forget(Readers::iterator reader);
  static void drop_first(Reader& reader);
  static void drop_oldest(Reader& reader);
  static std::uint64_t missed_before_first(const Reader& reader);
  void answer(Reader& reader);

  Sink& sink_;
  Readers readers_;
  struct Channel {
    std::size_t readers = 0;
    bool is_confirmed = false;
  };
  std::map<std::string, Channel> channels_;
  std::uint64_t last_reader_ = 0;
};

}  // namespace rayx::relay
