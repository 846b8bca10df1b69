#include "evaluation/surface_distance.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "evaluation/distance_transform.h"
#include "kernels/cpu/parallel.h"

// The area of a neighbourhood follows from the triangles of the marching cubes (Lorensen and Cline, SIGGRAPH 1987),
// with their corners on the middles of the cube's edges. Turning, mirroring or inverting a neighbourhood turns, mirrors
// or keeps its triangles, so that thirteen neighbourhoods of at most four voxels stand for all 254.
namespace iwseg {
namespace {

/// A triangle, or several in one plane, by the area it has across each axis, in eighths of a voxel's face.
struct Facet {
    int d, h, w;
};

struct Neighbourhood {
    unsigned code;
    std::vector<Facet> facets;
};

const std::vector<Neighbourhood>& standard_neighbourhoods() {
    constexpr Facet corner{1, 1, 1}, wide{2, 2, 2};
    static const std::vector<Neighbourhood> all{
        {0b00000001, {corner}},                                      // one voxel
        {0b00000011, {{2, 2, 0}, {2, 2, 0}}},                        // two beside each other
        {0b00000110, {corner, corner}},                              // two across a face
        {0b00011000, {corner, corner}},                              // two across the cube
        {0b00000111, {corner, wide, {4, 0, 0}}},                     // three of a face
        {0b00010110, {corner, corner, corner}},                      // three apart
        {0b00011001, {{0, 2, 2}, {0, 2, 2}, corner}},                // two beside each other and one apart
        {0b00001111, {{4, 0, 0}, {4, 0, 0}}},                        // a face
        {0b00010111, {corner, corner, wide, wide}},                  // one and its three neighbours
        {0b00011011, {{0, 2, 2}, corner, {2, 0, 2}, {3, 3, 3}}},     // a winding chain
        {0b00011110, {corner, corner, wide, {4, 0, 0}}},             // three of a face and one apart
        {0b00111100, {{2, 2, 0}, {2, 2, 0}, {2, 2, 0}, {2, 2, 0}}},  // two pairs
        {0b01101001, {corner, corner, corner, corner}},              // four apart
    };
    return all;
}

constexpr std::array<std::array<int, 3>, 6> kAxisOrders{
    {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}};

/// Where voxel (d, h, w) goes when axis a of the result is axis order[a] of the original, backwards where mirrored
/// says.
unsigned turned(unsigned code, const std::array<int, 3>& order, unsigned mirrored) {
    unsigned result = 0;
    for (unsigned corner = 0; corner < 8; ++corner) {
        if (!(code & 128u >> corner)) continue;
        unsigned place = 0;
        for (int axis = 0; axis < 3; ++axis) place = place << 1 | (corner >> (2 - order[axis]) & 1u);
        result |= 128u >> (place ^ mirrored);
    }
    return result;
}

std::vector<std::uint8_t> corner_codes(const std::vector<std::uint8_t>& mask, const std::array<std::int64_t, 3>& shape,
                                       Stream host) {
    const std::int64_t depth = shape[0], height = shape[1], width = shape[2];
    std::vector<std::uint8_t> codes((depth + 1) * (height + 1) * (width + 1));
    const std::vector<std::uint8_t> nothing(width, 0);
    const auto row = [&](std::int64_t d, std::int64_t h) {
        return d < 0 || d >= depth || h < 0 || h >= height ? nothing.data() : mask.data() + (d * height + h) * width;
    };
    cpu::parallel_for(host, depth + 1, [&](std::int64_t d) {
        for (std::int64_t h = 0; h <= height; ++h) {
            const std::uint8_t* rows[4] = {row(d - 1, h - 1), row(d - 1, h), row(d, h - 1), row(d, h)};
            std::uint8_t* out = codes.data() + (d * (height + 1) + h) * (width + 1);
            unsigned before = 0;  // the voxels before the corner, each in the higher bit of its pair
            for (std::int64_t w = 0; w <= width; ++w) {
                unsigned after = 0;
                if (w < width) after = rows[0][w] << 6 | rows[1][w] << 4 | rows[2][w] << 2 | rows[3][w];
                out[w] = static_cast<std::uint8_t>(before << 1 | after);
                before = after;
            }
        }
    });
    return codes;
}

bool on_surface(std::uint8_t code) {
    return code != 0 && code != 255;
}

/// 1 on the surface.
std::vector<std::uint8_t> surface_of(const std::vector<std::uint8_t>& codes) {
    std::vector<std::uint8_t> surface(codes.size());
    std::transform(codes.begin(), codes.end(), surface.begin(), on_surface);
    return surface;
}

/// The surfels of one surface, with how far the other one is.
std::vector<Surfel> surfels(const std::vector<std::uint8_t>& codes, const std::vector<std::uint8_t>& other,
                            const std::array<std::int64_t, 3>& shape, const std::array<double, 3>& spacing,
                            Stream host) {
    const std::vector<double> squares = squared_distances(surface_of(other), surface_of(codes),
                                                          {shape[0] + 1, shape[1] + 1, shape[2] + 1}, spacing, host);
    const std::array<double, 256> areas = surface_areas(spacing);
    std::vector<Surfel> result;
    for (std::size_t c = 0; c < codes.size(); ++c)
        if (on_surface(codes[c])) result.push_back({std::sqrt(squares[c]), areas[codes[c]]});
    return result;
}

double distance_of_share(std::vector<Surfel>& surface, double share) {
    if (surface.empty()) return std::numeric_limits<double>::infinity();
    std::sort(surface.begin(), surface.end(), [](const Surfel& a, const Surfel& b) {
        return a.distance != b.distance ? a.distance < b.distance : a.area < b.area;
    });
    const double all = std::accumulate(surface.begin(), surface.end(), 0.0,
                                       [](double sum, const Surfel& surfel) { return sum + surfel.area; });
    double sum = 0;
    for (const Surfel& surfel : surface)
        if ((sum += surfel.area) / all >= share) return surfel.distance;
    return surface.back().distance;
}

}  // namespace

std::array<double, 256> surface_areas(const std::array<double, 3>& spacing) {
    const std::array<double, 3> face{spacing[1] * spacing[2], spacing[0] * spacing[2], spacing[0] * spacing[1]};
    std::array<double, 256> areas{};
    for (const Neighbourhood& standard : standard_neighbourhoods())
        for (const std::array<int, 3>& order : kAxisOrders) {
            double area = 0;
            for (const Facet& facet : standard.facets) {
                const std::array<int, 3> across{facet.d, facet.h, facet.w};
                area +=
                    std::hypot(across[order[0]] * face[0], across[order[1]] * face[1], across[order[2]] * face[2]) / 8;
            }
            for (unsigned mirrored = 0; mirrored < 8; ++mirrored) {
                const unsigned code = turned(standard.code, order, mirrored);
                areas[code] = areas[255 - code] = area;
            }
        }
    return areas;
}

SurfaceDistances surface_distances(const MaskPair& masks, const std::array<double, 3>& spacing, Stream host) {
    const std::vector<std::uint8_t> target = corner_codes(masks.target, masks.shape, host);
    const std::vector<std::uint8_t> prediction = corner_codes(masks.prediction, masks.shape, host);
    return {surfels(target, prediction, masks.shape, spacing, host),
            surfels(prediction, target, masks.shape, spacing, host)};
}

double robust_hausdorff(SurfaceDistances distances, double share) {
    return std::max(distance_of_share(distances.from_target, share),
                    distance_of_share(distances.from_prediction, share));
}

}  // namespace iwseg
