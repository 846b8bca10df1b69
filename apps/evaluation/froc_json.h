#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "evaluation/froc.h"

namespace iwseg {

/// [low, high]; null where there is no interval.
nlohmann::ordered_json interval_json(const Estimate& estimate);
/// {"recall": […], "low": […], "high": […]}; low and high are null where there are no intervals.
nlohmann::ordered_json curve_json(const FrocCurve& curve);
/// A number; null where it is not finite.
nlohmann::ordered_json finite_json(double value);

}  // namespace iwseg
