#include "common/snapshot_members.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "common/little_endian.hpp"

namespace kv::snapshot {
namespace {

constexpr std::string_view members_of_version_1("\x01\x03", 2);
constexpr std::size_t length_bytes = 4;
constexpr std::size_t smallest_member_bytes = 4 * length_bytes;

// Reads field after field. Once something does not fit, ok() is false for good and every further field is empty.
class Fields {
 public:
  explicit Fields(std::string_view rest) : rest_(rest) {}

  bool ok() const { return ok_; }
  std::size_t remaining() const { return rest_.size(); }

  std::uint32_t number() { return read_number<std::uint32_t>(take(length_bytes)); }
  std::string string() { return std::string(take(number())); }

 private:
  std::string_view take(std::size_t size) {
    if (size > rest_.size()) ok_ = false;
    if (!ok_) return {};
    const std::string_view field = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return field;
  }

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace

std::optional<Members> decode_members(std::string_view bytes) {
  if (!bytes.starts_with(members_of_version_1)) return std::nullopt;
  Fields in(bytes.substr(members_of_version_1.size()));
  Members members;
  members.cluster = in.string();
  const std::size_t count = in.number();
  // Before anything is made for them: so many would not fit into what is left.
  if (count > in.remaining() / smallest_member_bytes) return std::nullopt;
  for (std::size_t i = 0; i < count; ++i) {
    Member& member = members.members.emplace_back();
    member.node = in.string();
    member.identity = in.string();
    member.peer_address = in.string();
    member.client_address = in.string();
  }
  const bool sorted =
      std::adjacent_find(members.members.begin(), members.members.end(),
                         [](const auto& a, const auto& b) { return a.node >= b.node; }) == members.members.end();
  if (!in.ok() || in.remaining() > 0 || !sorted) return std::nullopt;
  return members;
}

}  // namespace kv::snapshot
