#include "studies/polygon_fill.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "engine/safetensors.h"
#include "tests/support/golden.h"

namespace iwseg {
namespace {

using Points = std::vector<std::array<int, 2>>;

/// tests/golden/polygon_fill.json is made by tests/studies/polygon_fill_golden.py.
TEST(PolygonFill, EqualsOpenCvPixelByPixel) {
    const auto golden = nlohmann::json::parse(read_text(kept_golden("polygon_fill.json")));
    std::set<std::string> kinds;
    for (const auto& polygon : golden["cases"]) {
        const auto points = polygon["points"].get<Points>();
        const auto shape = polygon["shape"].get<std::array<std::int64_t, 2>>();
        Points expected;
        for (const auto& run : polygon["runs"])
            for (int x = run[1]; x <= run[2]; ++x) expected.push_back({x, run[0]});
        EXPECT_EQ(fill_polygon(points, shape), expected) << polygon.dump();
        kinds.insert(polygon["kind"].get<std::string>());
    }
    EXPECT_EQ(kinds.size(), 7u);
}

TEST(PolygonFill, EqualsTheOriginalOnARadiologistsContour) {
    const auto input = nlohmann::json::parse(read_text(golden_file("lidc_fill.input.json")));
    const auto tensors = read_safetensors(golden_file("lidc_fill.golden.safetensors"));
    const StoredTensor& mask = tensors.at("mask");
    const std::vector<std::int32_t> expected = mask.as_i32();
    const std::int64_t ni = mask.shape[0], nj = mask.shape[1], nk = mask.shape[2];
    std::vector<std::int32_t> found(expected.size());
    for (const auto& roi : input["nodule"]) {
        const double slice =
            (roi[0].get<double>() - input["z_origin"].get<double>()) / input["z_spacing"].get<double>();
        for (const auto& [x, y] : fill_polygon(roi[1].get<Points>(), {ni, nj}))
            found[static_cast<std::size_t>((x * nj + y) * nk + static_cast<std::int64_t>(slice))] = 1;
    }
    EXPECT_EQ(found, expected);
}

TEST(PolygonFill, FewPointsAreAPixelOrALine) {
    EXPECT_EQ(fill_polygon(Points{}, {5, 5}), Points{});
    EXPECT_EQ(fill_polygon(Points{{3, 1}}, {5, 5}), (Points{{3, 1}}));
    EXPECT_EQ(fill_polygon(Points{{5, 1}}, {5, 5}), Points{});
    EXPECT_EQ(fill_polygon(Points{{3, 1}, {3, 1}, {3, 1}}, {5, 5}), (Points{{3, 1}}));
    // Half-way from (0, 0) to (2, 1) the line is still on its left end's row.
    EXPECT_EQ(fill_polygon(Points{{0, 0}, {2, 1}}, {5, 5}), (Points{{0, 0}, {1, 0}, {2, 1}}));
    EXPECT_EQ(fill_polygon(Points{{2, 0}, {0, 1}}, {5, 5}), (Points{{2, 0}, {0, 1}, {1, 1}}));
}

TEST(PolygonFill, AHoleWithinACrossingContourStaysEmpty) {
    // A five-pointed star encloses its middle twice.
    const Points star{{30, 0}, {48, 55}, {1, 21}, {59, 21}, {12, 55}};
    const Points pixels = fill_polygon(star, {60, 60});
    EXPECT_FALSE(std::binary_search(pixels.begin(), pixels.end(), std::array{30, 32},
                                    [](auto& a, auto& b) { return std::pair(a[1], a[0]) < std::pair(b[1], b[0]); }));
    EXPECT_TRUE(std::count(pixels.begin(), pixels.end(), std::array{30, 10}));
}

TEST(PolygonFill, TheImagesBorderChangesNothingWithinIt) {
    const unsigned seed = std::random_device{}();
    std::cout << "seed " << seed << "\n";
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> any(-100, 160), side(1, 60);
    for (int round = 0; round < 300; ++round) {
        Points points(1 + random() % 9), shifted;
        for (auto& point : points) point = {any(random), any(random)};
        for (const auto& [x, y] : points) shifted.push_back({x + 100, y + 100});
        const int columns = side(random), rows = side(random);
        Points cropped;
        for (const auto& [x, y] : fill_polygon(shifted, {261, 261}))
            if (x >= 100 && x < 100 + columns && y >= 100 && y < 100 + rows) cropped.push_back({x - 100, y - 100});
        ASSERT_EQ(fill_polygon(points, {columns, rows}), cropped) << "round " << round;
    }
}

TEST(PolygonFill, FarPointsAreFilledOrRefused) {
    constexpr int far = 1 << 29;
    EXPECT_EQ(fill_polygon(Points{{-far, -far}, {far, -far}, {far, far}, {-far, far}}, {7, 5}).size(), 35u);
    EXPECT_EQ(fill_polygon(Points{{-far, -far}, {far, far}}, {7, 5}).size(), 5u);
    EXPECT_THROW(fill_polygon(Points{{0, 0}, {0, far + 1}}, {7, 5}), InputError);
    EXPECT_THROW(fill_polygon(Points{{std::numeric_limits<int>::min(), 0}}, {7, 5}), InputError);
}

}  // namespace
}  // namespace iwseg
