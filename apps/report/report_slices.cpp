#include "apps/report/report_slices.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "apps/chart/chart.h"
#include "apps/report/report_page.h"
#include "apps/report/slice_image.h"
#include "apps/report/slice_marks.h"
#include "apps/training/training_run.h"
#include "data/channel_choice.h"

namespace iwseg {
namespace {

constexpr std::int64_t kLargestPicture = 160;  // pixels a side; of a larger plane a detail is shown
constexpr std::size_t kPicturesPerScan = 3;

/// Pixels of a plane, bounds inclusive.
struct Box {
    std::int64_t top = std::numeric_limits<std::int64_t>::max(), left = top, bottom = -1, right = -1;

    void add(std::int64_t row, std::int64_t column) {
        top = std::min(top, row), bottom = std::max(bottom, row);
        left = std::min(left, column), right = std::max(right, column);
    }
    bool meets(const Box& other) const {
        return top <= other.bottom && other.top <= bottom && left <= other.right && other.left <= right;
    }
    bool contains(std::int64_t row, std::int64_t column) const {
        return row >= top && row <= bottom && column >= left && column <= right;
    }
    std::int64_t width() const { return right - left + 1; }
    std::int64_t height() const { return bottom - top + 1; }
};

/// A component in the planes it passes through.
struct PlaneObject {
    std::map<std::int64_t, Box> boxes;  ///< by slice
    std::int64_t voxels = 0;

    std::int64_t middle_slice() const { return std::next(boxes.begin(), boxes.size() / 2)->first; }
};

/// Where a voxel is seen.
struct PlanePoint {
    PlanePoint(const std::array<std::int64_t, 3>& shape, const SliceOrientation& shown, std::int64_t voxel) {
        const std::array<std::int64_t, 3> at{voxel / (shape[1] * shape[2]), voxel / shape[2] % shape[1],
                                             voxel % shape[2]};
        slice = at[shown.across];
        row = shown.reverse_down ? shown.height - 1 - at[shown.down] : at[shown.down];
        column = shown.reverse_right ? shown.width - 1 - at[shown.right] : at[shown.right];
    }
    std::int64_t slice, row, column;
};

std::vector<PlaneObject> plane_objects(const ComponentList& components, const Geometry& geometry,
                                       const SliceOrientation& shown) {
    std::vector<PlaneObject> objects(static_cast<std::size_t>(components.size()));
    for (std::int64_t c = 0; c < components.size(); ++c) {
        objects[c].voxels = components.offsets[c + 1] - components.offsets[c];
        for (std::int64_t v = components.offsets[c]; v < components.offsets[c + 1]; ++v) {
            const PlanePoint at(geometry.shape, shown, components.voxels[v]);
            objects[c].boxes[at.slice].add(at.row, at.column);
        }
    }
    return objects;
}

/// A scan as it is drawn.
struct ShownScan {
    const ReportData& data;
    const ReportCase& scan;
    SliceOrientation shown;
    std::string channel;  ///< what the grey values are of
    std::vector<float> image;
    std::array<float, 2> window{0, 1};
    std::vector<PlaneObject> lesions;
    std::vector<std::vector<PlaneObject>> detections;  ///< one list a run

