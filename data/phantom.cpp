#include "data/phantom.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/extent.h"
#include "base/random.h"

// A CT of nobody: what matters is that lesions of all sizes stand out from noise, and that vessels cut across, or
// spots, look like small lesions. Each part draws from its own stream, so that changing one leaves the others as they
// were.

namespace iwseg {
namespace {

using Point = std::array<double, 3>;
enum Part : std::uint32_t { anatomy, organ_shape, texture, vessels, lesions, noise };

constexpr double kAir = -1000, kFat = -90, kMuscle = 45, kBone = 420;  // Hounsfield units
constexpr double kNoiseHu = 14, kTextureHu = 10;
constexpr double kMedianVolume = 35, kVolumeSpread = 2.0;  // voxels; deviation of its logarithm
// Of fading phantoms: the share of the organs' contrast that is left, and the lesions' contrast in HU from the volume
// in voxels where it begins to grow to that where it has grown.
constexpr double kOrganShare = 0.25;
constexpr double kMarrow = -20;              // of a spine that is no distractor
constexpr std::int64_t kSmallestFading = 6;  // voxels: smaller ones drown in the noise
constexpr double kFaint = 55, kBright = 135, kFaintVolume = 8, kBrightVolume = 400;

double range(Random& random, double low, double high) {
    return low + (high - low) * random.uniform();
}

Point direction(Random& random) {
    const Point d{random.normal(), random.normal(), random.normal()};
    const double length = std::hypot(d[0], d[1], d[2]) + 1e-12;
    return {d[0] / length, d[1] / length, d[2] / length};
}

/// Values in [-1, 1] at the corners of a coarse lattice, smoothly interpolated.
class SmoothNoise {
  public:
    SmoothNoise(Random& random, const Extent& shape, double cell) : cell_(cell) {
        for (int axis = 0; axis < 3; ++axis) size_[axis] = static_cast<std::int64_t>(shape[axis] / cell) + 3;
        corners_.resize(static_cast<std::size_t>(size_[0] * size_[1] * size_[2]));
        for (float& corner : corners_) corner = static_cast<float>(range(random, -1, 1));
    }

    double at(double i, double j, double k) const {
        const Point x{i / cell_, j / cell_, k / cell_};
        std::array<std::int64_t, 3> low{};
        Point part{};
        for (int axis = 0; axis < 3; ++axis) {
            low[axis] = std::clamp<std::int64_t>(static_cast<std::int64_t>(x[axis]), 0, size_[axis] - 2);
            const double t = std::clamp(x[axis] - static_cast<double>(low[axis]), 0.0, 1.0);
            part[axis] = t * t * (3 - 2 * t);
        }
        double sum = 0;
        for (int corner = 0; corner < 8; ++corner) {
            const int a = corner >> 2, b = corner >> 1 & 1, c = corner & 1;
            const double weight =
                (a ? part[0] : 1 - part[0]) * (b ? part[1] : 1 - part[1]) * (c ? part[2] : 1 - part[2]);
            sum += weight * corners_[((low[0] + a) * size_[1] + low[1] + b) * size_[2] + low[2] + c];
        }
        return sum;
    }

  private:
    double cell_;
    Extent size_{};
    std::vector<float> corners_;
};

/// In coordinates that run from -1 to 1 over the scan.
struct Organ {
    Point centre, radii;
    double hu;

    double distance(const Point& x) const {
        double sum = 0;
        for (int axis = 0; axis < 3; ++axis) {
            const double d = (x[axis] - centre[axis]) / radii[axis];
            sum += d * d;
        }
        return std::sqrt(sum);
    }
};

struct Phantom {
    std::uint64_t seed;
    std::uint64_t number;
    Extent shape;
    std::vector<float> hu;
    std::vector<std::uint8_t> target;
    PhantomKind kind;

