#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace iwseg {

/// A nodule of LUNA16's reference list.
struct NoduleAnnotation {
    std::array<double, 3> centre{};  ///< mm, x, y, z of the LPS frame
    double diameter = 0;             ///< mm

    bool operator==(const NoduleAnnotation&) const = default;
};

/// annotations.csv by series UID, each scan's in the file's order: the columns seriesuid, coordX, coordY, coordZ and
/// diameter_mm, in any order, others being passed over. Throws InputError, naming file and line, where it is missing, a
/// column is, or a value is no finite number.
std::map<std::string, std::vector<NoduleAnnotation>> read_annotations(const std::filesystem::path& file);

}  // namespace iwseg
