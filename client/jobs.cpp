#include "client/jobs.hpp"

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <utility>
#include <variant>

#include "client/interrupt_guard.hpp"

namespace kv::client {

// Of the same servers, as far as they are known.
std::unique_ptr<Client> Jobs::client_for(const Command& command) const {
  if (!std::holds_alternative<WatchCommand>(command)) return nullptr;
  ClientOptions options;
  for (const ServerPool::ServerPtr& server : client_.servers().servers())
    options.endpoints.push_back(server->address);
  options.cluster = client_.cluster();
  return std::make_unique<Client>(io_, std::move(options));
}

Jobs::Ran Jobs::run(const Invocation& invocation, const Screen& screen, std::string line) {
  const auto job = std::make_shared<Job>(Printer(screen, Style::shell, invocation.options));
  job->line = std::move(line);
  job->own_client = client_for(invocation.command);
  Client& client = job->own_client ? *job->own_client : client_;
  job->context.emplace(Context{io_, client, session_, job->printer, invocation.options, {}});
  job->context->parked = [weak = std::weak_ptr(job)] {
    if (const auto parked = weak.lock()) parked->is_parked = true;
  };
  std::variant<Exit, asio::awaitable<Exit>> begun = begin(*job->context, invocation.command);
  if (const auto* exit = std::get_if<Exit>(&begun)) return {end(*job->context, *exit), 0};

  const InterruptGuard guard(io_, client);
  start(job, std::get<asio::awaitable<Exit>>(std::move(begun)));
  while (!job->exit && !job->is_parked) {
    if (io_.stopped()) io_.restart();
    io_.run_one();
  }
  if (job->failed) std::rethrow_exception(job->failed);
  if (job->exit) return {job->exit, 0};
  job->calls = client.release_calls();
  job->number = ++last_number_;
  background_.push_back(job);
  return {std::nullopt, job->number};
}

void Jobs::start(const std::shared_ptr<Job>& job, asio::awaitable<Exit> work) {
  asio::co_spawn(io_, std::move(work), [job](std::exception_ptr failed, Exit exit) {
    job->failed = failed;
    job->exit = job->is_cancelled ? exit : end(*job->context, exit);
  });
}

std::vector<Jobs::Shown> Jobs::in_background() {
  forget_ended();
  std::vector<Shown> shown;
  for (const auto& job : background_) shown.push_back({job->number, job->line});
  return shown;
}

bool Jobs::cancel(std::uint64_t number) {
  forget_ended();
  const auto found = std::find_if(background_.begin(), background_.end(),
                                  [&](const std::shared_ptr<Job>& job) { return job->number == number; });
  if (found == background_.end()) return false;
  interrupt(**found);
  background_.erase(found);
  return true;
}

void Jobs::cancel_all() {
  for (const std::shared_ptr<Job>& job : std::exchange(background_, {})) interrupt(*job);
}

void Jobs::interrupt(Job& job) {
  job.is_cancelled = true;
  for (const std::weak_ptr<Call>& weak : job.calls) {
    if (const std::shared_ptr<Call> call = weak.lock()) call->interrupt();
  }
  if (job.own_client) job.own_client->interrupt();
}

void Jobs::forget_ended() {
  std::erase_if(background_, [](const std::shared_ptr<Job>& job) { return job->exit.has_value(); });
}

}  // namespace kv::client
