#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/extent.h"
#include "data/preparation.h"
#include "data/sampling.h"
#include "data/volume/volume.h"
#include "engine/initialisation.h"
#include "kernels/components/ignored.h"
#include "models/unet.h"
#include "training/session.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;
/// A scan whose image holds each voxel's index, with lesions and, where asked, voxels of unknown truth.
PreparedCase indexed_scan(const Extent& shape, std::mt19937& random, bool ignores) {
    PreparedCase scan;
    scan.geometry.shape = shape;
    scan.channels = 1;
    scan.minimum = {-1};
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(scan.geometry.voxels()));
    if (ignores) scan.ignored.resize(mask.size());
    for (std::size_t v = 0; v < mask.size(); ++v) {
        scan.image.push_back(static_cast<float>(v));
        const bool unknown = random() % 5 == 0;
        mask[v] = random() % 6 == 0 && !(ignores && unknown);
        if (ignores) scan.ignored[v] = unknown;
    }
    scan.lesions = list_components(mask, shape, 26);
    return scan;
}

SamplingOptions sampling(ComponentMode mode, std::uint64_t seed) {
    SamplingOptions options;
    options.patch = {8, 8, 8};
    options.batch = 3;
    options.components = mode;
    options.augmentation = {true, true};
    options.seed = seed;
    return options;
}

TEST(IgnoredVoxels, ReachThePatchesWhereTheScanHasThem) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    for (const ComponentMode mode : {ComponentMode::volume, ComponentMode::patch}) {
        const PatchSampler sampler({indexed_scan({13, 9, 17}, random, true)}, sampling(mode, seed));
        const PreparedCase& scan = sampler.cases()[0];
        std::vector<std::uint8_t> lesion(scan.ignored.size());
        for (const std::uint32_t voxel : scan.lesions.voxels) lesion[voxel] = 1;
        Batch batch;
        std::int64_t ignored = 0;
        for (std::uint64_t step = 0; step < 8; ++step) {
            sampler.draw(step, batch);
            std::int64_t lesions = 0;
            for (std::size_t v = 0; v < batch.target.size(); ++v) {
                const float shown = batch.image[v];
                const auto voxel = static_cast<std::size_t>(shown);
                const bool outside = shown < 0, unknown = !outside && scan.ignored[voxel];
                const int expected = outside ? 0 : unknown ? int{kIgnored} : int{lesion[voxel]};
                ASSERT_EQ(int{batch.target[v]}, expected);
                ASSERT_EQ(batch.labels[v] == kIgnoredLabel, unknown);
                if (!unknown) {
                    ASSERT_EQ(batch.labels[v] > 0, expected == 1);
                }
                ignored += unknown;
                lesions += expected == 1;
            }
            EXPECT_EQ(batch.lesion_voxels, lesions) << "what is ignored is no lesion";
        }
        EXPECT_GT(ignored, 100);
    }
}

TEST(IgnoredVoxels, CountInNoWeight) {
    std::mt19937 random(7);
    for (const ComponentMode mode : {ComponentMode::volume, ComponentMode::patch}) {
        const PatchSampler sampler({indexed_scan({13, 9, 17}, random, true)}, sampling(mode, 11));
        Batch batch;
        sampler.draw(3, batch);
        for (std::int64_t n = 0; n < 3; ++n) {
            std::vector<double> sizes(static_cast<std::size_t>(batch.stride));
            double known = 0, present = 0;
            for (std::int64_t v = n * 512; v < (n + 1) * 512; ++v)
                if (batch.labels[v] != kIgnoredLabel) ++sizes[batch.labels[v]], ++known;
            for (const double size : sizes) present += size > 0;
            for (std::int64_t label = 0; label < batch.stride; ++label) {
                if (sizes[label] == 0) continue;
                const double weight = std::clamp(known / (present * sizes[label]), 1.0, 2e5);
                EXPECT_NEAR(batch.weights[n * batch.stride + label], weight, 1e-6 * weight);  // rounded to f32 once
            }
        }
    }
}

