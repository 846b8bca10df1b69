#pragma once

#include <cstddef>
#include <cstdint>

/// The processor's tiles (AMX): eight registers of at most 16 rows of 64 bytes, and what it does with them. Kernels are
/// templates over a class of these operations (tile_products.h), which in the program is ProcessorTiles, and in tests a
/// model that computes and checks the same on any processor (tests/support/tile_model.h).
namespace iwseg::cpu {

/// What LDTILECFG reads: palette 1, rows and bytes of a row of each tile.
struct alignas(64) TileConfiguration {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfiguration) == 64 && offsetof(TileConfiguration, row_bytes) == 16 &&
              offsetof(TileConfiguration, rows) == 48);

/// All eight of full size.
constexpr TileConfiguration full_tiles() {
    TileConfiguration configuration;
    for (int tile = 0; tile < 8; ++tile) {
        configuration.row_bytes[tile] = 64;
        configuration.rows[tile] = 16;
    }
    return configuration;
}

#if defined(__x86_64__) && defined(__GNUC__)
#define IWSEG_AMX __attribute__((target("amx-tile,amx-bf16")))

/// Written as assembly: g++ 12's intrinsics take a tile as a written digit alone, not as a template's parameter, and do
/// not tell the compiler that a load reads memory, which it may then write afterwards. Always inlined: a loop without
/// optimisation is still one.
struct ProcessorTiles {
    /// Of the calling thread, until release(); tiles are zero.
    [[gnu::always_inline]] IWSEG_AMX static void configure(const TileConfiguration& configuration) {
        asm volatile("ldtilecfg %0" ::"m"(configuration));
    }
    /// Without it each change of threads goes on saving 8 KB.
    [[gnu::always_inline]] IWSEG_AMX static void release() { asm volatile("tilerelease" ::); }

    template <int kTile>
    [[gnu::always_inline]] IWSEG_AMX static void zero() {
        asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
    }
    /// stride: bytes from row to row.
    template <int kTile>
    [[gnu::always_inline]] IWSEG_AMX static void load(const void* from, std::int64_t stride) {
        asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kTile) : "memory");
    }
    template <int kTile>
    [[gnu::always_inline]] IWSEG_AMX static void store(void* to, std::int64_t stride) {
        asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(kTile) : "memory");
    }
    /// sum[m][n] of f32 += over k of a[m][2k] * b[k][2n] + a[m][2k + 1] * b[k][2n + 1], of bf16. Elements below the
    /// least normal one count as 0.
    template <int kSum, int kA, int kB>
    [[gnu::always_inline]] IWSEG_AMX static void multiply() {
        asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kA), "i"(kB));
    }
};
#else
#define IWSEG_AMX
#endif

}  // namespace iwseg::cpu
