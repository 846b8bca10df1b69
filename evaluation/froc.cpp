#include "evaluation/froc.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "evaluation/froc_draws.h"

namespace iwseg {

FrocGrid::FrocGrid() {
    for (std::size_t i = 0; i < curve_points(); ++i) rates_.push_back(static_cast<double>(i) / 100.0);
    rates_.insert(rates_.end(), kLunaRates.begin(), kLunaRates.end());
    rising_.resize(rates_.size());
    std::iota(rising_.begin(), rising_.end(), std::size_t{0});
    std::stable_sort(rising_.begin(), rising_.end(), [&](auto a, auto b) { return rates_[a] < rates_[b]; });
}

double FrocGrid::average_recall(const double* recall) const {
    return std::accumulate(recall, recall + 501, 0.0) / 501;
}

double FrocGrid::luna_score(const double* recall) const {
    return std::accumulate(recall + curve_points(), recall + rates_.size(), 0.0) /
           static_cast<double>(kLunaRates.size());
}

std::vector<double> Draws::column(std::size_t index) const {
    std::vector<double> values;
    values.reserve(draws_);
    for (std::size_t draw = 0; draw < draws_; ++draw)
        if (const double value = values_[draw * columns_ + index]; !std::isnan(value)) values.push_back(value);
    return values;
}

double mean_of(const std::vector<double>& values) {
    if (values.empty()) return 0;
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double deviation_of(const std::vector<double>& values) {
    if (values.empty()) return 0;
    const double mean = mean_of(values);
    double sum = 0;
    for (const double value : values) sum += (value - mean) * (value - mean);
    return std::sqrt(sum / static_cast<double>(values.size()));
}

double quantile_of(std::vector<double>& values, double share) {
    if (values.empty()) return 0;
    const double rank = share * static_cast<double>(values.size() - 1);
    const auto low = static_cast<std::ptrdiff_t>(rank);
    std::nth_element(values.begin(), values.begin() + low, values.end());
    const double below = values[low], part = rank - static_cast<double>(low);
    if (part == 0) return below;
    return below + part * (*std::min_element(values.begin() + low + 1, values.end()) - below);
}

Estimate recall_at(const Froc& froc, const FrocCurve& curve, double rate) {
    const std::vector<double>& rates = froc.false_positives;
    const auto after = std::upper_bound(rates.begin(), rates.end() - 1, rate) - rates.begin();
    const std::ptrdiff_t before = std::max<std::ptrdiff_t>(after - 1, 0);
    const double share = after > before ? (rate - rates[before]) / (rates[after] - rates[before]) : 0;
    const auto between = [&](const std::vector<double>& values) {
        if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
        return values[before] + share * (values[after] - values[before]);
    };
    return {between(curve.recall), std::numeric_limits<double>::quiet_NaN(), between(curve.low), between(curve.high)};
}

Froc compute_froc(const Records& records, const FrocOptions& options) {
    if (lesion_diameters(records, SizeUnit::voxels).empty())
        throw InputError("a FROC needs at least one lesion, but the records of " + std::to_string(records.size()) +
                         " scans hold none");
    if (options.protocol == FrocProtocol::paper) {
        if (options.scans)
            throw InputError(
                "the number of scans cannot be given with the protocol paper, which counts the scans that "
                "have records");
        return compute_paper_froc(records);
    }
    if (options.scans && options.scans < static_cast<std::int64_t>(records.size()))
        throw InputError("the number of scans given is " + std::to_string(options.scans) + ", but the records hold " +
                         std::to_string(records.size()));
    if (options.draws < 1)
        throw InputError("a bootstrap needs at least one draw, not " + std::to_string(options.draws));
    return compute_corrected_froc(records, options);
}

}  // namespace iwseg
