#include "evaluation/candidate_froc.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "evaluation/froc_draws.h"

namespace iwseg {
namespace {

constexpr int kPerDoubling = 32, kDoublings = 6;  // 1/8 to 8
constexpr std::size_t kPoints = kPerDoubling * kDoublings + 1;

std::vector<double> rates() {
    std::vector<double> all;
    for (std::size_t i = 0; i < kPoints; ++i)
        all.push_back(i % kPerDoubling == 0 ? kLunaRates[i / kPerDoubling]
                                            : std::exp2(static_cast<double>(i) / kPerDoubling - 3));
    return all;
}

/// Sums over scans of which each counts weights[scan] times.
struct Totals {
    double found = 0, false_positives = 0, nodules = 0;
};

Totals totals_of(const CandidateMatches& matches, const std::vector<double>& weights) {
    Totals totals;
    for (const CandidateMatches::Event& event : matches.events)
        (event.is_nodule ? totals.found : totals.false_positives) += weights[event.scan];
    totals.nodules = std::inner_product(weights.begin(), weights.end(), matches.nodules.begin(), 0.0);
    return totals;
}

/// Sensitivity at each rate, NaN without nodules. Rates and shares are rounded in the steps of scikit-learn's roc_curve
/// and the script, since a rate at which the curve is vertical is met or missed by the last bit.
void sensitivity_at(const CandidateMatches& matches, const std::vector<double>& at, const std::vector<double>& weights,
                    double* sensitivity) {
    const Totals totals = totals_of(matches, weights);
    const auto scans = static_cast<double>(weights.size());
    const auto rate_of = [&](double positives) {
        if (totals.false_positives == 0) return 0.0;
        return positives / totals.false_positives * totals.false_positives / scans;
    };
    const auto share_of = [&](double found) {
        if (totals.found == 0) return 0.0;
        return found / totals.found * totals.found / totals.nodules;
    };
    if (totals.nodules == 0) {
        std::fill_n(sensitivity, at.size(), std::numeric_limits<double>::quiet_NaN());
        return;
    }
    double found = 0, positives = 0, rate_before = 0, share_before = 0;
    std::size_t next = 0;
    for (std::size_t i = 0; i < matches.events.size() && next < at.size();) {
        const double probability = matches.events[i].probability;
        for (; i < matches.events.size() && matches.events[i].probability == probability; ++i)
            (matches.events[i].is_nodule ? found : positives) += weights[matches.events[i].scan];
        const double rate = rate_of(positives), share = share_of(found);
        for (; next < at.size() && at[next] < rate; ++next)
            sensitivity[next] = (share - share_before) / (rate - rate_before) * (at[next] - rate_before) + share_before;
        rate_before = rate;
        share_before = share;
    }
    std::fill(sensitivity + next, sensitivity + at.size(), share_before);
}

double score_of(const double* sensitivity) {
    double sum = 0;
    for (std::size_t i = 0; i < kPoints; i += kPerDoubling) sum += sensitivity[i];
    return sum / static_cast<double>(kLunaRates.size());
}

Estimate estimate_as_luna16(double value, std::vector<double> draws) {
    constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
    if (draws.empty()) return {value, unknown, unknown, unknown};
    Estimate estimate{value, deviation_of(draws), 0, 0};
    std::sort(draws.begin(), draws.end());
    const double outside = (1.0 - 0.95) / 2.0, count = static_cast<double>(draws.size());
    estimate.low = draws[static_cast<std::size_t>(std::floor(outside * count))];
    estimate.high = draws[static_cast<std::size_t>(std::floor((1.0 - outside) * count))];
    return estimate;
}

}  // namespace

CandidateFroc compute_candidate_froc(const CandidateMatches& matches, const CandidateFrocOptions& options) {
    if (options.draws < 1)
        throw InputError("a bootstrap needs at least one draw, not " + std::to_string(options.draws));
    const std::size_t scans = matches.nodules.size();
    CandidateFroc froc;
    froc.false_positives = rates();
    froc.scans = static_cast<std::int64_t>(scans);
    froc.nodules = matches.all_nodules();
    std::vector<double> whole(kPoints), weights(scans, 1.0);
    sensitivity_at(matches, froc.false_positives, weights, whole.data());

    // Every draw of a single scan is that scan: they say nothing.
    const auto draws = static_cast<std::size_t>(scans > 1 ? options.draws : 0);
    Draws curves(draws, kPoints), scores(draws, 1);
    for (std::size_t draw = 0; draw < draws; ++draw) {
        Random random(options.seed, draw, 0, Purpose::bootstrap);
        std::fill(weights.begin(), weights.end(), 0.0);
        for (std::size_t i = 0; i < scans; ++i) weights[random.below(scans)] += 1;
        sensitivity_at(matches, froc.false_positives, weights, curves.row(draw));
        *scores.row(draw) = score_of(curves.row(draw));
    }
    froc.score = estimate_as_luna16(score_of(whole.data()), scores.column(0));
    for (std::size_t i = 0; i < kPoints; ++i) {
        const std::vector<double> column = curves.column(i);
        const Estimate at = estimate_as_luna16(whole[i], column);
        froc.curve.recall.push_back(at.value);
        if (at.has_interval()) {
            froc.curve.low.push_back(at.low);
            froc.curve.high.push_back(at.high);
        }
        if (i % kPerDoubling != 0) continue;
        froc.sensitivity.push_back(at);
        froc.bootstrap_mean.push_back(column.empty() ? std::numeric_limits<double>::quiet_NaN() : mean_of(column));
    }
    froc.all_false_positives = static_cast<double>(matches.false_positives) / static_cast<double>(scans);
    froc.all_recall = static_cast<double>(matches.found) / static_cast<double>(froc.nodules);
    return froc;
}

}  // namespace iwseg
