#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/golden.h"
#include "tests/support/lesion_batches.h"

// The term that compares each lesion with the detections that reach it (ici): by its definition in double precision,
// by its authors' code, and in cases small enough to be computed by hand.
namespace iwseg {
namespace {

constexpr double kSmooth = 1e-5;
const Loss kIci = loss_from_name("ici");

class InstanceTerm : public LossKernel {
  protected:
    std::mt19937 random_{std::random_device{}()};

    /// Lesions by chance. Logits have a mean, by which detections are few and small, or nearly one.
    Batch batch(const Shape& shape, double density, double mean, double spread, int connectivity = 26) {
        Batch b = lesion_batch(shape, random_lesions(shape, density, 0.1, random_), connectivity, spread, random_);
        for (float& z : b.logit) z += static_cast<float>(mean);
        b.nearest_wanted = false;
        b.connectivity = connectivity;
        return b;
    }

    /// 1e-6 of the value and 1e-5 of the largest gradient, as for other losses: f32 terms, whose sums are finer.
    void expect_as_defined(const Loss& loss, const Batch& b, std::int64_t voxels) {
        const Result found = compute(loss, b);
        const double expected = reference::loss(loss, in_double(b));
        ASSERT_NEAR(found.value, expected, 1e-6 * std::fabs(expected) + 1e-12);
        expect_gradient_of_reference(loss, b, found, voxels);
    }

