// What each member is told of the others. News (who came, who drains, who is gone) goes to all at once; after that, for as long
// as it took, it is gathered. Loads are told as often as the sum of what all are told allows. What goes to many is made once.
#include <algorithm>

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
  if (member.load_changed > loads_told_) --loads_waiting_;
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
  if (member.load_changed <= loads_told_) ++loads_waiting_;
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

// It was left out when all were told, or was told of what was when others had joined.
void Head::expect_loads_for(const Member& member) {
  if (member.loads_told < loads_told_ && loads_.upper_bound(member.loads_told) != loads_.end())
    loads_from_ns_ = std::min(loads_from_ns_, now_ns_);
}

TimeNs Head::loads_due_ns() const {
  if (loads_from_ns_ == base::kNever) return base::kNever;
  constexpr double kNsOfSecond = 1e9;
  const double told = static_cast<double>(members_.size()) * static_cast<double>(loads_waiting_);
  const auto pause_ns = static_cast<TimeNs>(told * kNsOfSecond / static_cast<double>(kLoadsTold_per_second));
  return std::max(loads_from_ns_ + kViewPause_ns, loads_sent_ns_ + pause_ns);
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
                member.record.reason};
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
  if (found == members_.end() || found->second.news <= to.news_told || to.view_sent == 0) return;
  send_news(to, messages_of(news_since(to.news_told), false, true));
}

void Head::send_news_to_all() {
  std::map<std::uint64_t, Messages> made;  // for who knows all up to a version
  for (auto& [node, member] : members_) {
    if (member.connection == 0) continue;  // it gets a full one when it comes back
    if (member.view_sent == 0) {
      send_full_view(member);
    } else if (member.news_told < last_news_) {
      // Who has joined since may hear again what it knows; one message is made for all.
      const std::uint64_t from = std::min(member.news_told, news_told_);
      const auto [it, is_new] = made.try_emplace(from);
      if (is_new) it->second = messages_of(news_since(from), false, true);
      send_news(member, it->second);
    }
  }
  gone_.clear();
  news_told_ = version_;
  news_due_ns_ = base::kNever;
  news_sent_ns_ = now_ns_;
}

void Head::send_loads_to_all() {
  std::map<std::uint64_t, Messages> made;
  for (auto& [node, member] : members_) {
    if (member.connection == 0 || member.view_sent == 0) continue;
    if (member.views_unseen >= kViewsUnseenMax) continue;  // its next heartbeat brings it back here
    const std::uint64_t from = std::min(member.loads_told, loads_told_);
    const auto [it, is_new] = made.try_emplace(from);
    if (is_new && loads_.upper_bound(from) != loads_.end()) it->second = messages_of(loads_since(from), false, true);
    if (it->second.empty()) continue;
    for (const SharedMessage& message : it->second) send_shared(member.connection, message);
    member.loads_told = member.view_sent = version_;
    ++member.views_unseen;
  }
  loads_told_ = version_;
  loads_sent_ns_ = now_ns_;
  loads_from_ns_ = base::kNever;
  loads_waiting_ = 0;
}

}  // namespace rayx::registry
