#include "common/json.hpp"

#include "common/text.hpp"

namespace kv::json {
void ViewStream::put_changed(char c) {
  if (!changed_) unescaped_.assign(string_, string_end_);
  changed_ = true;
  if (c != '\0' || *(at_ - 1) != '"') unescaped_.push_back(c);
}

void append_string(std::string& out, std::string_view text) {
  const StringNeeds needs = needs_of(text);
  TextSink sink;
  Writer writer(sink);
  if (needs.not_ascii && !is_valid_utf8(text)) {
    const std::string escaped = escape_control(text, text.size());
    writer.string(escaped, needs_of(escaped));
  } else {
    writer.string(text, needs);
  }
  out.append(sink.text());
}

}  // namespace kv::json
