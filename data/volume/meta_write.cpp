#include <fmt/format.h>
#include <libdeflate.h>

#include <bit>
#include <memory>
#include <span>
#include <string>

#include "base/atomic_file.h"
#include "base/error.h"
#include "data/volume/compression.h"
#include "data/volume/meta_image.h"
#include "data/volume/stored_voxels.h"

namespace iwseg {
namespace {

using std::filesystem::path;
using OutBytes = std::vector<std::byte>;

template <class T>
constexpr const char* kElementType = nullptr;
template <>
constexpr const char* kElementType<float> = "MET_FLOAT";
template <>
constexpr const char* kElementType<std::uint8_t> = "MET_UCHAR";
template <>
constexpr const char* kElementType<std::int16_t> = "MET_SHORT";
template <>
constexpr const char* kElementType<std::int32_t> = "MET_INT";

OutBytes deflated(const OutBytes& bytes) {
    const std::unique_ptr<libdeflate_compressor, void (*)(libdeflate_compressor*)> compressor(
        libdeflate_alloc_compressor(kCompression), libdeflate_free_compressor);
    OutBytes packed(libdeflate_zlib_compress_bound(compressor.get(), bytes.size()));
    packed.resize(libdeflate_zlib_compress(compressor.get(), bytes.data(), bytes.size(), packed.data(), packed.size()));
    return packed;
}

/// The placement in MetaImage's LPS frame: x and y of NIfTI's RAS negated. TransformMatrix holds the axes one after the
/// other, each of length 1; numbers are the shortest that read back the same.
std::string placement(const Geometry& geometry) {
    const auto spacing = geometry.spacing();
    std::string matrix, offset;
    for (std::size_t axis = 0; axis < 3; ++axis)
        for (std::size_t row = 0; row < 3; ++row) {
            const double sign = row < 2 ? -1 : 1;
            // + 0.0 makes 0 of -0.
            matrix += fmt::format(" {}", sign * geometry.affine[row][axis] / spacing[axis] + 0.0);
        }
    for (std::size_t row = 0; row < 3; ++row)
        offset += fmt::format(" {}", (row < 2 ? -1 : 1) * geometry.affine[row][3] + 0.0);
    return fmt::format("TransformMatrix ={}\nOffset ={}\nCenterOfRotation = 0 0 0\nElementSpacing = {} {} {}\n", matrix,
                       offset, spacing[0], spacing[1], spacing[2]);
}

template <class T>
void write_whole_meta(const path& file, const Volume<T>& volume) {
    if (!file.filename().string().ends_with(".mha"))
        throw InputError(file.string() +
                         " cannot be written: MetaImage is written as one file, whose name ends in .mha");
    AtomicFile out(file);  // first, so that a folder that cannot be written is known before the work
    const OutBytes packed = deflated(in_file_order(volume));
    const auto& shape = volume.geometry.shape;
    out.write(
        fmt::format("ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = {}\n"
                    "CompressedData = True\nCompressedDataSize = {}\n{}DimSize = {} {} {}\nElementType = {}\n"
                    "ElementDataFile = LOCAL\n",
                    std::endian::native == std::endian::big ? "True" : "False", packed.size(),
                    placement(volume.geometry), shape[0], shape[1], shape[2], kElementType<T>));
    out.write(packed);
    out.commit();
}

}  // namespace

void write_meta_image(const path& file, const Volume<float>& volume) {
    write_whole_meta(file, volume);
}
void write_meta_image(const path& file, const Volume<std::uint8_t>& volume) {
    write_whole_meta(file, volume);
}
void write_meta_image(const path& file, const Volume<std::int16_t>& volume) {
    write_whole_meta(file, volume);
}
void write_meta_image(const path& file, const Volume<std::int32_t>& volume) {
    write_whole_meta(file, volume);
}

}  // namespace iwseg
