#include "apps/report/slice_marks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace iwseg {
namespace {

std::string mark_text(double x, double y, double size, const char* anchor, const std::string& text) {
    return fmt::format(R"(<text class="mark" x="{:.2f}" y="{:.2f}" font-size="{:.2f}" text-anchor="{}">{}</text>)", x,
                       y, size, anchor, text);
}

}  // namespace

double scale_bar_mm(double mm_wide) {
    const double most = mm_wide / 3, power = std::pow(10.0, std::floor(std::log10(most)));
    return power * (most >= 5 * power ? 5 : most >= 2 * power ? 2 : 1);
}

std::string slice_marks(const SliceOrientation& shown, double mm_wide, double mm_high) {
    const double size = 0.055 * std::max(mm_wide, mm_high), margin = 0.4 * size;
    const double bar = scale_bar_mm(mm_wide), right = mm_wide - margin, bottom = mm_high - margin;
    std::string svg = mark_text(margin, 0.5 * mm_high + 0.35 * size, size, "start", std::string(1, shown.left_letter));
    svg += mark_text(right, 0.5 * mm_high + 0.35 * size, size, "end", std::string(1, shown.right_letter));
    const std::string path = fmt::format("M{:.2f} {:.2f}h{:.2f}", right - bar, bottom, bar);
    svg += fmt::format(R"(<path class="scale edge" d="{0}"/><path class="scale" d="{0}"/>)", path);
    return svg + mark_text(right - bar / 2, bottom - 0.35 * size, 0.8 * size, "middle", fmt::format("{:g} mm", bar));
}

}  // namespace iwseg
