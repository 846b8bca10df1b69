#include "kernels/loss.h"

#include <cfloat>
#include <stdexcept>

#include "kernels/cpu_blocks.h"
#include "kernels/exp_log.h"
#include "kernels/vector_clones.h"

// Each loss is a function of a few sums over voxels, so that its gradient is a short expression in the voxel's own p, t
// and w with coefficients made of those sums. loss_value sums, and leaves the coefficients of each sample in scratch;
// loss_gradient evaluates the expression. Sums are over fixed chunks of voxels, joined in order: the thread count does
// not show. Numerators are summed as errors, (p - t)^2, not as 1 minus an agreement: small losses keep their digits.
//
// Written with p = sigmoid(z), q = 1 - p; s is the logit towards the wrong answer (-z where t = 1, else z).
//
//                    sums                                     gradient by z
// bce                w softplus(s)                            w sigmoid(s) (+-1) c0
// wce                p | softplus(s) where t, where not t     -c0 q where t, c1 p where not t, + c2 p q
// overlap            w p t | w (b t + p^2) | their error      w p q (c0 t + c1 p)
// generalised_dice   t | p^2 | q^2 | (p - t)^2                p q (c0 t + c1 (1 - t) + c2 p + c3 q)
// focal              w a sigmoid(s)^gamma softplus(s)         its derivative, c0
namespace iwseg::cpu {
namespace {

constexpr int kSums = 4, kCoefficients = 4;
constexpr int kPiece = 64;  ///< voxels held in cache between the loops of a pass

using Lanes = double[kSums][kPiece];

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
};

template <class T>
[[gnu::always_inline]] inline void load(const Chunk<T>& chunk, std::int64_t first, std::int64_t count, Piece& piece) {
    if (count < kPiece) piece = {};
    for (std::int64_t i = 0; i < count; ++i) piece.z[i] = to_f32(chunk.logit[first + i]);
    for (std::int64_t i = 0; i < count; ++i) piece.t[i] = chunk.target[first + i];
    if (chunk.labels)
        for (std::int64_t i = 0; i < count; ++i) piece.w[i] = chunk.weights[chunk.labels[first + i]];
    else
        for (std::int64_t i = 0; i < count; ++i) piece.w[i] = 1.0f;
}

/// power[i] = sigmoid(s)^gamma.
[[gnu::always_inline]] inline void focal_powers(const Piece& piece, float gamma, float* power) {
    if (gamma == 2.0f) {
        for (int i = 0; i < kPiece; ++i) {
            const Sigmoid wrong = sigmoid(piece.t[i] > 0 ? -piece.z[i] : piece.z[i]);
            power[i] = wrong.p * wrong.p;
        }
        return;
    }
    for (int i = 0; i < kPiece; ++i) {
        const float s = piece.t[i] > 0 ? -piece.z[i] : piece.z[i];
        const float log_sigmoid = -softplus(-s, sigmoid(s));
        power[i] = exp_nonpositive(gamma * (log_sigmoid < -1e4f ? -1e4f : log_sigmoid));  // 0 * infinity is no power
    }
}

template <LossFormula kFormula>
[[gnu::always_inline]] inline void add_terms(const Piece& piece, const LossParameters& parameters, Lanes& sums) {
    [[maybe_unused]] float power[kPiece];
    if constexpr (kFormula == LossFormula::focal) focal_powers(piece, parameters.gamma, power);
    [[maybe_unused]] float errors[kPiece];
    for (int i = 0; i < kPiece; ++i) {
        const float z = piece.z[i], t = piece.t[i], w = piece.w[i];
        const Sigmoid s = sigmoid(z);
        [[maybe_unused]] const float error = softplus((1.0f - 2.0f * t) * z, s), miss = t > 0 ? s.q : s.p;
        if constexpr (kFormula == LossFormula::bce) {
            sums[0][i] += w * error;
        } else if constexpr (kFormula == LossFormula::wce) {
            sums[0][i] += w * s.p;
            errors[i] = w * error;
        } else if constexpr (kFormula == LossFormula::overlap) {
            sums[0][i] += w * s.p * t;
            sums[1][i] += w * (parameters.beta2 * t + s.p * s.p);
            sums[2][i] += w * miss * (t > 0 ? parameters.beta2 - s.p : s.p);
        } else if constexpr (kFormula == LossFormula::generalised_dice) {
            sums[0][i] += w * t;
            sums[1][i] += w * s.p * s.p;
            sums[2][i] += w * s.q * s.q;
            sums[3][i] += w * miss * miss;
        } else {
            const float balance = t > 0 ? parameters.alpha : 1.0f - parameters.alpha;
            sums[0][i] += w * balance * power[i] * error;
        }
    }
    if constexpr (kFormula == LossFormula::wce) {  // in loops of their own, which become vector code
        for (int i = 0; i < kPiece; ++i) sums[1][i] += piece.t[i] > 0 ? errors[i] : 0.0f;
        for (int i = 0; i < kPiece; ++i) sums[2][i] += piece.t[i] > 0 ? 0.0f : errors[i];
    }
}

template <LossFormula kFormula, class T>
IWSEG_VECTOR_CLONES void sum_chunk(const Chunk<T>& chunk, const LossParameters& parameters, double* sums) {
    Lanes lanes = {};
    Piece piece;
    for (std::int64_t first = 0; first < chunk.voxels; first += kPiece) {
        load(chunk, first, std::min<std::int64_t>(kPiece, chunk.voxels - first), piece);
        add_terms<kFormula>(piece, parameters, lanes);
    }
    for (int k = 0; k < kSums; ++k) {
        sums[k] = 0;
        for (int i = 0; i < kPiece; ++i) sums[k] += lanes[k][i];
    }
}

template <LossFormula kFormula>
[[gnu::always_inline]] inline void gradients(const Piece& piece, const LossParameters& parameters, const float* c,
                                             float* gradient) {
    [[maybe_unused]] float power[kPiece];
    if constexpr (kFormula == LossFormula::focal) focal_powers(piece, parameters.gamma, power);
    for (int i = 0; i < kPiece; ++i) {
        const float z = piece.z[i], t = piece.t[i], w = piece.w[i];
        const Sigmoid s = sigmoid(z);
        [[maybe_unused]] const float miss = t > 0 ? s.q : s.p, sign = t > 0 ? -1.0f : 1.0f;
        if constexpr (kFormula == LossFormula::bce) {
            gradient[i] = c[0] * w * sign * miss;
        } else if constexpr (kFormula == LossFormula::wce) {
            gradient[i] = (1.0f - t) * c[1] * s.p - t * c[0] * s.q + c[2] * s.p * s.q;
        } else if constexpr (kFormula == LossFormula::overlap) {
            gradient[i] = w * s.p * s.q * (c[0] * t + c[1] * s.p);
        } else if constexpr (kFormula == LossFormula::generalised_dice) {
            gradient[i] = s.p * s.q * (t * c[0] + (1.0f - t) * c[1] + c[2] * s.p + c[3] * s.q);
        } else {
            const float balance = t > 0 ? parameters.alpha : 1.0f - parameters.alpha;
            const float error = softplus(t > 0 ? -z : z, s), right = t > 0 ? s.p : s.q;
            // Above 104 `right` is 0, and infinity times it would not be.
            const float slope = parameters.gamma * right * (error > 128.0f ? 128.0f : error) + miss;
            gradient[i] = c[0] * w * sign * balance * power[i] * slope;
        }
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
        gradients<kFormula>(piece, parameters, coefficients, gradient);
        for (std::int64_t i = 0; i < count; ++i) store(diff_logit[first + i], gradient[i]);
    }
}

/// The loss of one sample, or of the whole batch, from its sums, and the gradient's coefficients.
/// mean: 1 / samples, or 1 / voxels for the losses that are a mean over voxels.
double loss_of_sums(const LossParameters& parameters, const double* sums, double voxels, double mean, double* c) {
    switch (parameters.formula) {
        case LossFormula::bce:
        case LossFormula::focal: c[0] = mean; return mean * sums[0];
        case LossFormula::wce: {
            if (sums[0] == 0) return 0;
            const double positive_weight = (voxels - sums[0]) / sums[0];
            c[0] = mean * positive_weight;
            c[1] = mean;
            c[2] = -mean * sums[1] * voxels / (sums[0] * sums[0]);
            return mean * (positive_weight * sums[1] + sums[2]);
        }
        case LossFormula::overlap: {
            if (sums[1] == 0) return 0;
            const double scale = mean * (1 + parameters.beta2) / sums[1];
            c[0] = -scale;
            c[1] = 2 * scale * sums[0] / sums[1];
            return mean * sums[2] / sums[1];
        }
        case LossFormula::generalised_dice: {
            const double lesion = sums[0], rest = voxels - lesion;
            const double v1 = 1 / (1 + lesion * lesion), v0 = 1 / (1 + rest * rest);
            const double size = v1 * (sums[1] + lesion) + v0 * (sums[2] + rest), error = (v1 + v0) * sums[3];
            if (size == 0) return 0;
            const double scale = 2 * mean / size, agreement = (size - error) / size;
            c[0] = -scale * v1;
            c[1] = scale * v0;
            c[2] = scale * v1 * agreement;
            c[3] = -scale * v0 * agreement;
            return mean * error / size;
        }
    }
    throw std::invalid_argument("loss_value: unknown formula");
}

/// Calls body(std::integral_constant<LossFormula, ...>{}).
template <class Body>
void with_formula(LossFormula formula, Body&& body) {
    using enum LossFormula;
    switch (formula) {
        case bce: return body(std::integral_constant<LossFormula, bce>{});
        case wce: return body(std::integral_constant<LossFormula, wce>{});
        case overlap: return body(std::integral_constant<LossFormula, overlap>{});
        case generalised_dice: return body(std::integral_constant<LossFormula, generalised_dice>{});
        case focal: return body(std::integral_constant<LossFormula, focal>{});
    }
}

/// A mean over all voxels of the batch, where the others are a mean over samples of a ratio.
bool is_voxel_mean(LossFormula formula) {
    return formula == LossFormula::bce || formula == LossFormula::wce || formula == LossFormula::focal;
}

void require_input(const LossParameters& parameters, const LossInput& input) {
    const View& logit = input.logit;
    if (logit.shape.c != 1 || logit.layout != Layout::ncdhw || !input.target)
        throw std::invalid_argument("loss: expected logits of one channel, ncdhw, and a target");
    if (input.labels && (!input.weights || input.stride < 1))
        throw std::invalid_argument("loss: labels are given without the weights to look up");
    const LossFormula formula = parameters.formula;
    if (input.labels && (formula == LossFormula::wce || formula == LossFormula::generalised_dice))
        throw std::invalid_argument("loss: weighted cross-entropy and generalised Dice take no inverse weights");
}

template <class T>
Chunk<T> chunk_of(const LossInput& input, std::int64_t n, std::int64_t chunk) {
    const std::int64_t voxels = input.logit.shape.voxels(), first = chunk * chunk_voxels(1), at = n * voxels + first;
    return {input.logit.as<const T>() + at, input.target + at, input.labels ? input.labels + at : nullptr,
            input.labels ? input.weights + n * input.stride : nullptr, std::min(chunk_voxels(1), voxels - first)};
}

/// Scratch: the coefficients of each sample, then the sums of each chunk.
float* coefficients_in(void* scratch) { return static_cast<float*>(scratch); }
double* sums_in(void* scratch, std::int64_t samples) {
    static_assert(kCoefficients * sizeof(float) % sizeof(double) == 0);
    return reinterpret_cast<double*>(static_cast<float*>(scratch) + samples * kCoefficients);
}

}  // namespace

