// Somebody who asks a cluster for one thing and goes: what the command line is.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>

#include <rayx/result.hpp>

#include "registry/messages.hpp"
#include "wire/endpoint.hpp"
#include "wire/link.hpp"
#include "wire/token.hpp"

namespace rayx::host {

using NodeViews = std::map<registry::NodeId, registry::NodeView>;
using NodeQuestion = std::function<Result<registry::RequestBody>(const NodeViews&)>;

// Joins the cluster as a client, has `ask` make a request of the nodes that it sees, waits for the answer, and leaves. Not on a loop's
// thread; waits no longer than the time-out.
Result<registry::Answer> ask_head(const wire::Endpoint& head, const wire::Token& token, wire::TlsPolicy tls,
                                  NodeQuestion ask, std::chrono::milliseconds timeout);

// The node with this id, or the only one of this name.
Result<registry::NodeId> find_node(const NodeViews& nodes, const std::string& text);

}  // namespace rayx::host
