#include "apps/report/best_value.h"

#include <algorithm>
#include <cmath>

namespace iwseg {

std::vector<bool> best_values(const std::vector<double>& values, bool higher_is_better,
                              const std::vector<bool>& left_out) {
    std::vector<double> compared;
    for (std::size_t i = 0; i < values.size(); ++i)
        if (!left_out[i] && !std::isnan(values[i])) compared.push_back(values[i]);
    std::vector<bool> best(values.size());
    if (compared.empty()) return best;
    const auto [least, most] = std::minmax_element(compared.begin(), compared.end());
    if (*least == *most) return best;
    for (std::size_t i = 0; i < values.size(); ++i)
        best[i] = !left_out[i] && values[i] == (higher_is_better ? *most : *least);
    return best;
}

}  // namespace iwseg
