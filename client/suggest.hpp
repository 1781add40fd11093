// "Did you mean": the known word that is nearest to one that is not known.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kv::client {

// Empty when none is near. Upper and lower case are the same.
std::string nearest_word(std::string_view word, const std::vector<std::string>& known);

}  // namespace kv::client
