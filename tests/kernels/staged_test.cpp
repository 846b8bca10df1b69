// A batch's last way on a device, from the copy to where a step reads it: the CPU's loops, and the kernel on the
// executor.
#include "kernels/device/staged.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "base/bytes.h"
#include "kernels/components/ignored.h"
#include "tests/support/backends.h"
#include "tests/support/kernel_tensor.h"

namespace iwseg {
namespace {

class Staged : public testing::TestWithParam<TestBackend> {
  protected:
    void SetUp() override { IWSEG_SKIP_WITHOUT_DEVICE(GetParam()); }
    void TearDown() override { simt::schedule_by(0); }
    const Backend& device() const { return backend_of(GetParam()); }

    /// What becomes of `from`, on the device; a part of memory as large as the copies' own.
    template <class To, class From>
    std::vector<To> take(const std::vector<From>& from, StagedForm form) const {
        const std::int64_t bytes = static_cast<std::int64_t>(from.size() * sizeof(From));
        std::vector<From> padded = from;
        padded.resize(static_cast<std::size_t>(aligned(bytes)) / sizeof(From));
        const KernelArray<From> staged(device(), padded);
        const KernelArray<To> taken(device(),
                                    aligned(static_cast<std::int64_t>(from.size() * sizeof(To))) / sizeof(To));
        const StagedPart part{staged.data(), taken.data(), bytes, form};
        device().take_staged({}, {&part, 1});
        std::vector<To> all = taken.host();
        all.resize(from.size());
        simt::check_sentinels();
        return all;
    }
    std::mt19937 random_{std::random_device{}()};
};

TEST_P(Staged, ElementsArriveInTheirForm) {
    for (const std::size_t count : {1, 7, 8, 9, 127, 128, 5000}) {
        simt::schedule_by(count);
        std::vector<float> plain(count), rounded(count);
        std::vector<Bf16> narrow(count);
        std::vector<std::int32_t> labels(count);
        std::vector<std::uint16_t> short_labels(count);
        std::vector<std::uint8_t> target(count);
        for (std::size_t i = 0; i < count; ++i) {
            plain[i] = std::normal_distribution<float>()(random_);
            store(narrow[i], plain[i]);
            rounded[i] = to_f32(narrow[i]);
            labels[i] = static_cast<std::int32_t>(random_() % 3 ? random_() % kShortIgnored : 0);
            if (random_() % 4 == 0) labels[i] = kIgnoredLabel;
            target[i] = static_cast<std::uint8_t>(random_());
        }
        labels[0] = kShortIgnored - 1;  // the largest that 16 bits hold
        cpu::narrow_labels({}, labels.data(), static_cast<std::int64_t>(count), short_labels.data());
        EXPECT_EQ((take<float>(plain, StagedForm::as_they_are)), plain);
        EXPECT_EQ((take<float>(narrow, StagedForm::bf16_to_f32)), rounded);
        EXPECT_EQ((take<std::int32_t>(short_labels, StagedForm::u16_to_label)), labels);
        EXPECT_EQ((take<std::int32_t>(labels, StagedForm::as_they_are)), labels);
        EXPECT_EQ((take<std::uint8_t>(target, StagedForm::as_they_are)), target);
    }
}

// Their bits, not their values: a NaN is not equal to itself.
TEST_P(Staged, WhatIsNotFiniteStaysSo) {
    const std::vector<Bf16> narrow{{0x7F80}, {0xFF80}, {0x7FC1}, {0x8000}, {0x0001}};
    const std::vector<float> wide = take<float>(narrow, StagedForm::bf16_to_f32);
    for (std::size_t i = 0; i < narrow.size(); ++i)
        EXPECT_EQ(std::bit_cast<std::uint32_t>(wide[i]), std::uint32_t{narrow[i].bits} << 16);
}

INSTANTIATE_TEST_SUITE_P(Backends, Staged, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& backend) { return name_of(backend.param); });

TEST(StagedParts, AreNoMoreThanOneLaunchTakes) {
    const std::vector<StagedPart> parts(kMostStagedParts + 1);
    EXPECT_THROW(simt::backend().take_staged({}, parts), std::invalid_argument);
}

}  // namespace
}  // namespace iwseg
