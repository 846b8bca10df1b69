// Patches cut on a device: the kernel against the definition of a place, and training from resident scans against
// training from the host's batches.
#include "kernels/patch/cut_patch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/extent.h"
#include "data/sampling.h"
#include "engine/initialisation.h"
#include "models/unet.h"
#include "tests/support/backends.h"
#include "tests/support/kernel_tensor.h"
#include "training/resident_scans.h"
#include "training/session.h"

namespace iwseg {
namespace {

class CutPatches : public testing::TestWithParam<TestBackend> {
  protected:
    CutPatches()
        : seed_(std::random_device{}()), random_(seed_), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {}
    void SetUp() override { IWSEG_SKIP_WITHOUT_DEVICE(GetParam()); }

    std::int64_t below(std::int64_t low, std::int64_t high) {
        return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
    }
    Extent sides(std::int64_t high) { return {below(1, high), below(1, high), below(1, high)}; }

    /// Noise, and labels in a fifth of the voxels.
    PreparedCase scan(const Extent& shape, std::int64_t channels) {
        PreparedCase made;
        made.geometry.shape = shape;
        made.channels = channels;
        const std::int64_t voxels = made.geometry.voxels();
        for (std::int64_t i = 0; i < channels * voxels; ++i)
            made.image.push_back(std::normal_distribution<float>()(random_));
        for (std::int64_t c = 0; c < channels; ++c) made.minimum.push_back(static_cast<float>(-10 - c));
        std::vector<std::uint8_t> mask(static_cast<std::size_t>(voxels));
        for (auto& voxel : mask) voxel = below(0, 4) == 0;
        mask.back() = 1;
        made.lesions = list_components(mask, shape, 6);
        return made;
    }

    /// The same with a quarter of its voxels of unknown truth, lesions among them.
    PreparedCase ignoring(PreparedCase made) {
        std::vector<std::uint8_t> mask(static_cast<std::size_t>(made.geometry.voxels()));
        for (const std::uint32_t voxel : made.lesions.voxels) mask[voxel] = 1;
        made.ignored.resize(mask.size());
        for (std::size_t v = 0; v + 1 < mask.size(); ++v)
            if (below(0, 4) == 0) made.ignored[v] = 1, mask[v] = 0;
        made.lesions = list_components(mask, made.geometry.shape, 6);
        return made;
    }

    /// Any flip and turn, wholly inside or hanging over any side, up to all of it.
    PatchPlace place(std::size_t scan, const Extent& shape, const Extent& patch) {
        PatchPlace p;
        p.scan = scan;
        std::shuffle(p.axis.begin(), p.axis.end(), random_);
        for (int a = 0; a < 3; ++a) {
            p.first[p.axis[a]] = below(-patch[a], shape[p.axis[a]]);
            p.reversed[a] = below(0, 1) == 1;
        }
        return p;
    }

