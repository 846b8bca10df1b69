#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/loss/lesion_key.h"
#include "tests/support/lesion_batches.h"

// Terms that look at single lesions, held to their definitions in double precision.
namespace iwseg {
namespace {

const std::vector<std::string> kTerms = {"cat", "mil", "2*mil + 3*cat", "dice + ce + 0.1*cat + 0.2*mil"};
const std::vector<std::string> kRegionTerms = {"blob(dice + ce)", "cc(dice + ce)", "blob(dl + 0.5*fl) + ce",
                                               "2*cc(tversky(0.2, 0.8) + wce + gdl)",
                                               "blob(focal_tversky) + cc(unified_focal + asl)"};

class LesionTerms : public LossKernel {
  protected:
    std::mt19937 random_{std::random_device{}()};

    /// 1e-6 of the value and 1e-5 of the largest gradient, as for other losses: f32 terms, whose sums are finer.
    void expect_as_defined(const std::string& text, const Batch& b, std::int64_t voxels) {
        const Loss loss = loss_from_name(text);
        const Result found = compute(loss, b);
        const double expected = reference::loss(loss, in_double(b));
        ASSERT_NEAR(found.value, expected, 1e-6 * std::fabs(expected) + 1e-12);
        expect_gradient_of_reference(loss, b, found, voxels);
    }

