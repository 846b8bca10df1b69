#include "data/volume/orientation.h"

#include <algorithm>
#include <cmath>

namespace iwseg {
namespace {

using Matrix = std::array<std::array<double, 3>, 3>;  ///< rows: x, y, z; columns: i, j, k

/// Of axes of length 1, the cosines between them and x, y, z.
Matrix cosines_of(const Affine& affine) {
    Matrix cosines{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
        const double length = std::hypot(affine[0][axis], affine[1][axis], affine[2][axis]);
        for (std::size_t row = 0; row < 3; ++row) cosines[row][axis] = affine[row][axis] / length;
    }
    return cosines;
}

/// The inverse's transpose: cofactors over the determinant.
Matrix inverse_transposed(const Matrix& m) {
    Matrix made{};
    double determinant = 0;
    for (std::size_t r = 0; r < 3; ++r)
        for (std::size_t c = 0; c < 3; ++c) {
            const std::size_t r1 = (r + 1) % 3, r2 = (r + 2) % 3, c1 = (c + 1) % 3, c2 = (c + 2) % 3;
            made[r][c] = m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1];
            if (r == 0) determinant += m[0][c] * made[0][c];
        }
    for (auto& row : made)
        for (double& entry : row) entry /= determinant;
    return made;
}

/// The rotation, or its mirror image, that is closest: the polar factor, by Newton's iteration (Higham 1986).
Matrix closest_rotation(Matrix m) {
    constexpr int most_steps = 100;  // axes that nearly lie in a plane take some forty
    constexpr double unchanged = 1e-15;
    for (int step = 0; step < most_steps; ++step) {
        const Matrix other = inverse_transposed(m);
        double change = 0;
        for (std::size_t r = 0; r < 3; ++r)
            for (std::size_t c = 0; c < 3; ++c) {
                const double mean = (m[r][c] + other[r][c]) / 2;
                change = std::max(change, std::abs(mean - m[r][c]));
                m[r][c] = mean;
            }
        if (change <= unchanged) break;
    }
    return m;
}

void assign(Orientation& made, std::size_t row, std::size_t axis, double cosine) {
    made.axes[row] = static_cast<int>(axis);
    made.reversed[row] = cosine < 0;
}

Orientation by_strongest_axes(const Matrix& rotation) {
    std::array<double, 3> strength{};
    for (std::size_t axis = 0; axis < 3; ++axis)
        for (std::size_t row = 0; row < 3; ++row)
            strength[axis] = std::max(strength[axis], rotation[row][axis] * rotation[row][axis]);
    std::array<std::size_t, 3> order{0, 1, 2};
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return strength[a] > strength[b]; });
    Orientation made;
    std::array<bool, 3> taken{};
    for (const std::size_t axis : order) {
        std::size_t chosen = 3;
        for (std::size_t row = 0; row < 3; ++row)
            if (!taken[row] && (chosen == 3 || std::abs(rotation[row][axis]) > std::abs(rotation[chosen][axis])))
                chosen = row;
        taken[chosen] = true;
        assign(made, chosen, axis, rotation[chosen][axis]);
    }
    return made;
}

Orientation by_largest_cosines(const Matrix& cosines) {
    Orientation made;
    std::array<bool, 3> rows{}, axes{};
    for (int nth = 0; nth < 3; ++nth) {
        std::size_t row = 3, axis = 3;
        // Of several that are alike the last counts.
        for (std::size_t r = 0; r < 3; ++r)
            for (std::size_t a = 0; a < 3; ++a)
                if (!rows[r] && !axes[a] && (row == 3 || std::abs(cosines[r][a]) >= std::abs(cosines[row][axis])))
                    row = r, axis = a;
        rows[row] = axes[axis] = true;
        assign(made, row, axis, cosines[row][axis]);
    }
    return made;
}

}  // namespace

Orientation orientation_of(const Affine& affine, OrientationRule rule) {
    const Matrix cosines = cosines_of(affine);
    return rule == OrientationRule::itk ? by_largest_cosines(cosines) : by_strongest_axes(closest_rotation(cosines));
}

}  // namespace iwseg
