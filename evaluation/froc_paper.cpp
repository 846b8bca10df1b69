#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "evaluation/froc_draws.h"
#include "evaluation/numpy_shuffle.h"

namespace iwseg {
namespace {

/// numpy's linspace, ends included.
void append_linspace(std::vector<double>& values, double first, double last, int count) {
    const double step = (last - first) / (count - 1);
    for (int i = 0; i < count - 1; ++i) values.push_back(first + i * step);
    values.push_back(last);
}

std::vector<double> thresholds_of(const std::vector<const std::vector<Record>*>& scans) {
    double largest = -std::numeric_limits<double>::infinity();
    for (const auto* scan : scans)
        for (const Record& record : *scan)
            if (std::isfinite(record.self_logit)) largest = std::max(largest, record.self_logit);
    std::vector<double> thresholds;
    append_linspace(thresholds, -0.1, 10, 101);
    // Without any detection every threshold says the same.
    append_linspace(thresholds, 10, std::isfinite(largest) ? largest + 1 : 10, 100);
    // Where no logit reaches 9 the second part falls, over thresholds that no record reaches: 10 says the same.
    for (std::size_t i = 1; i < thresholds.size(); ++i) thresholds[i] = std::max(thresholds[i], thresholds[i - 1]);
    return thresholds;
}

/// Found lesions and false positives at each threshold; lesions at all.
struct Counts {
    std::vector<std::int32_t> found, false_positives;
    std::int64_t lesions = 0;

    explicit Counts(std::size_t thresholds) : found(thresholds), false_positives(thresholds) {}
    void add(const Counts& other) {
        for (std::size_t i = 0; i < found.size(); ++i) {
            found[i] += other.found[i];
            false_positives[i] += other.false_positives[i];
        }
        lesions += other.lesions;
    }
};

/// A lesion that is hit counts at every threshold up to its hit_logit, a false positive below its self_logit: each is
/// put at the last threshold where it counts, and sums from the end do the rest.
Counts count_scan(const std::vector<Record>& scan, const std::vector<double>& thresholds) {
    Counts counts(thresholds.size());
    for (const Record& record : scan) {
        counts.lesions += record.is_tum;
        if (record.is_tum != (record.hit_dice > 0)) continue;
        const auto end = record.is_tum ? std::upper_bound(thresholds.begin(), thresholds.end(), record.hit_logit)
                                       : std::lower_bound(thresholds.begin(), thresholds.end(), record.self_logit);
        if (end == thresholds.begin()) continue;
        ++(record.is_tum ? counts.found : counts.false_positives)[end - thresholds.begin() - 1];
    }
    for (std::size_t i = thresholds.size() - 1; i-- > 0;) {
        counts.found[i] += counts.found[i + 1];
        counts.false_positives[i] += counts.false_positives[i + 1];
    }
    return counts;
}

double recall_of(const Counts& counts, std::size_t threshold) {
    return counts.lesions ? counts.found[threshold] / static_cast<double>(counts.lesions) : 1.0;
}

/// Recall at each rate, as np.interp gives it on (false positives, recall) from the highest threshold down, after (0,
/// 0).
void interpolate(const Counts& counts, double scans, const std::vector<double>& rates, double* recall) {
    std::vector<double> x{0}, y{0};
    for (std::size_t i = counts.found.size(); i-- > 0;) {
        x.push_back(counts.false_positives[i] / scans);
        y.push_back(recall_of(counts, i));
    }
    for (std::size_t r = 0; r < rates.size(); ++r) {
        const std::size_t after = std::upper_bound(x.begin(), x.end(), rates[r]) - x.begin();
        recall[r] = y[after - 1];
        if (after < x.size())
            recall[r] += (y[after] - y[after - 1]) / (x[after] - x[after - 1]) * (rates[r] - x[after - 1]);
    }
}

/// Mean and deviation over the draws.
Estimate estimate_of(const std::vector<double>& draws) {
    const double mean = mean_of(draws), deviation = deviation_of(draws);
    return {mean, deviation, mean - deviation, mean + deviation};
}

}  // namespace

Froc compute_paper_froc(const Records& records) {
    constexpr std::size_t draws = 50;
    std::vector<const std::vector<Record>*> scans;  // sorted by name, as the map is
    for (const auto& [name, list] : records)
        if (!list.empty()) scans.push_back(&list);
    const std::vector<double> thresholds = thresholds_of(scans);
    const double all_scans = static_cast<double>(scans.size());
    const auto kept = static_cast<std::size_t>(0.8 * all_scans);
    if (kept == 0)
        throw InputError(
            fmt::format("the protocol paper draws 80 % of the scans that have records, which is none of {}; "
                        "expected at least 2 such scans, or the protocol corrected",
                        scans.size()));

    Froc froc;
    froc.scans = static_cast<std::int64_t>(scans.size());
    froc.size_unit = size_unit(records);
    froc.volume_ratio = volume_ratio(records);
    std::vector<Counts> counts;
    Counts all(thresholds.size());
    std::vector<double> dice;
    for (const auto* scan : scans) {
        counts.push_back(count_scan(*scan, thresholds));
        all.add(counts.back());
        froc.records += static_cast<std::int64_t>(scan->size());
        for (const Record& record : *scan)
            if (record.is_tum && record.hit_dice > 0 && record.hit_logit >= thresholds[0])
                dice.push_back(record.hit_dice);
    }
    froc.lesions = all.lesions;
    froc.object_dice = estimate_of(dice);
    froc.all_recall = recall_of(all, 0);
    froc.all_false_positives = all.false_positives[0] / all_scans;

    const FrocGrid grid;
    const std::size_t columns = grid.rates().size();
    std::vector<double> whole(columns), average(draws), luna(draws);
    interpolate(all, all_scans, grid.rates(), whole.data());
    froc.whole_set_average_recall = grid.average_recall(whole.data());

    NumpyShuffle random(42);
    std::vector<std::size_t> order(scans.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    Draws recalls(draws, columns);
    for (std::size_t draw = 0; draw < draws; ++draw) {
        random.shuffle(order);
        Counts drawn(thresholds.size());
        for (std::size_t i = 0; i < kept; ++i) drawn.add(counts[order[i]]);
        interpolate(drawn, all_scans, grid.rates(), recalls.row(draw));
        average[draw] = grid.average_recall(recalls.row(draw));
        luna[draw] = grid.luna_score(recalls.row(draw));
    }
    froc.average_recall = estimate_of(average);
    froc.luna_score = estimate_of(luna);
    for (std::size_t column = 0; column < columns; ++column) {
        const Estimate at = estimate_of(recalls.column(column));
        if (column >= grid.curve_points()) {
            froc.sensitivity.push_back(at);
            continue;
        }
        froc.false_positives.push_back(grid.rates()[column]);
        froc.curve.recall.push_back(at.value);
        froc.curve.low.push_back(at.low);
        froc.curve.high.push_back(at.high);
    }
    return froc;
}

}  // namespace iwseg
