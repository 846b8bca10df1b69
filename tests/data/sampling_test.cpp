#include "data/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <thread>

#include "base/error.h"
#include "base/extent.h"
#include "data/loader.h"

namespace iwseg {
namespace {

/// A scan whose image says at each voxel where it is and, in its fraction, whether it is lesion.
PreparedCase scan_of(const Extent& shape, const std::vector<std::uint8_t>& mask, int channels = 1) {
    PreparedCase scan;
    scan.name = "made";
    scan.geometry.shape = shape;
    scan.channels = channels;
    for (int c = 0; c < channels; ++c) {
        for (std::size_t v = 0; v < mask.size(); ++v)
            scan.image.push_back(static_cast<float>(v + 100000 * c) + (mask[v] ? 0.5f : 0.0f));
        scan.minimum.push_back(static_cast<float>(-1 - c));
    }
    scan.lesions = list_components(mask, shape, 26);
    return scan;
}

PreparedCase random_scan(std::mt19937& random, const Extent& shape, double density, int channels = 1) {
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
    std::bernoulli_distribution lesion(density);
    for (auto& voxel : mask) voxel = lesion(random);
    mask[mask.size() / 2] = 1;
    return scan_of(shape, mask, channels);
}

bool same(const Batch& a, const Batch& b) {
    return a.shape == b.shape && a.image == b.image && a.target == b.target && a.labels == b.labels &&
           a.weights == b.weights && a.stride == b.stride && a.lesion_voxels == b.lesion_voxels &&
           a.components == b.components;
}

class Sampling : public testing::Test {
  protected:
    Sampling() { std::cout << "seed " << seed_ << "\n"; }
    unsigned seed_ = std::random_device{}();
    std::mt19937 random_{seed_};
};

/// The place of a patch around a centre, neither flipped nor turned.
PatchPlace around(const Extent& centre, const Extent& patch) {
    PatchPlace place;
    for (int axis = 0; axis < 3; ++axis) place.first[axis] = centre[axis] - patch[axis] / 2;
    return place;
}

TEST_F(Sampling, PatchesArePaddedOutsideTheScan) {
    for (int round = 0; round < 50; ++round) {
        const auto side = [&](int low, int high) {
            return static_cast<std::int64_t>(std::uniform_int_distribution<int>(low, high)(random_));
        };
        const Extent shape{side(1, 9), side(1, 9), side(1, 9)}, patch{side(1, 12), side(1, 12), side(1, 12)};
        const Extent centre{side(0, 8) % shape[0], side(0, 8) % shape[1], side(0, 8) % shape[2]};
        const PreparedCase scan = random_scan(random_, shape, 0.2);
        std::vector<float> out(static_cast<std::size_t>(patch[0] * patch[1] * patch[2]));
        std::vector<std::int32_t> labels(out.size());
        PatchSource source = source_of(around(centre, patch), shape, patch);
        source.image = scan.image.data();
        source.padding = scan.minimum.data();
        cpu::cut_patches({}, &source, {out.data(), {1, 1, patch[0], patch[1], patch[2]}}, nullptr, nullptr);
        const std::int64_t count = crop_components(scan.lesions, shape, around(centre, patch), patch, labels.data());
        std::set<std::int32_t> seen(labels.begin(), labels.end());
        seen.erase(0);
        EXPECT_EQ(static_cast<std::int64_t>(seen.size()), count);
        EXPECT_TRUE(count == 0 || (*seen.begin() == 1 && *seen.rbegin() == count));
        std::size_t at = 0;
        for (std::int64_t i = 0; i < patch[0]; ++i)
            for (std::int64_t j = 0; j < patch[1]; ++j)
                for (std::int64_t k = 0; k < patch[2]; ++k, ++at) {
                    const Extent v{centre[0] - patch[0] / 2 + i, centre[1] - patch[1] / 2 + j,
                                   centre[2] - patch[2] / 2 + k};
                    const bool inside =
                        v[0] >= 0 && v[0] < shape[0] && v[1] >= 0 && v[1] < shape[1] && v[2] >= 0 && v[2] < shape[2];
                    const float expected = inside ? scan.image[(v[0] * shape[1] + v[1]) * shape[2] + v[2]] : -1.0f;
                    ASSERT_EQ(out[at], expected);
                    ASSERT_EQ(labels[at] > 0, inside && expected != std::floor(expected));
                }
    }
}

// 20,000 draws: a share's deviation is at most 0.0036, and 0.02 is more than five of them.
TEST_F(Sampling, ScansAreDrawnByTheirLesionCountAndWithoutALesionAnywhere) {
    const Extent shape{9, 8, 7};
    std::vector<std::uint8_t> mask(9 * 8 * 7, 0);
    const PreparedCase healthy = scan_of(shape, mask);
    mask[100] = mask[300] = 1;
    std::vector<PreparedCase> cases{scan_of(shape, mask), healthy, scan_of(shape, mask), healthy};
    cases[0].lesion_count = 5;  // two components
    cases[1].lesion_count = 3;  // annotated, but nothing drawn
    cases[3].lesion_count = 0;
    SamplingOptions options;
    options.patch = {1, 1, 1};
    options.batch = 1;
    options.nonzero_fraction = 1.0;
    options.seed = seed_;
    const PatchSampler sampler(cases, options);
    std::array<int, 4> drawn{};
    std::set<Extent> places;
    constexpr int draws = 20000;
    for (int step = 0; step < draws; ++step) {
        const PatchPlace place = sampler.place(static_cast<std::uint64_t>(step), 0);
        ++drawn[place.scan];
        if (place.scan == 1) {
            places.insert(place.first);
            continue;
        }
        const std::int64_t voxel = (place.first[0] * 8 + place.first[1]) * 7 + place.first[2];
        ASSERT_TRUE(voxel == 100 || voxel == 300);
    }
    for (int scan = 0; scan < 4; ++scan)
        EXPECT_NEAR(drawn[scan] / double{draws}, (std::array{5, 3, 2, 0}[scan]) / 10.0, 0.02);
    EXPECT_EQ(places.size(), 9u * 8 * 7);
    Batch batch;
    sampler.draw(0, batch);
    for (PreparedCase& scan : cases) scan.lesion_count = 0;
    EXPECT_THROW(PatchSampler(cases, options), InputError);
}

TEST_F(Sampling, LabelsKeepTheOrderOfTheWholeScan) {
    // Components at k = 0, 2, 4, 6; the patch holds the last three.
    std::vector<std::uint8_t> mask(7, 0);
    for (int k = 0; k < 7; k += 2) mask[k] = 1;
    const PreparedCase scan = scan_of({1, 1, 7}, mask);
    std::vector<std::int32_t> labels(5);
    EXPECT_EQ(crop_components(scan.lesions, {1, 1, 7}, around({0, 0, 4}, {1, 1, 5}), {1, 1, 5}, labels.data()), 3);
    EXPECT_EQ(labels, (std::vector<std::int32_t>{1, 0, 2, 0, 3}));
}

// Patches larger and smaller than components, wholly in and over the edge; components of the scan split by a
// connectivity that is finer than theirs, and joined by a coarser one.
TEST_F(Sampling, ContentOfPlacesIsThatOfTheirBatch) {
    for (const ComponentMode mode : {ComponentMode::volume, ComponentMode::patch})
        for (const int of_scan : {6, 26})
            for (const int of_patch : {6, 18, 26}) {
                SamplingOptions options;
                options.patch = {9, 8, 8};
                options.components = mode;
                options.connectivity = of_patch;
                options.augmentation = {true, true};
                options.seed = seed_;
                std::vector<PreparedCase> cases{random_scan(random_, {20, 12, 7}, 0.05),
                                                random_scan(random_, {9, 30, 11}, 0.15)};
                for (PreparedCase& scan : cases) {
                    std::vector<std::uint8_t> mask(scan.image.size());
                    for (std::size_t v = 0; v < mask.size(); ++v) mask[v] = scan.image[v] != std::floor(scan.image[v]);
                    scan.lesions = list_components(mask, scan.geometry.shape, of_scan);
                }
                const PatchSampler sampler(std::move(cases), options);
                Batch batch;
                for (std::uint64_t step = 0; step < 20; ++step) {
                    sampler.draw(step, batch);
                    const PatchContent content = sampler.content(sampler.places(step));
                    ASSERT_EQ(content.lesion_voxels, batch.lesion_voxels);
                    ASSERT_EQ(content.components, batch.components) << of_scan << " in the scan, " << of_patch;
                }
            }
}

// What a seed draws must not change from one version to the next: runs would not be repeatable.
TEST_F(Sampling, BatchesOfASeedStayTheSame) {
    std::vector<PreparedCase> cases;
    for (std::uint64_t c = 0; c < 3; ++c) {
        const auto number = static_cast<std::int64_t>(c);
        const Extent shape{20 + number, 13, 17 - number};
        Random random(7, c, 0, Purpose::phantom);
        std::vector<std::uint8_t> mask(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
        for (auto& voxel : mask) voxel = random.below(20) == 0;
        cases.push_back(scan_of(shape, mask, 2));
        for (float& value : cases.back().image) value = static_cast<float>(random.below(1000));
    }
    std::uint64_t hash = 14695981039346656037u;  // FNV-1a
    const auto add = [&](const auto& values) {
        const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
        for (std::size_t i = 0; i < values.size() * sizeof values[0]; ++i) hash = (hash ^ bytes[i]) * 1099511628211u;
    };
    for (const ComponentMode mode : {ComponentMode::volume, ComponentMode::patch})
        for (const bool augmented : {false, true}) {
            SamplingOptions options;
            options.patch = {8, 8, 6};
            options.components = mode;
            options.augmentation = {augmented, augmented};
            options.seed = 5;
            const PatchSampler sampler(cases, options);
            Batch batch;
            for (std::uint64_t step = 0; step < 20; ++step) {
                sampler.draw(step, batch);
                add(batch.image);
                add(batch.target);
                add(batch.labels);
                add(batch.weights);
                add(std::vector<std::int64_t>{batch.stride, batch.lesion_voxels, batch.components});
            }
        }
    EXPECT_EQ(hash, 0x8518f03f7989cd0du);
}

TEST_F(Sampling, CutComponentIsOneInVolumeModeAndTwoInPatchMode) {
    // A bow whose ends are in the patch and whose middle (at i = 3) is not.
    const Extent shape{4, 1, 3};
    std::vector<std::uint8_t> mask(12, 0);
    for (int i = 0; i < 4; ++i) mask[i * 3] = mask[i * 3 + 2] = 1;
    mask[3 * 3 + 1] = 1;
    for (const ComponentMode mode : {ComponentMode::volume, ComponentMode::patch}) {
        SamplingOptions options;
        options.patch = {1, 1, 3};
        options.batch = 1;
        options.components = mode;
        options.weight_clip = {0.0f, 1e9f};
        options.nonzero_fraction = 0.0;
        const PatchSampler sampler({scan_of(shape, mask)}, options);
        Batch batch;
        bool met = false;
        for (std::uint64_t step = 0; step < 400 && !met; ++step) {
            sampler.draw(step, batch);
            met = batch.image == std::vector<float>{0.5f, 1.0f, 2.5f};
        }
        ASSERT_TRUE(met);
        if (mode == ComponentMode::volume) {
            EXPECT_EQ(batch.labels, (std::vector<std::int32_t>{1, 0, 1}));
            EXPECT_EQ(batch.components, 1);
            EXPECT_EQ(batch.weights, (std::vector<float>{3.0f / 2 / 1, 3.0f / 2 / 2}));
        } else {
            EXPECT_EQ(batch.labels, (std::vector<std::int32_t>{1, 0, 2}));
            EXPECT_EQ(batch.weights, (std::vector<float>{1, 1, 1}));
        }
        EXPECT_EQ(batch.lesion_voxels, 2);
    }
}

TEST_F(Sampling, CasesAreDrawnByLesionCountAndPatchesCentredOnLesions) {
    std::vector<std::uint8_t> three(5 * 5 * 5, 0), one = three, none = three;
    three[0] = three[62] = three[124] = 1;
    one[7] = one[8] = 1;
    std::vector<PreparedCase> cases{scan_of({5, 5, 5}, three), scan_of({5, 5, 5}, none), scan_of({5, 5, 5}, one)};
    for (std::size_t c = 0; c < 3; ++c)
        for (float& value : cases[c].image) value += 1000.0f * static_cast<float>(c);
    SamplingOptions options;
    options.patch = {1, 1, 1};
    options.batch = 1;
    options.seed = seed_;
    const PatchSampler sampler(std::move(cases), options);
    Batch batch;
    constexpr int draws = 20000;
    std::map<int, int> centred;
    int from_one = 0;
    for (int step = 0; step < draws; ++step) {
        sampler.draw(static_cast<std::uint64_t>(step), batch);
        ASSERT_FALSE(batch.image[0] >= 1000 && batch.image[0] < 2000);
        from_one += batch.image[0] >= 2000;
        if (batch.target[0]) ++centred[static_cast<int>(batch.image[0])];
    }
    // Five deviations of a binomial draw: fails by chance once in two million runs.
    const auto expect_share = [&](int count, double share) {
        EXPECT_NEAR(count, share * draws, 5 * std::sqrt(share * (1 - share) * draws));
    };
    expect_share(from_one, 0.25);
    for (const int voxel : {0, 62, 124}) expect_share(centred[voxel], 0.75 * (0.5 / 3 + 0.5 / 125));
    for (const int voxel : {2007, 2008}) expect_share(centred[voxel], 0.25 * (0.5 / 2 + 0.5 / 125));
}

TEST_F(Sampling, WeightsAreInverseToSizesInThePatch) {
    SamplingOptions options;
    options.patch = {8, 8, 8};
    options.seed = seed_;
    const PatchSampler sampler({random_scan(random_, {20, 16, 12}, 0.02, 2)}, options);
    Batch batch;
    for (std::uint64_t step = 0; step < 50; ++step) {
        sampler.draw(step, batch);
        ASSERT_EQ(batch.shape, (Shape{2, 2, 8, 8, 8}));
        for (std::int64_t n = 0; n < 2; ++n) {
            std::map<std::int32_t, int> sizes;
            for (std::int64_t v = 0; v < 512; ++v) ++sizes[batch.labels[n * 512 + v]];
            for (const auto& [label, size] : sizes)
                ASSERT_FLOAT_EQ(
                    batch.weights[n * batch.stride + label],
                    std::clamp(512.0f / (static_cast<float>(sizes.size()) * static_cast<float>(size)), 1.0f, 2e5f));
            for (std::int64_t v = 0; v < 512; ++v) {  // both channels come from the same place
                const float first = batch.image[n * 1024 + v], second = batch.image[n * 1024 + 512 + v];
                ASSERT_TRUE((first == -1.0f && second == -2.0f) || second == first + 100000);
            }
        }
    }
}

TEST_F(Sampling, AugmentationMovesImageAndLabelsTogetherInEveryWay) {
    SamplingOptions options;
    options.patch = {2, 2, 2};
    options.batch = 1;
    options.nonzero_fraction = 1.0;
    options.seed = seed_;
    std::vector<std::uint8_t> mask(27, 0);
    mask[13] = 1;
    for (const auto& [augmentation, ways] : std::vector<std::pair<Augmentation, std::size_t>>{
             {{false, false}, 1}, {{true, false}, 8}, {{false, true}, 24}, {{true, true}, 48}}) {
        options.augmentation = augmentation;
        const PatchSampler sampler({scan_of({3, 3, 3}, mask)}, options);
        Batch batch;
        std::set<std::vector<float>> seen;
        std::set<std::multiset<float>> contents;
        for (std::uint64_t step = 0; step < 2000; ++step) {
            sampler.draw(step, batch);
            for (std::size_t v = 0; v < 8; ++v)
                ASSERT_EQ(batch.target[v] == 1, batch.image[v] != std::floor(batch.image[v]));
            seen.insert(batch.image);
            contents.insert({batch.image.begin(), batch.image.end()});
        }
        EXPECT_EQ(seen.size(), ways);
        EXPECT_EQ(contents.size(), 1u);
    }
}

TEST_F(Sampling, UnequalPatchSidesTurnOnlyInTheirSquarePlane) {
    SamplingOptions options;
    options.patch = {3, 2, 2};
    options.batch = 1;
    options.nonzero_fraction = 1.0;
    options.augmentation = {false, true};
    std::vector<std::uint8_t> mask(75, 0);
    mask[37] = 1;
    const PatchSampler sampler({scan_of({3, 5, 5}, mask)}, options);
    Batch batch;
    std::set<std::vector<float>> seen;
    for (std::uint64_t step = 0; step < 300; ++step) {
        sampler.draw(step, batch);
        seen.insert(batch.image);
    }
    EXPECT_EQ(seen.size(), 4u);
}

TEST_F(Sampling, CasesWithoutAnyLesionAreRefused) {
    EXPECT_THROW(PatchSampler({scan_of({2, 2, 2}, std::vector<std::uint8_t>(8, 0))}, {}), InputError);
}

SamplingOptions small_options(unsigned seed) {
    SamplingOptions options;
    options.patch = {16, 16, 8};
    options.augmentation = {true, true};
    options.seed = seed;
    return options;
}

TEST_F(Sampling, LoaderGivesTheSameBatchesWithAnyNumberOfWorkersFromAnyStep) {
    const PatchSampler sampler({random_scan(random_, {30, 20, 10}, 0.01), random_scan(random_, {12, 40, 9}, 0.005)},
                               small_options(seed_));
    std::vector<Batch> expected(40);
    for (std::uint64_t step = 0; step < expected.size(); ++step) sampler.draw(step, expected[step]);
    EXPECT_FALSE(same(expected[0], expected[1]));
    for (const int workers : {1, 2, 5})
        for (const std::uint64_t first : {0, 7}) {
            BatchLoader loader(sampler, first, workers);
            for (std::uint64_t step = first; step < expected.size(); ++step) {
                const Batch& batch = loader.next();
                // A slow step: a worker that overwrote the batch in use would show.
                if (step % 8 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
                ASSERT_TRUE(same(batch, expected[step])) << workers << " workers, step " << step;
                ASSERT_GE(loader.seconds_waited(), 0.0);
            }
        }
}

TEST_F(Sampling, LoaderPassesOnWhatItsWorkersThrow) {
    SamplingOptions options = small_options(seed_);
    options.components = ComponentMode::patch;
    options.connectivity = 7;  // not one there is
    const PatchSampler sampler({random_scan(random_, {30, 20, 10}, 0.01)}, options);
    BatchLoader loader(sampler, 0, 2);
    EXPECT_THROW(loader.next(), std::invalid_argument);
    EXPECT_THROW(loader.next(), std::invalid_argument);
}

TEST_F(Sampling, LoaderStopsAtOnceWhateverItsWorkersDo) {
    const PatchSampler sampler({random_scan(random_, {30, 20, 10}, 0.01)}, small_options(seed_));
    for (int round = 0; round < 50; ++round) {
        BatchLoader loader(sampler, 0, 3);
        for (int step = 0; step < round % 4; ++step) loader.next();
    }
}

}  // namespace
}  // namespace iwseg
