// For the log's fuzz targets: a log that is written as the input says, and what is known of it without reading it
// back: what it held after each batch, and where on the disk each batch lies (computed from docs/formats.md).
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/wal.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/memory_directory.hpp"

namespace kv::fuzz {

inline const std::string wal_identity = "0d9a6b1e-6f0f-4a52-9a9c-0f4f2f6f7a11";
inline constexpr std::size_t sector = 512;
inline constexpr std::size_t block = 4096;

inline std::string segment_name(std::uint64_t number) {
  std::string name = std::to_string(number);
  return std::string(16 - name.size(), '0') + name + ".wal";
}

// What a log holds.
struct Content {
  raft::HardState hard_state;
  std::vector<raft::Entry> entries;
  raft::Index commit;

  void apply(const raft::Write& write) {
    if (write.hard_state) hard_state = *write.hard_state;
    for (const raft::Entry& entry : write.entries) {
      entries.resize(entry.index.value - 1);
      entries.push_back(entry);
    }
    commit = std::max(commit, std::min(write.commit, raft::Index(entries.size())));
  }

  // Equal texts are equal contents.
  std::string text() const {
    std::string out = std::to_string(hard_state.term.value) + ' ' + hard_state.vote.name + ' ';
    out += std::to_string(commit.value);
    for (const raft::Entry& entry : entries) {
      out += ' ' + std::to_string(entry.term.value) + '/' + std::to_string(entry.index.value) + ' ';
      out += entry.command ? std::to_string(entry.command.size()) + ':' + std::string(*entry.command) : "-";
    }
    return out;
  }
};

inline std::string text_of(const Wal::Recovered& recovered) {
  return Content{recovered.hard_state, recovered.entries, recovered.commit}.text();
}

// A log that is open, and what it had recovered.
struct OpenLog {
  OpenLog(MemoryDirectory& directory, std::uint64_t segment_bytes) {
    WalOptions options;
    options.segment_bytes = segment_bytes;
    wal = std::make_unique<Wal>(directory, options, wal_identity, recovered);
  }

  Wal::Recovered recovered;
  std::unique_ptr<Wal> wal;
};

// A batch on the disk.
struct Place {
  std::uint64_t segment = 1;
  std::size_t offset = sector;
  std::size_t bytes = 0;
  std::size_t end() const { return offset + bytes; }
};

class WrittenLog {
 public:
  explicit WrittenLog(Input& input) : segment_bytes(1024 + sector * input.below(7)), segment_size_(segment_bytes) {
    texts.push_back(Content().text());
    open();
    for (std::uint64_t writes = input.below(12); writes > 0; --writes) {
      const unsigned flags = input.byte();
      if (flags & 1) reopen(flags & 2);
      const raft::Write write = next_write(input);
      log_->wal->append(write);
      note(write);
    }
    const MemoryDirectory::Image image = directory.image();
    for (const Place& place : places) {
      const std::string& bytes = image.at(segment_name(place.segment));
      require(bytes.size() >= place.end() && bytes.compare(place.offset, 4, "WALB") == 0,
              "a batch is where the format has it");
    }
  }

  // One more write, in the order that the log demands.
  raft::Write next_write(Input& input) const {
    raft::Write write;
    const unsigned flags = input.byte();
    const std::uint64_t first = content_.commit.value + 1;
    std::uint64_t index = content_.entries.size() + 1;
    if (flags & 4) index = first + input.byte() % (index - first + 1);  // replaces what is not committed
    term_of(write, flags);
    for (unsigned count = flags >> 3 & 3; count > 0; --count) {
      write.entries.push_back({raft::Term(1 + (flags >> 5)), raft::Index(index++), payload(input)});
    }
    write.commit = raft::Index(input.byte() % (index + 2));
    return write;
  }

  // It has become durable.
  void note(const raft::Write& write) {
    content_.apply(write);
    texts.push_back(content_.text());
    Place place = places.empty() ? Place() : places.back();
    place.offset = place.end();
    place.bytes = size_of(write);
    if (place.end() > segment_size_) {
      // The first batch of a segment says the term and the vote again.
      raft::Write first = write;
      if (!first.hard_state && content_.hard_state != raft::HardState{}) first.hard_state = content_.hard_state;
      place.bytes = size_of(first);
      ++place.segment;
      place.offset = sector;
      // One of its own size is whole blocks.
      segment_size_ = segment_bytes;
      if (place.end() > segment_size_) segment_size_ = (place.end() + block - 1) / block * block;
    }
    places.push_back(place);
  }

  // The process ends; and with `crash` the machine too.
  void close(bool crash) {
    log_.reset();
    if (crash) directory.crash(MemoryDirectory::Kept::nothing);
  }
  Wal& wal() { return *log_->wal; }
  std::size_t batches() const { return places.size(); }

  MemoryDirectory directory;
  const std::uint64_t segment_bytes;
  std::vector<std::string> texts;  // what it held after 0, 1, 2 … batches
  std::vector<Place> places;       // of batch 1, 2 …

 private:
  void open() { log_ = std::make_unique<OpenLog>(directory, segment_bytes); }

  void reopen(bool crash) {
    close(crash);
    open();
    require(text_of(log_->recovered) == texts.back(), "what was appended is there when the log is opened again");
    require(log_->recovered.torn_bytes == 0, "nothing is torn where nothing failed");
  }

  void term_of(raft::Write& write, unsigned flags) const {
    if ((flags & 3) == 0) return;
    const std::string vote = flags & 1 ? "n" + std::to_string(flags >> 5) : std::string(flags & 2 ? 700 : 0, 'n');
    write.hard_state = raft::HardState{content_.hard_state.term.next(), raft::NodeId(vote)};
  }

  // Zeros, the marks with which sectors begin, and whatever the input has.
  static raft::Payload payload(Input& input) {
    const unsigned kind = input.byte() % 6;
    if (kind == 0) return nullptr;
    const std::size_t size = input.byte() * std::size_t{kind == 5 ? 1u : 8u};
    if (kind == 5) return raft::Payload(input.bytes(size));
    std::string bytes(size, "v\0+W"[kind - 1]);
    if (kind == 4) {
      for (std::size_t i = 0; i < size; ++i) bytes[i] = "WALB"[i % 4];
    }
    return raft::Payload(bytes);
  }

  // docs/formats.md, "A batch".
  static std::size_t size_of(const raft::Write& write) {
    std::size_t records = write.hard_state ? 13 + write.hard_state->vote.name.size() : 0;
    for (const raft::Entry& entry : write.entries) records += entry.command ? 21 + entry.command.size() : 17;
    return sector * (records <= 472 ? 1 : 1 + (records - 472 + 510) / 511);
  }

  std::unique_ptr<OpenLog> log_;
  Content content_;
  std::size_t segment_size_;  // of the segment with the last batch
};

}  // namespace kv::fuzz
