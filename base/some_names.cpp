#include "base/some_names.h"

#include <algorithm>

namespace iwseg {

std::string some_names(const std::vector<std::string>& names, std::size_t most) {
    const std::size_t shown = std::min(names.size(), most);
    std::string text;
    for (std::size_t n = 0; n < shown; ++n) text += (n > 0 ? ", " : "") + names[n];
    if (shown < names.size()) text += " and " + std::to_string(names.size() - shown) + " more";
    return text;
}

}  // namespace iwseg
