#include "kernels/components.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "data/volume.h"

namespace iwseg {
namespace {

using Mask = std::vector<std::uint8_t>;
using Labels = std::vector<std::int32_t>;

constexpr int kConnectivities[] = {6, 18, 26};

/// Steps along a, b, c axes between neighbours: one for 6, two for 18, three for 26.
int steps_of(int connectivity) { return connectivity == 6 ? 1 : connectivity == 18 ? 2 : 3; }

/// The reference: voxels in raster order, each unlabelled one floods its component.
Labels flood_fill(const Mask& mask, const Shape& shape, int connectivity) {
    Labels labels(mask.size(), 0);
    std::vector<std::int64_t> front;
    std::int32_t count = 0;
    for (std::int64_t first = 0; first < static_cast<std::int64_t>(mask.size()); ++first) {
        if (mask[first] == 0 || labels[first] != 0) continue;
        labels[first] = ++count;
        front.push_back(first);
        while (!front.empty()) {
            const std::int64_t v = front.back(), x = v % shape.w, y = v / shape.w % shape.h, z = v / shape.w / shape.h;
            front.pop_back();
            for (int step = 0; step < 27; ++step) {
                const int dz = step / 9 - 1, dy = step / 3 % 3 - 1, dx = step % 3 - 1;
                if (std::abs(dz) + std::abs(dy) + std::abs(dx) > steps_of(connectivity)) continue;
                if (z + dz < 0 || z + dz >= shape.d || y + dy < 0 || y + dy >= shape.h) continue;
                if (x + dx < 0 || x + dx >= shape.w) continue;
                const std::int64_t next = ((z + dz) * shape.h + y + dy) * shape.w + x + dx;
                if (mask[next] == 0 || labels[next] != 0) continue;
                labels[next] = count;
                front.push_back(next);
            }
        }
    }
    return labels;
}

Labels label(const Mask& mask, const Shape& shape, int connectivity, std::vector<std::int32_t>* counts = nullptr) {
    Labels labels(mask.size() + 1, -7);  // the last is a sentinel
    std::vector<std::int32_t> found(shape.n, -1);
    cpu::label_components({}, {const_cast<std::uint8_t*>(mask.data()), shape, Type::u8},
                          {labels.data(), shape, Type::i32}, found.data(), connectivity);
    EXPECT_EQ(labels.back(), -7) << "wrote behind the labels";
    labels.pop_back();
    if (counts) *counts = found;
    return labels;
}

std::int32_t largest(const Labels& labels) {
    std::int32_t most = 0;
    for (const std::int32_t l : labels) most = std::max(most, l);
    return most;
}

void expect_as_flooded(const Mask& mask, const Shape& shape) {
    for (const int connectivity : kConnectivities) {
        SCOPED_TRACE(testing::Message() << "connectivity " << connectivity << ", shape " << shape.d << " x " << shape.h
                                        << " x " << shape.w);
        const Labels expected = flood_fill(mask, shape, connectivity);
        std::vector<std::int32_t> counts;
        const Labels found = label(mask, shape, connectivity, &counts);
        ASSERT_TRUE(found == expected);
        ASSERT_EQ(counts[0], largest(expected));
    }
}

Mask random_mask(const Shape& shape, double density, std::mt19937& random) {
    Mask mask(shape.elements());
    std::bernoulli_distribution lesion(density);
    std::uniform_int_distribution<int> value(1, 255);  // any nonzero byte is foreground
    for (auto& voxel : mask) voxel = lesion(random) ? static_cast<std::uint8_t>(value(random)) : 0;
    return mask;
}

class Threads {
  public:
    explicit Threads(int count) : before_(omp_get_max_threads()) { omp_set_num_threads(count); }
    ~Threads() { omp_set_num_threads(before_); }
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;