    /// One row of voxels: a letter is a voxel of the lesion of that name, '.' background, '?' ignored.
    Batch row(const std::string& truth, const std::vector<float>& logit) {
        Batch b{{1, 1, 1, 1, static_cast<std::int64_t>(truth.size())}, logit, {}, {}, {}, 27};
        for (const char voxel : truth) {
            b.target.push_back(voxel == '?' ? kIgnored : static_cast<std::uint8_t>(voxel != '.'));
            b.labels.push_back(b.target.back() == 1 ? voxel - 'a' + 1 : 0);
        }
        b.table.assign(27, 1.0f);
        return b;
    }
};

double p_of(float z) {
    return reference::sigmoid(z);
}
double dice_loss(double agreement, double found, double size) {
    return 1 - (2 * agreement + kSmooth) / (found + size + kSmooth);
}

}  // namespace

TEST_P(InstanceTerm, ValuesAndGradientsAgreeWithDoublePrecision) {
    for (const int connectivity : kConnectivities)
        for (const double density : {0.02, 0.1, 0.5})
            for (const double mean : {-3.0, -1.0, 1.0}) {
                SCOPED_TRACE(testing::Message()
                             << "connectivity " << connectivity << ", density " << density << ", mean " << mean);
                const Shape shape{3, 1, 3, 5, 11};
                const Batch b = batch(shape, density, mean, 2.0, connectivity);
                for (const char* text : {"ici", "dice + ce + 0.5*ici + 0.2*cat"})
                    expect_as_defined(loss_from_name(text, {.connectivity = connectivity}), b, shape.elements());
                if (HasFatalFailure()) return;
            }
}

TEST_P(InstanceTerm, ALesionIsComparedWithAllDetectionsThatReachIt) {
    // Two detections reach lesion a, of which the first reaches b as well.
    const Batch b = row("b.aaa..", {1, 2, 3, -1, 0.5f, 1.5f, -4});
    const double a =
        dice_loss(p_of(3) + p_of(0.5f), p_of(3) + p_of(0.5f) + p_of(2) * p_of(2) + p_of(1.5f) * p_of(1.5f), 3);
    const double other = dice_loss(p_of(1), p_of(1) + p_of(2) * p_of(2), 1);
    const Result found = compute(kIci, b);
    EXPECT_NEAR(found.value, (a + other) / 2, 1e-6);
    for (const std::size_t v : {0, 2, 4}) EXPECT_LT(found.gradient[v], 0.0f) << v;
    for (const std::size_t v : {1, 5}) EXPECT_GT(found.gradient[v], 0.0f) << v;
    for (const std::size_t v : {3, 6}) EXPECT_EQ(found.gradient[v], 0.0f) << v;
    expect_as_defined(kIci, b, 7);
}

TEST_P(InstanceTerm, MissedLesionsAndFalseDetectionsHaveNoGradient) {
    const Batch b = row("aa...b", {-1, -2, -3, 4, -1, -0.1f});
    const Result found = compute(kIci, b);
    EXPECT_NEAR(found.value, (dice_loss(0, 0, 2) + dice_loss(0, 0, 1)) / 2, 1e-9);
    EXPECT_EQ(largest(found.gradient), 0.0f);
}

TEST_P(InstanceTerm, IgnoredVoxelsArePartOfNoDetection) {
    // What is ignored cuts the detection in two, of which one reaches the lesion.
    Batch b = row("a.?..", {1, 2, 3, 4, 5});
    const Result found = compute(kIci, b);
    EXPECT_NEAR(found.value, dice_loss(p_of(1), p_of(1) + p_of(2) * p_of(2), 1), 1e-6);
    for (const std::size_t v : {2, 3, 4}) EXPECT_EQ(found.gradient[v], 0.0f) << v;
    for (const float other : {-50.0f, kInfinity, kNan}) {
        b.logit[2] = other;
        const Result again = compute(kIci, b);
        EXPECT_EQ(again.value, found.value);
        EXPECT_TRUE(again.gradient == found.gradient);
    }
}

TEST_P(InstanceTerm, AProbabilityOfOneHalfIsFound) {
    EXPECT_NEAR(compute(kIci, row("a.", {0, -1})).value, dice_loss(0.5, 0.5, 1), 1e-6);
    EXPECT_NEAR(compute(kIci, row("a.", {-0.0f, -1})).value, dice_loss(0.5, 0.5, 1), 1e-6);
    EXPECT_NEAR(compute(kIci, row("a.", {-1e-6f, -1})).value, dice_loss(0, 0, 1), 1e-6);
}

TEST_P(InstanceTerm, ASampleWithoutLesionsIsComparedAsAWhole) {
    const Shape shape{2, 1, 3, 4, 8};
    Mask target(static_cast<std::size_t>(shape.elements()), 0);
    expect_as_defined(kIci, lesion_batch(shape, target, 26, 2.0, random_), shape.elements());
    target[3] = target[4] = target[50] = 1;  // the second has none
    target[100] = kIgnored;
    Batch b = lesion_batch(shape, target, 26, 2.0, random_);
    expect_as_defined(kIci, b, shape.elements());
    for (float& z : b.logit) z -= 16;  // sums of p near the smoothing, where the gradient is largest
    expect_as_defined(kIci, b, shape.elements());
    std::fill(target.begin() + shape.voxels(), target.end(), kIgnored);  // and now it is not there
    b = lesion_batch(shape, target, 26, 2.0, random_);
    expect_as_defined(kIci, b, shape.elements());
    std::fill(b.target.begin(), b.target.end(), kIgnored);
    const Result nothing = compute(kIci, b);
    EXPECT_EQ(nothing.value, 0.0);
    EXPECT_EQ(largest(nothing.gradient), 0.0f);
}

TEST_P(InstanceTerm, FullMasksAndOneVoxelLesionsAreRight) {
    const Shape shape{2, 1, 2, 5, 9};
    Mask target(static_cast<std::size_t>(shape.elements()), 1);
    expect_as_defined(kIci, lesion_batch(shape, target, 26, 2.0, random_), shape.elements());
    std::fill(target.begin(), target.end(), std::uint8_t{0});
    for (const std::int64_t v : {0, 44, 89, 91, 171}) target[static_cast<std::size_t>(v)] = 1;
    Batch b = lesion_batch(shape, target, 26, 2.0, random_);
    expect_as_defined(kIci, b, shape.elements());
    for (const float z : {-2.0f, 2.0f}) {  // nothing is found, and everything is one detection
        std::fill(b.logit.begin(), b.logit.end(), z);
        expect_as_defined(kIci, b, shape.elements());
    }
}

TEST_P(InstanceTerm, ThousandsOfLesionsAndDetectionsAreRight) {
    const Shape shape{1, 1, 16, 32, 32};
    Mask target(static_cast<std::size_t>(shape.elements()), 0);
    for (std::int64_t v = 0; v < shape.elements(); ++v) target[v] = v % 2 == 0 && v / 32 % 2 == 0 && v / 1024 % 2 == 0;
    Batch b = lesion_batch(shape, target, 26, 2.0, random_);
    ASSERT_EQ(b.stride, 2049);
    expect_as_defined(kIci, b, 3);  // one detection reaches nearly all of them
    for (std::int64_t v = 0; v < shape.elements(); ++v) b.logit[v] = target[v] ? b.logit[v] + 1 : -1;
    expect_as_defined(kIci, b, 3);  // each has its own
    std::fill(b.target.begin(), b.target.end(), std::uint8_t{1});
    for (std::int64_t v = 0; v < shape.elements(); ++v) b.labels[v] = static_cast<std::int32_t>(1 + v / 8);
    expect_as_defined(kIci, b, 3);
}

TEST_P(InstanceTerm, AsManyPairsAsVoxelsAreKept) {
    // Labels may be given as one likes: each voxel a lesion, all of them within one detection.
    const Shape shape{2, 1, 1, 4, 16};
    Batch b = lesion_batch(shape, Mask(128, 1), 26, 2.0, random_);
    for (std::size_t v = 0; v < 128; ++v) b.labels[v] = static_cast<std::int32_t>(1 + v % 64);
    b.stride = 65;
    b.table.assign(130, 1.0f);
    for (float& z : b.logit) z = std::fabs(z);
    expect_as_defined(kIci, b, shape.elements());
}

TEST_P(InstanceTerm, SureLogitsGiveFiniteGradientsAndNoNumberShows) {
    const Shape shape{2, 1, 2, 5, 9};
    for (const float z : {-kInfinity, -100.0f, 100.0f, kInfinity}) {
        Batch b = batch(shape, 0.2, 0, 1.0);
        b.target[0] = 1, b.labels[0] = 1;
        std::fill(b.logit.begin(), b.logit.end(), z);
        const Result found = compute(kIci, b);
        EXPECT_TRUE(std::isfinite(found.value)) << z;
        for (const float g : found.gradient) ASSERT_TRUE(std::isfinite(g)) << z;
        for (const std::size_t v : {std::size_t{0}, b.logit.size() - 1}) {
            Batch none = b;
            none.target[v] = 0;
            none.logit[v] = kNan;
            EXPECT_TRUE(std::isnan(compute(kIci, none).value)) << z;
        }
    }
}

TEST_P(InstanceTerm, Bf16LogitsGiveTheLossOfTheRoundedLogits) {
    const Shape shape{2, 1, 3, 5, 15};
    Batch b = batch(shape, 0.1, -1, 2.0);
    for (float& z : b.logit) z = round_to_bf16(z);
    const Result exact = compute(kIci, b), found = compute<Bf16>(kIci, b);
    EXPECT_EQ(found.value, exact.value);
    for (std::size_t v = 0; v < b.logit.size(); ++v) ASSERT_EQ(found.gradient[v], round_to_bf16(exact.gradient[v]));
}

TEST_P(InstanceTerm, WarmsUpFromNothingToTheWhole) {
    Batch b = batch({2, 1, 3, 4, 8}, 0.1, -1, 2.0);
    b.target[0] = 1, b.labels[0] = 1, b.logit[0] = 1;
    const Result whole = compute(kIci, b);
    const Loss warming = loss_from_name("ici @warmup 2", {.steps_per_epoch = 10});
    for (const float step : {-1.0f, 0.0f, 5.0f, 20.0f}) {
        b.step = step;
        const Result found = compute(warming, b);
        const double share = step < 0 ? 1 : std::min(1.0, step / 20.0);
        EXPECT_NEAR(found.value, share * whole.value, 1e-9);
        for (std::size_t v = 0; v < b.logit.size(); ++v)
            ASSERT_NEAR(found.gradient[v], share * whole.gradient[v], 1e-6 * largest(whole.gradient));
    }
}

TEST_P(InstanceTerm, IsRefusedWithoutLabelsAndOfUnknownConnectivity) {
    const Backend& device = backend_of(GetParam());
    const Shape shape{1, 1, 2, 3, 4};
    const KernelStream stream(device);
    const KernelArray<float> logit(device, 24);
    const KernelArray<std::uint8_t> target(device, 24, std::uint8_t{1});
    const KernelArray<std::int32_t> labels(device, 24, 1);
    const KernelArray<double> value(device, 1);
    const auto refuses = [&](const Loss& loss, const std::int32_t* given, std::int64_t stride) {
        const LossProgram program(loss, device, shape, 2);
        const KernelArray<unsigned char> scratch = kernel_scratch(device, program.scratch_bytes());
        const LossInput input{{logit.data(), shape, Type::f32}, target.data(), given, nullptr, stride};
        EXPECT_THROW(program.value(stream, input, scratch.data(), value.data()), std::invalid_argument);
    };
    refuses(kIci, nullptr, 2);
    refuses(kIci, labels.data(), 0);
    refuses(loss_from_name("ici", {.connectivity = 8}), labels.data(), 2);
}

TEST_P(InstanceTerm, TheAuthorsCodeGivesTheSame) {
    std::ifstream file(kept_golden("instance_term.json"));
    const auto golden = nlohmann::json::parse(file);
    const auto sides = golden.at("shape").get<std::vector<std::int64_t>>();
    const Shape shape{sides[0], sides[1], sides[2], sides[3], sides[4]};
    Mask target(static_cast<std::size_t>(shape.elements()), 0);
    for (const std::size_t voxel : golden.at("lesion")) target[voxel] = 1;
    Batch b = lesion_batch(shape, target, 26, 1.0, random_);
    b.logit = golden.at("logits").get<std::vector<float>>();
    const Result found = compute(kIci, b);
    EXPECT_NEAR(found.value, golden.at("value"), 1e-5 * golden.at("value").get<double>());
    const auto gradient = golden.at("gradient").get<std::vector<float>>();
    ASSERT_EQ(gradient.size(), found.gradient.size());
    for (std::size_t v = 0; v < gradient.size(); ++v)
        ASSERT_NEAR(found.gradient[v], gradient[v], 1e-4 * largest(gradient)) << "voxel " << v;
}

TEST_P(InstanceTerm, NoScheduleOfTheThreadsChangesABit) {
    if (GetParam() != TestBackend::simt) GTEST_SKIP() << "schedules are the executor's";
    const Batch b = batch({2, 1, 4, 8, 20}, 0.1, -1, 3.0);
    expect_no_schedule_shows(kIci, b);
}

INSTANTIATE_TEST_SUITE_P(On, InstanceTerm, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST(InstanceTermOnCpu, AllThreadCountsGiveTheSameBits) {
    std::mt19937 random(std::random_device{}());
    const Shape shape{2, 1, 20, 37, 41};
    Batch b = lesion_batch(shape, random_lesions(shape, 0.02, 0.05, random), 26, 2.0, random);
    for (float& z : b.logit) z -= 3;
    std::fill(b.target.begin() + shape.voxels(), b.target.end(), std::uint8_t{0});  // one sample of each kind
    expect_no_thread_count_shows(kIci, b);
}

}  // namespace iwseg
