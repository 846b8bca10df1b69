#include "kernels/loss.h"

#include <stdexcept>

#include "kernels/cpu_blocks.h"
#include "kernels/loss_formulas.h"
#include "kernels/parallel.h"
#include "kernels/vector_clones.h"

// loss_value sums the formula's terms, and leaves the coefficients of each sample in scratch; loss_gradient evaluates
// the slope. Sums are over fixed chunks of voxels, joined in order: the thread count does not show.
namespace iwseg::cpu {
namespace {

constexpr int kPiece = 64;     ///< voxels held in cache between the loops of a pass
constexpr int kTogether = 16;  ///< pieces whose terms are added in f32, before they are in double

/// Where one chunk of voxels of one sample lies.
template <class T>
struct Chunk {
    const T* logit;
    const std::uint8_t* target;
    const std::int32_t* labels;  ///< or null
    const float* weights;        ///< of the sample
    std::int64_t voxels;
};

/// A few voxels as f32. Those behind the chunk's end weigh 0.
struct Piece {
    float z[kPiece], t[kPiece], w[kPiece];

    LossVoxel at(int i) const { return {z[i], t[i], w[i]}; }
};

template <class T>
[[gnu::always_inline]] inline void load_some(const Chunk<T>& chunk, std::int64_t first, std::int64_t count,
                                             Piece& piece) {
    for (std::int64_t i = 0; i < count; ++i) piece.z[i] = to_f32(chunk.logit[first + i]);
    for (std::int64_t i = 0; i < count; ++i) piece.t[i] = chunk.target[first + i];
    const float background = chunk.labels ? chunk.weights[0] : 1.0f;
    for (std::int64_t i = 0; i < count; ++i) piece.w[i] = background;
    if (!chunk.labels) return;
    unsigned lesion = 0;  // most pieces have none, and need no labels
    for (std::int64_t i = 0; i < count; ++i) lesion |= chunk.target[first + i];
    if (lesion == 0) return;
    for (std::int64_t i = 0; i < count; ++i)  // by masking: a condition would keep the loop from being vector code
        piece.w[i] = chunk.weights[chunk.labels[first + i] & -std::int32_t{chunk.target[first + i] != 0}];
}

/// A whole piece's loops are of a constant length: half the time of those that count.
template <class T>
[[gnu::always_inline]] inline void load(const Chunk<T>& chunk, std::int64_t first, std::int64_t count, Piece& piece) {
    if (count == kPiece) return load_some(chunk, first, kPiece, piece);
    piece = {};
    load_some(chunk, first, count, piece);
}

template <class T>
[[gnu::always_inline]] inline void store_some(const float* values, std::int64_t count, T* to) {
    for (std::int64_t i = 0; i < count; ++i) store(to[i], values[i]);
}

/// kSquare: gamma is 2.
template <LossFormula kFormula, bool kSquare>
[[gnu::always_inline]] inline float power_of(const LossVoxel& voxel, float gamma) {
    if constexpr (kFormula == LossFormula::focal) return focal_power<kSquare>(voxel, sigmoid(voxel.z), gamma);
    return 0;
}

template <LossFormula kFormula, bool kSquare>
[[gnu::always_inline]] inline void add_terms(const Piece& piece, const LossParameters& parameters,
                                             float (*sums)[kPiece]) {
    constexpr int kSums = sums_of(kFormula);
    float terms[kSums][kPiece];
    for (int i = 0; i < kPiece; ++i) {
        float of_voxel[kSums];
        loss_terms<kFormula>(piece.at(i), parameters, power_of<kFormula, kSquare>(piece.at(i), parameters.gamma),
                             of_voxel);
        for (int k = 0; k < kSums; ++k) terms[k][i] = of_voxel[k];
    }
    for (int k = 0; k < kSums; ++k)
        for (int i = 0; i < kPiece; ++i) sums[k][i] += terms[k][i];
}

template <LossFormula kFormula, class T>
IWSEG_VECTOR_CLONES void sum_chunk(const Chunk<T>& chunk, const LossParameters& parameters, double* sums) {
    double lanes[sums_of(kFormula)][kPiece] = {};
    Piece piece;
    for (std::int64_t begin = 0; begin < chunk.voxels; begin += kTogether * kPiece) {
        const std::int64_t end = std::min(begin + kTogether * kPiece, chunk.voxels);
        float few[sums_of(kFormula)][kPiece] = {};
        for (std::int64_t first = begin; first < end; first += kPiece) {
            load(chunk, first, std::min<std::int64_t>(kPiece, end - first), piece);
            if (kFormula == LossFormula::focal && parameters.gamma == 2.0f)
                add_terms<kFormula, true>(piece, parameters, few);
            else
                add_terms<kFormula, false>(piece, parameters, few);
        }
        for (int k = 0; k < sums_of(kFormula); ++k)
            for (int i = 0; i < kPiece; ++i) lanes[k][i] += few[k][i];
    }
    for (int k = 0; k < sums_of(kFormula); ++k) {
        sums[k] = 0;
        for (int i = 0; i < kPiece; ++i) sums[k] += lanes[k][i];
    }
}

template <LossFormula kFormula, bool kSquare>
[[gnu::always_inline]] inline void gradients(const Piece& piece, const LossParameters& parameters, const float* c,
                                             float* gradient) {
    for (int i = 0; i < kPiece; ++i) {
        const LossVoxel voxel = piece.at(i);
        gradient[i] = loss_slope<kFormula>(voxel, parameters, power_of<kFormula, kSquare>(voxel, parameters.gamma), c);
    }
}

template <LossFormula kFormula, class T>
IWSEG_VECTOR_CLONES void gradient_of_chunk(const Chunk<T>& chunk, const LossParameters& parameters,
                                           const float* coefficients, T* diff_logit) {
    Piece piece;
    float gradient[kPiece];
    for (std::int64_t first = 0; first < chunk.voxels; first += kPiece) {
        const std::int64_t count = std::min<std::int64_t>(kPiece, chunk.voxels - first);
        load(chunk, first, count, piece);
        if (kFormula == LossFormula::focal && parameters.gamma == 2.0f)
            gradients<kFormula, true>(piece, parameters, coefficients, gradient);
        else
            gradients<kFormula, false>(piece, parameters, coefficients, gradient);
        if (count == kPiece)
            store_some(gradient, kPiece, diff_logit + first);
        else
            store_some(gradient, count, diff_logit + first);
    }
}

template <class T>
Chunk<T> chunk_of(const LossInput& input, std::int64_t n, std::int64_t chunk) {
    const std::int64_t voxels = input.logit.shape.voxels(), first = chunk * chunk_voxels(1), at = n * voxels + first;
    return {input.logit.as<const T>() + at, input.target + at, input.labels ? input.labels + at : nullptr,
            input.labels ? input.weights + n * input.stride : nullptr, std::min(chunk_voxels(1), voxels - first)};
}

/// Scratch: the coefficients of each sample, then the sums of each chunk.
float* coefficients_in(void* scratch) {
    return static_cast<float*>(scratch);
}
double* sums_in(void* scratch, std::int64_t samples) {
    static_assert(kLossCoefficients * sizeof(float) % sizeof(double) == 0);
    return reinterpret_cast<double*>(static_cast<float*>(scratch) + samples * kLossCoefficients);
}

}  // namespace

std::int64_t loss_scratch_bytes(const LossParameters&, const Shape& logit) {
    return logit.n * (kLossCoefficients * static_cast<std::int64_t>(sizeof(float)) +
                      chunks_in(logit.voxels(), 1) * kLossSums * static_cast<std::int64_t>(sizeof(double)));
}

void loss_value(Stream stream, const LossParameters& parameters, const LossInput& input, void* scratch, double* value) {
    require_loss_input(parameters, input);
    const Shape& shape = input.logit.shape;
    const std::int64_t chunks = chunks_in(shape.voxels(), 1);
    double* partial = sums_in(scratch, shape.n);
    with_real(input.logit.type, [&](auto real) {
        with_formula(parameters.formula, [&](auto formula) {
            parallel_for(stream, shape.n * chunks, [&](std::int64_t i) {
                sum_chunk<formula()>(chunk_of<decltype(real)>(input, i / chunks, i % chunks), parameters,
                                     partial + i * kLossSums);
            });
        });
    });
    const LossGroups groups = groups_of(parameters.formula, shape);
    double loss = 0;
    for (std::int64_t g = 0; g < groups.groups; ++g) {
        double sums[kLossSums] = {}, coefficients[kLossCoefficients] = {};
        with_formula(parameters.formula, [&](auto formula) {
            for (std::int64_t i = 0; i < groups.members * chunks; ++i)
                for (int k = 0; k < sums_of(formula()); ++k)
                    sums[k] += partial[(g * groups.members * chunks + i) * kLossSums + k];
            loss += loss_of_sums<formula()>(parameters, sums, groups.voxels, groups.mean, coefficients);
        });
        for (std::int64_t n = g * groups.members; n < (g + 1) * groups.members; ++n)
            for (int k = 0; k < kLossCoefficients; ++k)
                coefficients_in(scratch)[n * kLossCoefficients + k] = loss_coefficient(coefficients[k]);
    }
    *value = loss;
}

void loss_gradient(Stream stream, const LossParameters& parameters, const LossInput& input, const void* scratch,
                   View diff_logit) {
    require_loss_input(parameters, input);
    require_same(input.logit, diff_logit, "loss_gradient");
    if (input.logit.type != diff_logit.type) throw std::invalid_argument("loss_gradient: tensors of different type");
    const Shape& shape = input.logit.shape;
    const std::int64_t chunks = chunks_in(shape.voxels(), 1);
    const auto* coefficients = static_cast<const float*>(scratch);
    with_real(input.logit.type, [&](auto real) {
        using T = decltype(real);
        with_formula(parameters.formula, [&](auto formula) {
            parallel_for(stream, shape.n * chunks, [&](std::int64_t i) {
                const Chunk<T> chunk = chunk_of<T>(input, i / chunks, i % chunks);
                gradient_of_chunk<formula()>(chunk, parameters, coefficients + i / chunks * kLossCoefficients,
                                             diff_logit.as<T>() + (chunk.logit - input.logit.as<const T>()));
            });
        });
    });
}

}  // namespace iwseg::cpu
