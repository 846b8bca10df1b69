// The model of the tile instructions, against their definitions: what kernels written in them are run on.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/convolution/amx/tile_check.h"
#include "tests/support/tile_model.h"

namespace iwseg {
namespace {

class Tiles : public testing::Test {
  protected:
    Tiles()
        : seed_(std::random_device{}()), random_(seed_), trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)) {}
    ~Tiles() override { TileModel::release(); }

    static Bf16 rounded(float value) {
        Bf16 to{};
        store(to, value);
        return to;
    }
    std::vector<Bf16> noise(std::size_t count) {
        std::vector<Bf16> values(count);
        for (Bf16& value : values) value = rounded(static_cast<float>(std::normal_distribution<>()(random_)));
        return values;
    }
    /// sums (16, 16) of a (16, 32) by b (16, 16, 2), from `before` on.
    static std::vector<float> product(const std::vector<Bf16>& a, const std::vector<Bf16>& b, float before = 0) {
        std::vector<float> sums(256, before);
        TileModel::configure(cpu::full_tiles());
        TileModel::load<0>(sums.data(), 64);
        TileModel::load<1>(a.data(), 64);
        TileModel::load<2>(b.data(), 64);
        TileModel::multiply<0, 1, 2>();
        TileModel::store<0>(sums.data(), 64);
        return sums;
    }
    static std::vector<Bf16> zeros() { return std::vector<Bf16>(512); }

    unsigned seed_;
    std::mt19937 random_;
    testing::ScopedTrace trace_;
};

TEST_F(Tiles, MultiplyRowsOfOneWithPairsOfRowsOfTheOther) {
    const std::vector<Bf16> a = noise(512), b = noise(512);
    const std::vector<float> sums = product(a, b, 0.5f);
    for (std::size_t m = 0; m < 16; ++m)
        for (std::size_t n = 0; n < 16; ++n) {
            double expected = 0.5, size = 0.5;
            for (std::size_t k = 0; k < 32; ++k) {
                const double one = static_cast<double>(to_f32(a[m * 32 + k])) * to_f32(b[(k / 2 * 16 + n) * 2 + k % 2]);
                expected += one, size += std::abs(one);
            }
            // 18 additions of f32, each to half a unit in the last place.
            EXPECT_NEAR(sums[m * 16 + n], expected, size * 18 * 0x1p-24) << m << ", " << n;
        }
}

TEST_F(Tiles, AddEvenAndOddElementsEachByThemselves) {
    // In the order of k, 2^24 + 1 - 2^24 + 1 would lose both ones, which are at odd places.
    auto a = zeros(), b = zeros();
    const float of_a[4] = {0x1p24f, 1, -0x1p24f, 1};
    for (std::size_t k = 0; k < 4; ++k) a[k] = rounded(of_a[k]), b[k / 2 * 32 + k % 2] = rounded(1);
    EXPECT_EQ(product(a, b)[0], 2.0f);
    // What lies in the sum is added last: 2^24 and then 1 + 1 at once.
    a = zeros(), b = zeros();
    a[0] = a[1] = b[0] = b[1] = rounded(1);
    EXPECT_EQ(product(a, b, 0x1p24f)[0], 0x1p24f + 2);
}

TEST_F(Tiles, RoundToTheNearestEven) {
    auto a = zeros(), b = zeros();
    a[0] = b[0] = rounded(1);
    EXPECT_EQ(product(a, b, 0x1p24f)[0], 0x1p24f);          // a tie, down
    EXPECT_EQ(product(a, b, 0x1p24f + 2)[0], 0x1p24f + 4);  // a tie, up
}

TEST_F(Tiles, TakeWhatIsBelowTheLeastNormalElementAsZero) {
    auto a = zeros(), b = zeros();
    a[0] = Bf16{0x007F}, b[0] = rounded(0x1p100f);  // an operand
    EXPECT_EQ(product(a, b)[0], 0.0f);
    a[0] = b[0] = rounded(0x1p-64f);  // a product
    EXPECT_EQ(product(a, b)[0], 0.0f);
    a[0] = rounded(0x1p-62f);
    EXPECT_EQ(product(a, b)[0], 0x1p-126f);
    EXPECT_EQ(product(zeros(), zeros(), 0x1p-130f)[0], 0.0f);  // a sum
}

TEST_F(Tiles, KeepInfinityAndNan) {
    auto a = zeros(), b = zeros();
    a[0] = rounded(INFINITY), b[0] = rounded(2);
    const std::vector<float> sums = product(a, b);
    EXPECT_EQ(sums[0], INFINITY);
    EXPECT_TRUE(std::isnan(sums[1])) << "infinity times zero";
    EXPECT_EQ(sums[16], 0.0f);
}

