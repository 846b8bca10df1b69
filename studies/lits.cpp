#include "studies/lits.h"

#include <fmt/format.h>

#include <algorithm>
#include <regex>

#include "base/error.h"
#include "data/preparation.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

constexpr int kLastNumber = 130, kLastTest = 27, kLastValidationNumber = 32;
constexpr std::int32_t kLiver = 1, kTumour = 2;
constexpr std::int64_t kLiverMargin = 5;  // voxels

struct Pair {
    fs::path volume, segmentation;
};

std::map<int, Pair> find_pairs(const fs::path& raw) {
    static const std::regex pattern(R"((volume|segmentation)-([0-9]{1,6})\.nii(\.gz)?)");
    std::map<int, Pair> pairs;
    for (const auto& entry : fs::recursive_directory_iterator(raw, fs::directory_options::follow_directory_symlink)) {
        const std::string name = entry.path().filename().string();
        std::smatch match;
        if (!std::regex_match(name, match, pattern)) continue;
        Pair& pair = pairs[std::stoi(match[2])];
        fs::path& place = match[1] == "volume" ? pair.volume : pair.segmentation;
        if (!place.empty())
            throw InputError(fmt::format("{} and {} are both there; one {}-{} was expected",
                                         std::min(place, entry.path()).string(), std::max(place, entry.path()).string(),
                                         match[1].str(), match[2].str()));
        place = entry.path();
    }
    return pairs;
}

/// The tumours inside the box, and how many voxels of them lie outside.
std::int64_t cut_tumours(const Volume<std::int32_t>& labels, const VoxelBox& box, Volume<std::uint8_t>& target) {
    Volume<std::uint8_t> mask{labels.geometry, std::vector<std::uint8_t>(labels.voxels.size())};
    std::int64_t all = 0;
    for (std::size_t v = 0; v < mask.voxels.size(); ++v) all += mask.voxels[v] = labels.voxels[v] == kTumour;
    target = crop(mask, box);
    return all - std::count(target.voxels.begin(), target.voxels.end(), 1);
}

VoxelBox liver_box(const Volume<std::int32_t>& labels, const fs::path& file) {
    std::vector<std::uint8_t> mask(labels.voxels.size());
    for (std::size_t v = 0; v < mask.size(); ++v) mask[v] = labels.voxels[v] == kLiver;
    const auto box = bounding_box(mask, labels.geometry.shape);
    if (!box) throw InputError(file.string() + " has no voxel of label 1, the liver, to crop to");
    return with_margin(*box, kLiverMargin, labels.geometry.shape);
}

}  // namespace

Lits::Lits(const fs::path& raw) {
    if (!fs::is_directory(raw))
        throw InputError(raw.string() + " is not a folder; the raw folder of LiTS was expected");
    std::vector<std::string> beyond;
    for (const auto& [number, pair] : find_pairs(raw)) {
        if (pair.volume.empty())
            notes_.push_back(fmt::format("{} has no volume-{}", pair.segmentation.filename().string(), number));
        else if (number > kLastNumber)
            beyond.push_back(std::to_string(number));
        else
            cases_.push_back({std::to_string(number), number, pair.volume, pair.segmentation, {}});
    }
    if (!beyond.empty())
        notes_.push_back(fmt::format("{} volumes are left out, since the study has 0 to {}: {}", beyond.size(),
                                     kLastNumber, fmt::join(beyond, ", ")));
    if (cases_.empty())
        throw InputError(
            fmt::format("{} has no LiTS scans: volume-N.nii and segmentation-N.nii, N = 0 to {}, were expected",
                        raw.string(), kLastNumber));
}

std::int64_t Lits::bytes_needed(const RawCase& scan) const {
    // One of the two is read at a time; beside it lie the cropped arrays, at most as large as the scan. In floating
    // point, since a header may lie.
    constexpr double beside = 6, most = 1e18;
    const auto [ni, nj, nk] = read_geometry(scan.image).shape;
    const double voxels = static_cast<double>(ni) * static_cast<double>(nj) * static_cast<double>(nk);
    const std::int64_t image = reading_bytes(scan.image), labels = scan.mask.empty() ? 0 : reading_bytes(scan.mask);
    return std::max(image, labels) + static_cast<std::int64_t>(std::min(most, beside * voxels));
}

StudyCase Lits::prepare(const RawCase& scan) const {
    if (scan.mask.empty())
        throw InputError(fmt::format("{} has no segmentation-{}.nii beside it or elsewhere in the raw folder",
                                     scan.image.string(), scan.name));
    StudyCase prepared;
    const Geometry geometry = read_geometry(scan.image);
    {
        const Volume<std::int32_t> labels = read_labels(scan.mask);
        if (labels.geometry.shape != geometry.shape)
            require_same_geometry(geometry, scan.image, labels.geometry, scan.mask);
        if (const auto note = apart_note(geometry, scan.image, labels.geometry, scan.mask))
            prepared.notes.push_back(*note);
        prepared.box = liver_box(labels, scan.mask);
        if (const std::int64_t lost = cut_tumours(labels, prepared.box, prepared.target))
            prepared.notes.push_back(fmt::format("{} voxels of tumours lie outside of the liver's box", lost));
    }
    prepared.raw_shape = geometry.shape;
    prepared.image = crop(read_image(scan.image), prepared.box);
    require_finite(prepared.image, scan.image);
    prepared.target.geometry = prepared.image.geometry;
    // As skimage.measure.label counts: voxels join by faces, edges and corners.
    prepared.lesion_count = list_components(prepared.target.voxels, prepared.target.geometry.shape, 26).size();
    return prepared;
}

std::map<std::string, Split> Lits::splits(const std::map<std::string, int>& parts) const {
    Split holdout;
    for (const auto& [name, number] : parts)
        (number <= kLastTest               ? holdout.test
         : number <= kLastValidationNumber ? holdout.validation
                                           : holdout.train)
            .push_back(name);
    return {{"holdout", holdout}};
}

}  // namespace iwseg
