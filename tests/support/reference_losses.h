#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "losses/loss.h"

/// Losses in double precision, written down plainly, for tests to compare with and to differentiate by differences: one
/// `definition` a formula.
namespace iwseg::reference {

inline double sigmoid(double z) {
    return z >= 0 ? 1 / (1 + std::exp(-z)) : std::exp(z) / (1 + std::exp(z));
}
inline double softplus(double z) {
    return std::max(z, 0.0) + std::log1p(std::exp(-std::fabs(z)));
}

/// Target of a voxel that is ignored: it is left out of everything.
constexpr double kNoTruth = -1;

/// A batch: `samples` times as many voxels each.
struct LossBatch {
    std::int64_t samples;
    std::vector<double> z, t, w;
    std::vector<int> lesion = {};   ///< of each voxel whose t is 1: which lesion of its sample it is part of
    std::vector<int> nearest = {};  ///< of each voxel the lesion that is nearest, for terms over regions
    double step = -1;               ///< steps done before; below 0: after all warm-ups
    /// Of each voxel which detection it is part of, from 1 on within its sample, and its p where that is a constant.
    std::vector<int> detection = {};
    std::vector<double> constant_p = {};

    std::int64_t voxels() const { return static_cast<std::int64_t>(z.size()) / samples; }
};

/// A voxel that is not ignored.
struct LossVoxel {
    double p, q, t, w, error;  ///< error: cross-entropy
};

inline std::vector<LossVoxel> known_voxels(const LossBatch& b) {
    std::vector<LossVoxel> known;
    for (std::size_t v = 0; v < b.z.size(); ++v)
        if (b.t[v] != kNoTruth)
            known.push_back(
                {sigmoid(b.z[v]), sigmoid(-b.z[v]), b.t[v], b.w[v], softplus(b.t[v] > 0 ? -b.z[v] : b.z[v])});
    return known;
}

/// The mean of term(sample's voxels) over samples.
template <class Term>
double mean_of_samples(const LossBatch& b, Term term) {
    double total = 0;
    for (std::int64_t n = 0; n < b.samples; ++n) {
        const auto part = [&](const std::vector<double>& all) {
            return std::vector<double>(all.begin() + n * b.voxels(), all.begin() + (n + 1) * b.voxels());
        };
        total += term(known_voxels({1, part(b.z), part(b.t), part(b.w)}));
    }
    return total / static_cast<double>(b.samples);
}

/// The mean of term(voxel) over the voxels of the batch that are not ignored.
template <class Term>
double mean_of_voxels(const LossBatch& b, Term term) {
    const std::vector<LossVoxel> known = known_voxels(b);
    double total = 0;
    for (const LossVoxel& v : known) total += term(v);
    return known.empty() ? 0 : total / static_cast<double>(known.size());
}

inline double ratio_or_nothing(double numerator, double denominator) {
    return denominator == 0 ? 0 : 1 - numerator / denominator;
}

inline double definition(const formulas::CrossEntropy&, const LossBatch& b) {
    return mean_of_voxels(b, [](const LossVoxel& v) { return v.w * v.error; });
}

inline double definition(const formulas::ClassEntropy&, const LossBatch& b) {
    return mean_of_voxels(b, [](const LossVoxel& v) { return v.t * v.w * v.error; });
}

inline double definition(const formulas::BalancedCrossEntropy&, const LossBatch& b) {
    double known = 0, sum_p = 0;
    for (const LossVoxel& v : known_voxels(b)) known += 1, sum_p += v.p;
    if (sum_p == 0) return 0;
    return mean_of_voxels(b, [&](const LossVoxel& v) { return (v.t > 0 ? (known - sum_p) / sum_p : 1) * v.error; });
}

inline double definition(const formulas::Overlap& overlap, const LossBatch& b) {
    return mean_of_samples(b, [&](const std::vector<LossVoxel>& voxels) {
        double intersection = 0, size = 0;
        for (const LossVoxel& v : voxels) {
            intersection += v.w * v.p * v.t;
            size += v.w * (overlap.beta2 * v.t * v.t + v.p * v.p);
        }
        return ratio_or_nothing((1 + overlap.beta2) * intersection, size);
    });
}

inline double definition(const formulas::GeneralisedDice&, const LossBatch& b) {
    return mean_of_samples(b, [](const std::vector<LossVoxel>& voxels) {
        double of_lesion = 0, of_rest = 0, size_of_lesion = 0, size_of_rest = 0, lesion = 0;
        for (const LossVoxel& v : voxels) {
            of_lesion += v.p * v.t;
            size_of_lesion += v.t * v.t + v.p * v.p;
            of_rest += v.q * (1 - v.t);
            size_of_rest += (1 - v.t) * (1 - v.t) + v.q * v.q;
            lesion += v.t;
        }
        const double rest = static_cast<double>(voxels.size()) - lesion;
        const double by_lesion = 1 / (1 + lesion * lesion), by_rest = 1 / (1 + rest * rest);
        return ratio_or_nothing(2 * (by_rest * of_rest + by_lesion * of_lesion),
                                by_rest * size_of_rest + by_lesion * size_of_lesion);
    });
}

template <bool kSquare>
double definition(const formulas::Focal<kSquare>& focal, const LossBatch& b) {
    return mean_of_voxels(b, [&](const LossVoxel& v) {
        const double alpha = focal.alpha;
        return v.w * (v.t > 0 ? alpha : 1 - alpha) * std::pow(v.t > 0 ? v.q : v.p, focal.gamma) * v.error;
    });
}

inline double definition(const formulas::SoftDice&, const LossBatch& b) {
    double intersection = 0, size = 0;
    for (const LossVoxel& v : known_voxels(b)) {
        intersection += v.w * v.p * v.t;
        size += v.w * (v.p + v.t);
    }
    return 1 - (2 * intersection + 1e-5) / (size + 1e-5);
}

inline double tversky_loss(const std::vector<LossVoxel>& voxels, double by_over, double by_under) {
    double agreement = 0, over = 0, under = 0;
    for (const LossVoxel& v : voxels) {
        agreement += v.w * v.p * v.t;
        over += v.w * v.p * (1 - v.t);
        under += v.w * v.q * v.t;
    }
    return 1 - (agreement + 1e-5) / (agreement + by_over * over + by_under * under + 1e-5);
}
inline double definition(const formulas::Tversky& tversky, const LossBatch& b) {
    return tversky_loss(known_voxels(b), tversky.over, tversky.under);
}
inline double definition(const formulas::PatchTversky& tversky, const LossBatch& b) {
    return mean_of_samples(b, [&](const auto& voxels) { return tversky_loss(voxels, tversky.over, tversky.under); });
}
inline double definition(const formulas::FocalTversky& focal, const LossBatch& b) {
    return std::pow(tversky_loss(known_voxels(b), focal.over, focal.under), 1.0 / focal.gamma);
}

inline double definition(const formulas::UnifiedFocal& unified, const LossBatch& b) {
    const double d = unified.delta, gamma = unified.gamma, share = unified.share, epsilon = 1e-7;
    return mean_of_samples(b, [&](const std::vector<LossVoxel>& voxels) {
        double entropy = 0, hit = 0, missed = 0, rest = 0, false_lesion = 0;
        for (const LossVoxel& v : voxels) {
            entropy += v.t > 0 ? d * v.error : (1 - d) * std::pow(v.p, gamma) * v.error;
            hit += v.t * v.p, missed += v.t * v.q, rest += (1 - v.t) * v.q, false_lesion += (1 - v.t) * v.p;
        }
        if (voxels.empty()) return 0.0;
        const auto index = [&](double right, double lost, double wrong) {
            return (right + epsilon) / (right + d * lost + (1 - d) * wrong + epsilon);
        };
        const double lesion = std::pow(std::max(1 - index(hit, missed, false_lesion), epsilon), 1 - gamma);
        const double overlaps = (lesion + 1 - index(rest, false_lesion, missed)) / 2;
        return share * entropy / (2 * static_cast<double>(voxels.size())) + (1 - share) * overlaps;
    });
}

/// How many voxels each lesion of a sample has.
inline std::vector<std::map<int, double>> lesion_sizes(const LossBatch& b) {
    std::vector<std::map<int, double>> sizes(b.samples);
    for (std::size_t v = 0; v < b.z.size(); ++v)
        if (b.t[v] == 1) ++sizes[static_cast<std::int64_t>(v) / b.voxels()][b.lesion[v]];
    return sizes;
}

/// Component-adaptive Tversky: CATMIL, arXiv 2604.08015.
inline double component_adaptive(const formulas::Formula& tversky, const LossBatch& b) {
    const auto sizes = lesion_sizes(b);
    if (std::all_of(sizes.begin(), sizes.end(), [](const auto& of_sample) { return of_sample.empty(); })) return 0;
    LossBatch weighted = b;
    for (std::size_t v = 0; v < b.z.size(); ++v)
        weighted.w[v] = b.t[v] == 1 ? 1 / (sizes[static_cast<std::int64_t>(v) / b.voxels()].at(b.lesion[v]) + 5) : 0.01;
    return definition(std::get<formulas::PatchTversky>(tversky), weighted);
}

/// The mean over the batch's lesions of -log of their largest p.
inline double lesion_maximum(const LossBatch& b) {
    std::map<std::pair<std::int64_t, int>, double> least;
    for (std::size_t v = 0; v < b.z.size(); ++v) {
        if (b.t[v] != 1) continue;
        const std::pair lesion(static_cast<std::int64_t>(v) / b.voxels(), b.lesion[v]);
        const double error = softplus(-b.z[v]);
        const auto [place, first] = least.emplace(lesion, error);
        if (!first) place->second = std::min(place->second, error);
    }
    double total = 0;
    for (const auto& [lesion, error] : least) total += error;
    return least.empty() ? 0 : total / static_cast<double>(least.size());
}

/// The mean cross-entropy of so many percent of the known voxels, of all samples together, those of the largest.
inline double hardest_voxels(const LossBatch& b, double percent) {
    std::vector<double> errors;
    for (const LossVoxel& v : known_voxels(b)) errors.push_back(v.error);
    if (errors.empty()) return 0;
    std::sort(errors.begin(), errors.end(), std::greater<>());
    const auto most = static_cast<std::size_t>(static_cast<double>(errors.size()) * percent / 100);
    errors.resize(std::max<std::size_t>(1, most));
    double total = 0;
    for (const double error : errors) total += error;
    return total / static_cast<double>(errors.size());
}

/// The instance-wise part of ICI, arXiv 2304.06229: each lesion's Dice with the detections that reach it.
inline double instances(const LossBatch& b) {
    constexpr double smooth = 1e-5;
    long double total = 0;  // thousands of lesions, of which a difference changes few
    double count = 0;
    for (std::int64_t n = 0; n < b.samples; ++n) {
        std::map<int, std::set<int>> reached;  // of each lesion
        double known = 0, all = 0;
        const auto each = [&](auto visit) {
            for (std::int64_t v = n * b.voxels(); v < (n + 1) * b.voxels(); ++v)
                if (b.t[v] != kNoTruth) visit(v);
        };
        each([&](std::int64_t v) {
            ++known, all += sigmoid(b.z[v]);
            if (b.t[v] != 1) return;
            std::set<int>& detections = reached[b.lesion[v]];
            if (b.detection[v] > 0) detections.insert(b.detection[v]);
        });
        if (known > 0 && reached.empty()) total += all / (all + smooth), ++count;
        for (const auto& [lesion, detections] : reached) {
            long double agreement = 0, found = 0, size = 0;
            each([&, lesion = lesion, &detections = detections](std::int64_t v) {
                const bool within = detections.count(b.detection[v]) > 0;
                if (b.t[v] == 1 && b.lesion[v] == lesion) {
                    ++size;
                    if (within) agreement += sigmoid(b.z[v]), found += sigmoid(b.z[v]);
                } else if (b.t[v] == 0 && within) {
                    found += sigmoid(b.z[v]) * b.constant_p[v];
                }
            });
            total += 1 - (2 * agreement + smooth) / (found + size + smooth), ++count;
        }
    }
    return count > 0 ? static_cast<double>(total / count) : 0;
}

/// For each voxel of a sample, which lesion is nearest, by looking at all voxels of all lesions; 0 where there is none.
/// Of equally near voxels the first in raster order decides. shape: D, H, W.
inline std::vector<int> nearest_lesions(const LossBatch& b, const std::array<std::int64_t, 3>& shape) {
    std::vector<int> nearest(b.z.size(), 0);
    const auto place = [&](std::int64_t v) {
        return std::array{v / shape[2] / shape[1], v / shape[2] % shape[1], v % shape[2]};
    };
    for (std::int64_t n = 0; n < b.samples; ++n)
        for (std::int64_t v = 0; v < b.voxels(); ++v) {
            std::int64_t least = INT64_MAX;
            const auto here = place(v);
            for (std::int64_t u = 0; u < b.voxels(); ++u) {
                if (b.t[n * b.voxels() + u] != 1) continue;
                const auto there = place(u);
                std::int64_t distance = 0;
                for (int a = 0; a < 3; ++a) distance += (here[a] - there[a]) * (here[a] - there[a]);
                if (distance >= least) continue;
                least = distance;
                nearest[n * b.voxels() + v] = b.lesion[n * b.voxels() + u];
            }
        }
    return nearest;
}

/// The terms in brackets of each lesion's region: the mean over a sample's lesions, then over samples with any.
inline double of_regions(const LossTerm& term, const LossBatch& b) {
    double total = 0, samples = 0;
    for (std::int64_t n = 0; n < b.samples; ++n) {
        std::map<int, LossBatch> regions;
        std::vector<std::size_t> rest;
        const auto add = [&](LossBatch& to, std::size_t v) {
            to.samples = 1;
            to.z.push_back(b.z[v]), to.t.push_back(b.t[v]), to.w.push_back(1);
        };
        for (std::size_t v = n * b.voxels(); v < static_cast<std::size_t>((n + 1) * b.voxels()); ++v) {
            if (b.t[v] == kNoTruth) continue;
            if (term.kind == TermKind::regions)
                add(regions[b.nearest.at(v)], v);
            else if (b.t[v] == 1)
                add(regions[b.lesion[v]], v);
            else
                rest.push_back(v);
        }
        double of_sample = 0;
        for (auto& [lesion, region] : regions) {
            for (const std::size_t v : rest) add(region, v);
            for (const LossTerm& inner : term.inner)
                of_sample +=
                    inner.factor *
                    std::visit([&, &region = region](const auto& f) { return definition(f, region); }, inner.formula);
        }
        if (regions.empty()) continue;
        total += of_sample / static_cast<double>(regions.size());
        ++samples;
    }
    return samples > 0 ? total / samples : 0;
}

inline double term_value(const LossTerm& term, const LossBatch& b) {
    if (term.kind == TermKind::blobs || term.kind == TermKind::regions) return of_regions(term, b);
    if (term.kind == TermKind::size_weighted) return component_adaptive(term.formula, b);
    if (term.kind == TermKind::hardest_voxels) return hardest_voxels(b, term.percent);
    if (term.kind == TermKind::lesion_maximum) return lesion_maximum(b);
    if (term.kind == TermKind::instances) return instances(b);
    LossBatch read = b;  // weights count in weighted terms only
    if (!term.weighted) std::fill(read.w.begin(), read.w.end(), 1.0);
    return std::visit([&](const auto& f) { return definition(f, read); }, term.formula);
}

inline double loss(const Loss& loss, const LossBatch& b) {
    double total = 0;
    for (const LossTerm& term : loss.terms) {
        const bool warming = term.warmup_steps > 0 && b.step >= 0;
        total += term.factor * (warming ? std::min(1.0, b.step / term.warmup_steps) : 1.0) * term_value(term, b);
    }
    return total;
}

}  // namespace iwseg::reference
