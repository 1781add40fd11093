// The connections of clients, each of which behaves as TCP: in order, at most once, lost as a whole.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/judge.hpp"
#include "tests/sim/node.hpp"
#include "tests/sim/world.hpp"

namespace kv::sim {

class Connections {
 public:
  // The client's side; neither is called once the connection is closed.
  struct Ends {
    std::function<void(const message::Answer&)> arrived;
    std::function<void()> broken;  // by the other side
  };

  Connections(World& world, Judge& judge, std::vector<std::unique_ptr<Node>>& nodes)
      : world_(world), judge_(judge), nodes_(nodes) {}

  // How long anything takes on its way.
  Time delay() { return world_.random.skewed(world_.plan.delay); }
  std::uint64_t next_request() { return next_request_++; }

  // To a server that is up; `who` tells the story.
  ClientId open(std::string who, NodeIndex to, Ends ends);
  void send(ClientId id, message::Request request);
  // Whether the client takes what it is sent, as its server notices.
  void take_events(ClientId id, bool takes);
  // By the client.
  void close(ClientId id);
  NodeIndex node(ClientId id) const { return open_.at(id).node; }
  // False: the process that it led to is gone, whether the client knows or not.
  bool leads_somewhere(ClientId id) const;

  void answer(ClientAnswer answer);
  void node_ended(NodeIndex node, End end);

 private:
  struct Connection {
    std::string who;
    NodeIndex node = 0;
    std::uint64_t process = 0;
    std::shared_ptr<Ends> ends;
    Time last_request = 0;
    Time last_answer = 0;
  };

  World& world_;
  Judge& judge_;
  std::vector<std::unique_ptr<Node>>& nodes_;
  std::map<ClientId, Connection> open_;
  ClientId next_connection_ = 1;
  std::uint64_t next_request_ = 1;
};

}  // namespace kv::sim
