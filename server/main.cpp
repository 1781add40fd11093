// kvd: puts a server together. The order matters: the data directory is locked and replayed, the listeners'
// ports are taken, and only when everything known to be committed is applied does anyone get an answer.
#include <malloc.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <random>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "common/ring.hpp"
#include "common/text.hpp"
#include "common/uring.hpp"
#include "server/config.hpp"
#include "server/engine.hpp"
#include "server/file.hpp"
#include "server/inspect_command.hpp"
#include "server/peers.hpp"
#include "server/recovery.hpp"
#include "server/session.hpp"

namespace kv {
namespace {

constexpr auto stop_time = std::chrono::seconds(4);  // for what is under way when a signal asks to stop
constexpr std::uint64_t max_segment_bytes = 64 << 20;
constexpr std::uint64_t least_snapshot_log_bytes = 4 << 20;
constexpr std::uint64_t most_snapshot_log_bytes = 256 << 20;
// Of the files that may be open, for the log, the snapshots that are written, sent and fetched, the listeners and
// such: a server whose log cannot be opened ends.
constexpr std::uint64_t reserved_files = 64;
constexpr std::uint64_t files_a_server = 4;  // links in both directions, and those which they have just replaced
constexpr std::uint64_t unknown_open_files = 1024;
constexpr std::uint64_t most_unnamed_servers = 1024;
constexpr auto drain_time = std::chrono::milliseconds(500);

// Why the server cannot start, for a person.
class StartError : public std::runtime_error {
  using runtime_error::runtime_error;
};

asio::ip::tcp::acceptor take_port(asio::io_context& loop, const Address& address, const std::string& flag) {
  const auto fail = [&](const std::string& why) -> StartError {
    return StartError(flag + " " + address.text() + ": " + why);
  };
  asio::ip::tcp::resolver resolver(loop);
  std::error_code error;
  const auto found =
      resolver.resolve(address.host, std::to_string(address.port), asio::ip::tcp::resolver::passive, error);
  if (error) throw fail("cannot look up " + address.host + ": " + error.message());
  const asio::ip::tcp::endpoint endpoint = *found.begin();
  asio::ip::tcp::acceptor acceptor(loop);
  acceptor.open(endpoint.protocol());
  acceptor.set_option(asio::socket_base::reuse_address(true));
  acceptor.bind(endpoint, error);
  if (error == asio::error::address_in_use) {
    throw fail("the port is in use: is another kvd running? Stop it, or choose another port");
  }
  if (error) throw fail("cannot listen there: " + error.message() + ": use an address of this machine, or 0.0.0.0");
  return acceptor;
}

// The address as it was given, with the port that was really taken.
Address with_port_of(Address address, const asio::ip::tcp::acceptor& acceptor) {
  address.port = acceptor.local_endpoint().port();
  return address;
}

bool is_wildcard(const std::string& host) {
  return host == "0.0.0.0" || host == "::";
}

std::unique_ptr<Directory> open_data(const std::string& path) {
  try {
    return open_directory(path);
  } catch (const FileError& error) {
    if (error.error() == EWOULDBLOCK) {
      throw StartError("--data-dir " + path +
                       ": another process is using it: stop that one, or choose another folder");
    }
    throw StartError("--data-dir " + path + ": " + error.what() + ": choose a folder that this user can write");
  }
}

// Where every member's servers' listener is: as --cluster says, else as the log remembers.
std::map<std::string, Address> cluster_of(const ServerConfig& config, const ReplicaRestored& restored) {
  std::map<std::string, Address> cluster = config.cluster;
  if (const auto members = members_of(restored)) {
    std::map<std::string, Address> remembered;
    for (const auto& member : members->members) {
      auto address = parse_address(member.peer_address);
      remembered[member.node] = std::holds_alternative<Address>(address) ? std::get<Address>(address) : Address{};
    }
    const auto names = [](const auto& map) {
      std::string text;
      for (const auto& [name, address] : map) text += (text.empty() ? "" : ", ") + name;
      return text;
    };
    if (!cluster.empty() && names(cluster) != names(remembered)) {
      throw StartError("--cluster names " + names(cluster) + ", but the cluster of --data-dir " + config.data_dir +
                       " has " + names(remembered) + ": name the same members, or choose another --data-dir");
    }
    if (!remembered.contains(config.name)) {
      throw StartError("--name " + config.name + ": the cluster of --data-dir " + config.data_dir + " has " +
                       names(remembered));
    }
    if (cluster.empty()) cluster = remembered;
  }
  if (cluster.empty()) cluster[config.name] = config.peer_listen;
  return cluster;
}

// How many files this process may have open, now that it has asked for all that it can get.
std::uint64_t raise_open_files_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return unknown_open_files;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

// How many connections there may be, so that whoever opens many leaves the disk's files what they need.
struct ConnectionLimits {
  std::size_t clients;
  std::size_t unnamed_servers;
};

ConnectionLimits share_open_files(std::uint64_t open_files, std::uint64_t asked_for, std::size_t others,
                                  bool listens_to_servers) {
  const std::uint64_t taken = reserved_files + files_a_server * others;
  const std::uint64_t left = open_files > taken ? open_files - taken : 0;
  ConnectionLimits limits{};
  if (listens_to_servers) limits.unnamed_servers = std::clamp<std::uint64_t>(left / 8, 1, most_unnamed_servers);
  const std::uint64_t clients = left - std::min<std::uint64_t>(left, limits.unnamed_servers);
  limits.clients = std::clamp<std::uint64_t>(clients, 1, asked_for);
  if (limits.clients < asked_for) {
    spdlog::warn(
        "--max-connections {}: this process may have {} files open, so at most {} clients are taken at the same "
        "time: raise that limit (ulimit -n, or LimitNOFILE= of the systemd unit), or set --max-connections to it",
        asked_for, open_files, limits.clients);
  }
  return limits;
}

void log_recovery(const Recovered& recovered, std::size_t entries, const std::string& path,
                  std::chrono::milliseconds took) {
  for (const std::string& warning : recovered.warnings) spdlog::warn("{}", warning);
  if (recovered.fresh) {
    spdlog::info("new data directory {}", path);
    return;
  }
  const std::string snapshot = recovered.snapshot_bytes == 0
                                   ? std::string("no snapshot")
                                   : "the snapshot of " + std::to_string(recovered.replica.stored.index.value) +
                                         " (" + format_size(recovered.snapshot_bytes) + ")";
  spdlog::info("read {} and {} entries behind it ({} in {} segments) of {} in {}", snapshot, entries,
               format_size(recovered.log.bytes), recovered.log.segments, path, format_duration(took));
  if (recovered.log.torn_bytes > 0) {
    spdlog::warn("cut off {} bytes at {}: the torn end of a write that was never confirmed",
                 recovered.log.torn_bytes, recovered.log.torn_where);
  }
}

class Server {
 public:
  Server(const ServerConfig& config, std::uint64_t open_files)
      : config_(config), signals_(loop_, SIGTERM, SIGINT), stopper_(loop_) {
    if (config.io_uring.value_or(true)) open_ring();
    directory_ = open_data(config.data_dir);
    asio::ip::tcp::acceptor clients = take_port(loop_, config.listen, "--listen");
    const auto begin = std::chrono::steady_clock::now();
    WalOptions options;
    options.max_segment_bytes = max_segment_bytes;
    if (!config.restore.empty()) restore(config);
    Recovered recovered = recover(*directory_, options, SnapshotOptions{}, new_uuid(), !config.restore.empty());
    std::map<std::string, Address> cluster = cluster_of(config, recovered.replica);
    std::optional<asio::ip::tcp::acceptor> peers;
    if (cluster.size() > 1 || config.peer_listen_given)
      peers = take_port(loop_, config.peer_listen, "--peer-listen");
    const command::Member self = describe_self(recovered.identity, cluster, clients, peers);
    const std::size_t entries = recovered.replica.entries.size();
    auto replica = make_replica(self, cluster, std::move(recovered.replica));
    const auto took = std::chrono::steady_clock::now() - begin;
    // What the log held of the snapshot's time is not needed any more, and lies between what is.
    ::malloc_trim(0);
    log_recovery(recovered, entries, config.data_dir, std::chrono::duration_cast<std::chrono::milliseconds>(took));
    engine_ = std::make_unique<Engine>(loop_, std::move(replica), std::move(recovered.wal),
                                       std::move(recovered.snapshots));
    std::map<std::string, Address> others = cluster;
    others.erase(config.name);
    listen_text_ = self.client_address + (peers ? ", servers on " + self.peer_address : "");
    clients.listen();
    if (peers) peers->listen();
    const ConnectionLimits connections =
        share_open_files(open_files, config.max_connections, others.size(), peers.has_value());
    peers_ =
        std::make_unique<Peers>(loop_, *engine_, std::move(peers), std::move(others), connections.unnamed_servers);
    SessionLimits limits;
    limits.max_connections = connections.clients;
    limits.max_value = config.max_value;
    sessions_ = std::make_unique<Sessions>(loop_, *engine_, std::move(clients), limits);
  }

