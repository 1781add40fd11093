#include "client/async_watch.hpp"

#include <asio/awaitable.hpp>
#include <memory>
#include <variant>

#include "client/facade.hpp"
#include "client/outcome.hpp"

namespace kvd {

AsyncWatch::AsyncWatch(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
AsyncWatch::~AsyncWatch() = default;
AsyncWatch::AsyncWatch(AsyncWatch&&) noexcept = default;
AsyncWatch& AsyncWatch::operator=(AsyncWatch&&) noexcept = default;

asio::awaitable<Result<Changes>> AsyncWatch::next() {
  if (inside_->wrong) co_return *inside_->wrong;
  auto next = co_await inside_->watching.next();
  if (const auto* failure = std::get_if<kv::client::Failure>(&next)) {
    co_return kv::client::to_public(inside_->name, *failure);
  }
  Changes changes;
  for (kv::message::Event& event : std::get<kv::client::Watching::Changes>(next)) {
    changes.push_back(kv::client::to_public(std::move(event)));
  }
  co_return changes;
}

std::optional<std::uint64_t> AsyncWatch::position() const {
  return inside_->watching.position();
}

void AsyncWatch::cancel() {
  inside_->watching.call()->interrupt();
}

}  // namespace kvd
