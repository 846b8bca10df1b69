#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/volume/volume.h"
#include "studies/crop.h"

namespace iwseg {

/// One scan of a raw study, found but not read.
struct RawCase {
    std::string name;               ///< the study's own: a series UID, a number
    int part = 0;                   ///< what the study's split goes by: LUNA16's subset, LiTS's number
    std::filesystem::path image;    ///< CT
    std::filesystem::path mask;     ///< LUNA16: lungs; LiTS: liver and tumours. Empty where there is none
    std::filesystem::path reading;  ///< LUNA16: the experts' contours. Empty where there is none
};

/// One scan as a network is trained on it: all of one geometry.
struct StudyCase {
    Volume<float> image;                       ///< CT in Hounsfield units
    std::optional<Volume<std::uint8_t>> mask;  ///< 0 and 1; LUNA16: the lungs
    Volume<std::uint8_t> target;               ///< 0 and 1
    std::array<std::int64_t, 3> raw_shape{};
    VoxelBox box;                    ///< what of the raw scan was kept
    std::int64_t lesion_count = 0;   ///< by which patches draw cases: annotated nodules, tumours
    std::vector<std::string> notes;  ///< sentences on what a reader of the results should know
};

/// A raw folder of a study that iwseg prepare makes a dataset of.
class Study {
  public:
    virtual ~Study() = default;

    virtual std::string name() const = 0;                   ///< "LUNA16"
    virtual std::vector<std::string> channels() const = 0;  ///< "CT" and, where cases have a mask, its name
    virtual std::string lesion() const = 0;                 ///< "nodule"
    /// Every scan of the folder, by part, then name.
    virtual const std::vector<RawCase>& cases() const = 0;
    /// What is wrong with the folder as a whole, in sentences: nothing that stops the work.
    virtual std::vector<std::string> notes() const { return {}; }

    /// The most memory that preparing takes, in bytes, from headers alone. Throws InputError where they cannot be read.
    virtual std::int64_t bytes_needed(const RawCase& scan) const = 0;
    /// Reads and prepares. Throws InputError, naming the file, where a file is missing, damaged or contradicts another.
    virtual StudyCase prepare(const RawCase& scan) const = 0;
    /// Changes when a file that the case is made of does: names, sizes, times of last change.
    virtual std::string fingerprint(const RawCase& scan) const;
    /// One file's part of it; empty where there is none.
    static std::string file_fingerprint(const std::filesystem::path& file);

    /// The study's splits by name, of these prepared cases (name and part).
    virtual std::map<std::string, Split> splits(const std::map<std::string, int>& parts) const = 0;
};

/// Draws as many names for validation as scikit-learn's train_test_split(names, test_size=validation,
/// random_state=seed) does, the others for training; at least one is left to train on. Both lists are sorted; test is
/// empty.
Split draw_validation(const std::vector<std::string>& names, std::size_t validation, std::uint32_t seed);

/// Throws InputError where a value is not finite.
void require_finite(const Volume<float>& volume, const std::filesystem::path& file);

/// A sentence where the two lie more than 0.001 mm apart by their affines, else nothing. Shapes must be the same.
std::optional<std::string> apart_note(const Geometry& a, const std::filesystem::path& file_a, const Geometry& b,
                                      const std::filesystem::path& file_b);

}  // namespace iwseg