  private:
    int before_;
};

}  // namespace

TEST(Components, RandomMasksAreLabelledAsFloodFillDoes) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> side(1, 20), width(1, 200);
    for (int trial = 0; trial < 60; ++trial) {
        const Shape shape{1, 1, side(random), side(random), width(random)};
        expect_as_flooded(random_mask(shape, trial / 59.0, random), shape);
        if (HasFatalFailure()) return;
    }
}

TEST(Components, WidthsAroundTheWordOf64VoxelsAreRight) {
    std::mt19937 random(std::random_device{}());
    for (const int width : {1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 192}) {
        const Shape shape{1, 1, 3, 5, width};
        for (const double density : {0.0, 0.1, 0.5, 0.9, 1.0})
            expect_as_flooded(random_mask(shape, density, random), shape);
        if (HasFatalFailure()) return;
    }
}

TEST(Components, EmptyAndFullMasksGiveNoneAndOne) {
    const Shape shape{1, 1, 4, 3, 130};
    std::vector<std::int32_t> counts;
    label(Mask(shape.elements(), 0), shape, 26, &counts);
    EXPECT_EQ(counts[0], 0);
    EXPECT_TRUE(label(Mask(shape.elements(), 200), shape, 6, &counts) == Labels(shape.elements(), 1));
    EXPECT_EQ(counts[0], 1);
}

TEST(Components, VoxelsThatShareAnEdgeOrACornerJoinOnlyWhereTheConnectivitySaysSo) {
    const Shape shape{1, 1, 2, 2, 2};
    Mask edge(8, 0), corner(8, 0);
    edge[0] = edge[6] = 1;      // (0,0,0) and (1,1,0)
    corner[1] = corner[6] = 1;  // (0,0,1) and (1,1,0)
    const int found[2][3] = {{2, 1, 1}, {2, 2, 1}};
    for (int c = 0; c < 3; ++c) {
        EXPECT_EQ(largest(label(edge, shape, kConnectivities[c])), found[0][c]);
        EXPECT_EQ(largest(label(corner, shape, kConnectivities[c])), found[1][c]);
    }
}

TEST(Components, CombsAndSpiralsThatMeetLateAreOneComponent) {
    const Shape comb_shape{1, 1, 1, 40, 101};
    Mask comb(comb_shape.elements(), 0);
    for (int y = 0; y < 40; ++y)
        for (int x = 0; x < 101; x += 2) comb[y * 101 + x] = 1;
    expect_as_flooded(comb, comb_shape);
    for (int x = 0; x < 101; ++x) comb[39 * 101 + x] = 1;
    expect_as_flooded(comb, comb_shape);
    EXPECT_EQ(largest(label(comb, comb_shape, 6)), 1);

    // A square spiral in each plane of an axis pair: walk inwards, keeping one empty row between the arms.
    const int n = 41;
    for (const Shape shape : {Shape{1, 1, 1, n, n}, Shape{1, 1, n, n, 1}, Shape{1, 1, n, 1, n}}) {
        Mask spiral(shape.elements(), 0);
        auto at = [&](int y, int x) -> std::uint8_t& { return spiral[y * n + x]; };
        int y = 0, x = 0, dy = 0, dx = 1;
        at(0, 0) = 1;
        for (int turns = 0; turns < 2;) {
            const auto free = [&](int k) {
                const int v = y + k * dy, u = x + k * dx;
                return v < 0 || v >= n || u < 0 || u >= n ? k == 2 : at(v, u) == 0;
            };
            if (free(1) && free(2)) {
                y += dy, x += dx, turns = 0;
                at(y, x) = 1;
            } else {
                const int turned = dx;
                dx = -dy, dy = turned, ++turns;
            }
        }
        EXPECT_GT(std::count(spiral.begin(), spiral.end(), 1), n * n / 3);
        EXPECT_EQ(largest(label(spiral, shape, 6)), 1);
        expect_as_flooded(spiral, shape);
    }
}

