#pragma once

#include <vector>

#include "evaluation/froc.h"

/// What the two protocols share; used by froc*.cpp alone.
namespace iwseg {

/// False-positive rates at which recall is wanted: 0, 0.01, …, 8, then the seven of kLunaRates.
class FrocGrid {
  public:
    FrocGrid();
    const std::vector<double>& rates() const { return rates_; }
    const std::vector<std::size_t>& rising() const { return rising_; }  ///< indices of rates(), smallest rate first
    std::size_t curve_points() const { return 801; }

    double average_recall(const double* recall) const;  ///< over the first 501 points
    double luna_score(const double* recall) const;

  private:
    std::vector<double> rates_;
    std::vector<std::size_t> rising_;
};

/// One row of numbers a draw. NaN stands for what a draw has no lesions for; columns leave it out.
class Draws {
  public:
    Draws(std::size_t draws, std::size_t columns) : draws_(draws), columns_(columns), values_(draws * columns) {}
    double* row(std::size_t draw) { return values_.data() + draw * columns_; }
    std::vector<double> column(std::size_t index) const;

  private:
    std::size_t draws_, columns_;
    std::vector<double> values_;
};

double mean_of(const std::vector<double>& values);
double deviation_of(const std::vector<double>& values);  ///< population
/// The share-th quantile, interpolated linearly; reorders values.
double quantile_of(std::vector<double>& values, double share);

Froc compute_paper_froc(const Records& records);
Froc compute_corrected_froc(const Records& records, const FrocOptions& options);

}  // namespace iwseg
