// The judge of watches: what a server tells each of them, held against what it has applied and what it can still
// know. Keeps for each server what its ring of changes must hold, and for each watch what it has brought so far.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "server/client_answer.hpp"
#include "tests/sim/feed.hpp"
#include "tests/sim/world.hpp"

namespace kv::sim {

class WatchJudge {
 public:
  WatchJudge(World& world, const Model& model) : world_(world), model_(model) {}

  // ---- A server's process

  // It has the state of `stored`, and knows all changes from there up to `applied`.
  void started(const std::string& node, std::uint64_t stored, std::uint64_t applied);
  // It has taken over a snapshot: what led there it does not know.
  void installed(const std::string& node, std::uint64_t position);
  void applied(const std::string& node, std::uint64_t position);
  // It has given out all that it had to say; `has_more`: for now.
  void flushed(const std::string& node, bool has_more);
  void stopped(const std::string& node);
  void ended(const std::string& node);

  // ---- Its clients

  void asked(const std::string& node, ClientId client, std::uint64_t id, const message::Watch& watch);
  void takes_events(ClientId client, bool takes);
  void gone(ClientId client);

  // ---- What it says; `id` is the request's that is answered

  void answers(ClientId client, std::uint64_t id, const message::WatchOk& ok);
  void answers(ClientId client, std::uint64_t id, const message::Error& error);
  void answers(ClientId client, const message::CancelOk& ok);
  // Beside the answers to requests: events, and that a watch has ended.
  void tells(const ClientAnswer& said);

 private:
  using Id = std::pair<ClientId, std::uint64_t>;
  struct Node {
    std::uint64_t applied = 0;
    std::uint64_t floor = 0;     // all later changes are in its ring
    std::size_t ring_begin = 0;  // places in the model's changes
    std::size_t ring_end = 0;
    std::size_t ring_bytes = 0;
    std::optional<std::uint64_t> installed;  // since it was flushed: a snapshot, and the floor is this
    std::set<Id> live;
  };
  // A WATCH that is not answered yet: what its server was like when it came.
  struct Asked {
    std::string node;
    message::Watch watch;
    std::uint64_t applied = 0;
    std::uint64_t floor = 0;
    std::size_t watches = 0;  // at most: some may be gone by now

    std::uint64_t from() const { return watch.from_ts.value_or(applied); }
  };
  struct Live {
    std::string node;
    std::uint64_t from = 0;
    std::uint64_t looked_through = 0;  // up to there it was known to have all
    Feed feed;
  };

  void extend(Node& node, std::uint64_t applied);
  void check_end(const Id& id, const Live& watch, const message::Error& error);
  void remove(std::map<Id, Live>::iterator watch);

  World& world_;
  const Model& model_;
  std::map<std::string, Node> nodes_;
  std::map<Id, Asked> asked_;
  std::map<Id, Live> live_;
  std::set<ClientId> take_nothing_;
};

}  // namespace kv::sim
