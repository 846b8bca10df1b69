#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace iwseg {

/// A contour that an expert drew in one slice.
struct Roi {
    double z_position = 0;                   ///< imageZposition: mm, z of the LPS frame
    bool inclusion = true;                   ///< false: the contour of a hole. The original fills it as any other
    std::vector<std::array<int, 2>> points;  ///< edgeMap: voxels (x, y), of the slice's columns and rows, in file order
};

/// An unblindedReadNodule with at least one contour. Small ones have one contour of one point.
struct Nodule {
    std::string id;  ///< noduleID, the expert's own: not the same for the same nodule of another expert
    std::vector<Roi> rois;
};

/// What up to four experts marked in one CT scan of LIDC-IDRI (Armato et al. 2011), in order of the file.
struct LidcReading {
    std::string series_uid;
    std::vector<std::vector<Nodule>> sessions;  ///< one entry an expert, also for one who found nothing
};

/// Reads a LIDC CT reading (XML, LidcReadMessage, with or without namespaces); nonNodule marks are passed over. Throws
/// InputError naming the file, and the element where there is one, where it is missing, not XML, not such a reading, or
/// holds a contour that cannot be understood (no z, no points, a coordinate that is not a whole number from 0).
LidcReading read_lidc(const std::filesystem::path& file);

/// The scan that a reading is about; nothing where the XML is of another kind, as the chest X-ray readings that lie in
/// the same folders. Throws InputError where the file is missing or not XML.
std::optional<std::string> lidc_series_uid(const std::filesystem::path& file);

}  // namespace iwseg
