#pragma once

#include <cstddef>
#include <vector>

namespace iwseg {

/// The one-to-one assignment of rows to columns with the largest total weight. weights: (rows, columns). Returns each
/// row's column, -1 for rows left over where there are more rows than columns; otherwise every row gets one, whatever
/// its weight. Of equally heavy assignments, one. Shortest augmenting paths (Kuhn 1955; Jonker and Volgenant 1987),
/// cubic.
std::vector<std::ptrdiff_t> heaviest_assignment(const std::vector<double>& weights, std::size_t rows,
                                                std::size_t columns);

}  // namespace iwseg
