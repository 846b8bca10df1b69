#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace iwseg {

/// ASCII letters in lower case, all others as they are.
std::string lower_case(std::string text);

/// Letters of UTF-8, which may take several bytes each.
std::size_t letter_count(const std::string& text);

/// Text of a file as part of a sentence: on one line, without what a terminal takes for a command, and cut where it is
/// long.
std::string shown(std::string_view text);

}  // namespace iwseg
