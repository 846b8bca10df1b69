#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/random.h"
#include "evaluation/froc_draws.h"
#include "evaluation/hit_rule.h"

namespace iwseg {
namespace {

constexpr std::int32_t kFalsePositive = -1;  // in place of a stratum

/// A false positive, or a found lesion of one stratum, that appears as the threshold falls to its logit.
struct Event {
    double logit;
    std::uint32_t scan;
    std::int32_t stratum;
};

/// All records sorted once; every draw is one walk over them with a weight a scan.
class FrocWalk {
  public:
    FrocWalk(const Records& records, SizeUnit unit, std::vector<double> bounds);

    std::size_t strata() const { return bounds_.size(); }
    /// Rows: all lesions, then each stratum.
    std::size_t rows() const { return strata() + 1; }
    double lesions(const std::vector<double>& weights, std::size_t row) const { return sum(lesions_, weights, row); }
    double found(const std::vector<double>& weights, std::size_t row) const { return sum(found_, weights, row); }
    /// Mean Dice of found lesions; NaN without any.
    double object_dice(const std::vector<double>& weights) const;
    /// Over found lesions, as published: how much Dice differs from lesion to lesion.
    double dice_deviation() const { return deviation_of(all_dice_); }
    double false_positives() const { return false_positives_; }  ///< of all scans
    /// recall: (rows, rates). Linear between the operating points, flat beyond the last; NaN without lesions.
    void recall_at(const FrocGrid& grid, const std::vector<double>& weights, double scans, double* recall) const;

  private:
    double sum(const std::vector<double>& per_scan, const std::vector<double>& weights, std::size_t row) const;

