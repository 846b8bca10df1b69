#include "kernels/components/components.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "kernels/cpu/thread_pool.h"
#include "tests/support/backends.h"
#include "tests/support/component_fixture.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg {
namespace {

class Components : public testing::TestWithParam<TestBackend> {
  protected:
    Components()
        : seed_(std::random_device{}()), random_(seed_), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {}
    void SetUp() override { IWSEG_SKIP_WITHOUT_DEVICE(GetParam()); }
    void TearDown() override { simt::schedule_by(0); }

    unsigned seed_;
    std::mt19937 random_;
    testing::ScopedTrace trace_;
};

}  // namespace

TEST_P(Components, RandomMasksAreLabelledAsFloodFillDoes) {
    std::uniform_int_distribution<int> side(1, 20), width(1, 200);
    for (int trial = 0; trial < 60; ++trial) {
        const Shape shape{1, 1, side(random_), side(random_), trial % 4 == 0 ? 16 * (1 + trial / 8) : width(random_)};
        expect_as_flooded(GetParam(), random_mask(shape, trial / 59.0, random_), shape);
        if (HasFatalFailure()) return;
    }
}

TEST_P(Components, WidthsAroundTheWordOf64VoxelsAreRight) {
    for (const int width : {1, 2, 7, 8, 9, 16, 32, 63, 64, 65, 127, 128, 129, 192}) {
        const Shape shape{1, 1, 3, 5, width};
        for (const double density : {0.0, 0.1, 0.5, 0.9, 1.0})
            expect_as_flooded(GetParam(), random_mask(shape, density, random_), shape);
        if (HasFatalFailure()) return;
    }
}

TEST_P(Components, EveryMaskOf2x2x3VoxelsIsRight) {
    const Shape batch{4096, 1, 2, 2, 3}, one{1, 1, 2, 2, 3};
    Mask masks(batch.elements());
    for (std::size_t v = 0; v < masks.size(); ++v) masks[v] = v / 12 >> v % 12 & 1;
    for (const int connectivity : kConnectivities) {
        const Labels found = label(GetParam(), masks, batch, connectivity);
        for (std::size_t at = 0; at < masks.size(); at += 12)
            ASSERT_TRUE(Labels(&found[at], &found[at] + 12) ==
                        flood_fill(Mask(&masks[at], &masks[at] + 12), one, connectivity))
                << "mask " << at / 12 << ", connectivity " << connectivity;
    }
}

TEST_P(Components, EmptyAndFullMasksGiveNoneAndOne) {
    for (const Shape& shape : {Shape{1, 1, 4, 3, 130}, Shape{1, 1, 1, 1, 1}, Shape{1, 1, 3, 5, 32}}) {
        std::vector<std::int32_t> counts;
        EXPECT_TRUE(label(GetParam(), Mask(shape.elements(), 0), shape, 26, &counts) == Labels(shape.elements(), 0));
        EXPECT_EQ(counts[0], 0);
        for (const int connectivity : kConnectivities) {
            EXPECT_TRUE(label(GetParam(), Mask(shape.elements(), 200), shape, connectivity, &counts) ==
                        Labels(shape.elements(), 1));
            EXPECT_EQ(counts[0], 1);
        }
    }
}

TEST_P(Components, AnyByteButZeroIsForeground) {
    const Shape shape{1, 1, 2, 4, 64};  // 16 bytes at once
    Mask mask(shape.elements(), 0);
    for (std::size_t v = 0; v < mask.size(); v += 2) mask[v] = static_cast<std::uint8_t>(v / 2);
    expect_as_flooded(GetParam(), mask, shape);
    std::fill(mask.begin(), mask.end(), 0);
    mask[17] = mask[450] = 128;
    expect_as_flooded(GetParam(), mask, shape);
}

TEST_P(Components, NoSizeOfAVolumeMixesThePartsOfItsScratch) {
    // Bytes, a byte a cell, that end just before and just after where the next part begins.
    for (const std::int64_t cells : {255, 256, 257, 258, 511, 513}) {
        const Shape shape{1, 1, 1, 1, cells}, blocks{1, 1, 2, 2, 2 * cells};
        expect_as_flooded(GetParam(), random_mask(shape, 0.6, random_), shape);
        expect_as_flooded(GetParam(), random_mask(blocks, 0.6, random_), blocks);
    }
}

