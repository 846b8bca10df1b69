#pragma once

#include <string>

#include "apps/report/slice_image.h"

namespace iwseg {

/// The patient's directions at the left and right edge and a scale bar, as SVG elements for a picture of so many mm.
std::string slice_marks(const SliceOrientation& shown, double mm_wide, double mm_high);

/// Length of the scale bar: 1, 2 or 5 times a power of ten mm, at most a third of the picture's width.
double scale_bar_mm(double mm_wide);

}  // namespace iwseg
