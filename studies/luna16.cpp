#include "studies/luna16.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "data/volume/meta_image.h"
#include "studies/lidc_reading.h"
#include "studies/luna16_target.h"
#include "studies/morphology.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

constexpr int kSubsets = 10, kLastTrain = 5, kLastValidation = 7;
constexpr std::size_t kDrawnForValidation = 5;
constexpr std::uint32_t kSeed = 0xBadCafe;
constexpr std::int64_t kLungMargin = 5;                // voxels
constexpr int kClosingSteps = 10, kDilationSteps = 3;  // voxels

/// Files of that ending under the folder, by their name without it.
std::map<std::string, fs::path> files_by_stem(const fs::path& folder, const std::string& ending) {
    std::map<std::string, fs::path> files;
    if (!fs::is_directory(folder)) return files;
    for (const auto& entry :
         fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink)) {
        const fs::path& file = entry.path();
        // macOS leaves "._NAME" beside files.
        if (file.extension() != ending || file.filename().string().starts_with("._")) continue;
        const auto [place, fresh] = files.emplace(file.stem().string(), file);
        if (!fresh)
            throw InputError(fmt::format("{} and {} are both there; one was expected",
                                         std::min(place->second, file).string(),
                                         std::max(place->second, file).string()));
    }
    return files;
}

fs::path find_annotations(const fs::path& raw) {
    for (const fs::path& file : {raw / "annotations.csv", raw / "CSVFILES" / "annotations.csv"})
        if (fs::exists(file)) return file;
    throw InputError((raw / "annotations.csv").string() + " is missing: LUNA16's list of nodules was expected");
}

/// How many contours the experts drew; -1 where the reading cannot be understood.
std::int64_t contours_in(const fs::path& reading) {
    std::int64_t contours = 0;
    try {
        for (const std::vector<Nodule>& session : read_lidc(reading).sessions)
            for (const Nodule& nodule : session) contours += static_cast<std::int64_t>(nodule.rois.size());
    } catch (const InputError&) {
        return -1;
    }
    return contours;
}

/// The readings by the series UID they are about; of several about one, that with the most contours, the first by path
/// of these, which is noted. What cannot be read is noted: it is a reason to leave out one scan, not all.
std::map<std::string, fs::path> find_readings(const fs::path& folder, const std::map<std::string, RawCase>& scans,
                                              std::vector<std::string>& notes) {
    std::vector<fs::path> files;
    if (fs::is_directory(folder))
        for (const auto& entry :
             fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink))
            if (entry.path().extension() == ".xml" && !entry.path().filename().string().starts_with("._"))
                files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    std::map<std::string, std::vector<fs::path>> found;
    for (const fs::path& file : files) try {
            if (const auto uid = lidc_series_uid(file)) found[*uid].push_back(file);
        } catch (const InputError& error) {
            notes.push_back(error.what());
        }
    std::map<std::string, fs::path> readings;
    for (const auto& [uid, of_scan] : found) {
        fs::path& taken = readings[uid] = of_scan.front();
        if (of_scan.size() == 1 || !scans.contains(uid)) continue;
        std::vector<std::string> counts;
        std::int64_t most = -2;
        for (const fs::path& file : of_scan) {
            const std::int64_t contours = contours_in(file);
            counts.push_back(fmt::format("{} ({})", file.lexically_relative(folder).string(),
                                         contours < 0 ? "not readable" : fmt::format("{} contours", contours)));
            if (contours > most) taken = file, most = contours;
        }
        notes.push_back(fmt::format("{} has {} readings, {}: {} is taken, the first with the most contours", uid,
                                    of_scan.size(), fmt::join(counts, ", "),
                                    taken.lexically_relative(folder).string()));
    }
    return readings;
}

