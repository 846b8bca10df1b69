#include "models/intensity.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/number_text.h"

namespace iwseg {
namespace {

void keep_inside(std::span<const float> mask, std::span<float> values) {
    float lowest = std::numeric_limits<float>::infinity();
    for (std::size_t v = 0; v < values.size(); ++v) {
        if (!(mask[v] > 0.0f)) values[v] = 0.0f;
        lowest = std::min(lowest, values[v]);
    }
    for (std::size_t v = 0; v < values.size(); ++v)
        if (!(mask[v] > 0.0f)) values[v] = lowest;
}

void apply_intensity(const Intensity& intensity, std::span<float> values) {
    double scale = 1.0, shift = 0.0;
    if (intensity.kind == Intensity::Kind::window) {
        if (!(intensity.low < intensity.high))
            throw InputError("intensity has the window [" + number_text(intensity.low) + ", " +
                             number_text(intensity.high) + "], whose first value must be the smaller");
        const auto low = static_cast<float>(intensity.low), high = static_cast<float>(intensity.high);
        for (float& value : values) value = std::clamp(value, low, high);
        scale = 1.0 / (intensity.high - intensity.low);
        shift = -intensity.low * scale;
    } else if (intensity.kind == Intensity::Kind::zscore) {
        double count = 0.0, sum = 0.0, squares = 0.0;
        for (const float value : values) count += value != 0.0f, sum += value;
        const double mean = count > 0.0 ? sum / count : 0.0;
        for (const float value : values)
            if (value != 0.0f) squares += (value - mean) * (value - mean);
        scale = squares > 0.0 ? std::sqrt(count / squares) : 1.0;
        shift = -mean * scale;
    }
    if (intensity.kind != Intensity::Kind::none)
        for (float& value : values) value = static_cast<float>(value * scale + shift);
}

}  // namespace

std::int64_t replace_not_finite(std::span<float> values, std::optional<float> replacement, const std::string& origin) {
    std::int64_t count = 0;
    for (std::size_t v = 0; v < values.size(); ++v) {
        if (std::isfinite(values[v])) continue;
        if (!replacement)
            throw InputError(origin + " holds " + number_text(values[v]) + " at voxel " + std::to_string(v) +
                             " (in C order); images must be finite, or the configuration says what such voxels become: "
                             "nan = 0");
        values[v] = *replacement;
        ++count;
    }
    return count;
}

float prepare_channel(std::span<float> values, std::span<const float> mask, const Intensity& intensity) {
    if (!mask.empty()) keep_inside(mask, values);
    apply_intensity(intensity, values);
    return values.empty() ? 0.0f : *std::min_element(values.begin(), values.end());
}

}  // namespace iwseg
