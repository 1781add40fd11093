#include "server/roster.hpp"

#include <algorithm>
#include <utility>

#include "server/raft/invariant.hpp"

namespace kv {
Roster::Roster(command::Member self, std::vector<std::string> names, std::string new_cluster, std::string seed)
    : self_(std::move(self)),
      names_(std::move(names)),
      new_cluster_(std::move(new_cluster)),
      seed_(std::move(seed)) {
  std::sort(names_.begin(), names_.end());
}

const std::string& Roster::cluster() const {
  static const std::string none;
  return bound_ ? bound_->cluster : none;
}

const command::Member* Roster::bound_member(const std::string& node) const {
  if (!bound_) return nullptr;
  for (const auto& member : bound_->members) {
    if (member.node == node) return &member;
  }
  return nullptr;
}

// Empty: none is known yet.
const std::string& Roster::known_identity(const std::string& node) const {
  static const std::string none;
  if (const command::Member* member = bound_member(node)) return member->identity;
  // Before the first entry, too, a name belongs to one process at a time, else both would get our vote.
  const auto linked = reached_.find(node);
  return linked == reached_.end() ? none : linked->second.member.identity;
}

bool Roster::is_impostor(const std::string& node, const std::string& identity) const {
  const std::string& known = known_identity(node);
  return !known.empty() && known != identity;
}

std::optional<message::Error> Roster::check(const message::PeerInit& init) const {
  if (init.protocol != protocol_version) {
    return message::make_error(message::Code::bad_request,
                               "this server speaks protocol 1, not " + std::to_string(init.protocol));
  }
  if (init.to != self_.node) {
    return message::make_error(message::Code::bad_request,
                               "this is " + self_.node + ", not " + init.to + ": check the addresses in --cluster");
  }
  return check_claim({init.node, init.cluster, init.identity, init.seed});
}

std::optional<message::Error> Roster::check(const std::string& expected_node,
                                            const message::PeerInitOk& answer) const {
  if (answer.protocol != protocol_version) {
    return message::make_error(message::Code::bad_request,
                               "it speaks protocol " + std::to_string(answer.protocol) + ", not 1");
  }
  if (answer.node != expected_node) {
    return message::make_error(message::Code::bad_request, "it is " + answer.node + ", not " + expected_node +
                                                               ": check the addresses in --cluster");
  }
  return check_claim({answer.node, answer.cluster, answer.identity, answer.seed});
}

std::optional<message::Error> Roster::check_claim(const Claim& claim) const {
  const std::string& node = claim.node;
  if (node == self_.node || !std::binary_search(names_.begin(), names_.end(), node)) {
    return message::make_error(message::Code::bad_request,
                               "'" + node + "' is not another member of this cluster: check --name and --cluster");
  }
  if (bound_ && !claim.cluster.empty() && claim.cluster != bound_->cluster) {
    auto error =
        message::make_error(message::Code::cluster_mismatch,
                            node + " belongs to cluster " + claim.cluster + ", this server to " + bound_->cluster);
    error.cluster = bound_->cluster;
    return error;
  }
  if (!bound_ && !seed_.empty() && !claim.seed.empty() && claim.seed != seed_) {
    return message::make_error(message::Code::cluster_mismatch,
                               node + " was restored from another backup (" + claim.seed + ") than " + self_.node +
                                   " (" + seed_ + "): restore one server alone, or all from the same backup");
  }
  if (is_impostor(node, claim.identity)) {
    return message::make_error(
        message::Code::cluster_mismatch,
        node + " has another data directory than the one that is known under this name (identity " +
            claim.identity + ", not " + known_identity(node) +
            "): give it back its own directory; an emptied or copied one must not vote");
  }
  return std::nullopt;
}

message::PeerInit Roster::introduction(const std::string& to) const {
  message::PeerInit init;
  init.cluster = cluster();
  init.node = self_.node;
  init.identity = self_.identity;
  init.to = to;
  init.advertise = self_.client_address;
  init.peer_advertise = self_.peer_address;
  if (!bound_) init.seed = seed_;
  return init;
}

message::PeerInitOk Roster::welcome() const {
  message::PeerInitOk ok;
  ok.cluster = cluster();
  ok.node = self_.node;
  ok.identity = self_.identity;
  ok.advertise = self_.client_address;
  ok.peer_advertise = self_.peer_address;
  if (!bound_) ok.seed = seed_;
  return ok;
}

void Roster::reached(const message::PeerInitOk& answer) {
  reached_[answer.node] = {{answer.node, answer.identity, answer.peer_advertise, answer.advertise}, answer.cluster};
}

bool Roster::can_form() const {
  if (bound_) return false;
  return std::all_of(names_.begin(), names_.end(), [this](const std::string& name) {
    if (name == self_.node) return true;
    const auto found = reached_.find(name);
    return found != reached_.end() && found->second.cluster.empty();
  });
}

command::Members Roster::form() const {
  invariant(can_form(), "a cluster is formed by a server that has reached every member");
  command::Members members{new_cluster_, {}};
  for (const std::string& name : names_) {
    members.members.push_back(name == self_.node ? self_ : reached_.at(name).member);
  }
  return members;
}

std::optional<command::Members> Roster::with_news() const {
  if (!bound_) return std::nullopt;
  command::Members members = *bound_;
  for (auto& member : members.members) {
    const auto found = reached_.find(member.node);
    const command::Member* heard = member.node == self_.node ? &self_
                                   : found != reached_.end() ? &found->second.member
                                                             : nullptr;
    if (!heard) continue;
    member.peer_address = heard->peer_address;
    member.client_address = heard->client_address;
  }
  if (members == *bound_) return std::nullopt;
  return members;
}

}  // namespace kv
