#include "training/resident_scans.h"

#include <algorithm>
#include <vector>

#include "base/bytes.h"
#include "kernels/components/ignored.h"
#include "kernels/device/backend.h"

namespace iwseg {
namespace {

/// Where a scan's parts lie, bytes from its start: the image, labels, padding.
struct ScanParts {
    std::int64_t labels, padding, end;

    explicit ScanParts(const TrainingScan& scan) {
        const std::int64_t voxels = scan.voxels();
        labels = aligned(scan.channels * voxels * 4);
        padding = labels + aligned(voxels * 4);
        end = padding + aligned(scan.channels * 4);
    }
};

}  // namespace

std::int64_t ResidentScans::bytes_needed(const std::vector<TrainingScan>& scans) {
    std::int64_t bytes = 0;
    for (const TrainingScan& scan : scans) bytes += ScanParts(scan).end;
    return bytes;
}

ResidentScans::ResidentScans(const Context& context, const std::vector<TrainingScan>& scans)
    : memory_(context.backend(), bytes_needed(scans)) {
    const Backend& device = context.backend();
    const Stream stream = context.stream();
    char* at = memory_.data();
    std::vector<std::int32_t> labels;
    for (const TrainingScan& scan : scans) {
        const ScanParts parts(scan);
        const ComponentList& lesions = *scan.lesions;
        labels.assign(static_cast<std::size_t>(scan.voxels()), 0);
        write_labels(lesions, labels.data());
        for (std::size_t v = 0; scan.ignored && v < labels.size(); ++v)
            if (scan.ignored[v]) labels[v] = kIgnoredLabel;
        label_bound_ = std::max<std::int64_t>(label_bound_, lesions.largest_label() + 1);
        device.copy_to_device(stream, scan.image, at, scan.channels * scan.voxels() * 4);
        device.copy_to_device(stream, labels.data(), at + parts.labels, scan.voxels() * 4);
        device.copy_to_device(stream, scan.minimum, at + parts.padding, scan.channels * 4);
        device.synchronise(stream);  // labels are made anew for the next scan
        scans_.push_back({scan.shape, reinterpret_cast<const float*>(at),
                          reinterpret_cast<const std::int32_t*>(at + parts.labels),
                          reinterpret_cast<const float*>(at + parts.padding)});
        at += parts.end;
    }
}

PatchSource ResidentScans::source(const PatchPlace& place, const std::array<std::int64_t, 3>& patch) const {
    const Scan& scan = scans_.at(place.scan);
    PatchSource source = source_of(place, scan.shape, patch);
    source.image = scan.image;
    source.labels = scan.labels;
    source.padding = scan.padding;
    return source;
}

}  // namespace iwseg
