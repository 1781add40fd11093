// What the clients saw, written down for the checkers.
//
// They know keys one by one: a transaction is told to them as what it did to each key, and what it read of each.
// Since for them every position is of one write, positions are told sixteenfold, and the key's number is added.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/message.hpp"
#include "tests/checkers/history.hpp"
#include "tests/sim/judge.hpp"

namespace kv::sim {

class Transcript {
 public:
  // A client's operation begins; returns its number.
  std::size_t begin(const std::string& client, const message::Request& request);
  // It is asked like this from now on.
  void asks(std::size_t number, const message::Request& request) { records_[number].request = request; }
  // It was answered like this by that server.
  void answered(std::size_t number, const std::string& node, const message::Answer& answer);
  void ended(std::size_t number, history::Outcome outcome);
  std::size_t size() const { return records_.size(); }

  // When all is over the judge knows of each write with values whether it was done: else the checker would have to
  // consider both, of which there are too many possibilities.
  history::History history(const Judge& judge) const;

 private:
  struct Record {
    std::string client;
    message::Request request;
    std::string node;
    message::Answer answer;
    std::uint64_t invoked = 0;
    std::uint64_t ended = history::never;
    history::Outcome outcome = history::Outcome::info;
  };

  std::vector<Record> records_;
  std::uint64_t clock_ = 0;
};

}  // namespace kv::sim