    std::int64_t runs_missing(std::size_t lesion) const {
        return std::count_if(scan.predictions.begin(), scan.predictions.end(),
                             [&](const auto& run) { return run.present && !run.lesion_found[lesion]; });
    }
};

struct Picture {
    std::int64_t slice = 0;
    Box box;
};

/// The part of a plane around an object that is shown: all of it where it is small.
Picture picture_around(const ShownScan& view, const PlaneObject& object) {
    Picture picture;
    picture.slice = object.middle_slice();
    const Box& box = object.boxes.at(picture.slice);
    const auto place = [](std::int64_t centre, std::int64_t size) {
        const std::int64_t shown = std::min(size, kLargestPicture);
        return std::clamp<std::int64_t>(centre - shown / 2, 0, size - shown);
    };
    picture.box.top = place((box.top + box.bottom) / 2, view.shown.height);
    picture.box.left = place((box.left + box.right) / 2, view.shown.width);
    picture.box.bottom = picture.box.top + std::min(view.shown.height, kLargestPicture) - 1;
    picture.box.right = picture.box.left + std::min(view.shown.width, kLargestPicture) - 1;
    return picture;
}

bool visible(const PlaneObject& object, const Picture& picture) {
    const auto box = object.boxes.find(picture.slice);
    return box != object.boxes.end() && box->second.meets(picture.box);
}

/// Pictures that between them show what went wrong: lesions missed by most runs and largest first, then false
/// detections, largest first; the largest lesion or detection where nothing went wrong.
std::vector<Picture> choose_pictures(const ShownScan& view) {
    struct Wanted {
        std::int64_t missing, voxels;
        const PlaneObject* object;
    };
    std::vector<Wanted> wanted;
    const PlaneObject* largest = nullptr;
    for (std::size_t lesion = 0; lesion < view.lesions.size(); ++lesion) {
        const PlaneObject& object = view.lesions[lesion];
        if (const std::int64_t missing = view.runs_missing(lesion)) wanted.push_back({missing, object.voxels, &object});
        if (!largest || object.voxels > largest->voxels) largest = &object;
    }
    for (std::size_t run = 0; run < view.detections.size(); ++run)
        for (std::size_t d = 0; d < view.detections[run].size(); ++d)
            if (view.scan.predictions[run].detection_false[d])
                wanted.push_back({0, view.detections[run][d].voxels, &view.detections[run][d]});
    if (wanted.empty() && largest) wanted.push_back({0, largest->voxels, largest});
    std::stable_sort(wanted.begin(), wanted.end(), [](const Wanted& a, const Wanted& b) {
        return std::pair(a.missing, a.voxels) > std::pair(b.missing, b.voxels);
    });
    std::vector<Picture> pictures;
    for (const Wanted& next : wanted) {
        if (pictures.size() == kPicturesPerScan) break;
        if (std::none_of(pictures.begin(), pictures.end(), [&](const Picture& p) { return visible(*next.object, p); }))
            pictures.push_back(picture_around(view, *next.object));
    }
    return pictures;
}

std::string png_of(const ShownScan& view, const Picture& picture) {
    const SliceIndex index(view.scan.geometry, view.shown, picture.slice);
    const auto [low, high] = view.window;
    std::vector<std::uint8_t> grey;
    for (std::int64_t row = picture.box.top; row <= picture.box.bottom; ++row)
        for (std::int64_t column = picture.box.left; column <= picture.box.right; ++column) {
            const float value = (view.image[index(row, column)] - low) / (high - low);
            grey.push_back(static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0f, 1.0f) * 255.0f)));
        }
    return grey_png(grey, picture.box.width(), picture.box.height());
}

/// The border of all components where they pass through the picture.
std::string outline(const ShownScan& view, const ComponentList& components, const std::vector<PlaneObject>& objects,
                    const Picture& picture) {
    const Box& box = picture.box;
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(box.width() * box.height()));
    for (std::size_t c = 0; c < objects.size(); ++c) {
        if (!visible(objects[c], picture)) continue;
        for (std::int64_t v = components.offsets[c]; v < components.offsets[c + 1]; ++v) {
            const PlanePoint at(view.scan.geometry.shape, view.shown, components.voxels[v]);
            if (at.slice == picture.slice && box.contains(at.row, at.column))
                mask[(at.row - box.top) * box.width() + at.column - box.left] = 1;
        }
    }
    return outline_path(mask, box.width(), box.height());
}

/// A run's colour, which is that of its curves.
std::string stroke_of(std::size_t run) {
    return fmt::format(R"(style="stroke:{}")", chart_colour(run));
}

/// A dashed ring around an object that would else be overlooked.
std::string ring(const PlaneObject& object, const Picture& picture, const std::string& style,
                 const std::string& title) {
    const Box& box = object.boxes.at(picture.slice);
    const double x = 0.5 * static_cast<double>(box.left + box.right + 1) - static_cast<double>(picture.box.left);
    const double y = 0.5 * static_cast<double>(box.top + box.bottom + 1) - static_cast<double>(picture.box.top);
    const double clearance = 2.5;  // voxels between object and ring
    return fmt::format(R"(<ellipse {} cx="{}" cy="{}" rx="{}" ry="{}"><title>{}</title></ellipse>)", style, x, y,
                       0.6 * static_cast<double>(box.width()) + clearance,
                       0.6 * static_cast<double>(box.height()) + clearance, title);
}

std::string rings(const ShownScan& view, std::size_t run, const Picture& picture) {
    std::string html;
    for (std::size_t lesion = 0; lesion < view.lesions.size(); ++lesion)
        if (!view.scan.predictions[run].lesion_found[lesion] && visible(view.lesions[lesion], picture))
            html += ring(view.lesions[lesion], picture, R"(class="missed")",
                         fmt::format("missed lesion of {} voxels", view.lesions[lesion].voxels));
    for (std::size_t d = 0; d < view.detections[run].size(); ++d)
        if (view.scan.predictions[run].detection_false[d] && visible(view.detections[run][d], picture))
            html += ring(view.detections[run][d], picture, R"(class="false" )" + stroke_of(run),
                         fmt::format("false positive of {} voxels", view.detections[run][d].voxels));
    return html;
}

