#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

// How the values of a scan become what a network sees. Training, prediction by the program and Predictor::from_file all
// do it here: a network predicts something else of values that were made in another way.
namespace iwseg {

/// What is done to the values of an image. window: clipped to [low, high] and scaled to [0, 1]. zscore: the mean of the
/// nonzero voxels is subtracted and their deviation divides, each channel on its own; zero voxels included in both.
struct Intensity {
    enum class Kind : std::uint8_t { none, window, zscore };
    Kind kind = Kind::none;
    double low = 0.0, high = 1.0;

    bool operator==(const Intensity&) const = default;
};

/// Sets values that are not finite to the replacement, before all else, and returns how many there were. Throws
/// InputError on the first where there is no replacement; origin: whose values they are, for the sentence.
std::int64_t replace_not_finite(std::span<float> values, std::optional<float> replacement, const std::string& origin);

/// What voxels of a mask become that are not finite, where those of images become `nan`: outside.
constexpr std::optional<float> mask_replacement(std::optional<float> nan) {
    return nan ? std::optional(0.0f) : std::nullopt;
}

/// One channel's values, in place, as the network is given them: where the mask, of as many voxels or empty, is not
/// above 0, they become the minimum of the image after multiplication with the mask, as the original study prepares CT;
/// then the intensity step. Returns the new minimum. Throws InputError on a window whose first value is not the
/// smaller.
float prepare_channel(std::span<float> values, std::span<const float> mask, const Intensity& intensity);

}  // namespace iwseg
