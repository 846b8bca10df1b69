#include "kernels/loss/loss.h"

#include <cstring>
#include <stdexcept>
#include <variant>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/loss/loss_pass.h"

// loss_value sums the formula's terms, and leaves the coefficients of each sample in scratch; loss_gradient evaluates
// the gradient. Sums are over fixed chunks of voxels, joined in order: the thread count does not show.
namespace iwseg::cpu {
namespace {

using formulas::kMostCoefficients, formulas::kMostSums, formulas::Voxel;

constexpr int kRow = kMostSums + 1;  ///< what is kept of a chunk: its sums, and how many of its voxels are ignored
constexpr int kPiece = 64;           ///< voxels held in cache between the loops of a pass
constexpr int kTogether = 16;        ///< pieces whose terms are added in f32, before they are in double

/// Where one chunk of voxels of one sample lies.
template <class T>
struct Chunk {
    const T* logit;
    const std::uint8_t* target;
    const std::int32_t* labels;  ///< or null
    const float* weights;        ///< of the sample
    std::int64_t voxels;
    bool ignoring;  ///< some of the voxels are ignored
};

/// A few voxels as f32. Those after the chunk's end do not count.
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
[[gnu::noinline]] std::int64_t leave_out_ignored(const std::uint8_t* target, std::int64_t count, Piece& piece) {
    std::int64_t ignored = 0;
    for (int i = 0; i < static_cast<int>(count); ++i) {
        if (target[i] != kIgnored) continue;
        piece.set(i, formulas::kUncounted);
        ++ignored;
    }
    return ignored;
}

/// Returns how many of the voxels are ignored.
template <class T>
[[gnu::always_inline]] inline std::int64_t load_some(const Chunk<T>& chunk, std::int64_t first, std::int64_t count,
                                                     Piece& piece) {
    for (std::int64_t i = 0; i < count; ++i) piece.z[i] = to_f32(chunk.logit[first + i]);
    for (std::int64_t i = 0; i < count; ++i) piece.t[i] = chunk.target[first + i];
    const float background = chunk.labels ? chunk.weights[0] : 1.0f;
    for (std::int64_t i = 0; i < count; ++i) piece.w[i] = background;
    if (!chunk.labels && !chunk.ignoring) return 0;
    unsigned met = 0;  // most pieces are background, and need no labels
    for (std::int64_t i = 0; i < count; ++i) met |= chunk.target[first + i];
    if (met == 0) return 0;
    if (chunk.labels)
        for (std::int64_t i = 0; i < count; ++i)  // by masking: a condition would keep the loop from being vector code
            piece.w[i] = chunk.weights[chunk.labels[first + i] & -std::int32_t{chunk.target[first + i] == 1}];
    return met == 1 ? 0 : leave_out_ignored(chunk.target + first, count, piece);
}

/// A whole piece's loops are of a constant length: half the time of those that count.
template <class T>
[[gnu::always_inline]] inline std::int64_t load(const Chunk<T>& chunk, std::int64_t first, std::int64_t count,
                                                Piece& piece) {
    if (count == kPiece) return load_some(chunk, first, kPiece, piece);
    for (int i = static_cast<int>(count); i < kPiece; ++i) piece.set(i, formulas::kUncounted);
    return load_some(chunk, first, count, piece);
}

template <class T>
[[gnu::always_inline]] inline void store_some(const float* values, std::int64_t count, T* to, Write write) {
    if (write == Write::overwrite)
        for (std::int64_t i = 0; i < count; ++i) store(to[i], values[i]);
    else
        for (std::int64_t i = 0; i < count; ++i) store(to[i], to_f32(to[i]) + values[i]);
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

/// row: kRow elements of the chunk.
template <class F, class T>
IWSEG_VECTOR_CLONES void sum_chunk(const Chunk<T>& chunk, const F& formula, double* row) {
    double lanes[F::kSums][kPiece] = {};
    Piece piece;
    std::int64_t ignored = 0;
    for (std::int64_t begin = 0; begin < chunk.voxels; begin += kTogether * kPiece) {
        const std::int64_t end = std::min(begin + kTogether * kPiece, chunk.voxels);
        float few[F::kSums][kPiece] = {};
        for (std::int64_t first = begin; first < end; first += kPiece) {
            ignored += load(chunk, first, std::min<std::int64_t>(kPiece, end - first), piece);
            add_terms(piece, formula, few);
        }
        for (int k = 0; k < F::kSums; ++k)
            for (int i = 0; i < kPiece; ++i) lanes[k][i] += few[k][i];
    }
    for (int k = 0; k < F::kSums; ++k) {
        row[k] = 0;
        for (int i = 0; i < kPiece; ++i) row[k] += lanes[k][i];
    }
    row[kMostSums] = static_cast<double>(ignored);
}

template <class F, class T>
IWSEG_VECTOR_CLONES void gradient_of_chunk(const Chunk<T>& chunk, const F& formula, const float* coefficients,
                                           T* diff_logit, Write write) {
    Piece piece;
    float gradient[kPiece];
    for (std::int64_t first = 0; first < chunk.voxels; first += kPiece) {
        const std::int64_t count = std::min<std::int64_t>(kPiece, chunk.voxels - first);
        load(chunk, first, count, piece);
        for (int i = 0; i < kPiece; ++i) gradient[i] = formula.gradient(piece.at(i), sigmoid(piece.z[i]), coefficients);
        if (count == kPiece)
            store_some(gradient, kPiece, diff_logit + first, write);
        else
            store_some(gradient, count, diff_logit + first, write);
    }
}

template <class T>
Chunk<T> chunk_of(const LossInput& input, const std::int32_t* labels, std::int64_t n, std::int64_t chunk) {
    const std::int64_t voxels = input.logit.shape.voxels(), first = chunk * chunk_voxels(1), at = n * voxels + first;
    const std::int64_t count = std::min(chunk_voxels(1), voxels - first);
    return {input.logit.as<const T>() + at,
            input.target + at,
            labels ? labels + at : nullptr,
            labels ? input.weights + n * input.stride : nullptr,
            count,
            std::memchr(input.target + at, kIgnored, static_cast<std::size_t>(count)) != nullptr};
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
