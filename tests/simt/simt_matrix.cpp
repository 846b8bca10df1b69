#define IWSEG_SIMT
#include "tests/simt/simt.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace iwseg::simt::executor {
namespace {

constexpr int kLanes = 32, kSide = 8, kBanks = 32, kBankBytes = 4;

std::uint16_t number_at(const void* row, int column) {
    std::uint16_t bits;
    std::memcpy(&bits, static_cast<const char*>(row) + column * 2, sizeof bits);
    return bits;
}

/// Cycles that shared memory takes for one matrix: the most distinct words that one bank is asked for.
int bank_cycles(void* const (&lanes)[kLanes], int matrix) {
    std::array<std::array<std::uintptr_t, kSide>, kBanks> words{};
    std::array<int, kBanks> count{};
    for (int r = 0; r < kSide; ++r) {
        const auto first =
            reinterpret_cast<std::uintptr_t>(static_cast<const MatrixLoad*>(lanes[matrix * kSide + r])->row);
        for (std::uintptr_t word = first / kBankBytes; word < first / kBankBytes + 4; ++word) {
            auto& known = words[word % kBanks];
            int& n = count[word % kBanks];
            if (std::find(known.begin(), known.begin() + n, word) == known.begin() + n)
                known[static_cast<std::size_t>(n++)] = word;
        }
    }
    return *std::max_element(count.begin(), count.end());
}

void load(void* const (&lanes)[kLanes]) {
    const auto& first = *static_cast<const MatrixLoad*>(lanes[0]);
    for (int matrix = 0; matrix < first.matrices; ++matrix) {
        const void* rows[kSide];
        for (int r = 0; r < kSide; ++r) rows[r] = static_cast<const MatrixLoad*>(lanes[matrix * kSide + r])->row;
        ++launch_count().matrices;
        launch_count().matrix_cycles += bank_cycles(lanes, matrix);
        for (int lane = 0; lane < kLanes; ++lane) {
            const int across = lane / 4, pair = lane % 4 * 2;
            const unsigned low = first.transposed ? number_at(rows[pair], across) : number_at(rows[across], pair);
            const unsigned high =
                first.transposed ? number_at(rows[pair + 1], across) : number_at(rows[across], pair + 1);
            static_cast<const MatrixLoad*>(lanes[lane])->to[matrix] = low | high << 16;
        }
    }
}

float half_of(unsigned pair, int upper) {
    return std::bit_cast<float>(upper ? pair & 0xFFFF0000u : pair << 16);
}

/// Sums from c on, in the order of k, each product exact and each sum rounded to f32. A card's order is its own.
void multiply(void* const (&lanes)[kLanes]) {
    const auto of = [&](int lane) -> const MatrixProduct& { return *static_cast<const MatrixProduct*>(lanes[lane]); };
    const int k = of(0).k;
    float a[16][16], b[16][8];
    for (int lane = 0; lane < kLanes; ++lane) {
        const int across = lane / 4, pair = lane % 4 * 2;
        for (int j = 0; j < k / 8; ++j)
            for (int i = 0; i < 2; ++i) {
                a[across][8 * j + pair + i] = half_of(of(lane).a[2 * j], i);
                a[across + 8][8 * j + pair + i] = half_of(of(lane).a[2 * j + 1], i);
                b[8 * j + pair + i][across] = half_of(of(lane).b[j], i);
            }
    }
    for (int row = 0; row < 16; ++row) {
        float sum[8];
        for (int n = 0; n < 8; ++n) sum[n] = of(row % 8 * 4 + n / 2).c[row / 8 * 2 + n % 2];
        for (int i = 0; i < k; ++i)
            for (int n = 0; n < 8; ++n) sum[n] += a[row][i] * b[i][n];
        for (int n = 0; n < 8; ++n) of(row % 8 * 4 + n / 2).c[row / 8 * 2 + n % 2] = sum[n];
    }
}

}  // namespace

void load_matrices(const MatrixLoad& lane, const CallSite& site) {
    MatrixLoad argument = lane;
    if (current->number % kLanes < kSide * lane.matrices) {
        require_shared(lane.row, 16, "a row of a matrix");
        note_access(
            {reinterpret_cast<std::uintptr_t>(lane.row), 16, false, Strength::plain, __builtin_return_address(0)});
    }
    collective(load, &argument, site);
}

void multiply_matrices(const MatrixProduct& lane, const CallSite& site) {
    MatrixProduct argument = lane;
    collective(multiply, &argument, site);
}

}  // namespace iwseg::simt::executor
