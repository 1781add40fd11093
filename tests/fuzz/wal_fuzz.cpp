// The write-ahead log: a log is written as the input says, and then something happens to it.
//
// - It is damaged: bits flip, sectors and files are zeroed, cut, exchanged, copied, removed. Then it is refused,
// and
//   left as it was; or it opens with exactly what it held after one of its batches, all of which are undamaged.
//   It never opens if anything behind that is still there: what was durable is not cut off. One flipped bit is
//   always found.
// - The machine crashes in the last write, of which any sectors are missing. Then it opens without it.
// - The disk fails in a write, and the machine crashes. Then it opens with all that was durable.
//
// Whatever opens goes on: it takes another write, and holds both when it is opened again after a crash.
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/wal_written.hpp"

namespace {

using namespace kv;
using namespace kv::fuzz;
using Image = MemoryDirectory::Image;

std::string& file_at(Image& image, std::size_t index) {
  return std::next(image.begin(), static_cast<std::ptrdiff_t>(index % image.size()))->second;
}

// ---- Damage --------------------------------------------------------------------------------------------

struct Spot {
  std::string* file;
  std::size_t offset;  // below the file's size
};

// Anywhere, or in one of the batches: most of a segment is free space.
Spot take_spot(Input& input, Image& image, const std::vector<Place>& places) {
  const unsigned which = input.byte();
  const std::size_t offset = input.word();
  if ((which & 1) != 0 && !places.empty()) {
    const Place& place = places[which / 2 % places.size()];
    const auto found = image.find(segment_name(place.segment));
    if (found != image.end() && found->second.size() >= place.end()) {
      return {&found->second, place.offset + offset % place.bytes};
    }
  }
  std::string& file = file_at(image, which / 2);
  return {&file, file.empty() ? 0 : offset % file.size()};
}

void flip_bit(Input& input, const Spot& spot) {
  const unsigned bit = 1u << input.byte() % 8;
  if (!spot.file->empty()) (*spot.file)[spot.offset] = static_cast<char>((*spot.file)[spot.offset] ^ bit);
}

void overwrite(const Spot& spot, std::string_view bytes) {
  bytes = bytes.substr(0, spot.file->size() - spot.offset);
  spot.file->replace(spot.offset, bytes.size(), bytes);
}

// `count` sectors, from the one with the first spot on, become what is at the second.
void copy_sectors(std::size_t count, const Spot& to, const Spot& from) {
  const std::string bytes = from.file->substr(from.offset / sector * sector, count * sector);
  overwrite({to.file, to.offset / sector * sector}, bytes);
}

void damage_once(Input& input, Image& image, const std::vector<Place>& places) {
  if (image.empty()) return;
  const unsigned kind = input.byte() % 10;
  const Spot spot = take_spot(input, image, places);
  const std::size_t in_sector = spot.offset / sector * sector;
  switch (kind) {
    case 0:
      return flip_bit(input, spot);
    case 1:
      return overwrite({spot.file, in_sector}, std::string((1 + input.byte() % 8) * sector, '\0'));
    case 2:
      return overwrite(spot, std::string(input.word(), '\0'));
    case 3:
      return overwrite(spot, input.bytes(1 + input.byte() % 16));
    case 4: {
      const std::size_t count = 1 + input.byte() % 4;
      return copy_sectors(count, spot, take_spot(input, image, places));
    }
    case 5:
      return spot.file->resize(input.byte() % 2 == 0 ? spot.offset : in_sector);
    case 6:
      return spot.file->resize(spot.file->size() + input.word() % 2048, static_cast<char>(input.byte()));
    case 7:
      return std::swap(*spot.file, file_at(image, input.byte()));
    case 8:
      image[segment_name(1 + input.byte() % (image.size() + 2))] = std::string(*spot.file);
      return;
    default:
      image.erase(std::next(image.begin(), static_cast<std::ptrdiff_t>(input.byte() % image.size())));
  }
}

// ---- What must be true of a log that has opened --------------------------------------------------------

bool intact(const Image& image, const Image& original, const Place& place) {
  const std::string name = segment_name(place.segment);
  const auto found = image.find(name);
  return found != image.end() && found->second.size() >= place.end() &&
         found->second.compare(place.offset, place.bytes, original.at(name), place.offset, place.bytes) == 0;
}

void check_served(const WrittenLog& log, const Image& original, const Image& damaged,
                  const Wal::Recovered& recovered) {
  const std::size_t batches = recovered.batches;
  // In free space too there may be what looks like the rest of a write of which the beginning is missing.
  const bool complete = batches == log.batches() && recovered.torn_bytes == 0;
  require(batches <= log.batches(), "no batch is recovered that was never written");
  for (std::size_t i = 0; i < log.batches(); ++i) {
    const bool whole = intact(damaged, original, log.places[i]);
    if (i < batches) require(whole, "what is served is undamaged");
    if (i >= batches) require(!whole, "a batch that is still there is not cut off");
  }
  for (const auto& [name, bytes] : damaged) {
    const auto found = original.find(name);
    require(found != original.end(), "a segment that was never made is refused");
    require(bytes.compare(0, sector, found->second, 0, sector) == 0, "a damaged header is refused");
    require(bytes.size() == found->second.size(), "a segment of another length is refused");
    if (complete) require(bytes == found->second, "damage to free space is refused");
  }
}

// What follows the last batch is zero on the disk, or the next torn end would not be known for one.
void check_tail(const WrittenLog& log, std::size_t batches) {
  const Place last = batches == 0 ? Place() : log.places[batches - 1];
  for (const auto& [name, bytes] : log.directory.image()) {
    const bool before = name < segment_name(last.segment);
    const std::size_t end = name == segment_name(last.segment) ? last.end() : sector;
    if (!before) require(bytes.find_first_not_of('\0', end) == bytes.npos, "a torn end is made zero");
  }
}

// The log that is open now is as good as new.
void check_goes_on(WrittenLog& log, OpenLog open, Input& input) {
  Content content{open.recovered.hard_state, open.recovered.entries, open.recovered.commit};
  raft::Write write;
  write.hard_state = raft::HardState{content.hard_state.term.next(), raft::NodeId("n9")};
  const auto command = raft::Payload(std::string(input.byte() * std::size_t{8}, '+'));
  write.entries.push_back({raft::Term(9), raft::Index(content.entries.size() + 1), command});
  open.wal->append(write);
  content.apply(write);
  open.wal.reset();
  log.directory.crash(MemoryDirectory::Kept::nothing);
  const OpenLog again(log.directory, log.segment_bytes);
  require(text_of(again.recovered) == content.text(), "what was recovered and appended is there after a crash");
  require(again.recovered.torn_bytes == 0, "a torn end is cut off for good");
}

Wal::Recovered recover(WrittenLog& log) {
  return OpenLog(log.directory, log.segment_bytes).recovered;
}

// A log that has just been opened, and crashed since.
void check_opened(WrittenLog& log, const Wal::Recovered& recovered, Input& input) {
  const std::size_t batches = recovered.batches;
  require(batches < log.texts.size() && text_of(recovered) == log.texts[batches],
          "what is recovered is what the log held after some batch");
  require(recovered.identity == wal_identity, "the identity is the one it was made with");
  log.directory.crash(MemoryDirectory::Kept::nothing);
  check_tail(log, batches);
  OpenLog open(log.directory, log.segment_bytes);
  require(text_of(open.recovered) == log.texts[batches], "what was recovered is durable");
  check_goes_on(log, std::move(open), input);
}

// ---- What happens to the log ---------------------------------------------------------------------------

void damage(WrittenLog& log, Input& input) {
  const Image original = log.directory.image();
  Image damaged = original;
  const unsigned count = 1 + input.byte() % 4;
  for (unsigned i = 0; i < count; ++i) damage_once(input, damaged, log.places);
  log.directory.restore(damaged);
  Wal::Recovered recovered;
  try {
    recovered = recover(log);
  } catch (const WalCorruption& corruption) {
    const std::string_view text = corruption.what();
    require(damaged != original, "an undamaged log opens");
    require(text.starts_with("memory/0000") && text.find(".wal at offset ") != text.npos, "the place is named");
    require(log.directory.image() == damaged, "a log that is refused is not changed");
    return;
  }
  check_served(log, original, damaged, recovered);
  check_opened(log, recovered, input);
}

// One bit of any file, so that nothing else can be the reason.
void damage_one_bit(WrittenLog& log, Input& input) {
  Image image = log.directory.image();
  flip_bit(input, take_spot(input, image, log.places));
  log.directory.restore(image);
  try {
    recover(log);
  } catch (const WalCorruption&) {
    return;
  }
  require(false, "one flipped bit is always found");
}

void crash_in_last_write(WrittenLog& log, Input& input) {
  if (log.batches() == 0) return;
  const Place last = log.places.back();
  Image image = log.directory.image();
  // The segment after it is made when the batch is durable, not before.
  if (last.offset == sector && last.segment > 1) image.erase(segment_name(last.segment + 1));
  bool lost = false;
  for (std::size_t at = last.offset; at < last.end(); at += sector) {
    if (input.byte() % 2 == 0) continue;
    overwrite({&image[segment_name(last.segment)], at}, std::string(sector, '\0'));
    lost = true;
  }
  log.directory.restore(image);
  const std::size_t expected = log.batches() - (lost ? 1 : 0);
  const Wal::Recovered recovered = recover(log);
  require(recovered.batches == expected, "what a crash leaves of the last write is cut off, and no more");
  check_opened(log, recovered, input);
}

void fail_in_a_write(WrittenLog& log, Input& input) {
  const std::size_t durable = log.batches();
  const raft::Write write = log.next_write(input);
  log.directory.fail(1 + input.byte() % 12, input.byte() % 2 == 0 ? EIO : ENOSPC, input.byte() % 2 == 0);
  bool answered = false;
  try {
    log.wal().append(write);
    answered = true;
  } catch (const FileError&) {
  } catch (const WalFull&) {
  }
  log.note(write);
  log.close(false);
  const unsigned kept = input.byte() % 3;
  log.directory.crash(static_cast<MemoryDirectory::Kept>(kept));
  const Wal::Recovered recovered = recover(log);
  require(recovered.batches == durable + 1 || (recovered.batches == durable && !answered),
          "a write that was answered is there");
  check_opened(log, recovered, input);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const unsigned what = input.byte() % 8;
  WrittenLog log(input);
  if (what == 7) {
    fail_in_a_write(log, input);
    return 0;
  }
  log.close(true);
  if (what == 6) {
    crash_in_last_write(log, input);
  } else if (what == 5) {
    damage_one_bit(log, input);
  } else {
    damage(log, input);
  }
  return 0;
}
