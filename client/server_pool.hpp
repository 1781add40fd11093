// The servers of one cluster, as far as a client knows them: those that the user gave and, learned from INIT_OK,
// all other members; and the connection to each, kept open for the next request.
//
// It finds one that can be asked: by chance, passing over at once those that refuse the connection, and after a
// moment those that hang. Those that failed lately are asked last; a read that must see a position goes rather to
// those that are known to have applied it. After each failure the servers that are connected are asked for INIT_OK
// again, so that new addresses and a new leader are noticed.
//
// It owns the Links, and must outlive the coroutines that wait in reach(). One thread.
#pragma once

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "client/call.hpp"
#include "client/known_servers.hpp"
#include "client/link.hpp"
#include "client/outcome.hpp"
#include "common/address.hpp"
#include "common/message.hpp"

namespace kv::client {

class ServerPool {
 public:
  struct Server {
    Address address;
    bool given = false;       // by the user; the others were learned
    bool remembered = false;  // from an earlier run, and not heard of in this one yet
    std::string node;         // once known
    std::shared_ptr<Link> link;
    std::uint64_t hellos_taken = 0;  // of the link's INIT_OKs: what they say has been taken over
    std::uint64_t applied = 0;       // it is at least as far
    Clock::time_point avoid_until = Clock::time_point::min();
    Clock::time_point behind_until = Clock::time_point::min();  // it said WAIT_FOR_RESPONSE a moment ago
    std::string last_failure;
    std::optional<message::Error> last_refusal;  // of INIT
  };
  using ServerPtr = std::shared_ptr<Server>;

  struct Times {
    // How long a connection may take before the next server is tried beside it.
    std::chrono::milliseconds connect_step{100};
    // For how long a server that has failed, or that is behind, is asked last.
    std::chrono::milliseconds avoid{2000};
    std::chrono::milliseconds behind{1000};
  };

  // `name`: this program's name and version, for the servers' logs.
  ServerPool(asio::io_context& io, std::string name, Times times, std::uint64_t seed);
  ~ServerPool();
  ServerPool(const ServerPool&) = delete;
  ServerPool& operator=(const ServerPool&) = delete;

  // Begins anew: closes all connections and forgets the members. Servers of any other cluster are not used;
  // empty: that of the first server that answers is the one. `endpoints_first`: the members that are learned are
  // asked only where none of `endpoints` can be.
  void restart(std::vector<Address> endpoints, std::string cluster, bool endpoints_first);
  // Adds servers that are asked where no other can be, and count only if they are of their cluster.
  void add_known(const KnownServers& known);
  std::optional<KnownServers> known_servers() const;
  const std::string& cluster() const { return cluster_; }
  const std::string& leader() const { return leader_; }
  // One address each. The same server may be there twice, as long as it has not been asked by both.
  const std::vector<ServerPtr>& servers() const { return servers_; }
  // Members, as the last INIT_OK told them; before that, addresses.
  std::size_t member_count() const { return member_count_; }

  // A server that has answered INIT; nullptr when none could be reached, or the call's time is over. `position`:
  // rather one that has applied it.
  asio::awaitable<ServerPtr> reach(std::shared_ptr<Call> call, std::uint64_t position = 0);
  // The same for one server.
  asio::awaitable<ServerPtr> reach(std::shared_ptr<Call> call, ServerPtr only);
  // One that is connected now, or nullptr.
  ServerPtr connected();

  // Whom to ask beside `first` for what is at `position`: those that have not failed or been behind lately, best
  // first.
  std::vector<ServerPtr> others_for(const ServerPtr& first, std::uint64_t position);
  bool knows_to_have(const Server& server, std::uint64_t position) const { return server.applied >= position; }
  // The steps of reach(): begins to connect, and wakes the call when that comes to something; whether it has.
  void open(const ServerPtr& server, const std::shared_ptr<Call>& call);
  bool is_usable(const ServerPtr& server);
  std::chrono::milliseconds connect_step() const { return times_.connect_step; }

  // The server's connection has failed, or it refused for now: it is asked last for a while.
  void note_failure(const ServerPtr& server);
  void avoid(const ServerPtr& server);
  // What the answer says of how far servers are.
  void note_position(const ServerPtr& server, const message::Answer& answer);
  // A server was there and said that it will be of use later.
  bool may_come_back() const;
  // Why none could be reached.
  Failure no_server() const;

  // The next request connects, and says INIT, again.
  void close_connections(const std::string& why);

 private:
  asio::awaitable<ServerPtr> reach_one_of(std::shared_ptr<Call> call, std::vector<ServerPtr> order);
  std::vector<ServerPtr> in_random_order(std::uint64_t position);
  bool is_out_of_favour(const ServerPtr& server) const;
  bool is_behind(const Server& server, std::uint64_t position) const;
  void open_link(const ServerPtr& server, Clock::time_point deadline);
  bool welcome(const ServerPtr& server);
  void ask_for_news();
  void learn_members(const ServerPtr& from);
  void learn_member(const std::string& node, const Address& address);
  ServerPtr find(const std::string& node, bool given) const;
  ServerPtr find(const Address& address) const;
  void add(Address address, std::string node, bool given, bool remembered);

  asio::io_context& io_;
  std::string name_;
  Times times_;
  std::mt19937_64 random_;
  std::vector<ServerPtr> servers_;
  std::string cluster_;
  std::string leader_;
  std::size_t member_count_ = 0;
  std::uint64_t members_at_ = 0;  // the position of the INIT_OK that told the members
  Clock::time_point last_trouble_ = Clock::time_point::min();
  Clock::time_point news_asked_ = Clock::time_point::min();
  bool endpoints_first_ = false;
  bool in_contact_ = false;    // some server has answered INIT
  std::string known_cluster_;  // of the remembered servers
};

// Not applied, and another server, or the same one a little later, may well say yes.
bool may_help_to_retry(message::Code code);

}  // namespace kv::client
