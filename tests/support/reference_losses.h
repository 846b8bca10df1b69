#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

/// Losses in double precision, written down plainly, for tests to compare with and to differentiate by differences.
namespace iwseg::reference {

inline double sigmoid(double z) {
    return z >= 0 ? 1 / (1 + std::exp(-z)) : std::exp(z) / (1 + std::exp(z));
}
inline double softplus(double z) {
    return std::max(z, 0.0) + std::log1p(std::exp(-std::fabs(z)));
}

/// Target of a voxel that is ignored: it is left out of everything.
constexpr double kNoTruth = -1;

/// A batch: `samples` times as many voxels each. Weights are 1 for losses without them.
struct LossBatch {
    std::int64_t samples;
    std::vector<double> z, t, w;

    std::int64_t voxels() const { return static_cast<std::int64_t>(z.size()) / samples; }
};

struct LossKind {
    std::string formula;  ///< bce, wce, overlap, gdl, focal or sum
    double beta2 = 1, gamma = 2, alpha = 0.75;
    std::array<double, 4> factors{};  ///< of sum: dice, iwdice, ce, iwce
};

inline double ratio_or_nothing(double numerator, double denominator) {
    return denominator == 0 ? 0 : 1 - numerator / denominator;
}

/// overlap and gdl of sample n.
inline double sample_loss(const LossKind& kind, const LossBatch& b, std::int64_t n) {
    double intersection[2] = {}, size[2] = {}, lesion = 0, known = 0;
    for (std::int64_t v = n * b.voxels(); v < (n + 1) * b.voxels(); ++v) {
        if (b.t[v] == kNoTruth) continue;
        ++known;
        const double p = sigmoid(b.z[v]), q = sigmoid(-b.z[v]), t = b.t[v], beta2 = kind.beta2;
        intersection[1] += b.w[v] * p * t;
        size[1] += b.w[v] * (beta2 * t * t + p * p);
        intersection[0] += q * (1 - t);
        size[0] += (1 - t) * (1 - t) + q * q;
        lesion += t;
    }
    if (kind.formula == "overlap") return ratio_or_nothing((1 + kind.beta2) * intersection[1], size[1]);
    const double rest = known - lesion;
    const double c[2] = {1 / (1 + rest * rest), 1 / (1 + lesion * lesion)};
    return ratio_or_nothing(2 * (c[0] * intersection[0] + c[1] * intersection[1]), c[0] * size[0] + c[1] * size[1]);
}

/// Smoothed soft Dice of the batch, and cross-entropy, each plain and weighted.
inline double sum_of_terms(const LossKind& kind, const LossBatch& b) {
    const auto known = static_cast<double>(b.t.size() - std::count(b.t.begin(), b.t.end(), kNoTruth));
    double total = 0;
    for (const bool weighted : {false, true}) {
        double intersection = 0, size = 0, error = 0;
        for (std::size_t v = 0; v < b.z.size(); ++v) {
            if (b.t[v] == kNoTruth) continue;
            const double p = sigmoid(b.z[v]), w = weighted ? b.w[v] : 1;
            intersection += w * p * b.t[v];
            size += w * (p + b.t[v]);
            error += w * softplus(b.t[v] > 0 ? -b.z[v] : b.z[v]);
        }
        const double dice = kind.factors[weighted ? 1 : 0], ce = kind.factors[weighted ? 3 : 2];
        if (dice != 0) total += dice * (1 - (2 * intersection + 1e-5) / (size + 1e-5));
        if (ce != 0 && known > 0) total += ce * error / known;
    }
    return total;
}

inline double loss(const LossKind& kind, const LossBatch& b) {
    if (kind.formula == "sum") return sum_of_terms(kind, b);
    const auto known = static_cast<double>(b.t.size() - std::count(b.t.begin(), b.t.end(), kNoTruth));
    double total = 0, sum_p = 0;
    if (kind.formula == "overlap" || kind.formula == "gdl") {
        for (std::int64_t n = 0; n < b.samples; ++n) total += sample_loss(kind, b, n);
        return total / static_cast<double>(b.samples);
    }
    if (known == 0) return 0;
    for (std::size_t v = 0; v < b.z.size(); ++v)
        if (b.t[v] != kNoTruth) sum_p += sigmoid(b.z[v]);
    if (kind.formula == "wce" && sum_p == 0) return 0;
    for (std::size_t v = 0; v < b.z.size(); ++v) {
        if (b.t[v] == kNoTruth) continue;
        const double t = b.t[v], error = softplus(t > 0 ? -b.z[v] : b.z[v]);
        if (kind.formula == "bce") total += b.w[v] * error;
        if (kind.formula == "wce") total += (t > 0 ? (known - sum_p) / sum_p : 1) * error;
        if (kind.formula == "focal")
            total += b.w[v] * (t > 0 ? kind.alpha : 1 - kind.alpha) *
                     std::pow(sigmoid(t > 0 ? -b.z[v] : b.z[v]), kind.gamma) * error;
    }
    return total / known;
}

}  // namespace iwseg::reference
