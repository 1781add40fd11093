// What is made from the definitions of the commands: the manual page, and what makes shells complete a line of
// kvctl.
#pragma once

#include <optional>
#include <string>

#include "client/outline.hpp"

namespace kv::client {

std::string man_page(const Outline& outline);
// Of bash, zsh or fish; nothing for any other.
std::optional<std::string> completion_script(const Outline& outline, const std::string& shell);

}  // namespace kv::client
