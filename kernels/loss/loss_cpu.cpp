#include "kernels/loss/loss.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <type_traits>
#include <variant>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/loss/loss_pass.h"
#include "kernels/loss/store_gradients.h"

// loss_value sums the formula's terms, and leaves the coefficients of each sample in scratch; loss_gradient evaluates
// the gradient. Sums are over fixed chunks of voxels, joined in order: the thread count does not show.
namespace iwseg::cpu {
namespace {

using formulas::kMostCoefficients, formulas::kMostSums, formulas::Voxel;

constexpr int kRow = kMostSums + 1;  ///< what is kept of a chunk: its sums, and how many of its voxels are ignored
constexpr int kPiece = 64;           ///< voxels held in cache between the loops of a pass
constexpr int kTogether = 16;        ///< pieces whose terms are added in f32, before they are in double

/// Where voxels of one sample lie, as f32: those of a chunk, or a copy of its last ones.
struct Voxels {
    const float* logit;
    const std::uint8_t* target;
    const std::int32_t* labels;  ///< or null
    const float* weights;        ///< of the sample
    bool ignoring;               ///< some of the chunk's are ignored

    Voxels from(std::int64_t first) const {
        return {logit ? logit + first : nullptr, target + first, labels ? labels + first : nullptr, weights, ignoring};
    }
};

/// One chunk of voxels of one sample.
template <class T>
struct Chunk {
    const T* logit;
    Voxels rest;  ///< all but the logits
    std::int64_t voxels;
};

/// A few voxels as f32.
struct Piece {
    float z[kPiece], t[kPiece], w[kPiece];

    Voxel at(int i) const { return {z[i], t[i], w[i]}; }
    void set(int i, const Voxel& voxel) {
        z[i] = voxel.z;
        t[i] = voxel.t;
        w[i] = voxel.w;
    }
};

/// Few pieces hold ignored voxels: these are set right afterwards. Returns how many there are.
[[gnu::noinline]] std::int64_t leave_out_ignored(const std::uint8_t* target, Piece& piece) {
    std::int64_t ignored = 0;
    for (int i = 0; i < kPiece; ++i) {
        if (target[i] != kIgnored) continue;
        piece.set(i, formulas::kUncounted);
        ++ignored;
    }
    return ignored;
}

/// Returns how many of the voxels are ignored. Loops are of a constant length: half the time of those that count.
[[gnu::always_inline]] inline std::int64_t load(const Voxels& voxels, Piece& piece) {
    for (int i = 0; i < kPiece; ++i) piece.z[i] = voxels.logit[i];
    for (int i = 0; i < kPiece; ++i) piece.t[i] = voxels.target[i];
    const float background = voxels.labels ? voxels.weights[0] : 1.0f;
    for (int i = 0; i < kPiece; ++i) piece.w[i] = background;
    if (!voxels.labels && !voxels.ignoring) return 0;
    unsigned met = 0;  // most pieces are background, and need no labels
    for (int i = 0; i < kPiece; ++i) met |= voxels.target[i];
    if (met == 0) return 0;
    if (voxels.labels)
        for (int i = 0; i < kPiece; ++i)  // by masking: a condition would keep the loop from being vector code
            piece.w[i] = voxels.weights[voxels.labels[i] & -std::int32_t{voxels.target[i] == 1}];
    return met == 1 ? 0 : leave_out_ignored(voxels.target, piece);
}

template <class F>
[[gnu::always_inline]] inline void add_terms(const Piece& piece, const F& formula, float (*sums)[kPiece]) {
    float terms[F::kSums][kPiece];
    for (int i = 0; i < kPiece; ++i) {
        float of_voxel[F::kSums];
        formula.terms(piece.at(i), sigmoid(piece.z[i]), of_voxel);
        for (int k = 0; k < F::kSums; ++k) terms[k][i] = of_voxel[k];
    }
    for (int k = 0; k < F::kSums; ++k)
        for (int i = 0; i < kPiece; ++i) sums[k][i] += terms[k][i];
}

// What is compiled for each formula, and that for three instruction sets, takes whole pieces of f32 alone: other types
// and the last voxels of a chunk are copied before. Two megabytes of a program were their product.

/// Adds the terms of some pieces; returns how many of their voxels are ignored.
template <class F>
IWSEG_VECTOR_CLONES std::int64_t sum_pieces(const Voxels& voxels, int pieces, const F& formula,
                                            double (*lanes)[kPiece]) {
    Piece piece;
    float few[F::kSums][kPiece] = {};
    std::int64_t ignored = 0;
    for (int p = 0; p < pieces; ++p) {
        ignored += load(voxels.from(p * kPiece), piece);
        add_terms(piece, formula, few);
    }
    for (int k = 0; k < F::kSums; ++k)
        for (int i = 0; i < kPiece; ++i) lanes[k][i] += few[k][i];
    return ignored;
}

template <class F>
IWSEG_VECTOR_CLONES void gradients_of_pieces(const Voxels& voxels, int pieces, const F& formula,
                                             const float* coefficients, float* gradients) {
    Piece piece;
    float gradient[kPiece];
    for (int p = 0; p < pieces; ++p) {
        load(voxels.from(p * kPiece), piece);
        for (int i = 0; i < kPiece; ++i) gradient[i] = formula.gradient(piece.at(i), sigmoid(piece.z[i]), coefficients);
        for (int i = 0; i < kPiece; ++i) gradients[p * kPiece + i] = gradient[i];
    }
}

template <class T>
IWSEG_VECTOR_CLONES void widen(const T* from, std::int64_t count, float* to) {
    for (std::int64_t i = 0; i < count; ++i) to[i] = to_f32(from[i]);
}

/// So many voxels of a chunk, filled up to whole pieces by ignored ones.
struct Copied {
    float logit[kTogether * kPiece];
    std::uint8_t target[kTogether * kPiece];
    std::int32_t labels[kTogether * kPiece];
    std::int64_t added = 0;  ///< voxels that fill up

