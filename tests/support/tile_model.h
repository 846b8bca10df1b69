#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "kernels/convolution/amx/tile_products.h"
#include "kernels/device/bf16.h"

/// The tile instructions in plain C++, by the definitions of Intel's Software Developer's Manual (volume 2, LDTILECFG,
/// TILELOADD, TILESTORED, TDPBF16PS, and volume 1, chapter 18), so that kernels written in them run on any processor.
/// What the processor would answer with a fault is a std::logic_error.
namespace iwseg {

struct TileModel {
    /// Instructions that a thread has done.
    struct Counts {
        std::int64_t loads = 0, stores = 0, products = 0, configurations = 0, releases = 0;
    };
    static Counts& counts() { return state().counts; }

    static void configure(const cpu::TileConfiguration& wanted) {
        if (wanted.palette != 1) fault("a palette that is not 1");
        if (wanted.start_row != 0) fault("a row to begin at, which only an interrupted load leaves");
        for (const std::uint8_t byte : wanted.reserved)
            if (byte != 0) fault("a reserved byte that is not 0");
        for (int t = 0; t < 16; ++t) {
            const int rows = wanted.rows[t], bytes = wanted.row_bytes[t];
            if (t >= kTiles && (rows != 0 || bytes != 0)) fault("a tile that the palette does not have");
            if (rows > kRows || bytes > kRowBytes) fault("a tile larger than 16 rows of 64 bytes");
            if ((rows == 0) != (bytes == 0)) fault("rows without bytes or bytes without rows");
        }
        State& own = state();
        own.configuration = wanted;
        own.configured = true;
        own.tiles = {};
        ++own.counts.configurations;
    }
    static void release() {
        state().configured = false;
        ++state().counts.releases;
    }

    template <int kTile>
    static void zero() {
        used<kTile>() = {};
    }
    template <int kTile>
    static void load(const void* from, std::int64_t stride) {
        Tile& tile = used<kTile>();
        tile = {};  // what is beyond its rows and their bytes too
        for (int r = 0; r < rows(kTile); ++r)
            std::memcpy(tile[static_cast<std::size_t>(r)].data(), static_cast<const char*>(from) + r * stride,
                        static_cast<std::size_t>(bytes(kTile)));
        ++state().counts.loads;
    }
    template <int kTile>
    static void store(void* to, std::int64_t stride) {
        const Tile& tile = used<kTile>();
        for (int r = 0; r < rows(kTile); ++r)
            std::memcpy(static_cast<char*>(to) + r * stride, tile[static_cast<std::size_t>(r)].data(),
                        static_cast<std::size_t>(bytes(kTile)));
        ++state().counts.stores;
    }
    template <int kSum, int kA, int kB>
    static void multiply() {
        static_assert(kSum != kA && kSum != kB && kA != kB, "the same tile twice");
        Tile& sum = used<kSum>();
        const Tile &a = used<kA>(), &b = used<kB>();
        if (bytes(kSum) % 4 || bytes(kA) % 4 || bytes(kB) % 4) fault("rows of no whole elements");
        if (rows(kSum) != rows(kA)) fault("sums and left operand of different rows");
        if (bytes(kSum) != bytes(kB)) fault("sums and right operand of different columns");
        if (bytes(kA) / 4 != rows(kB)) fault("operands that do not fit each other");
        const int columns = bytes(kSum) / 4, pairs = bytes(kA) / 4;
        const Elements left = elements(a), right = elements(b);
        for (int m = 0; m < rows(kSum); ++m) {
            // Elements that are even and odd within pairs are summed each by itself.
            std::array<float, kElements> total{};
            for (int k = 0; k < pairs; ++k)
                for (int at = 0; at < 2 * columns; ++at) {
                    float& to = total[static_cast<std::size_t>(at)];
                    to = flushed(fused(left[place(m, 2 * k + at % 2)], right[place(k, at)], to));
                }
            for (int n = 0; n < columns; ++n) {
                const float both =
                    flushed(total[static_cast<std::size_t>(2 * n)] + total[static_cast<std::size_t>(2 * n + 1)]);
                char* const to = sum[static_cast<std::size_t>(m)].data() + 4 * n;
                float before = 0;
                std::memcpy(&before, to, 4);
                const float after = flushed(flushed(before) + both);
                std::memcpy(to, &after, 4);
            }
        }
        ++state().counts.products;
    }

    static const cpu::TileProducts& products() {
        static constexpr cpu::TileProducts kProducts = cpu::tile_products<TileModel>();
        return kProducts;
    }

  private:
    static constexpr int kTiles = 8, kRows = 16, kRowBytes = 64, kElements = 32;
    using Elements = std::array<float, kRows * kElements>;
    using Tile = std::array<std::array<char, kRowBytes>, kRows>;
    struct State {
        cpu::TileConfiguration configuration;
        bool configured = false;
        std::array<Tile, kTiles> tiles{};
        Counts counts;
    };

    static State& state() {
        static thread_local State own;
        return own;
    }
    [[noreturn]] static void fault(const std::string& what) { throw std::logic_error("tiles: " + what); }
    static int rows(int tile) { return state().configuration.rows[tile]; }
    static int bytes(int tile) { return state().configuration.row_bytes[tile]; }
    template <int kTile>
    static Tile& used() {
        static_assert(kTile >= 0 && kTile < kTiles);
        if (!state().configured) fault("used without a configuration");
        if (rows(kTile) == 0) fault("one used that is not configured");
        return state().tiles[kTile];
    }
    /// Below the least normal element: 0, of the same sign.
    static float flushed(float value) {
        return std::abs(value) < std::numeric_limits<float>::min() ? std::copysign(0.0f, value) : value;
    }
    static constexpr std::size_t place(int row, int at) {
        return static_cast<std::size_t>(row) * kElements + static_cast<std::size_t>(at);
    }
    static Elements elements(const Tile& tile) {
        Elements all{};
        for (int r = 0; r < kRows; ++r)
            for (int at = 0; at < kElements; ++at) {
                Bf16 stored{};
                std::memcpy(&stored, tile[static_cast<std::size_t>(r)].data() + 2 * at, 2);
                all[place(r, at)] = flushed(to_f32(stored));
            }
        return all;
    }
    /// a * b + c, rounded once. A product of two bf16 elements has 16 digits, so that where it is within f32's range it
    /// is one itself, and nothing is rounded but the sum.
    static float fused(float a, float b, float c) {
        const float product = a * b;
        const bool exact = product == 0 || std::isnormal(product);
        return exact ? product + c : std::fma(a, b, c);
    }
};

}  // namespace iwseg
