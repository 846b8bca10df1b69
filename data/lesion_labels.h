#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/label_classes.h"
#include "data/volume/volume.h"

namespace iwseg {

/// What the values of a dataset's label files are called: "labels" of dataset.json, as nnU-Net v2 writes it
/// ({"background": 0, "lesion": 1, "ignore": 2}, a region being a list of values) or as v1 and the Decathlon do
/// ({"0": "background", "1": "lesion"}).
struct LabelNames {
    std::filesystem::path file;                 ///< dataset.json
    std::map<std::int32_t, std::string> names;  ///< of every named value but that of ignore; empty: nothing is named
    std::vector<std::string> regions;           ///< names that stand for several values
    std::vector<LabelClass> classes;            ///< each name with its values, but that of ignore; as the file has them
    /// regions_class_order, where there are regions: what the classes without background are written as, later ones
    /// over earlier ones. Empty: it is not there.
    std::vector<std::int32_t> region_values;
    std::optional<std::int32_t> ignore;

    std::vector<LabelClass> classes_without_background() const;
};

/// description: its keys in the order of the file, which is that of nnU-Net's regions. Throws InputError where "labels"
/// or, with regions, "regions_class_order" is there but of another form, or that has not a value for each region.
LabelNames read_label_names(const nlohmann::ordered_json& description, const std::filesystem::path& file);

/// Which voxels of a label file are what.
struct LabelMask {
    std::vector<std::uint8_t> lesion;   ///< (D, H, W), 1 or 0
    std::vector<std::uint8_t> ignored;  ///< (D, H, W), 1 where nothing is known; empty where that is nowhere
};

/// The one rule of which label value is lesion: those that are configured (the key labels), else all that dataset.json
/// names but background (0, and what is called so) and ignore, else, where it names none, every value above 0.
class LesionLabels {
  public:
    /// Every value above 0 is lesion: masks that carry no names.
    LesionLabels() = default;
    /// Throws InputError where a configured value is that of ignore, or no value is left to be lesion.
    LesionLabels(const LabelNames& names, const std::vector<int>& configured);

    /// Throws InputError, naming the file and the value, where the file holds a value that neither dataset.json nor the
    /// configuration names; where dataset.json names none, where it is negative.
    LabelMask mask_of(const Volume<std::int32_t>& labels, const std::filesystem::path& file) const;
    bool is_lesion(std::int32_t value) const;
    std::optional<std::int32_t> ignore() const { return names_.ignore; }
    /// For the terminal, what is lesion and what ignored, where that does not go without saying; else empty.
    std::string sentence() const;

  private:
    bool is_known(std::int32_t value) const;
    std::string called(std::int32_t value) const;

    LabelNames names_;
    std::vector<std::int32_t> lesion_;  ///< ascending; empty: every value above 0
    bool configured_ = false;
};

}  // namespace iwseg
