#include "server/raft/log.hpp"

#include <algorithm>
#include <utility>

#include "server/raft/invariant.hpp"

namespace kv::raft {
namespace {

// Beside its command, an entry takes about so much: itself, and what the command's block has of its own.
constexpr std::size_t entry_overhead_bytes = 56;

}  // namespace

std::size_t bytes_of(const Entry& entry) {
  return bytes_of(entry.command);
}

std::size_t bytes_of(const Payload& command) {
  return command.size() + entry_overhead_bytes;
}

Log::Log(Position base, const std::vector<Entry>& entries) : base_(base) {
  for (const Entry& entry : entries) append(entry);
}

std::optional<Term> Log::term_at(Index index) const {
  if (index == base_.index) return base_.term;
  if (index < base_.index || index > last_index()) return std::nullopt;
  return at(index).term;
}

bool Log::is_up_to_date(Position other) const {
  const Term term = last_term();
  return other.term > term || (other.term == term && other.index >= last_index());
}

Position Log::last_at_most(Position limit) const {
  Index index = std::min(limit.index, last_index());
  while (index > base_.index && at(index).term > limit.term) index = index.previous();
  return index < base_.index ? Position{} : Position{index, *term_at(index)};
}

const Entry& Log::at(Index index) const {
  invariant(index > base_.index && index <= last_index(), "only an entry that is in the log is read");
  return entries_[index - first_index()];
}

std::vector<Entry> Log::slice(Index first, Index last, std::size_t max_bytes) const {
  last = std::min(last, last_index());
  if (first > last) return {};
  invariant(first > base_.index, "only an entry that is in the log is read");
  const auto begin = entries_.begin() + static_cast<std::ptrdiff_t>(first - first_index());
  const auto limit = begin + static_cast<std::ptrdiff_t>(last - first) + 1;
  std::size_t bytes = begin->bytes();
  auto end = begin + 1;
  while (end != limit && (bytes += end->bytes()) <= max_bytes) ++end;
  return {begin, end};
}

void Log::append(Entry entry) {
  invariant(entry.index == last_index().next(), "the log has no gaps");
  invariant(entry.term >= last_term(), "terms never fall along the log");
  bytes_ += bytes_of(entry);
  entries_.push_back(std::move(entry));
}

void Log::truncate_from(Index first) {
  invariant(first > base_.index, "what is before the base is committed");
  while (last_index() >= first) {
    bytes_ -= bytes_of(entries_.back());
    entries_.pop_back();
  }
}

void Log::compact(Index last) {
  invariant(last <= last_index(), "only what is in the log is forgotten");
  while (base_.index < last) {
    const Entry& first = entries_.front();
    base_ = {first.index, first.term};
    bytes_ -= bytes_of(first);
    entries_.pop_front();
  }
}

void Log::reset(Position base) {
  base_ = base;
  entries_.clear();
  bytes_ = 0;
}

}  // namespace kv::raft
