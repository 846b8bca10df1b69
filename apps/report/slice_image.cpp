#include "apps/report/slice_image.h"

#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace iwseg {
namespace {

/// The axis of `candidates` that runs closest to the world's axis (0 right, 1 anterior, 2 superior).
int closest_axis(const Geometry& geometry, int world, std::initializer_list<int> candidates) {
    const auto spacing = geometry.spacing();
    const auto alignment = [&](int axis) { return std::abs(geometry.affine[world][axis]) / spacing[axis]; };
    return std::max(candidates, [&](int a, int b) { return alignment(a) < alignment(b); });
}

/// The patient's side towards which the world's axis (0 right, 1 anterior, 2 superior) grows, or from which it comes.
char side_letter(int world, bool grows) {
    return "LRPAIS"[2 * world + grows];
}

/// Appends the segments along one family of grid lines: edge(line, place) says whether the border runs there.
template <class Edge, class Emit>
void runs_of_edges(std::int64_t lines, std::int64_t places, Edge&& edge, Emit&& emit) {
    for (std::int64_t line = 0; line < lines; ++line)
        for (std::int64_t place = 0; place < places; ++place) {
            const std::int64_t begin = place;
            while (place < places && edge(line, place)) ++place;
            if (place > begin) emit(line, begin, place);
        }
}

}  // namespace

SliceOrientation slice_orientation(const Geometry& geometry) {
    constexpr double clearly_thicker = 1.5;
    const auto spacing = geometry.spacing();
    const int thickest = static_cast<int>(std::max_element(spacing.begin(), spacing.end()) - spacing.begin());
    const double second = std::max(spacing[(thickest + 1) % 3], spacing[(thickest + 2) % 3]);

    SliceOrientation shown;
    shown.across = spacing[thickest] > clearly_thicker * second ? thickest : closest_axis(geometry, 2, {0, 1, 2});
    const int a = (shown.across + 1) % 3, b = (shown.across + 2) % 3;
    // What points most upwards, or forwards where nothing does, is the picture's height.
    const bool axial = closest_axis(geometry, 2, {0, 1, 2}) == shown.across;
    const int up = axial ? 1 : 2;
    shown.down = closest_axis(geometry, up, {a, b});
    shown.right = a + b - shown.down;
    const bool sagittal = closest_axis(geometry, 0, {0, 1, 2}) == shown.across;
    const int across_picture = sagittal ? 1 : 0;
    shown.reverse_right = geometry.affine[across_picture][shown.right] > 0;
    // Columns run against the world's axis, whichever way the file's run.
    shown.left_letter = side_letter(across_picture, true);
    shown.right_letter = side_letter(across_picture, false);
    shown.reverse_down = geometry.affine[up][shown.down] > 0;
    shown.slices = geometry.shape[shown.across];
    shown.width = geometry.shape[shown.right];
    shown.height = geometry.shape[shown.down];
    shown.pixel_width = spacing[shown.right];
    shown.pixel_height = spacing[shown.down];
    return shown;
}

SliceIndex::SliceIndex(const Geometry& geometry, const SliceOrientation& orientation, std::int64_t slice) {
    const auto& shape = geometry.shape;
    const std::array<std::int64_t, 3> steps{shape[1] * shape[2], shape[2], 1};
    start = slice * steps[orientation.across];
    column_step = steps[orientation.right];
    row_step = steps[orientation.down];
    if (orientation.reverse_right) {
        start += (orientation.width - 1) * column_step;
        column_step = -column_step;
    }
    if (orientation.reverse_down) {
        start += (orientation.height - 1) * row_step;
        row_step = -row_step;
    }
}

std::array<float, 2> grey_window(const std::vector<float>& voxels) {
    constexpr std::size_t enough = 1 << 20;  // percentiles of a sample are close enough to look at
    std::vector<float> sample;
    const std::size_t step = voxels.size() / enough + 1;
    for (std::size_t i = 0; i < voxels.size(); i += step) sample.push_back(voxels[i]);
    if (sample.empty()) return {0.0f, 1.0f};
    const auto percentile = [&](double part) {
        const auto place = sample.begin() + static_cast<std::ptrdiff_t>(part * static_cast<double>(sample.size() - 1));
        std::nth_element(sample.begin(), place, sample.end());
        return *place;
    };
    const float low = percentile(0.01), high = percentile(0.995);
    return {low, high > low ? high : low + 1.0f};
}

std::string grey_png(const std::vector<std::uint8_t>& pixels, std::int64_t width, std::int64_t height) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = static_cast<png_uint_32>(width);
    image.height = static_cast<png_uint_32>(height);
    image.format = PNG_FORMAT_GRAY;
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
    std::string png(size, '\0');
    if (!png_image_write_to_memory(&image, png.data(), &size, 0, pixels.data(), 0, nullptr))
        throw std::runtime_error(
            fmt::format("a picture of {}x{} cannot be encoded as PNG: {}", width, height, image.message));
    png.resize(size);
    return png;
}

std::string base64(std::string_view bytes) {
    constexpr char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t group = 0;
        for (std::size_t b = 0; b < 3; ++b)
            group = group << 8 | (i + b < bytes.size() ? static_cast<unsigned char>(bytes[i + b]) : 0u);
        for (std::size_t s = 0; s < 4; ++s) text += i + s <= bytes.size() ? letters[group >> (18 - 6 * s) & 63u] : '=';
    }
    return text;
}

std::string outline_path(const std::vector<std::uint8_t>& mask, std::int64_t width, std::int64_t height) {
    const auto inside = [&](std::int64_t row, std::int64_t column) {
        return row >= 0 && row < height && column >= 0 && column < width && mask[row * width + column] != 0;
    };
    std::string path;
    runs_of_edges(
        height + 1, width, [&](auto row, auto column) { return inside(row - 1, column) != inside(row, column); },
        [&](auto row, auto from, auto to) { path += fmt::format("M{} {}H{}", from, row, to); });
    runs_of_edges(
        width + 1, height, [&](auto column, auto row) { return inside(row, column - 1) != inside(row, column); },
        [&](auto column, auto from, auto to) { path += fmt::format("M{} {}V{}", column, from, to); });
    return path;
}

}  // namespace iwseg
