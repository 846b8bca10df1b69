#include "nnunet/preprocess.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "base/error.h"
#include "kernels/components/components_of.h"
#include "kernels/cpu/parallel.h"
#include "nnunet/resample.h"

namespace iwseg::nnunet {
namespace {

constexpr double kLeastDeviation = 1e-8;

std::int64_t voxels_of(const Extent& extent) {
    return extent[0] * extent[1] * extent[2];
}

/// mm a voxel along i, j, k, as ITK and nibabel tell nnU-Net: of NIfTI the header's pixdim. That of an oblique affine
/// differs in the eighth digit, and extents and the choice of axes are rounded by it.
std::array<double, 3> spacing_of(const Geometry& geometry) {
    std::array<double, 3> spacing = geometry.spacing();
    for (std::size_t axis = 0; axis < 3 && geometry.nifti; ++axis) {
        const double said = geometry.nifti->pixdim[axis + 1] * geometry.nifti->mm_of_unit();
        if (std::abs(said - spacing[axis]) < 1e-4 * spacing[axis]) spacing[axis] = said;
    }
    return spacing;
}

/// What nibabel tells of a scan whose RAS form it has made: of the affine, in f32.
std::array<double, 3> spacing_of_ras(const Geometry& geometry) {
    std::array<double, 3> spacing = geometry.spacing();
    for (double& mm : spacing) mm = static_cast<float>(mm);
    return spacing;
}

/// ITK takes a NIfTI file that claims no frame for one whose first axes run to the left and to the back.
Orientation orientation_in_file(const Geometry& geometry, OrientationRule rule) {
    if (rule == OrientationRule::itk && geometry.nifti && !geometry.nifti->is_claimed())
        return {{0, 1, 2}, {true, true, false}};
    return orientation_of(geometry.affine, rule);
}

/// Calls body(row, place): rows of a part of the scan along its last axis, and where each begins in the file's array.
template <class Body>
void each_row(Stream host, const Placement& placement, const Extent& first, const Extent& part, Body&& body) {
    const Extent strides = placement.strides();
    const std::int64_t origin = placement.origin();
    cpu::parallel_for(host, part[0] * part[1], [&](std::int64_t row) {
        const std::int64_t d = first[0] + row / part[1], h = first[1] + row % part[1];
        body(row, origin + d * strides[0] + h * strides[1] + first[2] * strides[2]);
    });
}

/// Bounds along each axis of where any channel is not 0; the whole scan where all are 0.
void crop(Stream host, const std::vector<Volume<float>>& channels, Placement& placement) {
    const Extent strides = placement.strides();
    struct Bounds {
        std::int64_t first = std::numeric_limits<std::int64_t>::max(), last = -1;
        void add(std::int64_t place) { first = std::min(first, place), last = std::max(last, place); }
        void add(const Bounds& other) { first = std::min(first, other.first), last = std::max(last, other.last); }
    };
    const Extent& scan = placement.scan;
    std::vector<Bounds> along(static_cast<std::size_t>(scan[0] * scan[1]));
    each_row(host, placement, {0, 0, 0}, scan, [&](std::int64_t row, std::int64_t place) {
        for (const Volume<float>& channel : channels)
            for (std::int64_t w = 0; w < scan[2]; ++w)
                if (channel.voxels[static_cast<std::size_t>(place + w * strides[2])] != 0)
                    along[static_cast<std::size_t>(row)].add(w);
    });
    std::array<Bounds, 3> box;
    for (std::int64_t row = 0; row < scan[0] * scan[1]; ++row) {
        const Bounds& of = along[static_cast<std::size_t>(row)];
        if (of.last < 0) continue;
        box[0].add(row / scan[1]);
        box[1].add(row % scan[1]);
        box[2].add(of);
    }
    if (box[2].last < 0) return;
    for (std::size_t a = 0; a < 3; ++a) {
        placement.first[a] = box[a].first;
        placement.cropped[a] = box[a].last - box[a].first + 1;
    }
}

/// 1 where a voxel of the cropped scan is in what is not 0 or enclosed by it, 0 elsewhere.
std::vector<std::uint8_t> filled_mask(Stream host, const std::vector<Volume<float>>& channels,
                                      const Placement& placement) {
    const Extent strides = placement.strides(), &part = placement.cropped;
    std::vector<std::uint8_t> zero(static_cast<std::size_t>(voxels_of(part)));
    each_row(host, placement, placement.first, part, [&](std::int64_t row, std::int64_t place) {
        for (std::int64_t w = 0; w < part[2]; ++w) {
            bool all = true;
            for (const Volume<float>& channel : channels)
                all = all && channel.voxels[static_cast<std::size_t>(place + w * strides[2])] == 0;
            zero[static_cast<std::size_t>(row * part[2] + w)] = all;
        }
    });
    // Holes are what is 0 and not joined by faces with the border: of the scan, which is beyond the crop where that
    // does not reach it.
    const Components components = components_of(zero, part, 6, host);
    std::vector<bool> outside(static_cast<std::size_t>(components.count) + 1);
    const auto at_border = [&](std::int64_t d, std::int64_t h, std::int64_t w) {
        return d == 0 || h == 0 || w == 0 || d == part[0] - 1 || h == part[1] - 1 || w == part[2] - 1;
    };
    for (std::int64_t d = 0, v = 0; d < part[0]; ++d)
        for (std::int64_t h = 0; h < part[1]; ++h)
            for (std::int64_t w = 0; w < part[2]; ++w, ++v)
                if (at_border(d, h, w))
                    outside[static_cast<std::size_t>(components.labels[static_cast<std::size_t>(v)])] = true;
    std::vector<std::uint8_t> mask(zero.size());
    for (std::size_t v = 0; v < zero.size(); ++v)
        mask[v] = !zero[v] || !outside[static_cast<std::size_t>(components.labels[v])];
    return mask;
}

std::vector<float> cropped(Stream host, const Volume<float>& channel, const Placement& placement) {
    const Extent strides = placement.strides(), &part = placement.cropped;
    std::vector<float> image(static_cast<std::size_t>(voxels_of(part)));
    each_row(host, placement, placement.first, part, [&](std::int64_t row, std::int64_t place) {
        for (std::int64_t w = 0; w < part[2]; ++w)
            image[static_cast<std::size_t>(row * part[2] + w)] =
                channel.voxels[static_cast<std::size_t>(place + w * strides[2])];
    });
    return image;
}

/// Mean and deviation of the voxels in the mask, or of all where it is empty.
std::pair<double, double> moments(const std::vector<float>& image, const std::vector<std::uint8_t>& mask) {
    const auto sum_over = [&](auto&& term) {
        double sum = 0;
        for (std::size_t v = 0; v < image.size(); ++v)
            if (mask.empty() || mask[v]) sum += term(double{image[v]});
        return sum;
    };
    const double count = sum_over([](double) { return 1.0; });
    if (count == 0) return {0, 1};
    const double mean = sum_over([](double x) { return x; }) / count;
    return {mean, std::sqrt(sum_over([&](double x) { return (x - mean) * (x - mean); }) / count)};
}

void normalise(std::vector<float>& image, Normalisation how, const IntensityProperties& known,
               const std::vector<std::uint8_t>& mask, std::size_t channel) {
    const auto shift_and_divide = [&](double shift, double divisor) {
        const auto mean = static_cast<float>(shift), by = static_cast<float>(std::max(divisor, kLeastDeviation));
        for (std::size_t v = 0; v < image.size(); ++v)
            if (mask.empty() || mask[v]) image[v] = (image[v] - mean) / by;
    };
    const auto [least, most] = std::minmax_element(image.begin(), image.end());
    switch (how) {
        case Normalisation::ct: {
            const auto low = static_cast<float>(known.percentile_00_5),
                       high = static_cast<float>(known.percentile_99_5);
            for (float& x : image) x = std::min(std::max(x, low), high);
            return shift_and_divide(known.mean, known.std);
        }
        case Normalisation::zscore: {
            const auto [mean, deviation] = moments(image, mask);
            return shift_and_divide(mean, deviation);
        }
        case Normalisation::none:
            return;
        case Normalisation::rescale_to_0_1:
            return shift_and_divide(*least, double{*most} - *least);
        case Normalisation::rgb_to_0_1:
            if (*least < 0 || *most > 255)
                throw InputError(
                    fmt::format("channel {} has values from {:g} to {:g}, of an RGB image 0 to 255 are "
                                "expected",
                                channel, *least, *most));
            return shift_and_divide(0, 255);
    }
}

}  // namespace

std::size_t Placement::source_axis(std::size_t axis) const {
    return static_cast<std::size_t>(orientation.axes[static_cast<std::size_t>(2 - transpose[axis])]);
}

Extent Placement::strides() const {
    Extent file{};  // sides along i, j, k
    for (std::size_t a = 0; a < 3; ++a) file[source_axis(a)] = scan[a];
    const Extent of_file{file[1] * file[2], file[2], 1};
    Extent made{};
    for (std::size_t a = 0; a < 3; ++a)
        made[a] = of_file[source_axis(a)] * (orientation.reversed[static_cast<std::size_t>(2 - transpose[a])] ? -1 : 1);
    return made;
}

std::int64_t Placement::origin() const {
    const Extent step = strides();
    std::int64_t place = 0;
    for (std::size_t a = 0; a < 3; ++a)
        if (step[a] < 0) place -= step[a] * (scan[a] - 1);
    return place;
}

Extent Placement::array_sides() const {
    Extent sides{};
    for (std::size_t a = 0; a < 3; ++a) sides[static_cast<std::size_t>(transpose[a])] = scan[a];
    return sides;
}

Placement placement_of(const Geometry& geometry, const Plans& plans) {
    Placement made;
    made.transpose = plans.transpose_forward;
    if (plans.to_ras) made.orientation = orientation_in_file(geometry, *plans.to_ras);
    const bool of_nibabel = plans.to_ras == OrientationRule::nibabel && !made.orientation.is_ras();
    const std::array<double, 3> spacing = of_nibabel ? spacing_of_ras(geometry) : spacing_of(geometry);
    for (std::size_t a = 0; a < 3; ++a) {
        const std::size_t source = made.source_axis(a);
        made.scan[a] = geometry.shape[source];
        made.spacing[a] = spacing[source];
    }
    made.cropped = made.scan;
    return made;
}

Preprocessed preprocess(Stream host, std::vector<Volume<float>> channels, const Plans& plans) {
    const Configuration& configuration = plans.configuration;
    if (channels.size() != configuration.normalisations.size())
        throw InputError(fmt::format("a scan has {} channels, the model takes {}", channels.size(),
                                     configuration.normalisations.size()));
    for (std::size_t c = 0; c < channels.size(); ++c) {
        const auto& voxels = channels[c].voxels;
        const auto bad = std::find_if(voxels.begin(), voxels.end(), [](float x) { return !std::isfinite(x); });
        if (bad != voxels.end()) throw InputError(fmt::format("channel {} holds the value {}", c, *bad));
    }
    Preprocessed made{placement_of(channels.at(0).geometry, plans), {}};
    Placement& placement = made.placement;
    crop(host, channels, placement);
    placement.resampled = resampled_extent(placement.cropped, placement.spacing, configuration.spacing);
    for (const std::int64_t side : placement.resampled)
        if (side < 1 || side > kMostImageSide)
            throw InputError(
                fmt::format("a scan of {} x {} x {} voxels has a side of {} at the model's spacing, expected "
                            "1 to {}",
                            placement.cropped[0], placement.cropped[1], placement.cropped[2], side, kMostImageSide));
    const AxisOrders orders = axis_orders(configuration.of_images, placement.spacing, configuration.spacing);
    const auto& masked = configuration.normalise_nonzero;
    const std::vector<std::uint8_t> mask = std::find(masked.begin(), masked.end(), true) != masked.end()
                                               ? filled_mask(host, channels, placement)
                                               : std::vector<std::uint8_t>();
    if (channels.size() > 1)  // of one its image becomes the result
        made.image.reserve(static_cast<std::size_t>(voxels_of(placement.resampled)) * channels.size());
    for (std::size_t c = 0; c < channels.size(); ++c) {
        std::vector<float> image = cropped(host, channels[c], placement);
        channels[c].voxels = std::vector<float>();
        const bool zscore_of_mask = masked[c] && configuration.normalisations[c] == Normalisation::zscore;
        normalise(image, configuration.normalisations[c], plans.intensities[c],
                  zscore_of_mask ? mask : std::vector<std::uint8_t>(), c);
        image = resample(host, std::move(image), placement.cropped, placement.resampled, orders);
        if (channels.size() == 1)
            made.image = std::move(image);
        else
            made.image.insert(made.image.end(), image.begin(), image.end());
    }
    return made;
}

std::int64_t preprocessing_bytes(const Placement& placement, const Plans& plans) {
    const std::int64_t scan = voxels_of(placement.scan), seen = 4 * voxels_of(placement.resampled);
    const std::int64_t resampling =
        resampling_bytes(placement.scan, placement.resampled,
                         axis_orders(plans.configuration.of_images, placement.spacing, plans.configuration.spacing));
    const auto& masked = plans.configuration.normalise_nonzero;
    const auto channels = static_cast<std::int64_t>(masked.size());
    const bool has_mask = std::find(masked.begin(), masked.end(), true) != masked.end();
    // What is 0, its components and the mask, beside all channels; then the mask stays.
    std::int64_t most = has_mask ? (4 * channels + 6) * scan : 0;
    for (std::int64_t c = 0; c < channels; ++c) {
        // A channel is copied and freed, resampled, and copied behind those before it.
        const std::int64_t held = 4 * (channels - c - 1) * scan + c * seen + (has_mask ? scan : 0);
        most = std::max(most, held + std::max({8 * scan, resampling, channels > 1 ? 2 * seen : seen}));
    }
    return most;
}

}  // namespace iwseg::nnunet
