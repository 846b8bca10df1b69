// Resampling beside what nnU-Net 2.8.1 computes (resample_data_or_seg_to_shape, by scikit-image and SciPy, in double).
#include "nnunet/resample.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/thread_pool.h"

namespace iwseg::nnunet {
namespace {

using Spacing = std::array<double, 3>;

struct Case {
    Extent from, to;
    Spacing from_spacing, to_spacing;
    Resampling resampling;
    std::vector<float> expected;
};

const std::vector<Case>& cases() {
    static const std::vector<Case> all{
        {{2, 3, 5},
         {3, 4, 4},
         {1, 1, 1},
         {1, 1, 1},
         {3, 0, {}},
         {-14.435656f,  -9.25080381f, -9.29981962f, -14.698848f,   -12.520827f,  5.49983921f,  -5.44730712f,
          -13.661844f,  -5.32813633f, 9.76893858f,  -0.902478887f, -5.58102467f, 1.87381967f,  0.429408438f,
          1.00560973f,  3.62446559f,  -10.4952328f, -3.37607594f,  4.75618549f,  -8.09427253f, -9.52950637f,
          4.51188603f,  1.74601694f,  -8.00637113f, -4.20661272f,  3.06558602f,  0.575445794f, -1.79534883f,
          1.57446519f,  -6.65557118f, 2.10190735f,  5.98926334f,   -6.55480965f, 2.49865192f,  13.0f,
          -1.48969712f, -6.53818572f, 3.52393285f,  8.939341f,     -2.35089825f, -3.08508911f, -3.63776654f,
          2.05337047f,  1.99032701f,  1.27511072f,  -13.7405508f,  3.19820496f,  8.35406109f}},
        {{4, 3, 2},
         {3, 5, 2},
         {1, 1, 1},
         {1, 1, 1},
         {1, 0, {}},
         {-11.3333333f, -2.83333333f, -11.3333333f, -4.03333333f, -11.3333333f, -5.83333333f,
          -11.8333333f, -8.13333333f, -12.1666667f, -9.66666667f, 6.5f,         3.0f,
          3.1f,         -1.6f,        -2.0f,        -8.5f,        -1.4f,        -0.4f,
          -1.0f,        5.0f,         11.8333333f,  -3.66666667f, 5.03333333f,  -1.33333333f,
          -5.16666667f, 2.16666667f,  -3.46666667f, 5.16666667f,  -2.33333333f, 7.16666667f}},
        {{1, 4, 3},
         {2, 4, 5},
         {1, 1, 1},
         {1, 1, 1},
         {3, 0, false},
         {-15.0f,       -10.5784293f, -5.0f,        -8.46975183f,   -12.8380957f,   -4.04135198f, -9.16560089f,
          -15.0f,       -13.3829558f, -10.4216583f, 6.54221058f,    8.0f,           8.0f,         -1.79578424f,
          -9.40855524f, -11.1550177f, -4.98421428f, 2.0f,           -0.0639668508f, -3.71132697f, -15.0f,
          -10.5784293f, -5.0f,        -8.46975183f, -12.8380957f,   -4.04135198f,   -9.16560089f, -15.0f,
          -13.3829558f, -10.4216583f, 6.54221058f,  8.0f,           8.0f,           -1.79578424f, -9.40855524f,
          -11.1550177f, -4.98421428f, 2.0f,         -0.0639668508f, -3.71132697f}},
        {{3, 3, 4},
         {5, 2, 5},
         {5, 1, 1},
         {4, 1, 1},
         {3, 0, {}},
         {-15.0f,       -8.47697772f, -6.68939199f,  -6.39597031f, -1.23518801f, -9.2328101f,   -11.8932225f,
          -2.91874827f, 4.56156197f,  -0.354824496f, -15.0f,       -8.47697772f, -6.68939199f,  -6.39597031f,
          -1.23518801f, -9.2328101f,  -11.8932225f,  -2.91874827f, 4.56156197f,  -0.354824496f, 4.2478663f,
          1.43140416f,  5.37175289f,  3.66016563f,   -7.0f,        -7.0f,        3.66016563f,   5.37175289f,
          1.43140416f,  4.2478663f,   -0.354824496f, 4.56156197f,  -2.91874827f, -11.8932225f,  -9.2328101f,
          -1.23518801f, -6.39597031f, -6.68939199f,  -8.47697772f, -15.0f,       -0.354824496f, 4.56156197f,
          -2.91874827f, -11.8932225f, -9.2328101f,   -1.23518801f, -6.39597031f, -6.68939199f,  -8.47697772f,
          -15.0f}},
        {{3, 4, 2},
         {4, 3, 4},
         {1, 1, 2},
         {1, 1, 6},
         {1, 0, {}},
         {-14.5f,       -14.5f,       -5.0f,        -5.0f,        -13.5f,       -13.5f,       -8.0f,
          -8.0f,        3.33333333f,  3.33333333f,  4.83333333f,  4.83333333f,  -9.39583333f, -9.39583333f,
          -7.39583333f, -7.39583333f, -2.5625f,     -2.5625f,     -4.5625f,     -4.5625f,     3.95833333f,
          3.95833333f,  -2.04166667f, -2.04166667f, -4.39583333f, -4.39583333f, -1.70833333f, -1.70833333f,
          3.625f,       3.625f,       -1.5625f,     -1.5625f,     1.64583333f,  1.64583333f,  -1.72916667f,
          -1.72916667f, -1.16666667f, -1.16666667f, 10.1666667f,  10.1666667f,  3.0f,         3.0f,
          0.0f,         0.0f,         -2.83333333f, -2.83333333f, 5.66666667f,  5.66666667f}},
        {{2, 3, 3},
         {2, 5, 4},
         {1, 0.5, 0.5},
         {1, 0.4, 0.4},
         {3, 1, true},
         {-15.0f,       -6.93128023f, -5.28404583f,  -12.7495193f, -12.3069185f,  -11.169099f,  -11.0186837f,
          -11.9658507f, -4.30252295f, -11.8956585f,  -14.6637634f, -10.5792198f,  3.44844852f,  0.887023554f,
          -4.79960153f, -9.44601304f, 7.35117465f,   8.0f,         4.12461193f,   -8.93733448f, -10.0f,
          -2.03102639f, 1.79341899f,  -3.99228613f,  -3.01613149f, -0.3790072f,   0.396528604f, -1.25759871f,
          6.60524475f,  0.181639902f, -0.741061726f, 4.51301245f,  -0.247919098f, -4.02671609f, 0.964460002f,
          11.0696071f,  -8.47629919f, -7.54953277f,  2.65262491f,  13.0f}},
        {{2, 3, 3},
         {4, 5, 4},
         {0.2, 1, 1},
         {0.3, 1, 1},
         {3, 0, {}},
         {-15.0f,       -7.4071707f,  -5.97137718f, -13.5999821f, -13.2091977f, -12.2169839f,  -12.1272774f,
          -13.0057877f, -5.36183597f, -13.068551f,  -15.0f,       -12.0449091f, 3.80742302f,   1.36422371f,
          -5.3593811f,  -11.4383972f, 8.88826727f,  13.0f,        4.26756465f,  -11.2287253f,  -15.0f,
          -5.8743684f,  -3.757542f,   -10.8607144f, -10.303034f,  -8.84183678f, -8.55659228f,  -9.65624014f,
          -1.94987978f, -9.29076494f, -11.6608438f, -7.32404994f, 2.65119704f,  -0.172796963f, -3.55637924f,
          -5.02109909f, 3.93742408f,  7.2407548f,   3.80712623f,  -3.84835236f, -13.4882442f,  -3.08793822f,
          0.266915155f, -5.881091f,   -5.02001599f, -2.70626943f, -2.06556281f, -3.56720932f,  4.25260158f,
          -2.42325363f, -3.74398127f, 1.25784254f,  0.54933239f,  -2.96689557f, -0.278762292f, 6.64469313f,
          -5.06254862f, -3.48223148f, 2.9701106f,   9.56818152f,  -12.2932232f, -1.55513592f,  2.48075034f,
          -3.14182329f, -2.1138523f,  0.668877677f, 1.50512235f,  -0.21766174f, 7.66455778f,   1.35453245f,
          0.611048036f, 5.97870174f,  -0.60689359f, -4.50391624f, 1.52423957f,  13.0f,         -10.0133918f,
          -9.38089644f, 2.50967219f,  13.0f}},
    };
    return all;
}

std::vector<float> values(const Extent& extent) {
    std::vector<float> made;
    for (std::int64_t i = 0; i < extent[0] * extent[1] * extent[2]; ++i)
        made.push_back(static_cast<float>((i * i * 7 + i * 3) % 31) - 15);
    return made;
}

TEST(NnunetResampling, EqualsItsOwn) {
    for (const Case& one : cases()) {
        const AxisOrders orders = axis_orders(one.resampling, one.from_spacing, one.to_spacing);
        const std::vector<float> result = resample({}, values(one.from), one.from, one.to, orders);
        ASSERT_EQ(result.size(), one.expected.size());
        // f32 between axes: a few units in the last place of values up to 15; SciPy sees 12 voxels outside of an image,
        // not infinitely many, which changes 1e-6 of them.
        for (std::size_t i = 0; i < result.size(); ++i)
            EXPECT_NEAR(result[i], one.expected[i], 2e-5) << "case " << &one - cases().data() << ", voxel " << i;
    }
}

TEST(NnunetResampling, GivesTheSameBytesOnAnyThreads) {
    const Extent from{9, 11, 23}, to{12, 8, 31};
    const AxisOrders cubic{{3, 3, 3}, -1};
    const std::vector<float> alone = resample({}, values(from), from, to, cubic);
    for (const int threads : {2, 5}) {
        ThreadPool pool(threads);
        EXPECT_EQ(resample(pool.stream(), values(from), from, to, cubic), alone);
    }
}

TEST(NnunetResampling, OfSingleVoxelsAndOfWhatKeepsItsExtent) {
    const AxisOrders cubic{{3, 3, 3}, -1};
    EXPECT_EQ(resample({}, {2.5f}, {1, 1, 1}, {3, 1, 2}, cubic), std::vector<float>(6, 2.5f));
    const std::vector<float> image = values({2, 3, 4});
    EXPECT_EQ(resample({}, image, {2, 3, 4}, {2, 3, 4}, cubic), image);
}

TEST(NnunetResampling, TakesTheAxisOfLowestResolutionByItself) {
    const Resampling free{3, 0, {}};
    const auto separate = [&](const Resampling& r, const Spacing& from, const Spacing& to) {
        return axis_orders(r, from, to).separate;
    };
    EXPECT_EQ(separate(free, {1, 1, 3}, {1, 1, 1}), -1) << "three times is not more";
    EXPECT_EQ(separate(free, {1, 1, 3.1}, {1, 1, 1}), 2);
    EXPECT_EQ(separate(free, {1, 1, 1}, {4, 1, 1}), 0) << "as it shall become";
    EXPECT_EQ(separate(free, {4, 4, 1}, {1, 1, 1}), -1) << "two axes are of the lowest";
    EXPECT_EQ(separate({3, 0, false}, {9, 1, 1}, {9, 1, 1}), -1);
    EXPECT_EQ(separate({3, 0, true}, {1, 2, 1}, {1, 1, 1}), 1);
    EXPECT_EQ(separate({3, 0, true}, {1, 1, 1}, {1, 1, 1}), -1);
    EXPECT_EQ(axis_orders({3, 1, {}}, {5, 1, 1}, {5, 1, 1}).orders, (std::array<int, 3>{1, 3, 3}));
}

TEST(NnunetResampling, RoundsExtentsAsPython) {
    EXPECT_EQ(resampled_extent({5, 7, 10}, {1, 1, 1}, {2, 2, 0.3}), (Extent{2, 4, 33})) << "halves to the even";
}

}  // namespace
}  // namespace iwseg::nnunet
