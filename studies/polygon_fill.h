#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace iwseg {

/// The pixels (x, y) of a closed polygon: those it encloses by the even-odd rule, and those of its boundary, drawn as
/// 8-connected lines. Equal to OpenCV's fillPoly with points (x, y) on an image of shape[0] columns and shape[1] rows,
/// also where points are repeated, lie on one line or outside the image, or edges cross.
/// points: any number, the last joined to the first; none gives no pixel. shape: sizes along x and y, each at most 2^20.
/// Returns each pixel inside the image once, ascending by y, then x.
std::vector<std::array<int, 2>> fill_polygon(std::span<const std::array<int, 2>> points,
                                             const std::array<std::int64_t, 2>& shape);

}  // namespace iwseg