    /// The voxels from the first on, as they lie where that can be.
    template <class T>
    Voxels of(const Chunk<T>& chunk, std::int64_t first, std::int64_t count) {
        Voxels voxels = chunk.rest.from(first);
        const std::int64_t whole = (count + kPiece - 1) / kPiece * kPiece;
        added = whole - count;
        if constexpr (std::is_same_v<T, float>) {
            voxels.logit = chunk.logit + first;
            if (added == 0) return voxels;
        }
        widen(chunk.logit + first, count, logit);
        voxels.logit = logit;
        if (added == 0) return voxels;
        std::copy_n(voxels.target, count, target);
        if (voxels.labels) std::copy_n(voxels.labels, count, labels);
        std::fill(logit + count, logit + whole, 0.0f);
        std::fill(target + count, target + whole, kIgnored);
        std::fill(labels + count, labels + whole, 0);
        return {logit, target, voxels.labels ? labels : nullptr, voxels.weights, true};
    }
};

constexpr std::int64_t kAtOnce = kTogether * kPiece;
int pieces_in(std::int64_t voxels) {
    return static_cast<int>((voxels + kPiece - 1) / kPiece);
}

/// row: kRow elements of the chunk.
template <class F, class T>
void sum_chunk(const Chunk<T>& chunk, const F& formula, double* row) {
    double lanes[F::kSums][kPiece] = {};
    Copied copied;
    std::int64_t ignored = 0;
    for (std::int64_t first = 0; first < chunk.voxels; first += kAtOnce) {
        const std::int64_t count = std::min(kAtOnce, chunk.voxels - first);
        ignored += sum_pieces(copied.of(chunk, first, count), pieces_in(count), formula, lanes) - copied.added;
    }
    for (int k = 0; k < F::kSums; ++k) {
        row[k] = 0;
        for (int i = 0; i < kPiece; ++i) row[k] += lanes[k][i];
    }
    row[kMostSums] = static_cast<double>(ignored);
}

template <class F, class T>
void gradient_of_chunk(const Chunk<T>& chunk, const F& formula, const float* coefficients, T* diff_logit, Write write) {
    Copied copied;
    float gradients[kAtOnce];
    for (std::int64_t first = 0; first < chunk.voxels; first += kAtOnce) {
        const std::int64_t count = std::min(kAtOnce, chunk.voxels - first);
        const Voxels voxels = copied.of(chunk, first, count);
        if constexpr (std::is_same_v<T, float>)
            if (write == Write::overwrite && copied.added == 0) {
                gradients_of_pieces(voxels, pieces_in(count), formula, coefficients, diff_logit + first);
                continue;
            }
        gradients_of_pieces(voxels, pieces_in(count), formula, coefficients, gradients);
        store_gradients(gradients, count, diff_logit + first, write);
    }
}

template <class T>
Chunk<T> chunk_of(const LossInput& input, const std::int32_t* labels, std::int64_t n, std::int64_t chunk) {
    const std::int64_t voxels = input.logit.shape.voxels(), first = chunk * chunk_voxels(1), at = n * voxels + first;
    const std::int64_t count = std::min(chunk_voxels(1), voxels - first);
    const bool ignoring = std::memchr(input.target + at, kIgnored, static_cast<std::size_t>(count)) != nullptr;
    return {input.logit.as<const T>() + at,
            {nullptr, input.target + at, labels ? labels + at : nullptr,
             labels ? input.weights + n * input.stride : nullptr, ignoring},
            count};
}

/// Scratch: the coefficients of each sample, then the rows of each chunk.
float* coefficients_in(void* scratch) {
    return static_cast<float*>(scratch);
}
double* rows_in(void* scratch, std::int64_t samples) {
    static_assert(kMostCoefficients * sizeof(float) % sizeof(double) == 0);
    return reinterpret_cast<double*>(static_cast<float*>(scratch) + samples * kMostCoefficients);
}

/// From the rows of chunks to the loss, and to the coefficients of each sample.
template <class F>
double join_chunks(const F& formula, const Shape& shape, const double* rows, double share, float* coefficients) {
    const std::int64_t chunks = chunks_in(shape.voxels(), 1);
    const std::int64_t groups = F::kOfBatch ? 1 : shape.n, members = shape.n / groups;
    double total = 0;
    for (std::int64_t g = 0; g < groups; ++g) {
        double sums[F::kSums] = {}, ignored = 0, c[kMostCoefficients] = {};
        for (std::int64_t i = g * members * chunks; i < (g + 1) * members * chunks; ++i) {
            for (int k = 0; k < F::kSums; ++k) sums[k] += rows[i * kRow + k];
            ignored += rows[i * kRow + kMostSums];
        }
        const double value = formulas::value_of_group(formula, sums, static_cast<double>(members * shape.voxels()),
                                                      ignored, 1 / static_cast<double>(groups), c);
        total += formulas::share_of(share, value, c, F::kCoefficients);
        for (std::int64_t n = g * members; n < (g + 1) * members; ++n)
            for (int k = 0; k < kMostCoefficients; ++k)
                coefficients[n * kMostCoefficients + k] = formulas::as_coefficient(c[k]);
    }
    return total;
}

}  // namespace

std::int64_t loss_scratch_bytes(const Shape& logit) {
    return logit.n * (kMostCoefficients * static_cast<std::int64_t>(sizeof(float)) +
                      chunks_in(logit.voxels(), 1) * kRow * static_cast<std::int64_t>(sizeof(double)));
}

void loss_value(Stream stream, const LossPass& pass, const LossInput& input, void* scratch, double* value,
                Write write) {
    formulas::require_input(pass, input);
    const Shape& shape = input.logit.shape;
    const std::int64_t chunks = chunks_in(shape.voxels(), 1);
    const std::int32_t* labels = formulas::labels_read(pass, input);
    double* rows = rows_in(scratch, shape.n);
    const auto compute = [&](const auto& formula) {
        with_real(input.logit.type, [&](auto real) {
            parallel_for(stream, shape.n * chunks, [&](std::int64_t i) {
                sum_chunk(chunk_of<decltype(real)>(input, labels, i / chunks, i % chunks), formula, rows + i * kRow);
            });
        });
        const double found =
            join_chunks(formula, shape, rows, formulas::warmed_up(pass.warmup, input.step), coefficients_in(scratch));
        *value = write == Write::overwrite ? found : *value + found;
    };
    std::visit(compute, pass.formula);
}

void loss_gradient(Stream stream, const LossPass& pass, const LossInput& input, const void* scratch, View diff_logit,
                   Write write) {
    formulas::require_input(pass, input);
    require_same(input.logit, diff_logit, "loss_gradient");
    if (input.logit.type != diff_logit.type) throw std::invalid_argument("loss_gradient: tensors of different type");
    const Shape& shape = input.logit.shape;
    const std::int64_t chunks = chunks_in(shape.voxels(), 1);
    const std::int32_t* labels = formulas::labels_read(pass, input);
    const auto* coefficients = static_cast<const float*>(scratch);
    with_real(input.logit.type, [&](auto real) {
        using T = decltype(real);
        const auto compute = [&](const auto& formula) {
            parallel_for(stream, shape.n * chunks, [&](std::int64_t i) {
                const Chunk<T> chunk = chunk_of<T>(input, labels, i / chunks, i % chunks);
                gradient_of_chunk(chunk, formula, coefficients + i / chunks * kMostCoefficients,
                                  diff_logit.as<T>() + (chunk.logit - input.logit.as<const T>()), write);
            });
        };
        std::visit(compute, pass.formula);
    });
}

}  // namespace iwseg::cpu
