#include "tests/sim/connections.hpp"

#include <algorithm>
#include <utility>

#include "tests/sim/describe.hpp"

namespace kv::sim {

ClientId Connections::open(std::string who, NodeIndex to, Ends ends) {
  const ClientId id = next_connection_++;
  open_[id] = {std::move(who), to, nodes_[to]->process(), std::make_shared<Ends>(std::move(ends)), 0, 0};
  return id;
}

bool Connections::leads_somewhere(ClientId id) const {
  const Connection& connection = open_.at(id);
  return nodes_[connection.node]->process() == connection.process;
}

void Connections::send(ClientId id, message::Request request) {
  Connection& connection = open_.at(id);
  connection.last_request = std::max(connection.last_request, world_.now() + delay());
  if (world_.tells())
    world_.tell(connection.who, "-> " + nodes_[connection.node]->name() + "  " + describe(request));
  world_.scheduler.at(connection.last_request, [this, id, request = std::move(request)] {
    const auto found = open_.find(id);
    if (found == open_.end() || !leads_somewhere(id)) return;
    Node& node = *nodes_[found->second.node];
    node.hand([this, &node, id, request] {
      judge_.asked(node.name(), id, request);
      node.replica().request(id, message::Request(request));
      node.poke();
    });
  });
}

void Connections::take_events(ClientId id, bool takes) {
  if (!leads_somewhere(id)) return;
  Node& node = *nodes_[open_.at(id).node];
  world_.tell(open_.at(id).who, takes ? "takes what it is sent again" : "takes nothing that it is sent");
  node.hand([this, &node, id, takes] {
    judge_.takes_events(id, takes);
    node.replica().client_has_room(id, takes);
    node.poke();
  });
}

void Connections::answer(ClientAnswer answer) {
  const auto found = open_.find(answer.client);
  if (found == open_.end()) return;
  mix_into(world_.hash, answer.answer);
  Connection& connection = found->second;
  connection.last_answer = std::max(connection.last_answer, world_.now() + delay());
  world_.scheduler.at(connection.last_answer, [this, id = answer.client, body = std::move(answer.answer)] {
    const auto open = open_.find(id);
    if (open == open_.end()) return;
    if (world_.tells()) {
      world_.tell(nodes_[open->second.node]->name(), "-> " + open->second.who + "  " + describe(body));
    }
    const std::shared_ptr<Ends> ends = open->second.ends;
    ends->arrived(body);
  });
}

void Connections::close(ClientId id) {
  const bool is_alive = leads_somewhere(id);
  const Connection connection = std::move(open_.extract(id).mapped());
  if (!is_alive) return;
  world_.scheduler.after(delay(), [this, id, to = connection.node, process = connection.process] {
    Node& node = *nodes_[to];
    if (node.process() != process) return;
    node.hand([this, &node, id] {
      judge_.gone(id);
      node.replica().client_gone(id);
      node.poke();
    });
  });
}

void Connections::node_ended(NodeIndex node, End end) {
  if (end == End::silence) return;  // they find out by waiting
  for (const auto& [id, connection] : open_) {
    if (connection.node != node) continue;
    world_.scheduler.after(delay(), [this, gone = id] {
      const auto found = open_.find(gone);
      if (found == open_.end()) return;
      const std::shared_ptr<Ends> ends = found->second.ends;
      ends->broken();
    });
  }
}

}  // namespace kv::sim
