#include "apps/wrapped_text.h"

#include <algorithm>
#include <sstream>

namespace iwseg {

std::size_t character_count(const std::string& text) {
    // A byte 10xxxxxx goes on with a character.
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::vector<std::string> wrapped(const std::string& text, std::size_t width) {
    std::vector<std::string> lines(1);
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        if (!lines.back().empty() && character_count(lines.back()) + 1 + character_count(word) > width)
            lines.emplace_back();
        lines.back() += (lines.back().empty() ? "" : " ") + word;
    }
    return lines;
}

}  // namespace iwseg