  int run() {
    engine_->connect(*peers_, *sessions_, [](const std::string& text) {
      // Nothing is acknowledged after a disk error: no answer may leave, not even a polite one.
      spdlog::critical("{}: this server stops; nothing more is acknowledged", text);
      spdlog::default_logger()->flush();
      std::_Exit(1);
    });
    wait_for_signal();
    sessions_->start();
    peers_->start();
    engine_->start_ticking();
    engine_->poke();
    if (!config_.advertise && is_wildcard(config_.listen.host)) {
      spdlog::warn("clients are told to connect to {}, which names no machine: set --advertise", listen_text_);
    }
    spdlog::info("ready: {} {}, clients on {}, data in {}", config_.name, version, listen_text_, config_.data_dir);
    sd_notify(0, "READY=1");
    loop_.run();
    loop_.restart();
    loop_.run_for(drain_time);
    spdlog::info("stopped");
    return 0;
  }

 private:
  void restore(const ServerConfig& config) {
    try {
      restore_backup(*directory_, *open_file_to_read(config.restore), config.restore, SnapshotOptions{});
      spdlog::info("restored {}: a new cluster begins with it", config.restore);
    } catch (const std::invalid_argument& error) {
      throw StartError("--restore: " + std::string(error.what()));
    } catch (const FileError& error) {
      throw StartError("--restore " + config.restore + ": " + error.what());
    }
  }

