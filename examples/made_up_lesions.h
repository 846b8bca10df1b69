#pragma once

#include <iwseg/iwseg.h>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <random>
#include <span>
#include <vector>

/// Noise with a bright cube in each volume, for the examples to learn from.
class MadeUpLesions {
  public:
    struct Batch {
        std::span<const float> image;          ///< (N, C, D, H, W)
        std::span<const std::uint8_t> target;  ///< (N, D, H, W)
    };

    explicit MadeUpLesions(const iwseg::Shape& shape)
        : shape_(shape),
          image_(static_cast<std::size_t>(shape.elements())),
          target_(static_cast<std::size_t>(shape.n * shape.voxels())) {}

    Batch next_batch() {
        const auto draw = [&](std::int64_t most) {
            return std::uniform_int_distribution<std::int64_t>(0, most - 1)(random_);
        };
        std::size_t voxel = 0;
        for (std::int64_t n = 0; n < shape_.n; ++n) {
            const std::int64_t side = 3 + draw(3), d0 = draw(shape_.d - side), h0 = draw(shape_.h - side);
            const std::int64_t w0 = draw(shape_.w - side);
            for (std::int64_t d = 0; d < shape_.d; ++d)
                for (std::int64_t h = 0; h < shape_.h; ++h)
                    for (std::int64_t w = 0; w < shape_.w; ++w, ++voxel) {
                        const bool lesion =
                            d >= d0 && d < d0 + side && h >= h0 && h < h0 + side && w >= w0 && w < w0 + side;
                        target_[voxel] = lesion;
                        image_[voxel] = std::normal_distribution<float>(lesion ? 1.0f : 0.0f, 0.3f)(random_);
                    }
        }
        return {image_, target_};
    }

    /// Whether most of a lesion is found, and most of what is found is lesion; says how much.
    static bool agrees(const iwseg::Prediction& prediction, std::span<const std::uint8_t> truth) {
        double both = 0, found = 0, lesion = 0;
        for (std::size_t v = 0; v < prediction.probability.size(); ++v) {
            const bool positive = prediction.probability[v] > 0.5f;
            found += positive, lesion += truth[v], both += positive && truth[v];
        }
        const double dice = 2 * both / (found + lesion);
        std::printf("Dice of a new volume %.2f\n", dice);
        return dice > 0.5;
    }

  private:
    iwseg::Shape shape_;
    std::mt19937 random_{1};
    std::vector<float> image_;
    std::vector<std::uint8_t> target_;
};