TEST_P(Components, VoxelsThatShareAnEdgeOrACornerJoinOnlyWhereTheConnectivitySaysSo) {
    const Shape shape{1, 1, 2, 2, 2};
    Mask edge(8, 0), corner(8, 0);
    edge[0] = edge[6] = 1;      // (0,0,0) and (1,1,0)
    corner[1] = corner[6] = 1;  // (0,0,1) and (1,1,0)
    const int found[2][3] = {{2, 1, 1}, {2, 2, 1}};
    for (int c = 0; c < 3; ++c) {
        EXPECT_EQ(largest(label(GetParam(), edge, shape, kConnectivities[c])), found[0][c]);
        EXPECT_EQ(largest(label(GetParam(), corner, shape, kConnectivities[c])), found[1][c]);
    }
}

TEST_P(Components, FirstVoxelOutsideOfTheFirstBlockDecidesTheNumber) {
    // Block (0,0) begins in the second row, block (0,1) in the first: the second is numbered first.
    const Shape shape{1, 1, 1, 2, 16};
    Mask mask(32, 0);
    mask[16] = mask[2 + 2] = 1;
    expect_as_flooded(GetParam(), mask, shape);
    // One component whose root block has no voxel as early as another of its blocks: (1,1) joins (0,2) diagonally.
    mask[17] = mask[2] = 1;
    expect_as_flooded(GetParam(), mask, shape);
}

TEST_P(Components, CombsAndSpiralsThatMeetLateAreOneComponent) {
    const Shape comb_shape{1, 1, 1, 40, 101};
    expect_as_flooded(GetParam(), comb_mask(comb_shape, false), comb_shape);
    expect_as_flooded(GetParam(), comb_mask(comb_shape, true), comb_shape);
    EXPECT_EQ(largest(label(GetParam(), comb_mask(comb_shape, true), comb_shape, 6)), 1);
    const int n = 41;
    for (const Shape& shape : {Shape{1, 1, 1, n, n}, Shape{1, 1, n, n, 1}, Shape{1, 1, n, 1, n}}) {
        const Mask spiral = spiral_mask(shape, n);
        EXPECT_GT(std::count(spiral.begin(), spiral.end(), 1), n * n / 3);
        EXPECT_EQ(largest(label(GetParam(), spiral, shape, 6)), 1);
        expect_as_flooded(GetParam(), spiral, shape);
    }
}

TEST_P(Components, NoScheduleOfTheThreadsChangesTheLabels) {
    if (GetParam() != TestBackend::simt) GTEST_SKIP() << "schedules are the executor's";
    // Rows two apart, which meet in the last column: long chains of blocks, hooked from both ends at once.
    const Shape shapes[] = {{1, 1, 2, 12, 48}, {2, 1, 5, 7, 19}, {1, 1, 1, 31, 31}};
    for (std::uint64_t schedule = 1; schedule <= 20; ++schedule) {
        simt::schedule_by(seed_ + schedule);
        for (const int connectivity : kConnectivities) {
            SCOPED_TRACE(testing::Message() << "schedule " << seed_ + schedule << ", connectivity " << connectivity);
            ASSERT_TRUE(label(TestBackend::simt, comb_mask(shapes[0], true), shapes[0], connectivity) ==
                        flood_fill(comb_mask(shapes[0], true), shapes[0], connectivity));
            ASSERT_TRUE(label(TestBackend::simt, spiral_mask(shapes[2], 31), shapes[2], connectivity) ==
                        flood_fill(spiral_mask(shapes[2], 31), shapes[2], connectivity));
            const Mask mask = random_mask(shapes[1],
                                          connectivity == 6    ? 0.4
                                          : connectivity == 18 ? 0.2
                                                               : 0.12,
                                          random_);
            ASSERT_TRUE(label(TestBackend::simt, mask, shapes[1], connectivity) ==
                        label(TestBackend::cpu, mask, shapes[1], connectivity));
        }
    }
}

TEST_P(Components, EachSampleOfABatchIsNumberedFromOne) {
    for (const std::int64_t width : {70, 64}) {
        const Shape batch{3, 1, 9, 10, width}, one{1, 1, 9, 10, width};
        const Mask mask = random_mask(batch, 0.1, random_);
        for (const int connectivity : kConnectivities) {
            std::vector<std::int32_t> counts;
            const Labels found = label(GetParam(), mask, batch, connectivity, &counts);
            for (std::int64_t n = 0; n < 3; ++n) {
                const std::int64_t from = n * one.voxels(), to = from + one.voxels();
                const Labels expected = flood_fill(Mask(mask.begin() + from, mask.begin() + to), one, connectivity);
                EXPECT_TRUE(Labels(found.begin() + from, found.begin() + to) == expected);
                EXPECT_EQ(counts[n], largest(expected));
            }
        }
    }
}