TEST_F(Tiles, OfFewerRowsAndBytesAreZeroBeyondThem) {
    cpu::TileConfiguration small = cpu::full_tiles();
    small.rows[1] = 3, small.row_bytes[1] = 8;
    TileModel::configure(small);
    const std::vector<Bf16> all(512, rounded(7));
    TileModel::load<1>(all.data(), 32);
    std::vector<Bf16> out(512, rounded(1));
    TileModel::store<1>(out.data(), 64);
    EXPECT_EQ(to_f32(out[2 * 32 + 3]), 7);
    EXPECT_EQ(to_f32(out[2 * 32 + 4]), 1) << "beyond the bytes of a row";
    EXPECT_EQ(to_f32(out[3 * 32]), 1) << "beyond the rows";
    EXPECT_THROW((TileModel::multiply<0, 1, 2>()), std::logic_error) << "3 rows to 16";
    small = cpu::full_tiles();
    small.rows[2] = 8;
    TileModel::configure(small);
    EXPECT_THROW((TileModel::multiply<0, 1, 2>()), std::logic_error) << "32 columns by 16 rows";
    small.row_bytes[1] = 32;
    TileModel::configure(small);
    EXPECT_NO_THROW((TileModel::multiply<0, 1, 2>()));
}

TEST_F(Tiles, FaultWhereTheProcessorWould) {
    TileModel::release();
    EXPECT_THROW(TileModel::zero<0>(), std::logic_error);
    const auto refused = [](auto&& change) {
        cpu::TileConfiguration wrong = cpu::full_tiles();
        change(wrong);
        EXPECT_THROW(TileModel::configure(wrong), std::logic_error);
    };
    refused([](auto& c) { c.palette = 2; });
    refused([](auto& c) { c.start_row = 1; });
    refused([](auto& c) { c.reserved[13] = 1; });
    refused([](auto& c) { c.rows[0] = 17; });
    refused([](auto& c) { c.row_bytes[7] = 65; });
    refused([](auto& c) { c.rows[8] = 16, c.row_bytes[8] = 64; });
    refused([](auto& c) { c.rows[3] = 0; });
    cpu::TileConfiguration seven = cpu::full_tiles();
    seven.rows[7] = 0, seven.row_bytes[7] = 0;
    TileModel::configure(seven);
    EXPECT_NO_THROW(TileModel::zero<6>());
    EXPECT_THROW(TileModel::zero<7>(), std::logic_error);
}

TEST_F(Tiles, AreMultipliedInRegistersAsOftenAsSaid) {
    const cpu::TilesInUse tiles(TileModel::products());
    const std::vector<Bf16> operand(512, rounded(0.5f));
    std::vector<float> sums(1024);
    const auto before = TileModel::counts().products;
    EXPECT_EQ(TileModel::products().in_registers(3, operand.data(), sums.data()), 2.0 * 32 * 1024 * 3);
    EXPECT_EQ(TileModel::counts().products, before + 12);
    EXPECT_EQ(sums, std::vector<float>(1024, 3 * 32 * 0.25f));
}

TEST_F(Tiles, AreConfiguredWhileInUse) {
    const auto before = TileModel::counts();
    {
        const cpu::TilesInUse tiles(TileModel::products());
        EXPECT_NO_THROW(TileModel::zero<7>());
    }
    EXPECT_THROW(TileModel::zero<7>(), std::logic_error);
    EXPECT_EQ(TileModel::counts().configurations, before.configurations + 1);
    EXPECT_EQ(TileModel::counts().releases, before.releases + 1);
}

/// Its product has the operands the other way round.
struct Swapped : TileModel {
    template <int kSum, int kA, int kB>
    static void multiply() {
        TileModel::multiply<kSum, kB, kA>();
    }
};

/// It forgets what sums there were.
struct Forgetful : TileModel {
    template <int kSum, int kA, int kB>
    static void multiply() {
        zero<kSum>();
        TileModel::multiply<kSum, kA, kB>();
    }
};

/// It loads a tile from one element further on.
struct Late : TileModel {
    template <int kTile>
    static void load(const void* from, std::int64_t) {
        TileModel::load<kTile>(static_cast<const char*>(from) + 2, 64);
    }
};

TEST_F(Tiles, AreOnlyUsedWhereTheirProductsAreRight) {
    EXPECT_TRUE(cpu::tiles_are_right(TileModel::products()));
    EXPECT_FALSE(cpu::tiles_are_right(cpu::tile_products<Swapped>()));
    EXPECT_FALSE(cpu::tiles_are_right(cpu::tile_products<Forgetful>()));
    EXPECT_FALSE(cpu::tiles_are_right(cpu::tile_products<Late>()));
}

}  // namespace
}  // namespace iwseg
