// The kernels between scan and network in prediction, on every backend.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "kernels/patch/grid_patch.h"
#include "tests/support/backends.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg {
namespace {

class GridPatches : public testing::TestWithParam<TestBackend> {
  protected:
    void SetUp() override { IWSEG_SKIP_WITHOUT_DEVICE(GetParam()); }

    std::int64_t below(std::int64_t low, std::int64_t high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
    }
    std::vector<float> noise(std::int64_t count) {
        std::vector<float> values(static_cast<std::size_t>(count));
        for (float& value : values) value = std::normal_distribution<float>(1, 2)(random_);
        return values;
    }

    unsigned seed_ = std::random_device{}();
    std::mt19937 random_{seed_};
    testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(seed_)};
};

struct Place {
    GridPatch patch;
    std::int64_t channels;

    /// Scan voxel under voxel v of what the network sees; -1 outside the scan, -2 in the margin.
    std::int64_t scan_voxel(std::int64_t i, std::int64_t j, std::int64_t k) const {
        const std::int64_t v[] = {i - patch.margin, j - patch.margin, k - patch.margin};
        std::int64_t at = 0;
        bool margin = false, outside = false;
        for (unsigned axis = 0; axis < 3; ++axis) {
            const std::int64_t s = patch.start[axis] + v[axis];
            margin |= v[axis] < 0 || v[axis] >= patch.patch;
            outside |= s < 0 || s >= patch.scan[axis];
            at = at * patch.scan[axis] + s;
        }
        return margin ? -2 : outside ? -1 : at;
    }
};

TEST_P(GridPatches, APatchIsCutOutPaddedAndAddedBack) {
    const Backend& device = backend_of(GetParam());
    for (int round = 0; round <= 20; ++round) {  // in order, then by 20 random schedules
        simt::schedule_by(static_cast<std::uint64_t>(round));
        Place place;
        GridPatch& p = place.patch;
        place.channels = below(1, 3);
        p.patch = below(1, 14);
        p.padded = (p.patch + 7) / 8 * 8;
        p.margin = (p.padded - p.patch) / 2;
        for (unsigned axis = 0; axis < 3; ++axis) {
            p.scan[axis] = below(1, 20);
            p.start[axis] = below(1 - p.patch, p.scan[axis] - 1);
        }
        const std::int64_t voxels = p.scan[0] * p.scan[1] * p.scan[2], seen = p.padded * p.padded * p.padded;
        const std::vector<float> scan = noise(place.channels * voxels);
        const KernelArray<float> scan_memory(device, scan), seen_memory(device, place.channels * seen, NAN);
        const auto scratch = kernel_scratch(device, device.extract_patch_scratch_bytes(place.channels));
        const Shape seen_shape{1, place.channels, p.padded, p.padded, p.padded};
        device.extract_patch({}, {scan_memory.data(), {1, place.channels, p.scan[0], p.scan[1], p.scan[2]}}, p,
                             {seen_memory.data(), seen_shape}, scratch.data());
        const std::vector<float> got = seen_memory.host();
        std::vector<float> expected(got.size());
        const auto each = [&](auto&& body) {
            for (std::int64_t at = 0; at < seen; ++at)
                body(at, place.scan_voxel(at / p.padded / p.padded, at / p.padded % p.padded, at % p.padded));
        };
        for (std::int64_t c = 0; c < place.channels; ++c) {
            float lowest = INFINITY;
            each([&](std::int64_t at, std::int64_t from) {
                expected[c * seen + at] = from >= 0 ? scan[c * voxels + from] : 0.0f;
                if (from > -2) lowest = std::min(lowest, expected[c * seen + at]);
            });
            each([&](std::int64_t at, std::int64_t from) {
                if (from == -2) expected[c * seen + at] = lowest;
            });
        }
        EXPECT_EQ(got, expected);

        const std::vector<float> logit = noise(seen), before = noise(voxels);
        const KernelArray<float> logits(device, logit), sum(device, before), probability(device, before);
        device.accumulate_patch({}, {logits.data(), {1, 1, p.padded, p.padded, p.padded}}, p, sum.data(),
                                probability.data());
        std::vector<float> expected_sum = before, expected_probability = before;
        each([&](std::int64_t at, std::int64_t to) {
            if (to < 0) return;
            expected_sum[to] += logit[at];
            expected_probability[to] += static_cast<float>(1 / (1 + std::exp(-static_cast<double>(logit[at]))));
        });
        EXPECT_EQ(sum.host(), expected_sum);
        const std::vector<float> got_probability = probability.host();
        for (std::size_t v = 0; v < got_probability.size(); ++v)
            EXPECT_NEAR(got_probability[v], expected_probability[v], 1e-6 * (1 + std::abs(before[v])));  // f32's exp
        EXPECT_NO_THROW(simt::check_sentinels());
    }
    simt::schedule_by(0);
}

TEST_P(GridPatches, SumsAreDividedByHowManyPatchesCoverAVoxel) {
    const Backend& device = backend_of(GetParam());
    for (int round = 0; round < 6; ++round) {
        GridCover grid;
        grid.patch = below(1, 9);
        grid.stride = below(1, grid.patch);
        std::array<std::int64_t, 3> padded{};
        for (unsigned axis = 0; axis < 3; ++axis) {
            grid.patches[axis] = below(1, 4);
            padded[axis] = grid.patch + (grid.patches[axis] - 1) * grid.stride;
            grid.scan[axis] = below(1, padded[axis]);
            grid.before[axis] = (padded[axis] - grid.scan[axis]) / 2;
        }
        const std::int64_t voxels = grid.scan[0] * grid.scan[1] * grid.scan[2];
        std::vector<float> expected;
        for (std::int64_t i = 0; i < grid.scan[0]; ++i)
            for (std::int64_t j = 0; j < grid.scan[1]; ++j)
                for (std::int64_t k = 0; k < grid.scan[2]; ++k) {
                    std::int64_t covers = 1;
                    const std::int64_t at[] = {i, j, k};
                    for (unsigned axis = 0; axis < 3; ++axis) {
                        std::int64_t along = 0;
                        for (std::int64_t p = 0; p < grid.patches[axis]; ++p) {
                            const std::int64_t v = at[axis] + grid.before[axis] - p * grid.stride;
                            along += v >= 0 && v < grid.patch;
                        }
                        covers *= along;
                    }
                    expected.push_back(6.0f * (1.0f / static_cast<float>(covers)));
                }
        const KernelArray<float> sum(device, voxels, 6.0f), probability(device, voxels, 6.0f);
        device.average_patches({}, grid, sum.data(), probability.data());
        EXPECT_EQ(sum.host(), expected);
        EXPECT_EQ(probability.host(), expected);
        EXPECT_NO_THROW(simt::check_sentinels());
    }
}

INSTANTIATE_TEST_SUITE_P(Backends, GridPatches, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& backend) { return name_of(backend.param); });

}  // namespace
}  // namespace iwseg
