#pragma once

#include <cstddef>
#include <string>

namespace iwseg {

/// ASCII letters in lower case, all others as they are.
std::string lower_case(std::string text);

/// Letters of UTF-8, which may take several bytes each.
std::size_t letter_count(const std::string& text);

}  // namespace iwseg
