#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace iwseg {

/// One lesion of the target or one detection of the prediction, and what it hits on the other side: the object it
/// overlaps with the highest Dice. Members carry the names they have in records.json, which are those of the original
/// study's prc_records (Shirokikh et al., MICCAI 2020).
struct Record {
    std::string obj;      ///< tum_1, tum_2, … or pred_1, pred_2, …: components in raster order
    bool is_tum = false;  ///< a lesion, else a detection
    double diameter = 0;  ///< of the ball of equal volume, in voxels
    double hit_dice = 0;  ///< 0: nothing is hit
    double hit_max = 0;   ///< largest, median and 95th percentile probability of the object that is hit
    double hit_median = 0;
    double hit_q95 = 0;
    double hit_logit = 0;    ///< largest logit of the object that is hit; -infinity where nothing is
    double hit_stat = 0;     ///< hit_max
    std::string hit_obj;     ///< tum_None or pred_None where nothing is hit
    double self_stat = 0;    ///< largest probability of the object itself; 1 for a lesion
    double self_logit = 0;   ///< largest logit of the object itself; infinity for a lesion
    double diameter_mm = 0;  ///< 0: not known. Our own: the original study's records end before it

    bool operator==(const Record&) const = default;
};

/// Records of every scan by its name; a scan without lesions and detections has an empty list.
using Records = std::map<std::string, std::vector<Record>>;

/// A scan of D x H x W voxels as plain arrays, W fastest.
struct ScanToEvaluate {
    std::int64_t d = 0, h = 0, w = 0;
    const std::uint8_t* target = nullptr;  ///< nonzero is lesion
    const float* probability = nullptr;
    const float* logit = nullptr;           ///< null: logit_of each probability
    const std::uint8_t* ignored = nullptr;  ///< nonzero voxels are in no lesion and no detection; null: none is ignored
    std::array<double, 3> spacing{};        ///< mm a voxel along d, h, w; 0: not known
};

/// log(p / (1 - p)), where p is kept between 2^-24 and 1 - 2^-24: from -16.6 to 16.6.
float logit_of(float probability);

struct Instances;

/// Lesions are the components of the target, detections those of probability > 0.5 (connectivity 26), both of the
/// voxels that are not ignored; lesions first.
std::vector<Record> lesion_records(const ScanToEvaluate& scan);
/// The same from the scan's instances (evaluation/instances.h), where they are found already.
std::vector<Record> lesion_records(const ScanToEvaluate& scan, const Instances& instances);

/// Reads records.json, `Infinity` and `-Infinity` included. Throws InputError naming the file, the scan and the key,
/// also where Dice or a probability is not in [0, 1] or a diameter is not above 0.
Records read_records(const std::filesystem::path& file);
/// Writes records.json atomically, numbers as Python's json module writes them; diameter_mm where it is known.
void write_records(const std::filesystem::path& file, const Records& records);

}  // namespace iwseg