    std::vector<double> bounds_;
    std::vector<Event> events_;
    std::vector<double> lesions_, found_;  // (rows, scans)
    std::vector<double> dice_;             // (scans): sum over found lesions
    std::vector<double> all_dice_;         // of each found lesion
    double false_positives_ = 0;
    std::size_t scans_;
};

FrocWalk::FrocWalk(const Records& records, SizeUnit unit, std::vector<double> bounds)
    : bounds_(std::move(bounds)), dice_(records.size()), scans_(records.size()) {
    lesions_.resize(rows() * scans_);
    found_.resize(rows() * scans_);
    std::uint32_t scan = 0;
    for (const auto& [name, list] : records) {
        const std::vector<Outcome> outcomes = outcomes_of(list);
        for (std::size_t i = 0; i < list.size(); ++i) {
            const Record& record = list[i];
            if (!record.is_tum) {
                if (outcomes[i] != Outcome::false_positive) continue;
                events_.push_back({record.self_logit, scan, kFalsePositive});
                false_positives_ += 1;
                continue;
            }
            // A lesion larger than the last bound (bounds of other records) belongs to the last stratum.
            const double diameter = diameter_of(record, unit);
            const auto place = std::lower_bound(bounds_.begin(), bounds_.end(), diameter) - bounds_.begin();
            const auto stratum = std::min<std::size_t>(place, strata() - 1);
            const bool found = outcomes[i] == Outcome::found;
            for (const std::size_t row : {std::size_t{0}, stratum + 1}) {
                lesions_[row * scans_ + scan] += 1;
                found_[row * scans_ + scan] += found;
            }
            if (!found) continue;
            dice_[scan] += record.hit_dice;
            all_dice_.push_back(record.hit_dice);
            events_.push_back({record.hit_logit, scan, static_cast<std::int32_t>(stratum)});
        }
        ++scan;
    }
    std::sort(events_.begin(), events_.end(), [](const Event& a, const Event& b) { return a.logit > b.logit; });
}

double FrocWalk::sum(const std::vector<double>& per_scan, const std::vector<double>& weights, std::size_t row) const {
    return std::inner_product(per_scan.begin() + row * scans_, per_scan.begin() + (row + 1) * scans_, weights.begin(),
                              0.0);
}

double FrocWalk::object_dice(const std::vector<double>& weights) const {
    const double all = found(weights, 0);
    if (all == 0) return std::numeric_limits<double>::quiet_NaN();
    return std::inner_product(dice_.begin(), dice_.end(), weights.begin(), 0.0) / all;
}

void FrocWalk::recall_at(const FrocGrid& grid, const std::vector<double>& weights, double scans, double* recall) const {
    const std::size_t rates = grid.rates().size();
    std::vector<double> share(rows()), before(rows()), now(rows());  // share: of recall that one found lesion is
    for (std::size_t row = 0; row < rows(); ++row) share[row] = 1.0 / lesions(weights, row);
    double positives_before = 0, positives = 0;
    auto next = grid.rising().begin();
    const auto end = grid.rising().end();
    for (std::size_t i = 0; i < events_.size() && next != end;) {
        const double logit = events_[i].logit;
        do {
            const double weight = weights[events_[i].scan];
            if (events_[i].stratum == kFalsePositive) {
                positives += weight;
            } else {
                now[0] += weight;
                now[events_[i].stratum + 1] += weight;
            }
        } while (++i < events_.size() && events_[i].logit == logit);
        for (; next != end && grid.rates()[*next] * scans < positives; ++next) {
            const double part = (grid.rates()[*next] * scans - positives_before) / (positives - positives_before);
            for (std::size_t row = 0; row < rows(); ++row)
                recall[row * rates + *next] = (before[row] + part * (now[row] - before[row])) * share[row];
        }
        positives_before = positives;
        before = now;
    }
    for (; next != end; ++next)
        for (std::size_t row = 0; row < rows(); ++row) recall[row * rates + *next] = now[row] * share[row];
    for (std::size_t row = 0; row < rows(); ++row)
        if (std::isinf(share[row])) std::fill_n(recall + row * rates, rates, std::numeric_limits<double>::quiet_NaN());
}

/// The value of all scans with deviation and 95 % interval of the draws; without them where there are none.
Estimate estimate_of(double value, std::vector<double> draws) {
    if (std::isnan(value)) value = 0;
    if (draws.empty()) {
        constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
        return {value, unknown, unknown, unknown};
    }
    const double deviation = deviation_of(draws);
    const double low = quantile_of(draws, 0.025), high = quantile_of(draws, 0.975);
    return {value, deviation, low, high};
}

enum Score : std::size_t { dice_score, average_score, luna_score, score_count };

/// What every draw gives. recall: (rows, rates); totals: recall of each row, whatever the logit; scores as Score says.
struct Drawn {
    Draws recall, totals, scores;
};

void measure(const FrocWalk& walk, const FrocGrid& grid, const std::vector<double>& weights, double scans,
             double* recall, double* totals, double* score) {
    walk.recall_at(grid, weights, scans, recall);
    for (std::size_t row = 0; row < walk.rows(); ++row)
        totals[row] = walk.found(weights, row) / walk.lesions(weights, row);  // 0 / 0 is NaN, as wanted
    score[dice_score] = walk.object_dice(weights);
    score[average_score] = grid.average_recall(recall);
    score[luna_score] = grid.luna_score(recall);
}

/// Scans are drawn with replacement, as many as there are; those without records, which count for nothing, among them.
Drawn draw_scans(const FrocWalk& walk, const FrocGrid& grid, std::size_t listed, std::uint64_t scans,
                 const FrocOptions& options) {
    // Every draw of a single scan is that scan: they say nothing.
    const auto draws = static_cast<std::size_t>(scans > 1 ? options.draws : 0);
    const std::size_t columns = walk.rows() * grid.rates().size();
    Drawn drawn{Draws(draws, columns), Draws(draws, walk.rows()), Draws(draws, score_count)};
    std::vector<double> weights(listed);
    for (std::size_t draw = 0; draw < draws; ++draw) {
        Random random(options.seed, draw, 0, Purpose::bootstrap);
        std::fill(weights.begin(), weights.end(), 0.0);
        for (std::uint64_t i = 0; i < scans; ++i)
            if (const std::uint64_t scan = random.below(scans); scan < listed) weights[scan] += 1;
        measure(walk, grid, weights, static_cast<double>(scans), drawn.recall.row(draw), drawn.totals.row(draw),
                drawn.scores.row(draw));
    }
    return drawn;
}

FrocCurve curve_of(const FrocGrid& grid, const std::vector<double>& whole, const Drawn& drawn, std::size_t row) {
    FrocCurve curve;
    for (std::size_t i = 0; i < grid.curve_points(); ++i) {
        const std::size_t column = row * grid.rates().size() + i;
        const Estimate at = estimate_of(whole[column], drawn.recall.column(column));
        curve.recall.push_back(at.value);
        if (!at.has_interval()) continue;
        curve.low.push_back(at.low);
        curve.high.push_back(at.high);
    }
    return curve;
}

SizeStratum describe_stratum(const std::vector<double>& diameters, double above, double up_to) {
    SizeStratum stratum;
    stratum.diameter_low = std::numeric_limits<double>::infinity();
    for (const double diameter : diameters)
        if (diameter > above && diameter <= up_to) {
            stratum.diameter_low = std::min(stratum.diameter_low, diameter);
            stratum.diameter_high = std::max(stratum.diameter_high, diameter);
            ++stratum.lesions;
        }
    if (stratum.lesions == 0) stratum.diameter_low = 0;
    return stratum;
}

}  // namespace

Froc compute_corrected_froc(const Records& records, const FrocOptions& options) {
    const SizeUnit unit = options.size_unit.value_or(size_unit(records));
    const std::vector<double> diameters = lesion_diameters(records, unit);
    const std::vector<double> bounds =
        options.stratum_bounds.empty() ? size_bounds(diameters, options.strata) : options.stratum_bounds;
    const FrocWalk walk(records, unit, bounds);
    const FrocGrid grid;
    Froc froc;
    froc.scans = options.scans ? options.scans : static_cast<std::int64_t>(records.size());
    froc.lesions = static_cast<std::int64_t>(diameters.size());
    froc.size_unit = unit;
    froc.volume_ratio = volume_ratio(records);
    for (const auto& [name, list] : records) froc.records += static_cast<std::int64_t>(list.size());
    froc.all_false_positives = walk.false_positives() / static_cast<double>(froc.scans);

    const std::vector<double> once(records.size(), 1.0);
    std::vector<double> whole(walk.rows() * grid.rates().size()), totals(walk.rows()), score(score_count);
    measure(walk, grid, once, static_cast<double>(froc.scans), whole.data(), totals.data(), score.data());
    const Drawn drawn = draw_scans(walk, grid, records.size(), static_cast<std::uint64_t>(froc.scans), options);

    froc.all_recall = totals[0];
    froc.object_dice = estimate_of(score[dice_score], drawn.scores.column(dice_score));
    froc.object_dice.deviation = walk.dice_deviation();
    froc.average_recall = estimate_of(score[average_score], drawn.scores.column(average_score));
    froc.whole_set_average_recall = score[average_score];
    froc.luna_score = estimate_of(score[luna_score], drawn.scores.column(luna_score));
    for (std::size_t i = grid.curve_points(); i < grid.rates().size(); ++i)
        froc.sensitivity.push_back(estimate_of(whole[i], drawn.recall.column(i)));
    froc.false_positives.assign(grid.rates().begin(), grid.rates().begin() + grid.curve_points());
    froc.curve = curve_of(grid, whole, drawn, 0);
    for (std::size_t s = 0; s < walk.strata(); ++s) {
        const bool last = s + 1 == walk.strata();
        SizeStratum stratum = describe_stratum(diameters, s ? bounds[s - 1] : 0,
                                               last ? std::numeric_limits<double>::infinity() : bounds[s]);
        stratum.found = static_cast<std::int64_t>(walk.found(once, s + 1));
        stratum.recall = estimate_of(totals[s + 1], drawn.totals.column(s + 1));
        stratum.curve = curve_of(grid, whole, drawn, s + 1);
        froc.strata.push_back(std::move(stratum));
    }
    return froc;
}

}  // namespace iwseg