TEST(IgnoredVoxels, WhereThereAreNoneABatchIsAsWithoutTheLabel) {
    std::mt19937 first(5), second(5);
    PreparedCase plain = indexed_scan({13, 9, 17}, first, false), none = indexed_scan({13, 9, 17}, second, false);
    none.ignored.resize(none.image.size());  // the label is in the dataset, but not in this scan
    const SamplingOptions options = sampling(ComponentMode::patch, 3);
    const PatchSampler a({plain}, options), b({none}, options);
    Batch of_a, of_b;
    for (std::uint64_t step = 0; step < 4; ++step) {
        a.draw(step, of_a);
        b.draw(step, of_b);
        EXPECT_EQ(of_a.image, of_b.image);
        EXPECT_EQ(of_a.target, of_b.target);
        EXPECT_EQ(of_a.labels, of_b.labels);
        EXPECT_EQ(of_a.weights, of_b.weights);
    }
}

/// A dataset of one scan: lesions of value 1, a stripe of value 2, which `labels` says to be what it is.
class IgnoredLabel : public ::testing::Test {
  protected:
    fs::path folder_ = fs::temp_directory_path() / ("iwseg_ignored_" + std::to_string(std::random_device{}()));
    void TearDown() override { fs::remove_all(folder_); }

    PreparedCase read(const std::string& labels) {
        const fs::path root = folder_ / std::to_string(made_++);
        fs::create_directories(root / "imagesTr");
        fs::create_directories(root / "labelsTr");
        write_text(
            root / "dataset.json",
            R"({"channel_names": {"0": "CT"}, "numTraining": 1, "file_ending": ".nii", "labels": )" + labels + "}");
        Volume<std::int16_t> image;
        Volume<std::uint8_t> label;
        image.geometry.shape = label.geometry.shape = {16, 16, 16};
        for (int v = 0; v < 4096; ++v) {
            image.voxels.push_back(static_cast<std::int16_t>(v % 97));
            const int i = v / 256, j = v / 16 % 16, k = v % 16;
            label.voxels.push_back(i < 4 ? 2 : i >= 8 && i < 11 && j < 9 && k >= 5 && k < 8);
        }
        write_volume(root / "imagesTr/a_0000.nii", image);
        write_volume(root / "labelsTr/a.nii", label);
        const Dataset dataset = open_dataset(root);
        return prepare_case(dataset, dataset.find("a"), {});
    }

    /// The loss of a first step, and every gradient's trace in the weights after it.
    static std::pair<double, std::vector<float>> step(const PreparedCase& scan, const std::string& loss) {
        SamplingOptions options;
        options.patch = {16, 16, 16};
        options.batch = 2;
        options.seed = 9;
        const PatchSampler sampler({scan}, options);
        Batch batch;
        sampler.draw(0, batch);
        Context context({.device = "cpu", .threads = 1});
        Parameters parameters;
        TrainingOptions training;
        training.network = unet({.widths = {2, 2, 2, 2}});
        training.loss = loss_from_name(loss);
        training.input = batch.shape;
        TrainingSession session(context, parameters, training);
        initialise(context, parameters, 1);
        const double value = session.step(batch, 1e-2f);
        return {value, parameters.values()};
    }

    int made_ = 0;
};

TEST_F(IgnoredLabel, IsLeftOutOfTheTraining) {
    const PreparedCase ignored = read(R"({"background": 0, "lesion": 1, "ignore": 2})");
    const PreparedCase lesion = read(R"({"background": 0, "lesion": [1, 2], "core": 2})");
    ASSERT_EQ(ignored.lesions.size(), 1);
    PreparedCase background = ignored;  // as if the stripe had been labelled as background
    background.ignored.clear();
    for (const char* loss : {"dice + ce", "iwdl", "bce", "iwbce"}) {
        SCOPED_TRACE(loss);
        const auto left_out = step(ignored, loss);
        EXPECT_TRUE(std::isfinite(left_out.first));
        EXPECT_NE(left_out.first, step(background, loss).first);
        EXPECT_NE(left_out.first, step(lesion, loss).first);
    }
}

}  // namespace
}  // namespace iwseg