/// Of the values that are there, 0 included, the one with the fewest voxels; the lowest of several.
std::int32_t rarest_label(const std::vector<std::int32_t>& labels) {
    std::map<std::int32_t, std::int64_t> counts;
    for (std::size_t first = 0, end = 0; first < labels.size(); first = end) {
        while (end < labels.size() && labels[end] == labels[first]) ++end;
        counts[labels[first]] += static_cast<std::int64_t>(end - first);
    }
    const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
    return std::min_element(counts.begin(), counts.end(), fewer)->first;
}

void require_files(const RawCase& scan, bool annotated) {
    if (scan.mask.empty())
        throw InputError(
            fmt::format("{} has no lung mask: seg-lungs-LUNA16/{}.mhd was expected", scan.image.string(), scan.name));
    if (annotated && scan.reading.empty())
        throw InputError(
            fmt::format("{} has nodules in annotations.csv but no reading: an XML in tcia-lidc-xml with its "
                        "SeriesInstanceUid was expected",
                        scan.image.string()));
}

}  // namespace

Luna16::Luna16(const fs::path& raw) {
    if (!fs::is_directory(raw))
        throw InputError(raw.string() + " is not a folder; the raw folder of LUNA16 was expected");
    std::map<std::string, RawCase> found;
    std::vector<std::vector<std::string>> names(kSubsets);
    for (int subset = 0; subset < kSubsets; ++subset)
        for (const auto& [uid, file] : files_by_stem(raw / fmt::format("subset{}", subset), ".mhd")) {
            const auto [place, fresh] = found.emplace(uid, RawCase{uid, subset, file, {}, {}});
            if (!fresh)
                throw InputError(fmt::format("{} and {} are the same scan in two subsets", place->second.image.string(),
                                             file.string()));
            names[subset].push_back(uid);
        }
    if (found.empty())
        throw InputError(raw.string() + " has no LUNA16 scans: subset0/UID.mhd to subset9/UID.mhd were expected");
    annotations_ = read_annotations(find_annotations(raw));
    const auto masks = files_by_stem(raw / "seg-lungs-LUNA16", ".mhd");
    if (masks.empty())
        throw InputError((raw / "seg-lungs-LUNA16").string() + " has no lung masks: UID.mhd were expected");
    const auto readings = find_readings(raw / "tcia-lidc-xml", found, notes_);
    for (const auto& subset : names)
        for (const std::string& uid : subset) {
            RawCase& scan = found.at(uid);
            if (const auto mask = masks.find(uid); mask != masks.end()) scan.mask = mask->second;
            if (const auto reading = readings.find(uid); reading != readings.end()) scan.reading = reading->second;
            cases_.push_back(scan);
        }
    const auto absent = std::count_if(annotations_.begin(), annotations_.end(),
                                      [&](const auto& entry) { return !found.contains(entry.first); });
    if (absent > 0)
        notes_.push_back(
            fmt::format("annotations.csv has nodules of {} scans that are not in the subsets here", absent));
}

const std::vector<NoduleAnnotation>& Luna16::annotations_of(const std::string& uid) const {
    static const std::vector<NoduleAnnotation> none;
    const auto found = annotations_.find(uid);
    return found == annotations_.end() ? none : found->second;
}

std::string Luna16::fingerprint(const RawCase& scan) const {
    std::string text = Study::fingerprint(scan);
    for (const fs::path& file : {scan.image, scan.mask}) try {
            if (file.empty()) continue;
            for (const fs::path& data : meta_data_files(file))
                if (data != file) text += file_fingerprint(data);
        } catch (const InputError&) {
            continue;  // a header that cannot be read is said when the scan is prepared
        }
    for (const NoduleAnnotation& nodule : annotations_of(scan.name))
        text += fmt::format("{} {} {}; ", nodule.centre[0], nodule.centre[1], nodule.centre[2]);
    return text;
}