TEST(Components, LabelsDoNotDependOnTheThreadsAndSlabs) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const Shape shape{1, 1, 67, 96, 130};  // large enough for slabs
    for (const double density : {0.02, 0.12, 0.3}) {
        const Mask mask = random_mask(shape, density, random);
        for (const int connectivity : kConnectivities) {
            const Labels expected = flood_fill(mask, shape, connectivity);
            for (const int threads : {1, 2, 3, 5}) {
                const Threads use(threads);
                ASSERT_TRUE(label(mask, shape, connectivity) == expected) << threads << " threads, " << connectivity;
            }
        }
    }
}

TEST(Components, EachSampleOfABatchIsNumberedFromOne) {
    std::mt19937 random(std::random_device{}());
    const Shape batch{3, 1, 9, 10, 70}, one{1, 1, 9, 10, 70};
    const Mask mask = random_mask(batch, 0.1, random);
    std::vector<std::int32_t> counts;
    const Labels found = label(mask, batch, 18, &counts);
    for (std::int64_t n = 0; n < 3; ++n) {
        const std::int64_t from = n * one.voxels();
        const Labels expected = flood_fill(Mask(mask.begin() + from, mask.begin() + from + one.voxels()), one, 18);
        EXPECT_TRUE(Labels(found.begin() + from, found.begin() + from + one.voxels()) == expected);
        EXPECT_EQ(counts[n], largest(expected));
    }
}

TEST(Components, WorkerThreadsLabelAtTheSameTime) {
    std::mt19937 random(std::random_device{}());
    const Shape shape{1, 1, 40, 64, 128};
    const Mask mask = random_mask(shape, 0.1, random);
    const Labels expected = flood_fill(mask, shape, 26);
    std::vector<Labels> found(4);
    std::vector<std::thread> workers;
    for (Labels& labels : found) workers.emplace_back([&] { labels = label(mask, shape, 26); });
    for (std::thread& worker : workers) worker.join();
    for (const Labels& labels : found) EXPECT_TRUE(labels == expected);
}

TEST(Components, RealLesionMasksAreLabelledAsFloodFillDoes) {
    const std::filesystem::path folder = std::filesystem::path(IWSEG_SHARED_DIR) / "data/lesion_masks";
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no folder " << folder << " with lesion masks here";
    const Volume<std::int32_t> volume = read_labels(folder / "ms_19.nii.gz");
    const auto [depth, height, width] = volume.geometry.shape;
    const Shape shape{1, 1, depth / 2, height / 2, width / 2};  // the middle, where the lesions are
    Mask mask;
    for (std::int64_t z = 0; z < shape.d; ++z)
        for (std::int64_t y = 0; y < shape.h; ++y)
            for (std::int64_t x = 0; x < shape.w; ++x)
                mask.push_back(volume.voxels[((z + depth / 4) * height + y + height / 4) * width + x + width / 4] > 0);
    ASSERT_GT(std::count(mask.begin(), mask.end(), 1), 10000);
    expect_as_flooded(mask, shape);
}

TEST(Components, WrongConnectivitiesShapesAndTypesAreRefused) {
    Mask mask(8, 0);
    Labels labels(8);
    std::int32_t count = 0;
    const Shape shape{1, 1, 2, 2, 2};
    const View from{mask.data(), shape, Type::u8}, to{labels.data(), shape, Type::i32};
    EXPECT_THROW(cpu::label_components({}, from, to, &count, 8), std::invalid_argument);
    EXPECT_THROW(cpu::label_components({}, from, {labels.data(), {1, 1, 2, 2, 1}, Type::i32}, &count, 6),
                 std::invalid_argument);
    EXPECT_THROW(cpu::label_components({}, from, {labels.data(), shape, Type::f32}, &count, 6), std::invalid_argument);
    const Shape huge{1, 1, 2048, 1024, 1024};  // 2^31 voxels, refused before they are looked at
    EXPECT_THROW(cpu::label_components({}, {mask.data(), huge, Type::u8}, {labels.data(), huge, Type::i32}, &count, 6),
                 std::invalid_argument);
}

}  // namespace iwseg
