#pragma once

#include <string>
#include <vector>

#include "data/volume/volume.h"

namespace iwseg {

/// The patient's directions along the file's axes, as nibabel names them: "RAS", "LPS", …
std::string orientation_of(const Geometry& geometry);

/// How the scans of a dataset lie in space, in lines for a terminal: spacing as a range along each axis and
/// orientations with how many scans have each; and a warning where voxels or directions differ, as nothing resamples or
/// turns them. Spacings within 1 % are the same.
std::string geometry_lines(const std::vector<Geometry>& scans);

}  // namespace iwseg