    Random random(Part part) const { return {seed, number, part, Purpose::phantom}; }
    std::int64_t index(std::int64_t i, std::int64_t j, std::int64_t k) const {
        return (i * shape[1] + j) * shape[2] + k;
    }
    bool inside(const std::array<std::int64_t, 3>& x) const {
        for (int axis = 0; axis < 3; ++axis)
            if (x[axis] < 0 || x[axis] >= shape[axis]) return false;
        return true;
    }
    Point random_point(Random& random) const {
        Point x{};
        for (int axis = 0; axis < 3; ++axis) x[axis] = range(random, 0.08, 0.92) * static_cast<double>(shape[axis]);
        return x;
    }
    /// Neither air, fat, bone nor a bright vessel.
    bool soft_tissue(const Point& x) const {
        const std::array<std::int64_t, 3> voxel{std::llround(x[0]), std::llround(x[1]), std::llround(x[2])};
        if (!inside(voxel)) return false;
        const float value = hu[index(voxel[0], voxel[1], voxel[2])];
        return value > -30 && value < 220;
    }
};

std::vector<Organ> draw_organs(Random& random) {
    std::vector<Organ> organs{{{-0.36, -0.05, 0.0}, {0.42, 0.44, 0.85}, 105},  // liver
                              {{0.55, 0.20, 0.1}, {0.20, 0.26, 0.50}, 120},    // spleen
                              {{0.30, -0.25, 0.1}, {0.28, 0.20, 0.55}, 20},    // stomach
                              {{-0.30, 0.42, -0.4}, {0.13, 0.14, 0.40}, 150},  // kidneys
                              {{0.32, 0.42, -0.4}, {0.13, 0.14, 0.40}, 150}};
    for (Organ& organ : organs) {
        for (int axis = 0; axis < 3; ++axis) {
            organ.centre[axis] += range(random, -0.05, 0.05);
            organ.radii[axis] *= range(random, 0.85, 1.15);
        }
        organ.hu += range(random, -12, 12);
    }
    organs.push_back({{0.0, 0.60, 0.0}, {0.13, 0.15, 9.0}, kBone});  // spine
    return organs;
}

void draw_anatomy(Phantom& phantom) {
    Random shapes = phantom.random(anatomy), bends = phantom.random(organ_shape), grain = phantom.random(texture);
    const Organ body{{range(shapes, -0.03, 0.03), range(shapes, -0.03, 0.03), 0},
                     {range(shapes, 0.86, 0.96), range(shapes, 0.76, 0.88), 4.0},
                     kMuscle};
    const std::vector<Organ> organs = draw_organs(shapes);
    const auto size = static_cast<double>(phantom.shape[0]);
    const SmoothNoise bend(bends, phantom.shape, size / 5), coarse(grain, phantom.shape, size / 6),
        fine(grain, phantom.shape, 5);
    float* hu = phantom.hu.data();
    for (std::int64_t i = 0; i < phantom.shape[0]; ++i)
        for (std::int64_t j = 0; j < phantom.shape[1]; ++j)
            for (std::int64_t k = 0; k < phantom.shape[2]; ++k, ++hu) {
                const Point at{static_cast<double>(i), static_cast<double>(j), static_cast<double>(k)};
                Point x{};
                for (int axis = 0; axis < 3; ++axis)
                    x[axis] = (at[axis] + 0.5) / static_cast<double>(phantom.shape[axis]) * 2 - 1;
                const double depth = body.distance(x);
                *hu = static_cast<float>(kAir);
                if (depth > 1.0) continue;
                const double bent = 0.12 * bend.at(at[0], at[1], at[2]);
                double value = depth > 0.9 + 0.3 * bent ? kFat : kMuscle;
                if (value != kFat)
                    for (const Organ& organ : organs)
                        if (organ.distance(x) + bent < 1) value = organ.hu;
                if (phantom.kind == PhantomKind::fading && value != kFat)
                    value = value == kBone ? kMarrow : kMuscle + kOrganShare * (value - kMuscle);
                value += kTextureHu * (coarse.at(at[0], at[1], at[2]) + fine.at(at[0], at[1], at[2]));
                *hu = static_cast<float>(value);
            }
}

/// Raises the voxels of a ball to at least hu.
void paint_ball(Phantom& phantom, const Point& centre, double radius, double hu) {
    std::array<std::int64_t, 3> low{}, high{};
    for (int axis = 0; axis < 3; ++axis) {
        low[axis] = std::max<std::int64_t>(0, static_cast<std::int64_t>(std::ceil(centre[axis] - radius)));
        high[axis] = std::min(phantom.shape[axis] - 1, static_cast<std::int64_t>(std::floor(centre[axis] + radius)));
    }
    for (std::int64_t i = low[0]; i <= high[0]; ++i)
        for (std::int64_t j = low[1]; j <= high[1]; ++j)
            for (std::int64_t k = low[2]; k <= high[2]; ++k)
                if (std::hypot(i - centre[0], j - centre[1], k - centre[2]) <= radius) {
                    float& voxel = phantom.hu[phantom.index(i, j, k)];
                    voxel = std::max(voxel, static_cast<float>(hu));
                }
}

/// A winding path of points 0.7 voxels apart that ends where it would leave soft tissue.
std::vector<Point> draw_path(const Phantom& phantom, Random& random, int steps) {
    std::vector<Point> path;
    Point x = phantom.random_point(random), heading = direction(random);
    for (int attempt = 0; attempt < 50 && !phantom.soft_tissue(x); ++attempt) x = phantom.random_point(random);
    while (static_cast<int>(path.size()) < steps && phantom.soft_tissue(x)) {
        path.push_back(x);
        const Point turn = direction(random);
        for (int axis = 0; axis < 3; ++axis) heading[axis] = 0.92 * heading[axis] + 0.14 * turn[axis];
        const double length = std::hypot(heading[0], heading[1], heading[2]) + 1e-12;
        for (int axis = 0; axis < 3; ++axis) x[axis] += 0.7 * (heading[axis] /= length);
    }
    return path;
}

/// Bright, tapering tubes.
void draw_vessels(Phantom& phantom) {
    Random random = phantom.random(vessels);
    const double scale = static_cast<double>(phantom.shape[0]) / 96;
    const auto count = static_cast<int>(10 + random.below(7));
    for (int vessel = 0; vessel < count; ++vessel) {
        const double hu = range(random, 150, 260), thickest = range(random, 1.2, 2.6) * std::sqrt(scale);
        const auto steps = static_cast<int>(range(random, 60, 160) * scale);
        const std::vector<Point> path = draw_path(phantom, random, steps);
        for (std::size_t step = 0; step < path.size(); ++step) {
            const double along = static_cast<double>(step) / steps;
            paint_ball(phantom, path[step], std::max(0.8, thickest * (1 - 0.7 * along)), hu);
        }
    }
}

/// Spots that are no lesions, as small as the smallest and fainter than these.
void draw_spots(Phantom& phantom) {
    Random random = phantom.random(vessels);
    const auto count = static_cast<double>(phantom.hu.size()) / (96 * 96 * 72) * range(random, 20, 40);
    for (int spot = 0; spot < static_cast<int>(count); ++spot) {
        Point centre = phantom.random_point(random);
        for (int attempt = 0; attempt < 50 && !phantom.soft_tissue(centre); ++attempt)
            centre = phantom.random_point(random);
        if (phantom.soft_tissue(centre))
            paint_ball(phantom, centre, range(random, 0.9, 1.7), kMuscle + range(random, 20, kFaint - 10));
    }
}

struct Lesion {
    Point centre;
    double radius;
};

/// Whether centre and the six ends lie in soft tissue.
bool surrounded(const Phantom& phantom, const Lesion& lesion) {
    bool all = phantom.soft_tissue(lesion.centre);
    for (int axis = 0; axis < 3; ++axis)
        for (const double side : {-1.0, 1.0}) {
            Point end = lesion.centre;
            end[axis] += side * lesion.radius;
            all = all && phantom.soft_tissue(end);
        }
    return all;
}

/// Exactly `volume` voxels (fewer at the scan's edge): those nearest to the centre by a distance that is an
/// ellipsoid's, bumped.
void paint_lesion(Phantom& phantom, Random& random, const Lesion& lesion, std::int64_t volume, double contrast) {
    Point stretch{range(random, 0.75, 1.3), range(random, 0.75, 1.3), range(random, 0.75, 1.3)};
    const double mean = std::cbrt(stretch[0] * stretch[1] * stretch[2]);
    const auto reach = static_cast<std::int64_t>(std::ceil(2.0 * lesion.radius)) + 1;
    const std::int64_t side = 2 * reach + 1;
    const SmoothNoise bumps(random, {side, side, side}, std::max(2.0, 0.8 * lesion.radius));
    std::vector<std::pair<double, std::int64_t>> candidates;
    std::array<std::int64_t, 3> middle{std::llround(lesion.centre[0]), std::llround(lesion.centre[1]),
                                       std::llround(lesion.centre[2])};
    for (std::int64_t i = -reach; i <= reach; ++i)
        for (std::int64_t j = -reach; j <= reach; ++j)
            for (std::int64_t k = -reach; k <= reach; ++k) {
                const std::array<std::int64_t, 3> at{middle[0] + i, middle[1] + j, middle[2] + k};
                if (!phantom.inside(at)) continue;
                const double distance =
                    std::hypot(static_cast<double>(i) / stretch[0], static_cast<double>(j) / stretch[1],
                               static_cast<double>(k) / stretch[2]) *
                    mean;
                const double bump = bumps.at(static_cast<double>(i + reach), static_cast<double>(j + reach),
                                             static_cast<double>(k + reach));
                candidates.emplace_back(distance * (1 + 0.25 * bump), phantom.index(at[0], at[1], at[2]));
            }
    const auto count = std::min<std::size_t>(candidates.size(), static_cast<std::size_t>(volume));
    std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(count), candidates.end());
    for (std::size_t c = 0; c < count; ++c) {
        const std::int64_t voxel = candidates[c].second;
        if (!phantom.target[voxel])
            phantom.hu[voxel] = std::max(phantom.hu[voxel], 20.0f) + static_cast<float>(contrast);
        phantom.target[voxel] = 1;
    }
}

/// In HU; drawn is from 0 to 1.
double contrast_of(PhantomKind kind, std::int64_t volume, double drawn) {
    if (kind == PhantomKind::even) return 60 * std::exp(1.1 * drawn);
    const double grown = std::log(static_cast<double>(volume) / kFaintVolume) / std::log(kBrightVolume / kFaintVolume);
    return (kFaint + (kBright - kFaint) * std::clamp(grown, 0.0, 1.0)) * (0.85 + 0.3 * drawn);
}

void draw_lesions(Phantom& phantom) {
    Random random = phantom.random(lesions);
    // Every tenth scan has none: a dataset of any seed holds a few.
    if (phantom.number % 10 == 7) return;
    const auto voxels = static_cast<double>(phantom.hu.size());
    const double expected = std::clamp(12 * voxels / (96 * 96 * 72), 3.0, 60.0);
    const auto count = static_cast<int>(range(random, 0.5, 1.5) * expected);
    std::vector<Lesion> placed;
    for (int lesion = 0; lesion < count; ++lesion) {
        const double drawn = kMedianVolume * std::exp(kVolumeSpread * random.normal());
        const std::int64_t smallest = phantom.kind == PhantomKind::fading ? kSmallestFading : 1;
        const auto volume =
            std::clamp<std::int64_t>(std::llround(drawn), smallest, static_cast<std::int64_t>(voxels / 120));
        const double radius = std::cbrt(static_cast<double>(volume) * 3 / (4 * std::numbers::pi));
        const double contrast = contrast_of(phantom.kind, volume, random.uniform());
        const bool touching = random.uniform() < 0.15 && !placed.empty();
        for (int attempt = 0; attempt < 200; ++attempt) {
            Lesion candidate{phantom.random_point(random), radius};
            if (touching) {
                const Lesion& other = placed[random.below(placed.size())];
                const Point away = direction(random);
                for (int axis = 0; axis < 3; ++axis)
                    candidate.centre[axis] = other.centre[axis] + away[axis] * (other.radius + radius);
            }
            const bool clear =
                touching || std::none_of(placed.begin(), placed.end(), [&](const Lesion& other) {
                    return std::hypot(other.centre[0] - candidate.centre[0], other.centre[1] - candidate.centre[1],
                                      other.centre[2] - candidate.centre[2]) < 1.4 * (other.radius + radius) + 3;
                });
            if (!clear || !surrounded(phantom, candidate)) continue;
            paint_lesion(phantom, random, candidate, volume, contrast);
            placed.push_back(candidate);
            break;
        }
    }
}

/// The scanner's blur along one axis, three taps.
void blur(std::vector<float>& values, const Extent& shape, int axis) {
    constexpr float side = 0.06f;
    const std::int64_t stride = axis == 0 ? shape[1] * shape[2] : axis == 1 ? shape[2] : 1;
    const std::vector<float> sharp = values;
    for (std::int64_t v = 0; v < static_cast<std::int64_t>(values.size()); ++v) {
        const std::int64_t at = v / stride % shape[axis];
        const float before = sharp[at > 0 ? v - stride : v], after = sharp[at + 1 < shape[axis] ? v + stride : v];
        values[v] = (1 - 2 * side) * sharp[v] + side * (before + after);
    }
}

}  // namespace

