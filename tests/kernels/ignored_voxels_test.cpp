#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "kernels/components/component_weights.h"
#include "kernels/components/ignored.h"
#include "kernels/patch/cut_patch.h"
#include "tests/support/loss_fixture.h"
#include "tests/support/masks.h"

namespace iwseg {
namespace {

std::vector<std::string> all_losses() {
    std::vector<std::string> names = loss_names();
    for (const char* sum : {"dice + ce", "iwdice + iwce", "dice + 0.5*iwce"}) names.emplace_back(sum);
    return names;
}

/// Ignores every so many voxels, at random, whatever they were; their logits and labels are of no use any more.
void ignore_some(Batch& b, int one_of, std::mt19937& random) {
    const float useless[] = {kNan, kInfinity, -kInfinity, 3.0f};
    for (std::size_t v = 0; v < b.target.size(); ++v) {
        if (random() % static_cast<unsigned>(one_of) != 0) continue;
        b.target[v] = kIgnored;
        b.labels[v] = kIgnoredLabel;
        b.logit[v] = useless[random() % 4];
    }
}

/// Weights by the definition, of the voxels that are known: those of components found by flood fill.
std::vector<float> weights_by_definition(const Mask& mask, const Shape& shape, int connectivity) {
    std::vector<float> weights;
    const Shape one{1, 1, shape.d, shape.h, shape.w};
    for (std::int64_t n = 0; n < shape.n; ++n) {
        Mask lesion(mask.begin() + n * one.voxels(), mask.begin() + (n + 1) * one.voxels());
        const Mask truth = lesion;
        std::replace(lesion.begin(), lesion.end(), kIgnored, std::uint8_t{0});
        Labels labels = flood_fill(lesion, one, connectivity);
        std::map<std::int32_t, double> sizes;
        double known = 0;
        for (std::size_t v = 0; v < labels.size(); ++v)
            if (truth[v] != kIgnored) ++sizes[labels[v]], ++known;
        for (std::size_t v = 0; v < labels.size(); ++v)
            weights.push_back(truth[v] == kIgnored ? 0.0f
                                                   : inverse_weight(known, static_cast<double>(sizes.size()),
                                                                    sizes[labels[v]], WeightClip{}));
    }
    return weights;
}

class IgnoredVoxels : public LossKernel {
  protected:
    IgnoredVoxels()
        : seed_(std::random_device{}()), random_(seed_), trace_(__FILE__, __LINE__, std::to_string(seed_)) {}

