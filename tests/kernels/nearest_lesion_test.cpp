#include "kernels/components/nearest_lesion.h"

#include <gtest/gtest.h>

#include <random>
#include <stdexcept>
#include <vector>

#include "kernels/cpu/thread_pool.h"
#include "tests/support/backends.h"
#include "tests/support/kernel_tensor.h"
#include "tests/support/masks.h"

namespace iwseg {
namespace {

class NearestLesion : public testing::TestWithParam<TestBackend> {
  protected:
    void SetUp() override { IWSEG_SKIP_WITHOUT_DEVICE(GetParam()); }

    /// Labels are the voxels' own numbers, so that each voxel of a lesion is told from the others.
    Labels found(const Mask& target, const Shape& shape, Stream stream = {}) const {
        const Backend& device = backend_of(GetParam());
        Labels own(target.size());
        for (std::size_t v = 0; v < own.size(); ++v) own[v] = static_cast<std::int32_t>(v) % shape.voxels() + 1;
        const KernelArray<std::uint8_t> on_device(device, target);
        const KernelArray<std::int32_t> labels(device, own), nearest(device, shape.elements() + 1, -7);
        const auto scratch = kernel_scratch(device, device.nearest_lesion_scratch_bytes(shape));
        device.nearest_lesion(stream, {on_device.data(), shape, Type::u8}, {labels.data(), shape, Type::i32},
                              nearest.data(), scratch.data());
        Labels result = nearest.host();
        EXPECT_EQ(result.back(), -7) << "wrote after the end";
        result.pop_back();
        if (GetParam() == TestBackend::simt) simt::check_sentinels();
        return result;
    }

    std::mt19937 random_{std::random_device{}()};
};

/// By looking at every lesion voxel from every voxel: the first in raster order of the nearest.
Labels by_definition(const Mask& target, const Shape& s) {
    Labels nearest(target.size(), 0);
    for (std::int64_t n = 0; n < s.n; ++n)
        for (std::int64_t v = 0; v < s.voxels(); ++v) {
            std::int64_t least = INT64_MAX;
            for (std::int64_t u = 0; u < s.voxels(); ++u) {
                if (target[n * s.voxels() + u] != 1) continue;
                const std::int64_t d = u / s.w / s.h - v / s.w / s.h, h = u / s.w % s.h - v / s.w % s.h,
                                   w = u % s.w - v % s.w;
                if (d * d + h * h + w * w >= least) continue;
                least = d * d + h * h + w * w;
                nearest[n * s.voxels() + v] = static_cast<std::int32_t>(u + 1);
            }
        }
    return nearest;
}

}  // namespace

TEST_P(NearestLesion, IsTheNearestAndOfEqualsTheFirst) {
    for (int trial = 0; trial < 30; ++trial) {
        const auto side = [&](std::int64_t most) { return 1 + static_cast<std::int64_t>(random_() % most); };
        const Shape shape{side(2), 1, side(7), side(9), trial % 3 == 0 ? 30 + side(40) : side(12)};
        Mask target(static_cast<std::size_t>(shape.elements()));
        std::discrete_distribution<int> kind(trial % 2 == 0 ? std::initializer_list<double>{96, 2, 2}
                                                            : std::initializer_list<double>{50, 45, 5});
        for (auto& voxel : target) voxel = std::array<std::uint8_t, 3>{0, 1, 255}[kind(random_)];
        ASSERT_TRUE(found(target, shape) == by_definition(target, shape)) << "trial " << trial;
    }
}

TEST_P(NearestLesion, NoneFullAndCornersAreRight) {
    const Shape shape{2, 1, 5, 6, 7};
    Mask target(static_cast<std::size_t>(shape.elements()), 0);
    EXPECT_TRUE(found(target, shape) == Labels(target.size(), 0));
    for (const std::size_t corner : {0, 6, 209, 210, 419}) target[corner] = 1;
    EXPECT_TRUE(found(target, shape) == by_definition(target, shape));
    std::fill(target.begin(), target.end(), std::uint8_t{1});
    EXPECT_TRUE(found(target, shape) == by_definition(target, shape));
}

TEST_P(NearestLesion, OtherTypesAndTooLongSidesAreRefused) {
    const Backend& device = backend_of(GetParam());
    std::vector<char> memory(64);
    const Shape shape{1, 1, 2, 2, 2}, longest{1, 1, 1, 1, 32768};
    const auto refuse = [&](const View& target, const View& labels) {
        EXPECT_THROW(device.nearest_lesion({}, target, labels, nullptr, memory.data()), std::invalid_argument);
    };
    refuse({memory.data(), shape, Type::f32}, {memory.data(), shape, Type::i32});
    refuse({memory.data(), shape, Type::u8}, {memory.data(), shape, Type::f32});
    refuse({memory.data(), longest, Type::u8}, {memory.data(), longest, Type::i32});
}

INSTANTIATE_TEST_SUITE_P(On, NearestLesion, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace iwseg
