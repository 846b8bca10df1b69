#include "apps/prediction/memory_need.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "data/volume/volume.h"
#include "kernels/device/memory.h"

namespace iwseg {
namespace {

constexpr double kF32 = 4, kI32 = 4, kU8 = 1;  // bytes a voxel
constexpr double kPacking = 2 * kF32;          // a volume in its file's order, and compressed
constexpr double kRowsAsBits = 0.375;  // what labelling of components holds of each row, at most (connectivity 6)

/// Headers may lie: sizes are multiplied in floating point, and no need is beyond this.
MemoryNeed need_of(std::string scan, const std::array<std::int64_t, 3>& shape, double bytes) {
    constexpr double most = 1e18;
    return {std::move(scan), shape, static_cast<std::int64_t>(std::min(bytes, most))};
}

double voxels_of(const std::array<std::int64_t, 3>& shape) {
    return static_cast<double>(shape[0]) * static_cast<double>(shape[1]) * static_cast<double>(shape[2]);
}

std::string size_text(std::int64_t bytes) {
    const auto b = static_cast<double>(bytes);
    return b < 1e9 ? fmt::format("{:.0f} MB", b / 1e6) : gigabytes(bytes);
}

}  // namespace

MemoryNeed prediction_need(const PredictionWork& scan) {
    const auto shape = read_geometry(scan.files.front()).shape;
    const double voxels = voxels_of(shape);
    double reading = 0;
    for (const auto& file : scan.files) reading = std::max(reading, static_cast<double>(reading_bytes(file)));
    // The last channel is read while the others, and the mask, are held; then it is copied after them.
    if (scan.files.size() > 1)
        reading = std::max(reading, 2 * kF32 * voxels) + static_cast<double>(scan.files.size() - 1) * kF32 * voxels;
    const double predicting = static_cast<double>(scan.channels + (scan.summed ? 4 : 2)) * kF32 * voxels;
    // The image is no longer held, and the logits only until they are written.
    const double writing = ((scan.logit ? 2 : 1) * kF32 + (scan.packed ? kPacking : kF32)) * voxels;
    return need_of(scan.name, shape,
                   static_cast<double>(scan.lasting_bytes) + std::max({reading, predicting, writing}));
}

MemoryNeed labelling_need(const std::filesystem::path& mask, bool weights) {
    const auto shape = read_geometry(mask).shape;
    const double labelling = kI32 + kU8 + kRowsAsBits, writing = (weights ? 2 : 1) * kI32 + kPacking;
    return need_of(mask.string(), shape,
                   std::max(static_cast<double>(reading_bytes(mask)), std::max(labelling, writing) * voxels_of(shape)));
}

MemoryNeed evaluation_need(const EvaluationWork& work) {
    const auto shape = read_geometry(work.label).shape;
    // The target, the scores and the labels of the components of lesions and of detections: held to the end.
    const double held = (work.ignored ? 2 : 1) * kU8 + (work.logits ? 2 : 1) * kF32 + 2 * kI32;
    constexpr double labelling = kU8 + kRowsAsBits;
    constexpr double growing = labelling + kI32 + kU8;  // lesions that grew together, and their labels
    constexpr double distances =
        2 * kU8 + 2 * kU8 + 2 * kU8 + 8 * kU8;  // masks, codes of corners, surfaces, f64 distances
    // The target, the probability, the map of labels in memory and as its file is read; then the class's mask in f32.
    const double decoding = work.labels ? kU8 + kF32 + std::max(kI32 + kPacking, kI32 + kU8 + kF32) : 0;
    const double most =
        std::max(decoding, held + std::max({labelling, work.brats ? growing : 0, work.surfaces ? distances : 0}));
    return need_of(work.name, shape, std::max(static_cast<double>(reading_bytes(work.label)), most * voxels_of(shape)));
}

std::int64_t resident_bytes() {
    std::int64_t pages = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> pages >> resident;
    return resident * ::sysconf(_SC_PAGESIZE);
}

std::string memory_sentence(const std::vector<MemoryNeed>& scans, const std::string& work) {
    const MemoryNeed& most =
        *std::max_element(scans.begin(), scans.end(), [](const auto& a, const auto& b) { return a.bytes < b.bytes; });
    const std::string which =
        fmt::format("{}, {} x {} x {} voxels", most.scan, most.shape[0], most.shape[1], most.shape[2]);
    if (const std::int64_t free = cpu::free_memory(); most.bytes > free)
        throw InputError(fmt::format("{} {} needs {} of memory, but {} are free", work, which, gigabytes(most.bytes),
                                     gigabytes(free)));
    const std::int64_t program = resident_bytes();
    return fmt::format("memory   {} in all, {} of them the program's own; most for {}\n",
                       size_text(most.bytes + program), size_text(program), which);
}

}  // namespace iwseg
