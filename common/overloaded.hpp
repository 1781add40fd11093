// Several lambdas as one visitor of a variant: std::visit(Overloaded{[](const A&) {…}, [](const B&) {…}}, v).
#pragma once

namespace kv {

template <class... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};

}  // namespace kv
