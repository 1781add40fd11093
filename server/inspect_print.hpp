// How the findings of `kvd inspect` are shown: as text for a person, or as a JSON object a line for scripts.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>

#include "server/inspect.hpp"

namespace kv::inspect {

// `holder`: the process that has the directory open, if there is one.
void print_text(const Findings& findings, std::optional<std::uint64_t> holder, const Options& options,
                std::ostream& out);

// "directory", then each "segment", "snapshot", "leftover", "entry", "key", "note" and "problem" by its "type", and
// at last "summary".
void print_json(const Findings& findings, std::optional<std::uint64_t> holder, std::ostream& out);

}  // namespace kv::inspect
