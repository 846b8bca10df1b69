#include <fmt/format.h>
#include <libdeflate.h>
#include <nifti2_io.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/atomic_file.h"
#include "base/error.h"
#include "data/volume/compression.h"
#include "data/volume/nifti.h"
#include "data/volume/nifti_header.h"

namespace iwseg {
namespace {

using std::filesystem::path;

template <class T>
constexpr int kNiftiType = DT_UNKNOWN;
template <>
constexpr int kNiftiType<float> = DT_FLOAT32;
template <>
constexpr int kNiftiType<std::uint8_t> = DT_UINT8;
template <>
constexpr int kNiftiType<std::int16_t> = DT_INT16;
template <>
constexpr int kNiftiType<std::int32_t> = DT_INT32;

/// Header and voxels with i fastest.
template <class T>
std::vector<std::byte> encode(const Volume<T>& volume) {
    const auto [ni, nj, nk] = volume.geometry.shape;
    std::vector<std::byte> bytes = nifti_header_bytes(volume.geometry, kNiftiType<T>);
    const std::size_t data = bytes.size();
    bytes.resize(data + volume.voxels.size() * sizeof(T));
    constexpr std::int64_t block = 16;
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
        libdeflate_alloc_compressor(kCompression), libdeflate_free_compressor);
    std::vector<std::byte> packed(libdeflate_gzip_compress_bound(compressor.get(), bytes.size()));
    packed.resize(libdeflate_gzip_compress(compressor.get(), bytes.data(), bytes.size(), packed.data(), packed.size()));
    return packed;
}

template <class T>
void write_whole_nifti(const path& file, const Volume<T>& volume) {
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
    write_whole_nifti(file, volume);
}
void write_nifti(const path& file, const Volume<std::uint8_t>& volume) {
    write_whole_nifti(file, volume);
}
void write_nifti(const path& file, const Volume<std::int16_t>& volume) {
    write_whole_nifti(file, volume);
}
void write_nifti(const path& file, const Volume<std::int32_t>& volume) {
    write_whole_nifti(file, volume);
}

}  // namespace iwseg