    unsigned seed_;
    std::mt19937 random_;
    testing::ScopedTrace trace_;
};

}  // namespace

TEST_P(IgnoredVoxels, AddNothingToAnyLossAndTheirGradientIsZero) {
    for (const std::string& name : all_losses())
        for (const int one_of : {2, 9}) {
            SCOPED_TRACE(name);
            Batch b = random_batch({2, 1, 3, 7, 16}, 2.0, random_);
            ignore_some(b, one_of, random_);
            const Loss loss = loss_from_name(name);
            const Result found = compute(loss, b);
            const double expected = reference::loss(loss, in_double(b));
            ASSERT_NEAR(found.value, expected, 1e-6 * std::fabs(expected));
            expect_gradient_of_reference(loss, b, found, b.shape.elements());
            for (std::size_t v = 0; v < b.target.size(); ++v)
                ASSERT_TRUE(b.target[v] != kIgnored || found.gradient[v] == 0.0f) << "voxel " << v;
            if (HasFatalFailure()) return;
        }
}

TEST_P(IgnoredVoxels, AreLeftOutOfBf16AndOfLargeBatchesAlike) {
    for (const std::string& name : all_losses()) {
        Batch b = random_batch({2, 1, 17, 33, 40}, 3.0, random_);
        for (float& z : b.logit) z = round_to_bf16(z);
        ignore_some(b, 5, random_);
        const Loss loss = loss_from_name(name);
        const Result exact = compute(loss, b), half = compute<Bf16>(loss, b);
        const double expected = reference::loss(loss, in_double(b));
        EXPECT_NEAR(exact.value, expected, 1e-6 * std::fabs(expected)) << name;
        EXPECT_NEAR(half.value, expected, 1e-6 * std::fabs(expected)) << name;
    }
}

TEST_P(IgnoredVoxels, MayBeAllThereIs) {
    for (const std::string& name : all_losses()) {
        Batch b = random_batch({2, 1, 2, 5, 9}, 1.0, random_);
        ignore_some(b, 1, random_);
        const Result found = compute(loss_from_name(name), b);
        EXPECT_EQ(found.value, 0.0) << name;
        EXPECT_EQ(largest(found.gradient), 0.0f) << name;
    }
}

TEST_P(IgnoredVoxels, AreNoneOfAPatchsVoxelsWhereItsComponentsGetWeights) {
    const Backend& device = backend_of(GetParam());
    for (int trial = 0; trial < 24; ++trial) {
        const Shape shape{1 + trial % 2, 1, 1 + trial % 7, 2 + trial % 5, trial % 3 == 0 ? 32 : 5 + trial};
        Mask mask = random_mask(shape, 0.04 * trial, random_);
        for (std::uint8_t& voxel : mask)
            if (random_() % 4 == 0) voxel = kIgnored;
        if (trial == 23) std::fill(mask.begin(), mask.end(), kIgnored);
        for (const int connectivity : kConnectivities) {
            const std::int64_t stride = component_label_bound(shape, connectivity);
            const KernelArray<std::uint8_t> on_device(device, mask);
            const KernelArray<std::int32_t> labels(device, shape.elements(), -7);
            const KernelArray<float> table(device, shape.n * stride, -7.0f);
            const auto scratch = kernel_scratch(device, device.component_weights_scratch_bytes(shape, connectivity));
            device.component_weights({}, {on_device.data(), shape, Type::u8}, connectivity, {},
                                     {labels.data(), shape, Type::i32}, table.data(), scratch.data());
            const std::vector<float> weights = table.host(),
                                     expected = weights_by_definition(mask, shape, connectivity);
            const Labels found = labels.host();
            for (std::size_t v = 0; v < mask.size(); ++v) {
                if (mask[v] == kIgnored) continue;
                const std::int64_t row = static_cast<std::int64_t>(v) / shape.voxels() * stride;
                ASSERT_EQ(weights[row + (mask[v] != 0 ? found[v] : 0)], expected[v])
                    << "trial " << trial << ", connectivity " << connectivity << ", voxel " << v;
            }
        }
    }
}

TEST_P(IgnoredVoxels, OneAloneIsNoneOfItsPatchsVoxels) {
    const Backend& device = backend_of(GetParam());
    for (const Shape& shape : {Shape{1, 1, 3, 5, 7}, Shape{1, 1, 4, 4, 32}})  // cells one by one, and eight at once
        for (const int connectivity : kConnectivities) {
            Mask mask(static_cast<std::size_t>(shape.elements()), 0);
            mask[3] = mask[4] = 1;
            mask[20] = kIgnored;
            const std::int64_t stride = component_label_bound(shape, connectivity);
            const KernelArray<std::uint8_t> on_device(device, mask);
            const KernelArray<std::int32_t> labels(device, shape.elements(), -7);
            const KernelArray<float> table(device, stride, -7.0f);
            const auto scratch = kernel_scratch(device, device.component_weights_scratch_bytes(shape, connectivity));
            device.component_weights({}, {on_device.data(), shape, Type::u8}, connectivity, {},
                                     {labels.data(), shape, Type::i32}, table.data(), scratch.data());
            const std::vector<float> expected = weights_by_definition(mask, shape, connectivity);
            EXPECT_EQ(table.host()[0], expected[0]) << connectivity;
            EXPECT_EQ(table.host()[static_cast<std::size_t>(labels.host()[3])], expected[3]) << connectivity;
        }
}

TEST_P(IgnoredVoxels, AreCutAsSuchAndCountNowhereInATableOfLabels) {
    const Backend& device = backend_of(GetParam());
    const Shape scan{1, 1, 5, 6, 7}, patch{1, 1, 6, 6, 8};  // the patch reaches over the scan's end: background there
    Labels labels;
    for (std::int64_t v = 0; v < scan.voxels(); ++v) labels.push_back(static_cast<std::int32_t>(random_() % 5) - 1);
    const KernelArray<std::int32_t> on_device(device, labels);
    const KernelArray<float> image(device, scan.voxels(), 1.0f), padding(device, 1, 0.0f);
    const PatchSource source{image.data(), on_device.data(), padding.data(), scan.voxels(), 0,
                             {42, 7, 1},   {0, 0, 0},        {5, 6, 7}};
    const KernelArray<PatchSource> sources(device, std::vector<PatchSource>{source});
    const KernelArray<float> cut_image(device, patch.voxels()), table(device, 4, -7.0f),
        weights(device, patch.voxels());
    const KernelArray<std::uint8_t> target(device, patch.voxels());
    const KernelArray<std::int32_t> cut(device, patch.voxels());
    device.cut_patches({}, sources.data(), {cut_image.data(), patch}, target.data(), cut.data());
    device.inverse_weight_table({}, {cut.data(), patch, Type::i32}, table.data(), 4, {});
    device.look_up_weights({}, {cut.data(), patch, Type::i32}, table.data(), 4, {weights.data(), patch});

    const std::vector<std::uint8_t> mask = target.host();
    const Labels of_patch = cut.host();
    double sizes[4] = {}, known = 0;
    for (std::int64_t v = 0; v < patch.voxels(); ++v) {
        const std::int64_t d = v / 48, h = v / 8 % 6, w = v % 8;
        const std::int32_t label = d < 5 && w < 7 ? labels[(d * 6 + h) * 7 + w] : 0;
        ASSERT_EQ(of_patch[v], label);
        ASSERT_EQ(mask[v], label < 0 ? kIgnored : label > 0);
        if (label >= 0) ++sizes[label], ++known;
    }
    const double present = 4.0 - static_cast<double>(std::count(sizes, sizes + 4, 0.0));
    const std::vector<float> found = table.host(), looked_up = weights.host();
    for (int l = 0; l < 4; ++l)
        EXPECT_EQ(found[l], sizes[l] == 0 ? 0.0f : inverse_weight(known, present, sizes[l], WeightClip{}));
    for (std::int64_t v = 0; v < patch.voxels(); ++v)
        ASSERT_EQ(looked_up[v], of_patch[v] < 0 ? 0.0f : found[of_patch[v]]);
}

INSTANTIATE_TEST_SUITE_P(On, IgnoredVoxels, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace iwseg
