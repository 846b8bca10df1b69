#pragma once

#include <cstdint>

#include "kernels/convolution/taps/vectors.h"
#include "kernels/device/view.h"

/// The transforms of Winograd's F(2x2, 3x3): a 4x4 patch d of the source and a 3x3 kernel g give 2x2 results as
/// A' ((G g G') * (B' d B)) A, the product being by element (Lavin and Gray, Fast Algorithms for Convolutional Neural
/// Networks, arXiv:1509.09308, section 4.1). An element of the 4x4 is called a position here; vectors are of a block of
/// channels.
namespace iwseg::cpu {

constexpr int kWinogradPositions = 16;

/// Tiles of 2x2 results of a plane: in rows and columns of tiles, from a first.
struct WinogradTiles {
    std::int64_t first_row, rows, first_column, columns;
    std::int64_t height, width;  ///< of the plane, in voxels

    std::int64_t count() const { return rows * columns; }
};

/// A block's plane, (H, W, L) of the tensors' type, to (position, tile, L) of the operands', with zeros around the
/// plane.
using SourceTransform = void (*)(const void* plane, const WinogradTiles& tiles, void* to, std::int64_t position);

/// What is added to results, and which of a block's channels exist: others are left 0, which infinity times a weight of
/// 0 is not.
struct WinogradFinish {
    const float* bias;         ///< L
    const std::int32_t* kept;  ///< L; -1, or 0 for those that only fill a block
    bool accumulate;           ///< to what lies in the plane
    /// Null, or an epilogue (kernels/convolution/epilogue.h), activation(scale x + shift) with L of each.
    const float* scale = nullptr;
    const float* shift = nullptr;
    float slope = 1;
    void* beside = nullptr;  ///< another plane, to which the epilogue's result goes where this one keeps its own
};

/// Sums of products, (position, tile, L), to results in a block's plane (H, W, L); those outside of it are left out.
using ResultTransform = void (*)(const float* sums, std::int64_t position, const WinogradTiles& tiles,
                                 const WinogradFinish& finish, void* plane);

/// A block's plane of the result's gradient, (H, W, L), to A y A', (position, tile, L), with zeros outside of it.
using GradientTransform = void (*)(const void* plane, const WinogradTiles& tiles, float* to, std::int64_t position);

/// Weights of L outputs, (3, 3, L), to (position, L) or, of operands that are bf16, with those of the next input to
/// (position, L, 2).
using WeightTransform = void (*)(const float* weights, const float* next, void* to, std::int64_t position);

/// `position`: elements from one position to the next.
struct WinogradTransforms {
    SourceTransform source;
    ResultTransform result;
    GradientTransform gradient;
    WeightTransform weights;
};

/// block: L, 8 or 16; 16 not for AVX2. type: of the tensors. operands: what is multiplied, f32, or bf16 of tensors that
/// are, in blocks of 16; gradients are always transformed to f32.
WinogradTransforms winograd_transforms(Vectors vectors, std::int64_t block, Type type, Type operands = Type::f32);

}  // namespace iwseg::cpu