std::int64_t Luna16::bytes_needed(const RawCase& scan) const {
    // A voxel of the box has 4 bytes of CT, 1 each of lungs and target, and 4 of labels while components are counted,
    // with some that labelling takes; the box may be the whole scan. Reading takes less.
    constexpr double bytes = 13, most = 1e18;  // a header may lie
    const auto [ni, nj, nk] = read_meta_header(scan.image).shape;
    const double voxels = static_cast<double>(ni) * static_cast<double>(nj) * static_cast<double>(nk);
    return static_cast<std::int64_t>(std::min(most, bytes * voxels));
}

StudyCase Luna16::prepare(const RawCase& scan) const {
    const std::vector<NoduleAnnotation>& annotations = annotations_of(scan.name);
    require_files(scan, !annotations.empty());
    const MetaHeader header = read_meta_header(scan.image);
    StudyCase prepared;
    prepared.raw_shape = header.shape;
    prepared.lesion_count = static_cast<std::int64_t>(annotations.size());
    {
        const Volume<std::int32_t> labels = read_meta_labels(scan.mask);
        const Geometry geometry = header.geometry();
        if (labels.geometry.shape != header.shape)
            require_same_geometry(geometry, scan.image, labels.geometry, scan.mask);
        if (const auto note = apart_note(geometry, scan.image, labels.geometry, scan.mask))
            prepared.notes.push_back(*note);
        const Volume<std::uint8_t> lungs{geometry, lung_mask(labels, scan.mask)};
        prepared.box = with_margin(*bounding_box(lungs.voxels, header.shape), kLungMargin, header.shape);
        prepared.mask = crop(lungs, prepared.box);
    }
    prepared.image = crop(read_meta_image(scan.image), prepared.box);
    require_finite(prepared.image, scan.image);
    NoduleTarget target{std::vector<std::uint8_t>(prepared.image.voxels.size()), {}};
    if (!annotations.empty()) {
        target =
            draw_target(frame_of(header, scan.image), annotations, read_lidc(scan.reading), prepared.box, scan.image);
        if (std::count(target.voxels.begin(), target.voxels.end(), 1) == 0)
            target.notes.push_back("annotated, but no voxel was drawn by two experts");
    }
    prepared.target = {prepared.image.geometry, std::move(target.voxels)};
    prepared.notes.insert(prepared.notes.end(), target.notes.begin(), target.notes.end());
    return prepared;
}

std::map<std::string, Split> Luna16::splits(const std::map<std::string, int>& parts) const {
    std::vector<std::string> train, validation, holdout;
    for (const auto& [name, subset] : parts)
        (subset <= kLastTrain ? train : subset <= kLastValidation ? validation : holdout).push_back(name);
    std::map<std::string, Split> splits;
    const auto add = [&](const char* name, std::vector<std::string> known, const std::vector<std::string>& test) {
        if (known.empty() || test.empty()) return;
        std::sort(known.begin(), known.end());
        Split& split = splits[name] = draw_validation(known, kDrawnForValidation, kSeed);
        split.test = test;
    };
    add("validation", train, validation);
    train.insert(train.end(), validation.begin(), validation.end());
    add("holdout", train, holdout);
    return splits;
}

std::vector<std::uint8_t> lung_mask(const Volume<std::int32_t>& labels, const fs::path& file) {
    const std::int32_t trachea = rarest_label(labels.voxels);
    std::vector<std::uint8_t> mask(labels.voxels.size());
    for (std::size_t v = 0; v < mask.size(); ++v) mask[v] = labels.voxels[v] != 0 && labels.voxels[v] != trachea;
    if (std::find(mask.begin(), mask.end(), 1) == mask.end())
        throw InputError(fmt::format("{} holds no lung beside its smallest label, {}, which is taken for the trachea",
                                     file.string(), trachea));
    // The study's erosion was scikit-image's, which takes what lies beyond the faces for lung.
    dilate(mask, labels.geometry.shape, kClosingSteps);
    erode(mask, labels.geometry.shape, kClosingSteps, Beyond::foreground);
    dilate(mask, labels.geometry.shape, kDilationSteps);
    return mask;
}

}  // namespace iwseg