    void expect_nothing(const std::string& text, const Batch& b) {
        const Result found = compute(loss_from_name(text), b);
        EXPECT_EQ(found.value, 0.0) << text;
        EXPECT_EQ(largest(found.gradient), 0.0f) << text;
    }
};

}  // namespace

TEST_P(LesionTerms, ValuesAndGradientsAgreeWithDoublePrecision) {
    for (const std::string& text : kTerms)
        for (const int connectivity : kConnectivities)
            for (const double density : {0.02, 0.15, 0.6}) {
                SCOPED_TRACE(testing::Message()
                             << text << ", connectivity " << connectivity << ", density " << density);
                const Shape shape{3, 1, 3, 5, 11};
                const Batch b = lesion_batch(shape, random_lesions(shape, density, 0.1, random_), connectivity,
                                             density < 0.1 ? 8.0 : 2.0, random_);
                expect_as_defined(text, b, shape.elements());
                if (HasFatalFailure()) return;
            }
}

TEST_P(LesionTerms, RegionsAgreeWithDoublePrecision) {
    for (const std::string& text : kRegionTerms)
        for (const double density : {0.01, 0.1, 0.5}) {
            SCOPED_TRACE(testing::Message() << text << ", density " << density);
            const Shape shape{2, 1, 3, 5, 11};
            const Batch b =
                lesion_batch(shape, random_lesions(shape, density, 0.1, random_), density < 0.2 ? 26 : 6, 2.0, random_);
            expect_as_defined(text, b, shape.elements());
            if (HasFatalFailure()) return;
        }
}

TEST_P(LesionTerms, RegionsOfPatchesWithoutLesionsAreNoneOrTheWholePatch) {
    const Shape shape{2, 1, 3, 4, 8};
    Mask target(static_cast<std::size_t>(shape.elements()), 0);
    Batch b = lesion_batch(shape, target, 26, 2.0, random_);
    expect_nothing("blob(dice + ce)", b);
    expect_as_defined("cc(dice + ce)", b, shape.elements());
    EXPECT_NEAR(compute(loss_from_name("cc(ce)"), b).value, compute(loss_from_name("ce"), b).value, 1e-6);
    std::fill(b.target.begin(), b.target.end(), kIgnored);
    for (const char* text : {"blob(dice + ce)", "cc(dice + ce)"}) expect_nothing(text, b);
    target[3] = target[4] = target[50] = 1;  // the second patch has none
    b = lesion_batch(shape, target, 26, 2.0, random_);
    for (const char* text : {"blob(dice + ce)", "cc(dice + ce)"}) expect_as_defined(text, b, shape.elements());
    const Result found = compute(loss_from_name("blob(dice + ce)"), b);
    for (std::int64_t v = shape.voxels(); v < shape.elements(); ++v) ASSERT_EQ(found.gradient[v], 0.0f);
}

TEST_P(LesionTerms, OneLesionIsItsOwnPatch) {
    const Shape shape{1, 1, 4, 6, 16};
    Mask target(static_cast<std::size_t>(shape.elements()), 0);
    target[100] = target[101] = 1;
    const Batch b = lesion_batch(shape, target, 26, 2.0, random_);
    const Result whole = compute(loss_from_name("dice + ce"), b);
    for (const char* text : {"blob(dice + ce)", "cc(dice + ce)"}) {
        const Result found = compute(loss_from_name(text), b);
        EXPECT_NEAR(found.value, whole.value, 1e-6 * whole.value) << text;
        for (std::size_t v = 0; v < b.logit.size(); ++v)
            ASSERT_NEAR(found.gradient[v], whole.gradient[v], 1e-5 * largest(whole.gradient)) << text;
    }
}

TEST_P(LesionTerms, RegionsOfThousandsOfLesionsAreRight) {
    const Shape shape{1, 1, 16, 32, 32};
    Mask target(static_cast<std::size_t>(shape.elements()), 0);
    for (std::int64_t v = 0; v < shape.elements(); ++v) target[v] = v % 2 == 0 && v / 32 % 2 == 0 && v / 1024 % 2 == 0;
    Batch b = lesion_batch(shape, target, 26, 2.0, random_);
    ASSERT_EQ(b.stride, 2049);
    expect_as_defined("blob(ce)", b, 0);
    b.nearest_wanted = true;
    expect_as_defined("cc(dice + ce)", b, 3);
}

TEST_P(LesionTerms, RegionsShowWhatIsNoNumberAndWhatIsInfinite) {
    const Shape shape{2, 1, 2, 5, 9};
    for (const std::string& text : kRegionTerms)
        for (const float z : {-kInfinity, -100.0f, 100.0f, kInfinity}) {
            Batch b = lesion_batch(shape, random_lesions(shape, 0.2, 0.1, random_), 26, 1.0, random_);
            b.target[0] = 1, b.labels[0] = 1;
            std::fill(b.logit.begin(), b.logit.end(), z);
            const Result found = compute(loss_from_name(text), b);
            EXPECT_FALSE(std::isnan(found.value)) << text << " at " << z;
            for (const float g : found.gradient) ASSERT_TRUE(std::isfinite(g)) << text << " at " << z;
            b.logit[0] = kNan;
            EXPECT_TRUE(std::isnan(compute(loss_from_name(text), b).value)) << text;
        }
}

TEST_P(LesionTerms, AreRefusedWithoutLabels) {
    const Backend& device = backend_of(GetParam());
    const Shape shape{1, 1, 2, 3, 4};
    const KernelStream stream(device);
    const KernelArray<float> logit(device, 24);
    const KernelArray<std::uint8_t> target(device, 24, std::uint8_t{1});
    const KernelArray<std::int32_t> labels(device, 24, 1);
    const KernelArray<double> value(device, 1);
    for (const char* text : {"cat", "mil", "blob(ce)", "cc(ce)"}) {
        const LossProgram program(loss_from_name(text), device, shape, 2);
        const KernelArray<unsigned char> scratch = kernel_scratch(device, program.scratch_bytes());
        const LossInput known{{logit.data(), shape, Type::f32}, target.data(), labels.data(), nullptr, 2};
        LossInput unlabelled = known, unnumbered = known;
        unlabelled.labels = nullptr;
        unnumbered.stride = 0;
        for (const LossInput& bad : {unlabelled, unnumbered})
            EXPECT_THROW(program.value(stream, bad, scratch.data(), value.data()), std::invalid_argument) << text;
    }
}

TEST_P(LesionTerms, ABatchWithoutLesionsTeachesThemNothing) {
    for (const double ignored : {0.0, 0.3, 1.0}) {
        const Shape shape{2, 1, 3, 4, 8};
        const Batch b = lesion_batch(shape, random_lesions(shape, 0, ignored, random_), 26, 3.0, random_);
        for (const char* text : {"cat", "mil"}) expect_nothing(text, b);
    }
}

TEST_P(LesionTerms, APatchWithoutLesionsBesideOneWithSomeCountsItsFalseAlarmsInCatAlone) {
    const Shape shape{2, 1, 3, 4, 8};
    Mask target(static_cast<std::size_t>(shape.elements()), 0);
    for (std::int64_t v = 0; v < 5; ++v) target[v] = 1;
    const Batch b = lesion_batch(shape, target, 26, 2.0, random_);
    const Result cat = compute(loss_from_name("cat"), b), mil = compute(loss_from_name("mil"), b);
    for (std::int64_t v = shape.voxels(); v < shape.elements(); ++v) {
        ASSERT_GT(cat.gradient[v], 0.0f);
        ASSERT_EQ(mil.gradient[v], 0.0f);
    }
    expect_as_defined("cat", b, shape.elements());
}

TEST_P(LesionTerms, FullMasksAndOneVoxelLesionsAreRight) {
    const Shape shape{2, 1, 2, 5, 9};
    for (const std::string& text : kTerms) {
        SCOPED_TRACE(text);
        Mask target(static_cast<std::size_t>(shape.elements()), 1);
        expect_as_defined(text, lesion_batch(shape, target, 26, 2.0, random_), shape.elements());
        std::fill(target.begin(), target.end(), std::uint8_t{0});
        for (const std::int64_t v : {0, 44, 89, 91, 171}) target[static_cast<std::size_t>(v)] = 1;
        expect_as_defined(text, lesion_batch(shape, target, 26, 2.0, random_), shape.elements());
        if (HasFatalFailure()) return;
    }
}

TEST_P(LesionTerms, LesionsThatTouchAreApartByConnectivity) {
    const Shape shape{1, 1, 2, 4, 4};
    Mask target(32, 0);
    target[0] = target[5] = target[26] = 1;  // (0,0,0), (0,1,1) and (1,2,2): an edge, then a corner between them
    for (const auto& [connectivity, lesions] : {std::pair(6, 3), std::pair(18, 2), std::pair(26, 1)}) {
        Batch b = lesion_batch(shape, target, connectivity, 0.0, random_);
        for (const std::size_t v : {0, 5, 26}) b.logit[v] = -static_cast<float>(v) / 10;
        const Result found = compute(loss_from_name("mil"), b);
        int taught = 0;
        for (const float g : found.gradient) taught += g != 0;
        EXPECT_EQ(taught, lesions) << "connectivity " << connectivity;
    }
}

TEST_P(LesionTerms, ThousandsOfLesionsAreRight) {
    const Shape shape{2, 1, 16, 32, 32};
    Mask target(static_cast<std::size_t>(shape.elements()), 0);
    for (std::int64_t v = 0; v < shape.elements(); ++v) target[v] = v % 2 == 0 && v / 32 % 2 == 0 && v / 1024 % 2 == 0;
    const Batch b = lesion_batch(shape, target, 26, 2.0, random_);
    ASSERT_EQ(b.stride, 2049);
    for (const std::string& text : kTerms) {
        SCOPED_TRACE(text);
        expect_as_defined(text, b, 40);
        if (HasFatalFailure()) return;
    }
}

TEST_P(LesionTerms, TheFirstOfEqualVoxelsIsTheOneThatIsTaught) {
    const Shape shape{1, 1, 2, 3, 4};
    Batch b = lesion_batch(shape, Mask(24, 1), 26, 1.0, random_);
    std::fill(b.logit.begin(), b.logit.end(), -1.5f);
    b.logit[3] = -7;
    const Result found = compute(loss_from_name("mil"), b);
    for (std::size_t v = 0; v < 24; ++v) EXPECT_EQ(found.gradient[v] != 0, v == 0) << v;
    EXPECT_NEAR(found.gradient[0], -1 / (1 + std::exp(-1.5)), 1e-6);
    EXPECT_NEAR(found.value, std::log1p(std::exp(1.5)), 1e-6);
}

TEST_P(LesionTerms, SureLogitsGiveFiniteGradientsAndNoNumberShows) {
    const Shape shape{2, 1, 2, 5, 9};
    for (const std::string& text : kTerms)
        for (const float z : {-kInfinity, -100.0f, 100.0f, kInfinity}) {
            Batch b = lesion_batch(shape, random_lesions(shape, 0.2, 0.1, random_), 26, 1.0, random_);
            b.target[0] = 1, b.labels[0] = 1;
            std::fill(b.logit.begin(), b.logit.end(), z);
            const Result found = compute(loss_from_name(text), b);
            EXPECT_FALSE(std::isnan(found.value)) << text << " at " << z;
            for (const float g : found.gradient) ASSERT_TRUE(std::isfinite(g)) << text << " at " << z;
            b.logit[0] = kNan;
            EXPECT_TRUE(std::isnan(compute(loss_from_name(text), b).value)) << text;
        }
}

TEST_P(LesionTerms, Bf16LogitsGiveTheLossOfTheRoundedLogits) {
    const Shape shape{2, 1, 3, 5, 15};  // no packs, whose width would be the order of sums
    Batch b = lesion_batch(shape, random_lesions(shape, 0.1, 0.1, random_), 26, 2.0, random_);
    for (float& z : b.logit) z = round_to_bf16(z);
    for (const char* text : {"cat", "mil", "blob(dice + ce)", "cc(tversky)"}) {
        const Result exact = compute(loss_from_name(text), b), found = compute<Bf16>(loss_from_name(text), b);
        EXPECT_EQ(found.value, exact.value) << text;
        for (std::size_t v = 0; v < b.logit.size(); ++v)
            ASSERT_EQ(found.gradient[v], round_to_bf16(exact.gradient[v])) << text;
    }
}

TEST_P(LesionTerms, WarmUpsRiseFromNothingToTheWhole) {
    const Shape shape{2, 1, 3, 4, 8};
    Batch b = lesion_batch(shape, random_lesions(shape, 0.1, 0.1, random_), 26, 2.0, random_);
    b.target[0] = 1, b.labels[0] = 1;
    const LossOptions options{.steps_per_epoch = 10};
    for (const char* text : {"mil", "cat", "ce", "dice + ce", "blob(dice + ce)", "cc(ce)"}) {
        std::string warming;
        for (const LossTerm& term : loss_from_name(text).terms)
            warming += (warming.empty() ? "" : " + ") + term.name + " @warmup 2";
        const Loss loss = loss_from_name(warming, options);
        const Result whole = compute(loss_from_name(text), b);
        for (const float step : {-1.0f, 0.0f, 5.0f, 19.0f, 20.0f, 1000.0f}) {
            b.step = step;
            const Result found = compute(loss, b);
            const double share = step < 0 ? 1 : std::min(1.0, step / 20.0);
            EXPECT_NEAR(found.value, share * whole.value, 1e-6 * std::fabs(whole.value)) << text << " at " << step;
            for (std::size_t v = 0; v < b.logit.size(); ++v)
                ASSERT_NEAR(found.gradient[v], share * whole.gradient[v], 1e-6 * largest(whole.gradient)) << text;
        }
        b.step = 0;
        Batch lost = b;
        std::fill(lost.logit.begin(), lost.logit.end(), -kInfinity);
        EXPECT_EQ(compute(loss, lost).value, 0.0) << "nothing of infinity: " << text;
    }
    b.step = 10;
    expect_as_defined("dice + ce @warmup 0.4 + 0.1*cat @warmup 0.5 + mil @warmup 0.2", b, shape.elements());
}

TEST_P(LesionTerms, EachOfSeveralAddsWhatItWouldBeAlone) {
    // 1e-6: voxels' terms that share a pass are rounded alike, but may be multiplied and added in one where they are
    // not.
    const Loss loss = loss_from_name(
        "dice + 0.5*ce + iwdice + tversky(0.2, 0.8) @warmup 0.1 + 0.1*cat @warmup 0.2 + 0.2*mil + ici + blob(dice + "
        "tversky) "
        "+ 3*cc(ce)");
    const Shape shape{2, 1, 4, 6, 7};
    Batch b = lesion_batch(shape, random_lesions(shape, 0.2, 0.1, random_), 26, 2.0, random_);
    b.step = 5;
    const Result all = compute(loss, b);
    ASSERT_EQ(all.terms.size(), loss.terms.size() + 1);  // with the sentinel
    for (std::size_t i = 0; i < loss.terms.size(); ++i) {
        const double alone = compute({"", {loss.terms[i]}}, b).value;
        EXPECT_NEAR(all.terms[i], alone, 1e-6 * std::fabs(alone)) << loss.terms[i].name;
        EXPECT_NE(alone, 0) << loss.terms[i].name;
    }
}

TEST_P(LesionTerms, NoScheduleOfTheThreadsChangesABit) {
    if (GetParam() != TestBackend::simt) GTEST_SKIP() << "schedules are the executor's";
    const Shape shape{2, 1, 4, 8, 20};
    const Batch b = lesion_batch(shape, random_lesions(shape, 0.1, 0.05, random_), 18, 3.0, random_);
    expect_no_schedule_shows(loss_from_name("cat + mil + blob(dice + ce) + cc(gdl)"), b);
}

INSTANTIATE_TEST_SUITE_P(On, LesionTerms, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST(LesionTermsOnCpu, AllThreadCountsGiveTheSameBits) {
    std::mt19937 random(std::random_device{}());
    const Shape shape{2, 1, 20, 37, 41};
    const Batch b = lesion_batch(shape, random_lesions(shape, 0.03, 0.02, random), 26, 3.0, random);
    for (const std::string text : {"cat", "mil", "blob(dice + ce)", "cc(dice + ce) + cc(fl)"})
        expect_no_thread_count_shows(loss_from_name(text), b);
}

TEST(LesionKey, LargerLogitsAndEarlierVoxelsHaveLargerKeys) {
    const float infinity = std::numeric_limits<float>::infinity();
    const std::vector<float> rising = {-infinity, -3e38f, -1.0f, -1e-40f, 0.0f, 1e-40f, 2.5f, 3e38f, infinity, kNan};
    for (std::size_t i = 0; i < rising.size(); ++i) {
        const formulas::LesionKey key = formulas::lesion_key(rising[i], 12345);
        EXPECT_NE(key, 0u);
        EXPECT_EQ(formulas::voxel_of(key), 12345);
        if (i + 1 < rising.size()) {
            EXPECT_EQ(formulas::logit_of(key), rising[i]);
            EXPECT_LT(key, formulas::lesion_key(rising[i + 1], 99999));
        }
        EXPECT_LT(key, formulas::lesion_key(rising[i], 12344));
    }
    EXPECT_TRUE(std::isnan(formulas::logit_of(formulas::lesion_key(-kNan, 0))));
}

}  // namespace iwseg
