#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace iwseg {

/// The pixels (x, y) of a closed polygon: those it encloses by the even-odd rule, and those of its boundary, drawn as
/// 8-connected lines. Equal to OpenCV's fillPoly (4.5 and 5.0) with points (x, y) on an image of shape[0] columns and
/// shape[1] rows, also where points are repeated, lie on one line, or edges cross. Where points lie outside the image:
/// equal to a fill of a larger image that is cropped; OpenCV bends such edges, differently from version to version.
/// points: any number, the last joined to the first; none gives no pixel. shape: sizes along x and y.
/// Returns each pixel inside the image once, ascending by y, then x. Throws InputError where a coordinate is beyond
/// 2^29 in size.
std::vector<std::array<int, 2>> fill_polygon(std::span<const std::array<int, 2>> points,
                                             const std::array<std::int64_t, 2>& shape);

}  // namespace iwseg
