// What each member is told of the others. News (who came, who drains, who is gone) goes to all at once; after that, for as long
// as it took, it is gathered. Loads are told in turn, as often as the sum of what all are told allows. What goes to many is made once.
#include <algorithm>
#include <iterator>
#include <utility>

#include "base/planted_bug.hpp"
#include "registry/head.hpp"

namespace rayx::registry {
namespace {
constexpr int kViewsUnseenMax = 8;  // deltas to one member that it has not confirmed: then it is told of no loads
}  // namespace

// ---- What changes

void Head::forget_changes(const Member& member) {
  news_.erase(member.news);
  loads_.erase(member.load_changed);
}

void Head::has_news(NodeId node, Member& member) {
  forget_changes(member);
  member.load_changed = 0;  // it is part of the news
  member.news = last_news_ = ++version_;
  news_[member.news] = node;
  ++full_view_.news_since;
  expect_news();
  rank(node, member);
}

void Head::has_load(NodeId node, Member& member) {
  loads_.erase(member.load_changed);
  member.load_changed = ++version_;
  loads_[member.load_changed] = node;
  loads_from_ns_ = std::min(loads_from_ns_, now_ns_);
  rank(node, member);
}

void Head::is_gone(NodeId node, const Member& member, const std::string& reason) {
  forget_changes(member);
  NodeView view = view_of(node, member);
  view.state = NodeState::kDead;
  view.reason = reason;
  last_news_ = ++version_;
  if (!RAYX_PLANTED_BUG(409)) gone_.emplace_back(version_, std::move(view));
  full_view_ = {};
  expect_news();
}

void Head::expect_news() {
  const TimeNs pause_ns = options_.news_pause_of_member_ns * static_cast<TimeNs>(members_.size());
  news_due_ns_ = std::min(news_due_ns_, std::max(now_ns_, news_sent_ns_ + pause_ns));
}

void Head::expect_loads_for(const Member& member) {
  if (loads_.upper_bound(member.loads_told) != loads_.end()) loads_from_ns_ = std::min(loads_from_ns_, now_ns_);
}

TimeNs Head::loads_due_ns() const {
  return loads_from_ns_ == base::kNever ? base::kNever : loads_from_ns_ + kViewPause_ns;
}

// ---- What is told

NodeView Head::view_of(NodeId node, const Member& member) const {
  NodeView view{node,
                member.record.state,
                member.record.kind,
                member.record.name,
                member.record.address,
                member.record.resources,
                member.record.resources,
                member.record.labels,
                member.record.reason,
                member.load.has_objects};
  view.free -= member.given;
  view.free -= member.load.used_by_tasks;
  return view;
}

// `is_end`: the view ends with the last of these, though there be none.
Head::Messages Head::messages_of(std::vector<NodeView> nodes, bool is_full, bool is_end) const {
  Messages messages;
  for (std::size_t at = 0; at < nodes.size() || (messages.empty() && is_end); at += options_.view_nodes_max) {
    const auto end = std::min(nodes.size(), at + options_.view_nodes_max);
    View view{version_, is_full, is_end && end == nodes.size(), {}};
    view.nodes.assign(std::make_move_iterator(nodes.begin() + static_cast<std::ptrdiff_t>(at)),
                      std::make_move_iterator(nodes.begin() + static_cast<std::ptrdiff_t>(end)));
    messages.push_back(std::make_shared<const ToMember>(std::move(view)));
  }
  return messages;
}

std::vector<NodeView> Head::news_since(std::uint64_t version) const {
  std::vector<NodeView> nodes;
  for (auto at = news_.upper_bound(version); at != news_.end(); ++at)
    nodes.push_back(view_of(at->second, members_.at(at->second)));
  for (const auto& [died, dead] : gone_)
    if (died > version) nodes.push_back(dead);
  return nodes;
}

std::vector<NodeView> Head::loads_since(std::uint64_t version) const {
  std::vector<NodeView> nodes;
  for (auto at = loads_.upper_bound(version); at != loads_.end(); ++at)
    nodes.push_back(view_of(at->second, members_.at(at->second)));
  return nodes;
}

// When all come at once, the link has more to carry than the silence allows: only so much is on its way at a time.
bool Head::may_send(std::size_t named) const {
  return named_in_flight_ == 0 || named_in_flight_ + named <= options_.named_in_flight_max;
}

void Head::flies(Member& member, std::size_t named) {
  member.large_view = version_;
  member.named_in_flight += named;
  named_in_flight_ += named;
}

void Head::landed(Member& member) { named_in_flight_ -= std::exchange(member.named_in_flight, 0); }

void Head::send_full_views() {
  while (!viewless_.empty() && may_send(members_.size())) {
    const auto found = members_.find(viewless_.front());
    viewless_.pop_front();
    if (found != members_.end() && found->second.connection != 0 && found->second.view_sent == 0)
      send_full_view(found->second);
  }
}

// In a large cluster most of it is shared by those who join within a short time; its end is what has come since.
void Head::send_full_view(Member& member) {
  const auto all = [this] {
    std::vector<NodeView> nodes;
    for (const auto& [node, other] : members_) nodes.push_back(view_of(node, other));
    return nodes;
  };
  std::uint64_t version = version_;
  if (members_.size() <= options_.view_nodes_max) {
    send_news(member, messages_of(all(), true, true));
  } else {
    const bool is_old =
        now_ns_ >= full_view_.made_ns + kViewPause_ns && loads_.upper_bound(full_view_.version) != loads_.end();
    // To make it for each hundredth of 5,000 costs about as much as the ends do.
    const bool is_short = full_view_.news_since * full_view_.news_since > 2 * members_.size();
    if (full_view_.version == 0 || is_old || is_short)
      full_view_ = {version_, now_ns_, 0, messages_of(all(), true, false)};
    for (const SharedMessage& message : full_view_.messages) send_shared(member.connection, message);
    version = full_view_.version;
    send_news(member, messages_of(RAYX_PLANTED_BUG(451) ? std::vector<NodeView>{} : news_since(version), true, true));
  }
  member.loads_told = version;
  flies(member, members_.size());
  expect_loads_for(member);
}

void Head::send_news(Member& member, const Messages& messages) {
  for (const SharedMessage& message : messages) send_shared(member.connection, message);
  member.news_told = member.view_sent = version_;
  ++member.views_unseen;
}

// The member is told of the node before anything else names it.
void Head::show(NodeId named, Member& to) {
  const auto found = members_.find(named);
  if (found == members_.end()) return;
  if (to.view_sent == 0) {  // its full view waits; this is no part of it
    for (const SharedMessage& message : messages_of({view_of(named, found->second)}, false, false))
      send_shared(to.connection, message);
  } else if (found->second.news > to.news_told) {
    send_news(to, messages_of(news_since(to.news_told), false, true));
  }
}

void Head::send_news_to_all() {
  struct Made {
    std::size_t named = 0;
    Messages messages;  // when the first may have them
  };
  std::map<std::uint64_t, Made> made;
  bool is_left = false;
  for (auto& [node, member] : members_) {
    if (member.connection == 0 || member.view_sent == 0) continue;  // it gets a full one
    if (member.news_told >= last_news_) {
      member.news_told = version_;  // there was nothing else
      continue;
    }
    // Who has joined after a round may hear again what it knows: one message is made for all since that round.
    const std::uint64_t from = *std::prev(news_rounds_.upper_bound(member.news_told));
    const auto [it, is_new] = made.try_emplace(from);
    auto& [named, messages] = it->second;
    if (is_new) named = static_cast<std::size_t>(std::distance(news_.upper_bound(from), news_.end())) + gone_.size();
    const bool is_large = named > options_.large_view;
    if (is_large && !may_send(named)) {
      is_left = true;
      continue;
    }
    if (messages.empty()) messages = messages_of(news_since(from), false, true);
    send_news(member, messages);
    if (is_large) flies(member, named);
  }
  if (!is_left) {
    gone_.clear();
    news_rounds_ = {0};
  }
  news_rounds_.insert(version_);
  news_due_ns_ = is_left ? now_ns_ + kNewsRetry_ns : base::kNever;
  news_sent_ns_ = now_ns_;
}

// To those whose turn it is, as far as a pause's share goes: not all at once, or everything else would wait behind it.
void Head::send_loads() {
  std::size_t rest = options_.loads_told_each_pause;
  bool is_left = false;
  std::map<std::uint64_t, Messages> made;
  auto at = members_.lower_bound(loads_turn_);
  for (std::size_t i = 0; i < members_.size() && !is_left; ++i, ++at) {
    if (at == members_.end()) at = members_.begin();
    Member& member = at->second;
    if (member.connection == 0 || member.view_sent == 0) continue;
    if (member.views_unseen >= kViewsUnseenMax) continue;  // its next heartbeat brings it back here
    const auto first = loads_.upper_bound(member.loads_told);
    if (first == loads_.end()) continue;
    const auto [it, is_new] = made.try_emplace(first->first);
    if (is_new) it->second = messages_of(loads_since(member.loads_told), false, true);
    std::size_t named = 0;
    for (const SharedMessage& message : it->second) {
      named += std::get<View>(*message).nodes.size();
      send_shared(member.connection, message);
    }
    member.loads_told = member.view_sent = version_;
    ++member.views_unseen;
    is_left = named >= rest;
    rest -= std::min(rest, named);
    loads_turn_ = {at->first.value + 1};
  }
  loads_from_ns_ = is_left ? now_ns_ : base::kNever;
}

}  // namespace rayx::registry