TEST_P(Components, WrongConnectivitiesShapesAndTypesAreRefused) {
    const Backend& device = backend_of(GetParam());
    Mask mask(8, 0);
    Labels labels(8);
    std::int32_t count = 0;
    const Shape shape{1, 1, 2, 2, 2};
    const View from{mask.data(), shape, Type::u8}, to{labels.data(), shape, Type::i32};
    EXPECT_THROW(device.label_components({}, from, to, &count, 8, nullptr), std::invalid_argument);
    const View other{labels.data(), {1, 1, 2, 2, 1}, Type::i32}, real{labels.data(), shape, Type::f32};
    EXPECT_THROW(device.label_components({}, from, other, &count, 6, nullptr), std::invalid_argument);
    EXPECT_THROW(device.label_components({}, from, real, &count, 6, nullptr), std::invalid_argument);
    const Shape huge{1, 1, 2048, 1024, 1024};  // 2^31 voxels, refused before they are looked at
    EXPECT_THROW(device.label_components({}, {mask.data(), huge, Type::u8}, {labels.data(), huge, Type::i32}, &count, 6,
                                         nullptr),
                 std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(On, Components, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST(ComponentsOnCpu, NoiseOfEveryDensityIsLabelledAsFloodFillDoes) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    // Odd and even sides, as rows are taken by pairs along both; widths around words of 64; single rows, columns and
    // planes along each axis.
    const Shape shapes[] = {{1, 1, 7, 9, 65},  {1, 1, 6, 10, 63}, {1, 1, 5, 8, 128},  {1, 1, 8, 7, 201},
                            {1, 1, 1, 1, 300}, {1, 1, 1, 77, 1},  {1, 1, 77, 1, 1},   {1, 1, 1, 31, 67},
                            {1, 1, 31, 1, 67}, {1, 1, 31, 33, 1}, {1, 1, 2, 2, 1000}, {1, 1, 3, 3, 130}};
    for (const Shape& shape : shapes)
        for (int percent = 5; percent <= 95; percent += 5) {
            expect_as_flooded(TestBackend::cpu, random_mask(shape, percent / 100.0, random), shape);
            if (HasFatalFailure()) return;
        }
}

TEST(ComponentsOnCpu, AComponentMayBeginInALaterRowOfAnEarlierSlice) {
    // Rows are taken two by two along y and z. The first pair of rows meets foreground in the second slice, the second
    // pair in the first slice: voxels come in another order than pairs of rows do.
    const Shape shape{1, 1, 2, 4, 70};
    const auto at = [&](std::int64_t z, std::int64_t y, std::int64_t x) { return (z * shape.h + y) * shape.w + x; };
    Mask mask(shape.elements(), 0);
    mask[at(1, 0, 3)] = mask[at(0, 3, 3)] = mask[at(0, 2, 66)] = mask[at(1, 1, 66)] = mask[at(0, 1, 40)] = 1;
    expect_as_flooded(TestBackend::cpu, mask, shape);
    mask[at(0, 2, 3)] = mask[at(1, 1, 3)] = 1;  // one component, whose first voxel is in the second pair
    expect_as_flooded(TestBackend::cpu, mask, shape);
}

TEST(ComponentsOnCpu, LabelsDoNotDependOnTheThreadsAndSlabs) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const Shape shape{1, 1, 67, 95, 130};  // large enough for slabs
    for (const double density : {0.02, 0.12, 0.3, 0.9}) {
        const Mask mask = random_mask(shape, density, random);
        for (const int connectivity : kConnectivities) {
            const Labels expected = flood_fill(mask, shape, connectivity);
            for (const int threads : {1, 2, 3, 5}) {
                ThreadPool pool(threads);
                ASSERT_TRUE(label(TestBackend::cpu, mask, shape, connectivity, nullptr, pool.stream()) == expected)
                    << threads << " threads, " << connectivity;
            }
        }
    }
}

TEST(ComponentsOnCpu, WorkerThreadsLabelAtTheSameTime) {
    std::mt19937 random(std::random_device{}());
    const Shape shape{1, 1, 40, 64, 128};
    const Mask mask = random_mask(shape, 0.1, random);
    const Labels expected = flood_fill(mask, shape, 26);
    std::vector<Labels> found(4);
    ThreadPool pool(3);  // shared: who finds it at work labels alone
    std::vector<std::thread> workers;
    for (Labels& labels : found)
        workers.emplace_back([&] { labels = label(TestBackend::cpu, mask, shape, 26, nullptr, pool.stream()); });
    for (std::thread& worker : workers) worker.join();
    for (const Labels& labels : found) EXPECT_TRUE(labels == expected);
}

}  // namespace iwseg