    unsigned seed_;
    std::mt19937 random_;
    testing::ScopedTrace trace_;
};

TEST_P(CutPatches, EveryFlipTurnAndOverhangIsCutAsItsPlaceSays) {
    const Context context(backend_of(GetParam()), {});
    const Backend& device = context.backend();
    for (int round = 0; round < 20; ++round) {
        simt::schedule_by(static_cast<std::uint64_t>(round));
        // Odd rounds are thin on one side: several tiles along both others. The first two have more tiles than there
        // are blocks for them, which must not mix one with the next.
        const bool large = round < 2;
        Extent patch = sides(40);
        if (large)
            patch = {40, 3, 600};
        else if (round % 2)
            patch = {below(1, 3), below(1, 70), below(1, 70)}, std::shuffle(patch.begin(), patch.end(), random_);
        const std::int64_t n = large ? 1 : below(1, 3), channels = large ? 1 : below(1, 3),
                           voxels = patch[0] * patch[1] * patch[2];
        std::vector<PreparedCase> cases;
        for (int c = 0; c < 2; ++c) cases.push_back(scan(large ? Extent{38, 400, 5} : sides(40), channels));
        const ResidentScans scans(context, scans_to_train_on(cases));
        std::vector<PatchSource> sources;
        std::vector<float> image(static_cast<std::size_t>(n * channels * voxels));
        std::vector<std::uint8_t> target(static_cast<std::size_t>(n * voxels));
        std::vector<std::int32_t> labels(target.size());
        for (std::int64_t s = 0; s < n; ++s) {
            const auto number = static_cast<std::size_t>(below(0, 1));
            const PreparedCase& from = cases[number];
            const Extent& shape = from.geometry.shape;
            std::vector<std::int32_t> whole(static_cast<std::size_t>(from.geometry.voxels()));
            for (std::int64_t l = 0; l < from.lesions.size(); ++l)
                for (std::int64_t v = from.lesions.offsets[l]; v < from.lesions.offsets[l + 1]; ++v)
                    whole[from.lesions.voxels[v]] = static_cast<std::int32_t>(l + 1);
            PatchPlace p = place(number, shape, patch);
            if (large) p.axis = {0, 2, 1}, p.first = {-1, -round, 0};
            sources.push_back(scans.source(p, patch));
            for (std::int64_t x = 0; x < voxels; ++x) {
                const Extent at{x / (patch[1] * patch[2]), x / patch[2] % patch[1], x % patch[2]};
                Extent v{};
                bool inside = true;
                for (int a = 0; a < 3; ++a) {
                    const int axis = p.axis[a];
                    v[axis] = p.first[axis] + (p.reversed[a] ? patch[a] - 1 - at[a] : at[a]);
                    inside &= v[axis] >= 0 && v[axis] < shape[axis];
                }
                const std::int64_t voxel = (v[0] * shape[1] + v[1]) * shape[2] + v[2];
                for (std::int64_t c = 0; c < channels; ++c)
                    image[(s * channels + c) * voxels + x] =
                        inside ? from.image[c * from.geometry.voxels() + voxel] : from.minimum[c];
                labels[s * voxels + x] = inside ? whole[voxel] : 0;
                target[s * voxels + x] = labels[s * voxels + x] > 0;
            }
        }
        const KernelArray<PatchSource> places(device, sources);
        const View cut{nullptr, {n, channels, patch[0], patch[1], patch[2]}};
        for (const bool with_target : {true, false})
            for (const bool with_labels : {true, false}) {
                const KernelArray<float> images(device, static_cast<std::int64_t>(image.size()), NAN);
                const KernelArray<std::uint8_t> targets(device, n * voxels, 7);
                const KernelArray<std::int32_t> found(device, n * voxels, -7);
                View view = cut;
                view.data = images.data();
                device.cut_patches({}, places.data(), view, with_target ? targets.data() : nullptr,
                                   with_labels ? found.data() : nullptr);
                ASSERT_EQ(images.host(), image);
                ASSERT_EQ(targets.host(), with_target ? target : std::vector<std::uint8_t>(target.size(), 7));
                ASSERT_EQ(found.host(), with_labels ? labels : std::vector<std::int32_t>(labels.size(), -7));
            }
        ASSERT_NO_THROW(simt::check_sentinels());
    }
    simt::schedule_by(0);
}

TEST_P(CutPatches, ImagesWithChannelsInnermostAreRefused) {
    const Backend& device = backend_of(GetParam());
    EXPECT_THROW(
        device.cut_patches({}, nullptr, {nullptr, {1, 2, 4, 4, 4}, Type::f32, Layout::ndhwc}, nullptr, nullptr),
        std::invalid_argument);
    EXPECT_THROW(device.cut_patches({}, nullptr, {nullptr, {1, 2, 4, 4, 4}, Type::bf16}, nullptr, nullptr),
                 std::invalid_argument);
}

// The same image, target and weight of each voxel as in the batch, to the bit; labels may be other numbers.
TEST_P(CutPatches, ResidentScansGiveTheBatchesOfTheSampler) {
    Context context(backend_of(GetParam()), {});
    const Backend& device = context.backend();
    for (const ComponentMode mode : {ComponentMode::volume, ComponentMode::patch}) {
        SamplingOptions options;
        options.patch = {10, 10, 10};
        options.batch = 3;
        options.components = mode;
        options.connectivity = 6;
        options.augmentation = {true, true};
        options.seed = seed_;
        const PatchSampler sampler({scan({19, 25, 14}, 2), ignoring(scan({8, 10, 33}, 2))}, options);
        const ResidentScans scans(context, sampler.cutting().scans);
        EXPECT_EQ(scans.bytes(), ResidentScans::bytes_needed(sampler.cutting().scans));
        Batch batch;
        for (std::uint64_t step = 0; step < 6; ++step) {
            sampler.draw(step, batch);
            const std::vector<PatchPlace> places = sampler.places(step);
            std::vector<PatchSource> list;
            for (const PatchPlace& p : places) list.push_back(scans.source(p, options.patch));
            const Shape one{3, 1, 10, 10, 10};
            const std::int64_t stride =
                mode == ComponentMode::patch ? component_label_bound(one, options.connectivity) : scans.label_bound();
            const KernelArray<PatchSource> sources(device, list);
            const KernelArray<float> image(device, batch.shape.elements(), NAN), table(device, 3 * stride, NAN);
            const KernelArray<std::uint8_t> target(device, one.elements(), 7);
            const KernelArray<std::int32_t> labels(device, one.elements(), -7);
            const View found{labels.data(), one, Type::i32};
            device.cut_patches({}, sources.data(), {image.data(), batch.shape}, target.data(),
                               mode == ComponentMode::volume ? labels.data() : nullptr);
            const auto scratch =
                kernel_scratch(device, device.component_weights_scratch_bytes(one, options.connectivity));
            if (mode == ComponentMode::volume)
                device.inverse_weight_table({}, found, table.data(), stride, options.weight_clip);
            else
                device.component_weights({}, {target.data(), one, Type::u8}, options.connectivity, options.weight_clip,
                                         found, table.data(), scratch.data());
            EXPECT_EQ(image.host(), batch.image);
            EXPECT_EQ(target.host(), batch.target);
            const std::vector<std::int32_t> label = labels.host();
            const std::vector<float> weights = table.host();
            for (std::int64_t v = 0; v < one.elements(); ++v) {
                const std::int64_t n = v / one.voxels();
                if (batch.target[v] == kIgnored) continue;  // has neither label nor weight
                ASSERT_EQ(weights[n * stride + (batch.target[v] ? label[v] : 0)],
                          batch.weights[n * batch.stride + batch.labels[v]]);
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Backends, CutPatches, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& backend) { return name_of(backend.param); });

// ----------------------------------------------------------------------------------------------------------------------

/// Three steps of a narrow network; what they leave.
struct Trained {
    std::vector<double> losses;
    std::vector<float> values;

    bool operator==(const Trained&) const = default;
};

class ResidentTraining : public CutPatches {
  protected:
    std::unique_ptr<PatchSampler> sampler(ComponentMode mode) {
        SamplingOptions options;
        options.patch = {8, 8, 8};
        options.components = mode;
        options.connectivity = mode == ComponentMode::patch ? 26 : 6;
        options.augmentation = {true, true};
        options.seed = seed_;
        return std::make_unique<PatchSampler>(
            std::vector<PreparedCase>{ignoring(scan({12, 20, 17}, 1)), scan({9, 14, 30}, 1)}, options);
    }
    TrainingOptions training(const std::string& loss, const PatchSampler* sampler) {
        TrainingOptions options;
        options.network = unet({.widths = {2, 3, 4, 4}});
        options.loss = loss_from_name(loss);
        options.input = {2, 1, 8, 8, 8};
        if (sampler) options.cutting = sampler->cutting();
        return options;
    }
    /// Steps 1 and 2 of `mixed` take places, step 0 a batch.
    enum class Inputs { batches, places, mixed };
    Trained train(const std::string& loss, const PatchSampler& sampler, Inputs inputs) {
        Context context(backend_of(GetParam()), {.threads = 1});  // too small to share
        Parameters parameters;
        TrainingSession session(context, parameters, training(loss, inputs == Inputs::batches ? nullptr : &sampler));
        EXPECT_EQ(session.resident_bytes() > 0, inputs != Inputs::batches);
        initialise(context, parameters, seed_);
        Trained result;
        Batch batch;
        const auto bind = [&](std::uint64_t step) {
            sampler.draw(step, batch);
            if (inputs == Inputs::batches || (inputs == Inputs::mixed && step == 0))
                session.bind(batch, 1e-2f);
            else
                session.bind(sampler.places(step), 1e-2f);
        };
        bind(0);
        for (std::uint64_t step = 0; step < 3; ++step) {
            session.start();
            if (step < 2) bind(step + 1);  // while a device of its own is still at work
            result.losses.push_back(session.finish().loss);
        }
        parameters.download();
        result.values = parameters.values();
        return result;
    }
};

TEST_P(ResidentTraining, LeavesTheSameBytesAsTrainingFromBatches) {
    for (const auto& [loss, mode] :
         {std::pair{"iwdl", ComponentMode::volume}, {"iwbce", ComponentMode::patch}, {"fl", ComponentMode::patch}}) {
        SCOPED_TRACE(loss);
        const auto made = sampler(mode);
        const Trained expected = train(loss, *made, Inputs::batches);
        EXPECT_NE(expected.losses[0], expected.losses[1]);
        EXPECT_TRUE(train(loss, *made, Inputs::places) == expected);
        if (mode == ComponentMode::volume) {
            EXPECT_TRUE(train(loss, *made, Inputs::mixed) == expected);
        }
        EXPECT_NO_THROW(simt::check_sentinels());
    }
}

TEST_P(ResidentTraining, BatchesAreTakenWhereScansDoNotFit) {
    const auto made = sampler(ComponentMode::volume);
    Context context(backend_of(GetParam()), {.threads = 1});  // too small to share
    Parameters parameters;
    TrainingOptions options = training("iwdl", made.get());
    options.memory_for_scans = ResidentScans::bytes_needed(made->cutting().scans) - 1;
    TrainingSession session(context, parameters, options);
    initialise(context, parameters, seed_);
    EXPECT_EQ(session.resident_bytes(), 0);
    EXPECT_THROW(session.bind(made->places(0), 1e-2f), std::invalid_argument);
    Batch batch;
    made->draw(0, batch);
    EXPECT_EQ(session.step(batch, 1e-2f), train("iwdl", *made, Inputs::batches).losses[0]);
    options.memory_for_scans.reset();
    options.input.d = 16;
    Parameters others;
    EXPECT_THROW(TrainingSession(context, others, options), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(Backends, ResidentTraining, testing::Values(TestBackend::simt, TestBackend::cuda),
                         [](const auto& backend) { return name_of(backend.param); });

}  // namespace
}  // namespace iwseg
