#include "apps/terminal/wrapped_text.h"

#include <algorithm>
#include <sstream>

namespace iwseg {

namespace {

/// A byte 10xxxxxx goes on with a character.
bool begins_character(char byte) {
    return (byte & 0xC0) != 0x80;
}

}  // namespace

std::size_t character_count(const std::string& text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), begins_character));
}

std::string first_characters(const std::string& text, std::size_t count) {
    std::size_t end = 0;
    for (std::size_t characters = 0; end < text.size(); ++end)
        if (begins_character(text[end]) && ++characters > count) break;
    return text.substr(0, end);
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
