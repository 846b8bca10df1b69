#include "evaluation/assignment.h"

#include <algorithm>
#include <limits>

namespace iwseg {
namespace {

/// Rows to columns at the least cost, rows <= columns; both are numbered from 1, and 0 is none.
class LeastCost {
  public:
    LeastCost(const std::vector<double>& cost, std::size_t rows, std::size_t columns)
        : cost_(cost),
          columns_(columns),
          row_price_(rows + 1),
          column_price_(columns + 1),
          row_of_(columns + 1),
          before_(columns + 1) {
        for (std::size_t row = 1; row <= rows; ++row) assign(row);
    }

    std::size_t row_of(std::size_t column) const { return row_of_[column]; }

  private:
    /// Grows a tree of cheapest paths from the row until it meets a free column, then swaps along the path.
    void assign(std::size_t row) {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        std::vector<double> least(columns_ + 1, infinity);
        std::vector<bool> reached(columns_ + 1, false);
        row_of_[0] = row;
        std::size_t column = 0;
        do {
            reached[column] = true;
            const std::size_t from = row_of_[column];
            double step = infinity;
            std::size_t next = 0;
            for (std::size_t c = 1; c <= columns_; ++c) {
                if (reached[c]) continue;
                const double reduced = cost_[(from - 1) * columns_ + c - 1] - row_price_[from] - column_price_[c];
                if (reduced < least[c]) {
                    least[c] = reduced;
                    before_[c] = column;
                }
                if (least[c] < step) {
                    step = least[c];
                    next = c;
                }
            }
            for (std::size_t c = 0; c <= columns_; ++c) {
                if (reached[c]) {
                    row_price_[row_of_[c]] += step;
                    column_price_[c] -= step;
                } else {
                    least[c] -= step;
                }
            }
            column = next;
        } while (row_of_[column] != 0);
        for (; column != 0; column = before_[column]) row_of_[column] = row_of_[before_[column]];
    }

    const std::vector<double>& cost_;
    std::size_t columns_;
    std::vector<double> row_price_, column_price_;
    std::vector<std::size_t> row_of_, before_;
};

}  // namespace

std::vector<std::ptrdiff_t> heaviest_assignment(const std::vector<double>& weights, std::size_t rows,
                                                std::size_t columns) {
    std::vector<std::ptrdiff_t> column_of(rows, -1);
    if (rows == 0 || columns == 0) return column_of;
    const bool wide = rows <= columns;
    std::vector<double> cost(weights.size());
    for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < columns; ++c)
            cost[wide ? r * columns + c : c * rows + r] = -weights[r * columns + c];
    const LeastCost least(cost, std::min(rows, columns), std::max(rows, columns));
    for (std::size_t place = 1; place <= std::max(rows, columns); ++place) {
        const std::size_t other = least.row_of(place);
        if (other == 0) continue;
        if (wide)
            column_of[other - 1] = static_cast<std::ptrdiff_t>(place) - 1;
        else
            column_of[place - 1] = static_cast<std::ptrdiff_t>(other) - 1;
    }
    return column_of;
}

}  // namespace iwseg
