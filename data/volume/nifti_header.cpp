#include "data/volume/nifti_header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nifti2_io.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

#include "base/error.h"

// The library's own reading changes values without a word (a size of 0 or NaN becomes 1, an offset that is no number
// the header's end), so fields are taken from the header as they are, and a value that means nothing is refused.

namespace iwseg {
namespace {

using std::filesystem::path;

constexpr int kMostAxes = 7, kMostCode = NIFTI_XFORM_TEMPLATE_OTHER;
constexpr std::size_t kExtender = 4;  // bytes after the header that say whether extensions follow

[[noreturn]] void refuse(const path& file, const std::string& what) {
    throw InputError(fmt::format("{} is not a usable NIfTI file: {}", file.string(), what));
}

template <class Raw>
void read_shape(const Raw& raw, const path& file, NiftiHeader& header) {
    const std::int64_t axes = raw.dim[0];
    if (axes < 1 || axes > kMostAxes)
        refuse(file, fmt::format("it says it has {} axes, expected 1 to {}", axes, kMostAxes));
    for (std::int64_t axis = 1; axis <= axes; ++axis) {
        const auto size = static_cast<std::int64_t>(raw.dim[axis]);
        if (size < 1) refuse(file, fmt::format("its axis {} has {} voxels, expected 1 or more", axis, size));
        header.shape.push_back(size);
    }
    if (axes < 3)
        throw InputError(
            fmt::format("{} has {} axes ({}); a scan has three", file.string(), axes, fmt::join(header.shape, " x ")));
    while (header.shape.size() > 3 && header.shape.back() == 1) header.shape.pop_back();
}

bool holds_numbers(int type) {
    switch (type) {
        case DT_UINT8:
        case DT_INT8:
        case DT_UINT16:
        case DT_INT16:
        case DT_UINT32:
        case DT_INT32:
        case DT_UINT64:
        case DT_INT64:
        case DT_FLOAT32:
        case DT_FLOAT64:
        case DT_FLOAT128:
            return true;
        default:
            return false;
    }
}

/// 0 is taken for the header's end, as nibabel takes it.
template <class Raw>
std::int64_t voxel_offset(const Raw& raw, const path& file) {
    constexpr double most = 1e15;
    constexpr auto least = static_cast<std::int64_t>(sizeof(Raw) + kExtender);
    const auto offset = static_cast<double>(raw.vox_offset);
    if (offset == 0) return least;
    if (!(offset >= static_cast<double>(least) && offset <= most) || offset != std::trunc(offset))
        refuse(file, fmt::format("its vox_offset is {:g}, expected 0 or a whole number from {}", offset, least));
    return static_cast<std::int64_t>(offset);
}

/// A scl_slope of 0 says that voxels are not scaled.
template <class Raw>
void read_scaling(const Raw& raw, const path& file, NiftiHeader& header) {
    const auto slope = static_cast<double>(raw.scl_slope), intercept = static_cast<double>(raw.scl_inter);
    if (slope == 0) return;
    if (!std::isfinite(slope) || !std::isfinite(intercept))
        refuse(file,
               fmt::format("its scl_slope is {:g} and its scl_inter {:g}, expected finite numbers; a scl_slope of "
                           "0 says that voxels are not scaled",
                           slope, intercept));
    header.slope = slope;
    header.intercept = intercept;
}

template <class Raw>
void read_placement(const Raw& raw, const path& file, NiftiPlacement& placement) {
    placement.qform_code = raw.qform_code;
    placement.sform_code = raw.sform_code;
    for (const auto& [name, code] :
         {std::pair("qform_code", placement.qform_code), {"sform_code", placement.sform_code}})
        if (code < 0 || code > kMostCode)
            refuse(file, fmt::format("its {} is {}, expected 0 to {}", name, code, kMostCode));
    placement.quaternion = {raw.quatern_b, raw.quatern_c, raw.quatern_d};
    placement.qoffset = {raw.qoffset_x, raw.qoffset_y, raw.qoffset_z};
    for (int axis = 0; axis < 4; ++axis) {
        placement.pixdim[axis] = raw.pixdim[axis];
        if (axis > 0 && raw.pixdim[axis] < 0)
            refuse(file, fmt::format("its pixdim[{}] is {:g}, expected a voxel's size above 0", axis,
                                     static_cast<double>(raw.pixdim[axis])));
    }
    for (int column = 0; column < 4; ++column) {
        placement.srow[0][column] = raw.srow_x[column];
        placement.srow[1][column] = raw.srow_y[column];
        placement.srow[2][column] = raw.srow_z[column];
    }
    placement.units = static_cast<int>(raw.xyzt_units) & 0xff;
    if (const int unit = placement.units & 7; unit > NIFTI_UNITS_MICRON)
        refuse(file,
               fmt::format("its xyzt_units names the unit {} for space, expected 1 (metre), 2 (mm), 3 (micrometre) "
                           "or 0 (mm is taken)",
                           unit));
}

template <class Raw>
NiftiHeader checked(const Raw& raw, bool swapped, const path& file) {
    NiftiHeader header;
    read_shape(raw, file, header);
    header.type = raw.datatype;
    if (!holds_numbers(header.type))
        throw InputError(fmt::format("{} holds voxels of NIfTI type {}; whole and real numbers can be read",
                                     file.string(), header.type));
    nifti_datatype_sizes(header.type, &header.bytes_per_voxel, &header.swapped_bytes);
    if (!swapped) header.swapped_bytes = 0;
    header.offset = voxel_offset(raw, file);
    read_scaling(raw, file, header);
    read_placement(raw, file, header.placement);
    return header;
}

// ---- Writing

template <class Raw>
void put_placement(Raw& raw, const NiftiPlacement& placement) {
    // Of the field's type: f32 in version 1, f64 in version 2.
    const auto put = [](auto& field, double value) {
        field = static_cast<std::remove_reference_t<decltype(field)>>(value);
    };
    put(raw.qform_code, placement.qform_code);
    put(raw.sform_code, placement.sform_code);
    put(raw.quatern_b, placement.quaternion[0]);
    put(raw.quatern_c, placement.quaternion[1]);
    put(raw.quatern_d, placement.quaternion[2]);
    put(raw.qoffset_x, placement.qoffset[0]);
    put(raw.qoffset_y, placement.qoffset[1]);
    put(raw.qoffset_z, placement.qoffset[2]);
    for (int axis = 0; axis < 8; ++axis) put(raw.pixdim[axis], axis < 4 ? placement.pixdim[axis] : 1.0);
    for (int column = 0; column < 4; ++column) {
        put(raw.srow_x[column], placement.srow[0][column]);
        put(raw.srow_y[column], placement.srow[1][column]);
        put(raw.srow_z[column], placement.srow[2][column]);
    }
    raw.xyzt_units = static_cast<decltype(raw.xyzt_units)>(placement.units);  // all eight bits, and no number
}

template <class Raw>
std::vector<std::byte> bytes_of(const Geometry& geometry, const NiftiPlacement& placement, int type,
                                std::string_view magic) {
    Raw raw{};
    raw.sizeof_hdr = sizeof(Raw);
    raw.dim[0] = 3;
    for (int axis = 1; axis <= kMostAxes; ++axis)
        raw.dim[axis] = static_cast<std::remove_reference_t<decltype(raw.dim[axis])>>(
            axis <= 3 ? geometry.shape[static_cast<std::size_t>(axis) - 1] : 1);
    int bytes = 0, ignored = 0;
    nifti_datatype_sizes(type, &bytes, &ignored);
    raw.datatype = static_cast<std::int16_t>(type);
    raw.bitpix = static_cast<std::int16_t>(8 * bytes);
    raw.vox_offset = sizeof(Raw) + kExtender;
    raw.scl_slope = 1;
    put_placement(raw, placement);
    constexpr std::string_view description = "iwseg";
    std::copy(description.begin(), description.end(), raw.descrip);
    std::copy(magic.begin(), magic.end(), raw.magic);
    std::vector<std::byte> header(sizeof(Raw) + kExtender);
    std::memcpy(header.data(), &raw, sizeof raw);
    return header;
}

}  // namespace

double NiftiHeader::voxels() const {
    double product = 1;
    for (const std::int64_t size : shape) product *= static_cast<double>(size);
    return product;
}

Geometry NiftiHeader::geometry(const path& file) const {
    Geometry geometry;
    std::copy_n(shape.begin(), 3, geometry.shape.begin());
    const auto affine = placement.affine(geometry.shape);
    if (!affine) throw InputError(file.string() + " " + placement.fault());
    geometry.affine = *affine;
    geometry.nifti = placement;
    return geometry;
}

NiftiHeader parse_nifti_header(const path& file, std::span<const std::byte> start) {
    nifti_1_header first{};
    nifti_2_header second{};
    const InputError not_nifti(file.string() + " is not a NIfTI file (.nii or .nii.gz)");
    if (start.size() < sizeof first) throw not_nifti;
    std::memcpy(&first, start.data(), sizeof first);
    if (std::memcmp(first.magic, "n+1", 4) == 0) {
        const bool swapped = first.sizeof_hdr != sizeof first;
        if (swapped) nifti_swap_as_nifti1(&first);
        if (first.sizeof_hdr != sizeof first) throw not_nifti;
        return checked(first, swapped, file);
    }
    if (start.size() < sizeof second) throw not_nifti;
    std::memcpy(&second, start.data(), sizeof second);
    if (std::memcmp(second.magic, "n+2", 4) != 0) throw not_nifti;
    const bool swapped = second.sizeof_hdr != sizeof second;
    if (swapped) nifti_swap_as_nifti2(&second);
    if (second.sizeof_hdr != sizeof second) throw not_nifti;
    return checked(second, swapped, file);
}

std::vector<std::byte> nifti_header_bytes(const Geometry& geometry, int type) {
    const auto& shape = geometry.shape;
    const bool kept = geometry.nifti && geometry.nifti->affine(shape) == geometry.affine;
    const NiftiPlacement placement = kept ? *geometry.nifti : placement_of(geometry.affine, shape);
    if (*std::max_element(shape.begin(), shape.end()) <= std::numeric_limits<std::int16_t>::max())
        return bytes_of<nifti_1_header>(geometry, placement, type, {"n+1\0", 4});
    return bytes_of<nifti_2_header>(geometry, placement, type, {"n+2\0\r\n\032\n", 8});
}

}  // namespace iwseg