/// One picture as every run sees it; the grey values are in the page once.
std::string picture_row(const ShownScan& view, const Picture& picture, const std::string& id) {
    const std::int64_t width = picture.box.width(), height = picture.box.height();
    const double mm_wide = static_cast<double>(width) * view.shown.pixel_width;
    const double mm_high = static_cast<double>(height) * view.shown.pixel_height;
    const std::string target = outline(view, view.scan.lesions, view.lesions, picture);
    std::string html = R"(<div class="pictures">)";
    bool first = true;
    for (std::size_t run = 0; run < view.data.runs.size(); ++run) {
        const ReportPrediction& prediction = view.scan.predictions[run];
        if (!prediction.present) continue;
        html += fmt::format(R"(<figure><svg viewBox="0 0 {:.2f} {:.2f}" role="img" aria-label="{}">)"
                            "<g transform=\"scale({:.5f},{:.5f})\">",
                            mm_wide, mm_high,
                            escape_html(fmt::format("slice {} with {}", picture.slice + 1, view.data.runs[run].name)),
                            view.shown.pixel_width, view.shown.pixel_height);
        html += first ? fmt::format(R"(<image id="{}" width="{}" height="{}" preserveAspectRatio="none" )"
                                    R"(style="image-rendering:pixelated" href="data:image/png;base64,{}"/>)",
                                    id, width, height, base64(png_of(view, picture)))
                      : fmt::format(R"(<use href="#{}"/>)", id);
        html += fmt::format(R"(<path class="halo" d="{1}"/><path class="target" d="{0}"/>)"
                            R"(<path class="prediction" {2} d="{1}"/>{3}</g>{4}</svg>)",
                            target, outline(view, prediction.detections, view.detections[run], picture), stroke_of(run),
                            rings(view, run, picture), slice_marks(view.shown, mm_wide, mm_high));
        html += fmt::format("<figcaption>{}, slice {} of {}{}; {} from {:.4g} to {:.4g}</figcaption></figure>",
                            run_mark(view.data.runs[run].name, run), picture.slice + 1, view.shown.slices,
                            width < view.shown.width || height < view.shown.height ? ", detail" : "",
                            escape_html(view.channel), view.window[0], view.window[1]);
        first = false;
    }
    return html + "</div>";
}

/// The first channel that the first run reads.
std::int64_t shown_channel(const ReportData& data) {
    const PreparationOptions options = preparation_options(data.runs.front().config);
    return selected_channels(data.dataset, options).front();
}

/// Its values as they are in the file.
std::vector<float> read_shown(const ReportData& data, const ReportCase& scan, std::int64_t channel) {
    PreparationOptions options = preparation_options(data.runs.front().config);
    options.channel_numbers = {channel};
    options.mask_channel.clear();
    options.intensity = {};
    options.with_label = false;
    return prepare_case(data.dataset, data.dataset.find(scan.name), options).image;
}

/// The window that the network sees the scan in, where it has one, else what shows most of the scan.
std::array<float, 2> window_of(const Config& config, const std::vector<float>& image) {
    if (config.intensity.kind != Intensity::Kind::window) return grey_window(image);
    return {static_cast<float>(config.intensity.low), static_cast<float>(config.intensity.high)};
}

std::string summary_of(const ReportData& data, const ReportCase& scan) {
    const auto counted = [](std::int64_t number, const char* what) {
        return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
    };
    std::string text = counted(scan.lesions.size(), "lesion");
    for (std::size_t run = 0; run < data.runs.size(); ++run) {
        const auto& [present, detections, found, wrong, dice] = scan.predictions[run];
        if (present)
            text +=
                fmt::format(" · {}: {} found, {}", data.runs[run].name, std::count(found.begin(), found.end(), true),
                            counted(std::count(wrong.begin(), wrong.end(), true), "false positive"));
    }
    return text;
}

}  // namespace

std::string slices_section(const ReportData& data, std::size_t cases) {
    std::string html;
    std::size_t number = 0;
    const std::int64_t channel = shown_channel(data);
    const std::string& name = data.dataset.channels[static_cast<std::size_t>(channel)];
    for (const ReportCase& scan : data.cases) {
        if (number == cases) break;
        if (std::none_of(scan.predictions.begin(), scan.predictions.end(), [](const auto& run) { return run.present; }))
            continue;
        ++number;
        ShownScan view{data, scan, slice_orientation(scan.geometry), name, read_shown(data, scan, channel), {}, {}, {}};
        view.window = window_of(data.runs.front().config, view.image);
        view.lesions = plane_objects(scan.lesions, scan.geometry, view.shown);
        for (const ReportPrediction& prediction : scan.predictions)
            view.detections.push_back(plane_objects(prediction.detections, scan.geometry, view.shown));
        html += fmt::format(R"(<article class="scan"><h3>{}</h3><p class="note">{}</p>)", escape_html(scan.name),
                            escape_html(summary_of(data, scan)));
        const std::vector<Picture> pictures = choose_pictures(view);
        for (std::size_t p = 0; p < pictures.size(); ++p)
            html += picture_row(view, pictures[p], fmt::format("scan{}-{}", number, p + 1));
        if (pictures.empty()) html += "<p>No lesion here, and none was found.</p>";
        html += "</article>";
    }
    return html;
}

}  // namespace iwseg
