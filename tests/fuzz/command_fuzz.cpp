// The commands of the log: no bytes harm the decoder, and encoding is canonical: bytes that decode are exactly
// those that encode() writes for what they mean. So two servers that hold the same command hold the same bytes.
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/command.hpp"
#include "tests/fuzz/fuzz.hpp"

using namespace kv;
using fuzz::require;

namespace {

void check_order(const command::Command& decoded) {
  const auto* members = std::get_if<command::Members>(&decoded);
  if (members == nullptr) return;
  for (std::size_t i = 1; i < members->members.size(); ++i) {
    require(members->members[i - 1].node < members->members[i].node, "members are in order, each name once");
  }
}

void check(std::string_view bytes) {
  const std::optional<command::Command> decoded = command::decode(bytes);
  if (!decoded) return;
  const std::string encoded = command::encode(*decoded);
  require(encoded == bytes, "a command has one encoding");
  require(command::decode(encoded) == decoded, "decode(encode(c)) == c");
  check_order(*decoded);
  // Nothing shorter or longer is a command as well.
  require(!command::decode(bytes.substr(0, bytes.size() - 1)), "a command that is cut is none");
  require(!command::decode(encoded + '\0'), "a command with a byte behind it is none");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // In memory of exactly its size, so that the address sanitizer sees whoever reads further.
  const std::vector<char> exact(data, data + size);
  check({exact.data(), exact.size()});
  return 0;
}
