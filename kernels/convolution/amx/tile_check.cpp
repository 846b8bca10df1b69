#include "kernels/convolution/amx/tile_check.h"

#include <array>
#include <cstddef>
#include <vector>

#include "kernels/convolution/amx/processor_products.h"
#include "kernels/device/bf16.h"

namespace iwseg::cpu {
namespace {

constexpr int kSide = 16, kPairs = 16, kBlocks = 2, kTiles = 2, kTerms = 3;

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

/// Whether sums (16, 16) are those of a and b over all terms, and of what was there before.
bool are_products(const float* sums, const std::vector<Rows>& a, const std::vector<Rows>& b, float before) {
    for (std::size_t m = 0; m < kSide; ++m)
        for (std::size_t n = 0; n < kSide; ++n) {
            int sum = 0;
            for (std::size_t t = 0; t < a.size(); ++t)
                for (std::size_t k = 0; k < 2 * kPairs; ++k) sum += a[t][m][k] * b[t][n][k];
            if (sums[m * kSide + n] != static_cast<float>(sum) + before) return false;
        }
    return true;
}

/// Operands of two rows and two columns of tiles, of some terms.
struct Operands {
    std::vector<Rows> a[2], b[2];
    std::vector<StoredTile> left, right;  ///< (2, terms)

    Operands() {
        Numbers numbers;
        for (int side = 0; side < 2; ++side)
            for (int t = 0; t < kTerms; ++t) {
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
    // The second 16 voxels of a term come 16 rows after the first.
    std::vector<StoredTile> voxels;
    for (int t = 0; t < kTerms; ++t)
        for (int tile = 0; tile < kTiles; ++tile)
            voxels.push_back(of.left[static_cast<std::size_t>(tile * kTerms + t)]);
    std::vector<TileTerm> terms;
    for (int t = 0; t < kTerms; ++t) terms.push_back({t * kTiles * kTileBytes, t * kTileBytes});
    alignas(64) float sums[4 * kSide * kSide] = {};
    products.terms[kBlocks - 1][kTiles - 1]({reinterpret_cast<const char*>(voxels.data()),
                                             reinterpret_cast<const char*>(of.right.data()), terms.data(), kTerms,
                                             kTileRow, kTerms * kTileBytes, sums});
    for (int block = 0; block < kBlocks; ++block)
        for (int tile = 0; tile < kTiles; ++tile)
            right = right && are_products(sums + (block * kTiles + tile) * kSide * kSide, of.a[tile], of.b[block], 0);
    for (float& sum : sums) sum = 3;
    const char* const src[] = {reinterpret_cast<const char*>(of.right.data()),
                               reinterpret_cast<const char*>(of.right.data() + kTerms)};
    float* const results[] = {sums, sums + 256, sums + 512, sums + 768};
    products.gradients[1][1](
        {reinterpret_cast<const char*>(of.left.data()), kTerms * kTileBytes, src, kTerms, results});
    for (int row = 0; row < 2; ++row)
        for (int column = 0; column < 2; ++column)
            right = right && are_products(results[row * 2 + column], of.a[row], of.b[column], 3);
    return right;
}

bool processor_tiles_are_right() {
    return tiles_are_right(processor_products());
}

}  // namespace iwseg::cpu
