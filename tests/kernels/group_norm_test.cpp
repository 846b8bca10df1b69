// Group normalisation by its kernels: what the table of operations does not draw.
#include "kernels/norm/group_norm.h"

#include "tests/support/operation_forms.h"
#include "tests/support/operation_references.h"

namespace iwseg {
namespace {

class GroupNorm : public OperationTest {
  protected:
    /// Normalised, with scale 1 and shift 0.
    Array normalised(const Array& x, std::int64_t groups, Layout layout) const {
        const auto channels = static_cast<std::size_t>(x.shape.c);
        const KernelTensor in(device(), x, layout, GetParam().type), y(device(), x.shape, layout, GetParam().type);
        const auto mean = blank(static_cast<std::size_t>(x.shape.n) * channels), inverse = blank(mean.host().size());
        const auto ones = floats(std::vector<double>(channels, 1)), zeros = floats(std::vector<double>(channels, 0));
        const auto work = scratch(device().group_norm_scratch_bytes(x.shape, layout));
        const BatchNormStatistics statistics{mean.data(), inverse.data()};
        device().group_norm_statistics(stream(), in.view(), groups, 1e-5f, statistics, work.data());
        device().group_norm_apply({}, in.view(), statistics, {ones.data(), zeros.data()}, kNoActivation, y.view());
        return y.array();
    }
};

TEST_P(GroupNorm, OfMoreTablesThanALaunchHasCountersForIsAsTheReference) {
    const Array x = noise({2, 300, 1, 2, 3});  // 600 of plain channels, and 256 counters
    const std::vector<double> ones(300, 1), zeros(300, 0);
    // 3e-4: a group of six elements has deviations down to a tenth, and what f32 has rounded is divided by them.
    for (const Layout layout : {GetParam().layout, Layout::ncdhw})
        on_schedules([&] {
            for (const std::int64_t groups : {1, 75, 300})
                expect_close(normalised(x, groups, layout), reference::group_norm(x, groups, ones, zeros, 1),
                             std::max(tolerance(), 3e-4));
        });
}

TEST_P(GroupNorm, ANanStaysWithItsSampleAndGroup) {
    Array x = noise({2, 16, 2, 3, 4});
    x.values[0] = NAN;  // which is where a batch's sums have their pivot
    for (const Layout layout : {GetParam().layout, Layout::ncdhw}) {
        const Array y = normalised(x, 4, layout);
        reference::each(x.shape, [&](auto n, auto c, auto d, auto h, auto w) {
            ASSERT_EQ(std::isnan(y.at(n, c, d, h, w)), n == 0 && c < 4) << n << " " << c;
        });
    }
}

TEST_P(GroupNorm, GroupsThatDoNotDivideTheChannelsAreRefused) {
    for (const std::int64_t groups : {0, 3})
        EXPECT_THROW(normalised(noise({1, 8, 2, 2, 2}), groups, GetParam().layout), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(Forms, GroupNorm, testing::ValuesIn(kForms), testing::PrintToStringParamName());

}  // namespace
}  // namespace iwseg
