#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "engine/safetensors.h"

namespace iwseg {

/// Largest |got - expected| as a share of the largest |expected|; infinity where either holds a NaN.
inline double largest_difference(const float* got, const std::vector<float>& expected) {
    double largest = 0, difference = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        if (std::isnan(got[i]) || std::isnan(expected[i])) return std::numeric_limits<double>::infinity();
        largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
        difference = std::max(difference, std::abs(static_cast<double>(got[i]) - expected[i]));
    }
    return largest > 0 ? difference / largest : difference;
}

inline double stored_double(const StoredTensor& tensor) {
    double value = 0;
    std::memcpy(&value, tensor.bytes.data(), sizeof value);
    return value;
}

}  // namespace iwseg