std::int64_t loss_scratch_bytes(const LossParameters&, const Shape& logit) {
    return logit.n * (kCoefficients * static_cast<std::int64_t>(sizeof(float)) +
                      chunks_in(logit.voxels(), 1) * kSums * static_cast<std::int64_t>(sizeof(double)));
}

void loss_value(Stream, const LossParameters& parameters, const LossInput& input, void* scratch, double* value) {
    require_input(parameters, input);
    const Shape& shape = input.logit.shape;
    const std::int64_t chunks = chunks_in(shape.voxels(), 1);
    double* partial = sums_in(scratch, shape.n);
    with_real(input.logit.type, [&](auto real) {
        with_formula(parameters.formula, [&](auto formula) {
#pragma omp parallel for schedule(static)
            for (std::int64_t i = 0; i < shape.n * chunks; ++i)
                sum_chunk<formula()>(chunk_of<decltype(real)>(input, i / chunks, i % chunks), parameters,
                                     partial + i * kSums);
        });
    });
    // Groups that share a denominator: the batch, or each sample.
    const bool voxel_mean = is_voxel_mean(parameters.formula);
    const std::int64_t groups = voxel_mean ? 1 : shape.n, members = shape.n / groups;
    const double voxels = static_cast<double>(members * shape.voxels());
    const double mean = voxel_mean ? 1 / voxels : 1 / static_cast<double>(shape.n);
    double loss = 0;
    for (std::int64_t g = 0; g < groups; ++g) {
        double sums[kSums] = {}, coefficients[kCoefficients] = {};
        for (std::int64_t i = 0; i < members * chunks; ++i)
            for (int k = 0; k < kSums; ++k) sums[k] += partial[(g * chunks + i) * kSums + k];
        loss += loss_of_sums(parameters, sums, voxels, mean, coefficients);
        // Held finite: the empty target of a sure network may have 1 / (nearly 0) here, to be multiplied by 0.
        for (std::int64_t n = g * members; n < (g + 1) * members; ++n)
            for (int k = 0; k < kCoefficients; ++k)
                coefficients_in(scratch)[n * kCoefficients + k] =
                    static_cast<float>(std::clamp<double>(coefficients[k], -FLT_MAX, FLT_MAX));
    }
    *value = loss;
}

void loss_gradient(Stream, const LossParameters& parameters, const LossInput& input, const void* scratch,
                   View diff_logit) {
    require_input(parameters, input);
    require_same(input.logit, diff_logit, "loss_gradient");
    if (input.logit.type != diff_logit.type) throw std::invalid_argument("loss_gradient: tensors of different type");
    const Shape& shape = input.logit.shape;
    const std::int64_t chunks = chunks_in(shape.voxels(), 1);
    const auto* coefficients = static_cast<const float*>(scratch);
    with_real(input.logit.type, [&](auto real) {
        using T = decltype(real);
        with_formula(parameters.formula, [&](auto formula) {
#pragma omp parallel for schedule(static)
            for (std::int64_t i = 0; i < shape.n * chunks; ++i) {
                const Chunk<T> chunk = chunk_of<T>(input, i / chunks, i % chunks);
                gradient_of_chunk<formula()>(chunk, parameters, coefficients + i / chunks * kCoefficients,
                                             diff_logit.as<T>() + (chunk.logit - input.logit.as<const T>()));
            }
        });
    });
}

}  // namespace iwseg::cpu
