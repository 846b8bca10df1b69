#pragma once

#include <string>
#include <vector>

namespace iwseg {

/// The known name that a mistyped word most likely meant: the one with the fewest letters to insert, remove, replace or
/// swap with a neighbour, the earlier of equals. Empty where none is near: more than a third of the longer word's
/// letters would change (but one letter always may, in words of two or more).
std::string nearest_name(const std::string& word, const std::vector<std::string>& known);

}  // namespace iwseg
