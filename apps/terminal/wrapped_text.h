#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace iwseg {

/// Characters of UTF-8 text, which has more bytes than characters.
std::size_t character_count(const std::string& text);

/// The first so many characters, or all.
std::string first_characters(const std::string& text, std::size_t count);

/// The text in lines of at most `width` characters, broken at spaces; a longer word has a line of its own.
std::vector<std::string> wrapped(const std::string& text, std::size_t width);

}  // namespace iwseg
