#include "apps/chart/froc_chart.h"

namespace iwseg {

ChartOptions froc_axes(const std::string& title) {
    return {.title = title,
            .x_label = "false positives a scan",
            .y_label = "lesions found (share)",
            .log_x = true,
            .doublings_x = true,
            .x_min = kLunaRates.front(),
            .x_max = kLunaRates.back(),
            .y_max = 1};
}

Curve froc_line(const std::string& name, const Froc& froc, const FrocCurve& curve) {
    Curve line{name, {}, {}, {}, {}};
    const auto add = [&](double rate, const Estimate& at) {
        line.x.push_back(rate);
        line.y.push_back(at.value);
        if (!at.has_interval()) return;
        line.low.push_back(at.low);
        line.high.push_back(at.high);
    };
    add(kLunaRates.front(), recall_at(froc, curve, kLunaRates.front()));
    for (std::size_t i = 0; i < froc.false_positives.size(); ++i) {
        const double rate = froc.false_positives[i];
        if (rate > kLunaRates.front()) add(rate, recall_at(froc, curve, rate));
    }
    return line;
}

}  // namespace iwseg
