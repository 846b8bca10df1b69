#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/volume/volume.h"

namespace iwseg {

/// How planes of a scan are shown: across its thickest axis, or axially where no axis is clearly the thickest; anterior
/// or superior up, the patient's right at the left, as radiologists look at them.
struct SliceOrientation {
    int across = 2;           ///< file axis the slices are numbered along
    int right = 0, down = 1;  ///< file axes along the picture's rows and columns
    bool reverse_right = false, reverse_down = false;
    std::int64_t slices = 0, width = 0, height = 0;  ///< voxels along across, right, down
    double pixel_width = 1, pixel_height = 1;        ///< mm
    char left_letter = 'R', right_letter = 'L';      ///< the patient's side at the picture's edges: R, L, A, P, S or I
};
SliceOrientation slice_orientation(const Geometry& geometry);

/// Where voxel (row, column) of a slice lies in Volume::voxels.
struct SliceIndex {
    SliceIndex(const Geometry& geometry, const SliceOrientation& orientation, std::int64_t slice);
    std::int64_t operator()(std::int64_t row, std::int64_t column) const {
        return start + row * row_step + column * column_step;
    }
    std::int64_t start = 0, row_step = 0, column_step = 0;
};

/// Grey values that the darkest and brightest voxels shown get: the 1st and 99.5th percentile of the scan.
std::array<float, 2> grey_window(const std::vector<float>& voxels);

/// A PNG file of 8-bit grey values, rows from the top.
std::string grey_png(const std::vector<std::uint8_t>& pixels, std::int64_t width, std::int64_t height);
std::string base64(std::string_view bytes);

/// The border of the nonzero pixels, along pixel edges, as the data of an SVG path in units of pixels.
std::string outline_path(const std::vector<std::uint8_t>& mask, std::int64_t width, std::int64_t height);

}  // namespace iwseg
