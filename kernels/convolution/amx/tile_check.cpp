#include "kernels/convolution/amx/tile_check.h"

#include <array>
#include <cstddef>
#include <vector>

#include "kernels/convolution/amx/processor_products.h"
#include "kernels/device/bf16.h"

namespace iwseg::cpu {
namespace {

constexpr int kSide = 16, kPairs = 16;
constexpr std::size_t kOperands = 4, kTerms = 3, kSums = 256;  ///< tiles of each side; of each; of a tile

/// Whole numbers from -7 to 7, the same on each call.
class Numbers {
  public:
    int next() {
        state_ = state_ * 1664525u + 1013904223u;
        return static_cast<int>(state_ >> 24) % 15 - 7;
    }

  private:
    unsigned state_ = 1;
};

/// A tile of 16 rows of 32.
using Rows = std::array<std::array<int, 2 * kPairs>, kSide>;

Rows rows_of(Numbers& numbers) {
    Rows rows;
    for (auto& row : rows)
        for (int& number : row) number = numbers.next();
    return rows;
}

struct alignas(64) StoredTile {
    Bf16 elements[kSide][2 * kPairs];
};

StoredTile plain(const Rows& rows) {
    StoredTile tile;
    for (int m = 0; m < kSide; ++m)
        for (int k = 0; k < 2 * kPairs; ++k)
            store(tile.elements[m][k],
                  static_cast<float>(rows[static_cast<std::size_t>(m)][static_cast<std::size_t>(k)]));
    return tile;
}

/// As a right operand: what is multiplied with places 2k and 2k + 1 lies side by side in row k.
StoredTile interleaved(const Rows& rows) {
    StoredTile tile;
    for (int n = 0; n < kSide; ++n)
        for (int k = 0; k < 2 * kPairs; ++k)
            store(tile.elements[k / 2][2 * n + k % 2],
                  static_cast<float>(rows[static_cast<std::size_t>(n)][static_cast<std::size_t>(k)]));
    return tile;
}

/// Whether sums (16, 16) are those of a and b over so many terms, and of what was there before.
bool are_products(const float* sums, const std::vector<Rows>& a, const std::vector<Rows>& b, std::size_t terms,
                  float before) {
    for (std::size_t m = 0; m < kSide; ++m)
        for (std::size_t n = 0; n < kSide; ++n) {
            int sum = 0;
            for (std::size_t t = 0; t < terms; ++t)
                for (std::size_t k = 0; k < 2 * kPairs; ++k) sum += a[t][m][k] * b[t][n][k];
            if (sums[m * kSide + n] != static_cast<float>(sum) + before) return false;
        }
    return true;
}

/// Rows and columns of tiles, of some terms.
struct Operands {
    std::vector<Rows> a[kOperands], b[kOperands];
    std::vector<StoredTile> left, right;  ///< (4, terms)

    Operands() {
        Numbers numbers;
        for (std::size_t side = 0; side < kOperands; ++side)
            for (std::size_t t = 0; t < kTerms; ++t) {
                a[side].push_back(rows_of(numbers));
                b[side].push_back(rows_of(numbers));
                left.push_back(plain(a[side].back()));
                right.push_back(interleaved(b[side].back()));
            }
    }
};

}  // namespace

bool tiles_are_right(const TileProducts& products) {
    const TilesInUse tiles(products);
    const Operands of;
    bool right = true;
    // The second 16 voxels of a term come 16 rows after the first, and so on.
    std::vector<StoredTile> voxels;
    std::vector<TileTerm> terms;
    for (std::size_t t = 0; t < kTerms; ++t) {
        const auto term = static_cast<std::int64_t>(t) * kTileBytes;
        terms.push_back({term * std::int64_t{kOperands}, term});
        for (std::size_t tile = 0; tile < kOperands; ++tile) voxels.push_back(of.left[tile * kTerms + t]);
    }
    const auto bytes = [](const StoredTile& tile) { return reinterpret_cast<const char*>(&tile); };
    alignas(64) float sums[4 * kSums];
    float* const results[] = {sums, sums + kSums, sums + 2 * kSums, sums + 3 * kSums};
    const char* const src[] = {bytes(of.right[0]), bytes(of.right[kTerms]), bytes(of.right[2 * kTerms]),
                               bytes(of.right[3 * kTerms])};
    for (std::size_t rows = 1; rows <= 2; ++rows)
        for (std::size_t columns = 1; rows * columns <= 4; ++columns)
            // Loops of one block take two terms at a time.
            for (std::int64_t count = kTerms - 1; count <= std::int64_t{kTerms}; ++count) {
                const auto are = [&](std::size_t sum, std::size_t a, std::size_t b, float before) {
                    return are_products(results[sum], of.a[a], of.b[b], static_cast<std::size_t>(count), before);
                };
                products.terms[rows - 1][columns - 1]({bytes(voxels[0]), bytes(of.right[0]), terms.data(), count,
                                                       kTileRow, std::int64_t{kTerms} * kTileBytes, sums});
                for (std::size_t i = 0; i < rows * columns; ++i) right = right && are(i, i % columns, i / columns, 0);
                for (float& sum : sums) sum = 3;
                products.gradients[rows - 1][columns - 1](
                    {bytes(of.left[0]), std::int64_t{kTerms} * kTileBytes, src, count, results});
                for (std::size_t i = 0; i < rows * columns; ++i) right = right && are(i, i / columns, i % columns, 3);
            }
    return right;
}

bool processor_tiles_are_right() {
    return tiles_are_right(processor_products());
}

}  // namespace iwseg::cpu