  command::Member describe_self(const std::string& identity, std::map<std::string, Address>& cluster,
                                const asio::ip::tcp::acceptor& clients,
                                const std::optional<asio::ip::tcp::acceptor>& peers) const {
    command::Member self;
    self.node = config_.name;
    self.identity = identity;
    self.client_address = config_.advertise.value_or(with_port_of(config_.listen, clients)).text();
    Address peer = config_.peer_advertise.value_or(cluster.at(config_.name));
    if (peers && cluster.size() == 1) peer = with_port_of(config_.peer_listen, *peers);
    self.peer_address = peer.text();
    return self;
  }

  std::unique_ptr<Replica> make_replica(const command::Member& self, const std::map<std::string, Address>& cluster,
                                        ReplicaRestored restored) const {
    const auto ticks = [](std::chrono::milliseconds time) {
      return static_cast<std::uint32_t>((time.count() + static_cast<long>(tick_ms) - 1) /
                                        static_cast<long>(tick_ms));
    };
    ReplicaConfig replica;
    replica.self = self;
    for (const auto& [name, address] : cluster) replica.names.push_back(name);
    replica.new_cluster = new_uuid();
    replica.server = std::string("kvd ") + version;
    replica.preferred_leader = config_.preferred_leader;
    replica.heartbeat_ticks = ticks(config_.heartbeat_interval);
    replica.election_ticks = ticks(config_.election_timeout);
    replica.delay_ticks = ticks(config_.delay_replication);
    replica.snapshot_every = config_.snapshot_every;
    replica.quota = config_.quota;
    // A share of the quota, within what is well in memory.
    replica.snapshot_log_bytes =
        config_.quota == 0 ? most_snapshot_log_bytes
                           : std::clamp(config_.quota / 32, least_snapshot_log_bytes, most_snapshot_log_bytes);
    std::random_device random;
    replica.seed = (static_cast<std::uint64_t>(random()) << 32) | random();
    return std::make_unique<Replica>(std::move(replica), std::move(restored));
  }

