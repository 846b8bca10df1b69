#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace iwseg {

/// "a, b, c and 4 more": the first of many names, for a sentence.
std::string some_names(const std::vector<std::string>& names, std::size_t most = 5);

}  // namespace iwseg
