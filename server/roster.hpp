// Who belongs to the cluster: names, identities and addresses, and whether a server that says INIT is who it
// claims to be (docs/architecture.md, "Identity").
//
// A data directory's identity is made once. The first entry of the log binds each name to one; from then on
// another identity under that name is refused, so that a server whose disk was emptied never votes on what it
// has forgotten. Before that entry exists the cluster can only be formed by a server that has reached every
// member and found each empty. A plain value, owned by the replica.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/message.hpp"
#include "server/command.hpp"

namespace kv {

class Roster {
 public:
  // `self` carries this server's own name, identity and addresses; `names` are all members', self's included.
  // `new_cluster` is the id that a cluster formed by this server gets. `seed` tells backups apart: the one that
  // this server was restored from, if it was and the cluster has not begun yet.
  Roster(command::Member self, std::vector<std::string> names, std::string new_cluster, std::string seed = {});

  const command::Member& self() const { return self_; }
  const std::vector<std::string>& names() const { return names_; }
  // The members that the log has bound; also while that entry is not committed yet, nullopt where there is none.
  const std::optional<command::Members>& bound() const { return bound_; }
  const std::string& cluster() const;  // empty: none yet
  void bind(command::Members members) { bound_ = std::move(members); }
  void unbind() { bound_.reset(); }  // the entry was replaced before it was committed

  // What this server says of itself: to `to`, which it dials, and to one that has dialled it.
  message::PeerInit introduction(const std::string& to) const;
  message::PeerInitOk welcome() const;

  // Whether what a server that dials us, or that we have dialled, says of itself is right: nullopt if it is.
  std::optional<message::Error> check(const message::PeerInit& init) const;
  std::optional<message::Error> check(const std::string& expected_node, const message::PeerInitOk& answer) const;

  // Whether messages of this identity are those of `node`. What was true at INIT need not stay true: a server that
  // had no cluster then may have learned since who the members are.
  bool is_impostor(const std::string& node, const std::string& identity) const;

  // The link to a peer was opened and its INIT_OK was welcome; or broke.
  void reached(const message::PeerInitOk& answer);
  void lost(const std::string& node) { reached_.erase(node); }
  bool is_reached(const std::string& node) const { return reached_.contains(node); }

  // Everyone has been reached and nobody has a cluster: one may be formed.
  bool can_form() const;
  // The first entry of a new cluster's log; needs can_form().
  command::Members form() const;
  // The bound members with the addresses that were heard since; nullopt if nothing has changed.
  std::optional<command::Members> with_news() const;

 private:
  struct Claim {
    const std::string& node;
    const std::string& cluster;
    const std::string& identity;
    const std::string& seed;
  };
  std::optional<message::Error> check_claim(const Claim& claim) const;
  const command::Member* bound_member(const std::string& node) const;
  const std::string& known_identity(const std::string& node) const;

  command::Member self_;
  std::vector<std::string> names_;  // sorted
  std::string new_cluster_;
  std::string seed_;
  std::optional<command::Members> bound_;
  struct Reached {
    command::Member member;
    std::string cluster;
  };
  std::map<std::string, Reached> reached_;
};

}  // namespace kv
