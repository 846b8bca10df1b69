#pragma once

#include <string>

#include "apps/chart/chart.h"
#include "evaluation/froc.h"

namespace iwseg {

/// The axes of every FROC: recall against 1/8 to 8 false positives a scan, logarithmic, as LUNA16 draws them.
ChartOptions froc_axes(const std::string& title);

/// A curve on these axes, flat beyond its last detection, with the band of its intervals where there are any.
Curve froc_line(const std::string& name, const Froc& froc, const FrocCurve& curve);

}  // namespace iwseg
