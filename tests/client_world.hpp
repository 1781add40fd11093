// What tests of the client library say in a word: a client of some servers, a request, what came of it.
#pragma once

#include <asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "client/client.hpp"
#include "client/run.hpp"
#include "common/message.hpp"
#include "tests/client_fake_server.hpp"

namespace kv::client::test {

using namespace std::chrono_literals;

inline constexpr auto plenty = 5000ms;

struct World {
  asio::io_context io{1};

  std::unique_ptr<Client> client_of(std::vector<Address> endpoints, std::uint64_t seed = 1,
                                    std::string cluster = "") {
    ClientOptions options;
    options.endpoints = std::move(endpoints);
    options.cluster = std::move(cluster);
    options.seed = seed;
    options.server_times.connect_step = 20ms;
    options.answer_grace = 30ms;
    return std::make_unique<Client>(io, std::move(options));
  }
};

inline message::Put put_of(std::string key, std::string value) {
  message::Put put;
  put.key = std::move(key);
  put.value = std::move(value);
  return put;
}

inline message::Get get_of(std::string key, std::uint64_t ts = 0) {
  message::Get get;
  get.key = std::move(key);
  get.ts = ts;
  return get;
}

inline Outcome request(World& world, Client& client, Client::Body body, std::chrono::milliseconds timeout = plenty,
                       Client::WaitHandler on_wait = {}) {
  return run(world.io, client.request(client.new_call(timeout), std::move(body), std::move(on_wait)));
}

template <class Body>
const Body& answer_of(const Outcome& outcome) {
  return std::get<Body>(std::get<Reply>(outcome).body);
}

inline const Failure& failure_of(const Outcome& outcome) {
  return std::get<Failure>(outcome);
}

inline message::PutOk put_ok(const message::Request& request, std::uint64_t ts) {
  message::PutOk ok;
  ok.key = std::get<message::Put>(request.body).key;
  ok.ts = ts;
  return ok;
}

}  // namespace kv::client::test