const char* name_of(PhantomKind kind) {
    return kind == PhantomKind::even ? "even" : "fading";
}

PhantomScan make_phantom(std::uint64_t seed, std::int64_t number, std::int64_t size, PhantomKind kind) {
    Phantom phantom{seed, static_cast<std::uint64_t>(number), {size, size, size * 3 / 4}, {}, {}, kind};
    const auto voxels = static_cast<std::size_t>(size * size * (size * 3 / 4));
    phantom.hu.resize(voxels);
    phantom.target.resize(voxels);
    draw_anatomy(phantom);
    if (kind == PhantomKind::even)
        draw_vessels(phantom);
    else
        draw_spots(phantom);
    draw_lesions(phantom);
    for (int axis = 0; axis < 3; ++axis) blur(phantom.hu, phantom.shape, axis);

    PhantomScan scan;
    scan.image.voxels.resize(voxels);
    Random random = phantom.random(noise);
    for (std::size_t v = 0; v < voxels; ++v)
        scan.image.voxels[v] = static_cast<std::int16_t>(
            std::clamp(std::lround(phantom.hu[v] + kNoiseHu * random.normal()), -1024L, 3071L));
    const double inplane = 320.0 / static_cast<double>(size), slice = inplane * (number % 3 == 1 ? 1.5 : 1.25);
    Geometry& geometry = scan.image.geometry;
    geometry.shape = phantom.shape;
    geometry.affine = {{{-inplane, 0, 0, 160}, {0, -inplane, 0, 160}, {0, 0, slice, -120}}};
    scan.target.geometry = geometry;
    scan.target.voxels = std::move(phantom.target);
    return scan;
}

}  // namespace iwseg