  void wait_for_signal() {
    signals_.async_wait([this](std::error_code error, int signal) {
      if (error) return;
      if (stopping_) {
        spdlog::warn("{} again: stopping at once", signal == SIGTERM ? "SIGTERM" : "SIGINT");
        spdlog::default_logger()->flush();
        std::_Exit(1);
      }
      stopping_ = true;
      spdlog::info("{}: stopping; handing over what is under way", signal == SIGTERM ? "SIGTERM" : "SIGINT");
      sd_notify(0, "STOPPING=1");
      sessions_->stop_listening();
      engine_->replica().stop();
      engine_->poke();
      stop_by_ = std::chrono::steady_clock::now() + stop_time;
      wait_until_quiet();
      wait_for_signal();
    });
  }

  void wait_until_quiet() {
    stopper_.expires_after(std::chrono::milliseconds(tick_ms));
    stopper_.async_wait([this](std::error_code error) {
      if (error || finished_) return;
      if (engine_->replica().is_quiet() || std::chrono::steady_clock::now() >= stop_by_) {
        finish();
      } else {
        wait_until_quiet();
      }
    });
  }

  // Before there is a connection: each is of one kind.
  void open_ring() {
    const std::string refused = open_uring(loop_);
    if (refused.empty()) return;
    if (config_.io_uring) throw std::runtime_error("--io-uring on: the kernel refuses it: " + refused);
    spdlog::info("no io_uring here ({}): connections are waited for one by one", refused);
  }

  void finish() {
    engine_->replica().abandon();
    engine_->flush();
    sessions_->close_all();
    peers_->close_all();
    // The last answers, before the disks are waited for.
    if (Ring* const ring = Ring::of(loop_)) ring->submit();
    engine_->shut_down();
    signals_.cancel();
    stopper_.cancel();
    finished_ = true;
    loop_.stop();
  }

  ServerConfig config_;
  asio::io_context loop_{1};
  asio::signal_set signals_;
  asio::steady_timer stopper_;
  std::unique_ptr<Directory> directory_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Peers> peers_;
  std::unique_ptr<Sessions> sessions_;
  std::string listen_text_;
  bool stopping_ = false;
  bool finished_ = false;
  std::chrono::steady_clock::time_point stop_by_;
};

int run(const ServerConfig& config) {
  try {
    set_up_logging(config.log);
    const std::uint64_t open_files = raise_open_files_limit();
    std::signal(SIGPIPE, SIG_IGN);
    return Server(config, open_files).run();
  } catch (const std::exception& error) {
    std::cerr << "kvd: " << error.what() << "\n";
    return 1;
  }
}

}  // namespace
}  // namespace kv

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "inspect") return kv::inspect::run_command(argc - 1, argv + 1);
  const auto config = kv::read_config(argc, argv);
  if (const auto* exit = std::get_if<kv::ExitNow>(&config)) return exit->status;
  return kv::run(std::get<kv::ServerConfig>(config));
}
