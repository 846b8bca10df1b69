#include "base/letters.h"

#include <algorithm>

namespace iwseg {

std::string lower_case(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

std::size_t letter_count(const std::string& text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string shown(std::string_view text) {
    constexpr std::size_t kMost = 60;
    std::string line(text.substr(0, kMost));
    std::replace_if(
        line.begin(), line.end(), [](unsigned char c) { return c < ' ' || c == 0x7F; }, ' ');
    return text.size() > kMost ? line + "..." : line;
}

}  // namespace iwseg
