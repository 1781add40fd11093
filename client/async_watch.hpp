// What is inside of the client library's AsyncWatch: a Watching (watching.hpp).
#pragma once

#include <chrono>
#include <cstdint>
#include <kvd/async_client.hpp>
#include <optional>
#include <string>
#include <utility>

#include "client/client.hpp"
#include "client/watching.hpp"
#include "common/message.hpp"

namespace kvd {

struct AsyncWatch::Inside {
  // `wrong`: what every next() comes to, if nothing can be watched.
  Inside(kv::client::Client& client, kv::message::Watch request, std::string name_of_call,
         std::optional<Error> refusal, std::uint64_t begin_at_least, std::chrono::milliseconds patience)
      : name(std::move(name_of_call)),
        wrong(std::move(refusal)),
        watching(client, std::move(request), begin_at_least, patience) {}

  std::string name;
  std::optional<Error> wrong;
  kv::client::Watching watching;
};

}  // namespace kvd
