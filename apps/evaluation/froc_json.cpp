#include "apps/evaluation/froc_json.h"

#include <cmath>

namespace iwseg {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

Json interval_json(const Estimate& estimate) {
    return estimate.has_interval() ? Json::array({estimate.low, estimate.high}) : Json(nullptr);
}

Json curve_json(const FrocCurve& curve) {
    const bool intervals = !curve.low.empty();
    return {{"recall", curve.recall},
            {"low", intervals ? Json(curve.low) : Json(nullptr)},
            {"high", intervals ? Json(curve.high) : Json(nullptr)}};
}

Json finite_json(double value) {
    return std::isfinite(value) ? Json(value) : Json(nullptr);
}

}  // namespace iwseg
