#include <fmt/format.h>
#include <libdeflate.h>
#include <nifti2_io.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <span>

#include "data/nifti.h"
#include "engine/atomic_file.h"
#include "kernels/error.h"

namespace iwseg {
namespace {

using std::filesystem::path;

constexpr int compression = 2;  // probabilities shrink little more at higher levels, and those take ten times as long

template <class T>
constexpr int nifti_type = DT_UNKNOWN;
template <>
constexpr int nifti_type<float> = DT_FLOAT32;
template <>
constexpr int nifti_type<std::uint8_t> = DT_UINT8;
template <>
constexpr int nifti_type<std::int16_t> = DT_INT16;
template <>
constexpr int nifti_type<std::int32_t> = DT_INT32;

/// Sets the sform to the affine, and the qform too where a rotation and spacing can say the same.
void set_affine(nifti_image& image, const Geometry& geometry) {
    nifti_dmat44 affine{};
    affine.m[3][3] = 1.0;
    for (int row = 0; row < 3; ++row)
        for (int column = 0; column < 4; ++column) affine.m[row][column] = geometry.affine[row][column];
    image.sto_xyz = affine;
    image.sform_code = NIFTI_XFORM_SCANNER_ANAT;
    double spacing[3];
    nifti_dmat44_to_quatern(affine, &image.quatern_b, &image.quatern_c, &image.quatern_d, &image.qoffset_x,
                            &image.qoffset_y, &image.qoffset_z, &spacing[0], &spacing[1], &spacing[2], &image.qfac);
    const nifti_dmat44 rigid =
        nifti_quatern_to_dmat44(image.quatern_b, image.quatern_c, image.quatern_d, image.qoffset_x, image.qoffset_y,
                                image.qoffset_z, spacing[0], spacing[1], spacing[2], image.qfac);
    double worst = 0.0;  // mm over the scan
    for (int row = 0; row < 3; ++row)
        for (int axis = 0; axis < 3; ++axis)
            worst = std::max(
                worst, std::abs(rigid.m[row][axis] - affine.m[row][axis]) * static_cast<double>(geometry.shape[axis]));
    image.qform_code = worst < 1e-3 ? NIFTI_XFORM_SCANNER_ANAT : NIFTI_XFORM_UNKNOWN;
    image.qto_xyz = rigid;
}

template <class T>
std::unique_ptr<nifti_image, void (*)(nifti_image*)> describe(const Geometry& geometry) {
    const std::int64_t dims[8] = {3, geometry.shape[0], geometry.shape[1], geometry.shape[2], 1, 1, 1, 1};
    std::unique_ptr<nifti_image, void (*)(nifti_image*)> image(nifti_make_new_nim(dims, nifti_type<T>, 0),
                                                               nifti_image_free);
    const auto spacing = geometry.spacing();
    image->dx = image->pixdim[1] = spacing[0];
    image->dy = image->pixdim[2] = spacing[1];
    image->dz = image->pixdim[3] = spacing[2];
    image->xyz_units = NIFTI_UNITS_MM;
    set_affine(*image, geometry);
    return image;
}

/// Header, four bytes that say "no extension", and voxels with i fastest.
template <class T>
std::vector<std::byte> encode(const Volume<T>& volume) {
    const auto& shape = volume.geometry.shape;
    auto image = describe<T>(volume.geometry);
    const bool small = *std::max_element(shape.begin(), shape.end()) <= std::numeric_limits<std::int16_t>::max();
    nifti_1_header first;
    nifti_2_header second;
    image->nifti_type = small ? NIFTI_FTYPE_NIFTI1_1 : NIFTI_FTYPE_NIFTI2_1;
    image->iname_offset = small ? 352 : 544;
    if (small)
        nifti_convert_nim2n1hdr(image.get(), &first);
    else
        nifti_convert_nim2n2hdr(image.get(), &second);
    const std::size_t header = small ? sizeof first : sizeof second;
    const std::size_t data = header + 4;
    std::vector<std::byte> bytes(data + volume.voxels.size() * sizeof(T));
    std::memcpy(bytes.data(), small ? static_cast<const void*>(&first) : &second, header);

    constexpr std::int64_t block = 16;
    const std::int64_t ni = shape[0], nj = shape[1], nk = shape[2];
    for (std::int64_t j = 0; j < nj; ++j)
        for (std::int64_t i0 = 0; i0 < ni; i0 += block)
            for (std::int64_t k0 = 0; k0 < nk; k0 += block)
                for (std::int64_t k = k0; k < std::min(k0 + block, nk); ++k)
                    for (std::int64_t i = i0; i < std::min(i0 + block, ni); ++i)
                        std::memcpy(&bytes[data + ((k * nj + j) * ni + i) * sizeof(T)],
                                    &volume.voxels[(i * nj + j) * nk + k], sizeof(T));
    return bytes;
}

std::vector<std::byte> gzip(const std::vector<std::byte>& bytes) {
    std::unique_ptr<libdeflate_compressor, void (*)(libdeflate_compressor*)> compressor(
        libdeflate_alloc_compressor(compression), libdeflate_free_compressor);
    std::vector<std::byte> packed(libdeflate_gzip_compress_bound(compressor.get(), bytes.size()));
    packed.resize(libdeflate_gzip_compress(compressor.get(), bytes.data(), bytes.size(), packed.data(), packed.size()));
    return packed;
}

template <class T>
void write(const path& file, const Volume<T>& volume) {
    const std::string name = file.filename().string();
    const bool compressed = name.ends_with(".nii.gz");
    if (!compressed && !name.ends_with(".nii"))
        throw InputError(file.string() + " cannot be written: a volume's name ends in .nii or .nii.gz");
    AtomicFile out(file);  // first, so that a folder that cannot be written is known before the work
    std::vector<std::byte> bytes = encode(volume);
    if (compressed) bytes = gzip(bytes);
    out.write(bytes);
    out.commit();
}

}  // namespace

void write_nifti(const path& file, const Volume<float>& volume) {
    write(file, volume);
}
void write_nifti(const path& file, const Volume<std::uint8_t>& volume) {
    write(file, volume);
}
void write_nifti(const path& file, const Volume<std::int16_t>& volume) {
    write(file, volume);
}
void write_nifti(const path& file, const Volume<std::int32_t>& volume) {
    write(file, volume);
}

}  // namespace iwseg
