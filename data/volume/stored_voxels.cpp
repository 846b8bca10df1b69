#include "data/volume/stored_voxels.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "data/volume/compression.h"

namespace iwseg {
namespace {

using std::filesystem::path;
using Bytes = std::vector<unsigned char>;

std::ifstream opened_file(const path& file, const std::string& name) {
    std::ifstream stream(file, std::ios::binary);
    if (!stream) throw InputError(fmt::format("cannot read {}: {}", name, std::strerror(errno)));
    return stream;
}

/// The voxels of one data file, inflated while they are read where they are compressed.
class VoxelStream {
  public:
    VoxelStream(VoxelSection section, bool compressed) : section_(std::move(section)), left_(section_.size) {
        stream_ = opened_file(section_.file, section_.name);
        stream_.seekg(section_.start);
        if (!compressed) return;
        inflater_.reset(new z_stream{});
        constexpr int zlib_or_gzip = 15 + 32;
        if (inflateInit2(inflater_.get(), zlib_or_gzip) != Z_OK) throw std::bad_alloc();
        packed_.resize(std::size_t{1} << 18);
    }

    void read(unsigned char* out, std::int64_t bytes) {
        const std::int64_t found = inflater_ ? inflated(out, bytes) : taken(out, bytes);
        if (found < bytes) refuse("ends too early: it holds fewer voxels than its header promises");
    }

    /// Throws where anything follows the voxels that were read, or the checksum is wrong.
    void finish() {
        if (!inflater_) return;
        unsigned char beyond = 0;
        if (inflated(&beyond, 1) > 0) refuse("is too long: it holds more voxels than its header promises");
        if (!ended_) refuse("ends too early: its compressed voxels have no end");
        if (inflater_->avail_in > 0 || left_ > 0) refuse("is too long: bytes follow its compressed voxels");
    }

  private:
    struct End {
        void operator()(z_stream* inflater) const {
            inflateEnd(inflater);
            delete inflater;
        }
    };

    [[noreturn]] void refuse(const std::string& what) const { throw InputError(section_.name + " " + what); }

    /// Bytes as they are in the file; returns how many there were.
    std::int64_t taken(unsigned char* out, std::int64_t bytes) {
        stream_.read(reinterpret_cast<char*>(out), static_cast<std::streamsize>(std::min(bytes, left_)));
        const std::int64_t found = stream_.gcount();
        left_ = found > 0 ? left_ - found : 0;
        return found;
    }

    std::int64_t inflated(unsigned char* out, std::int64_t bytes) {
        std::int64_t done = 0;
        while (done < bytes && !ended_) {
            if (inflater_->avail_in == 0) {
                inflater_->next_in = packed_.data();
                inflater_->avail_in = static_cast<unsigned>(taken(packed_.data(), std::ssize(packed_)));
                if (inflater_->avail_in == 0) break;
            }
            const auto chunk = static_cast<unsigned>(std::min<std::int64_t>(bytes - done, 1 << 30));
            inflater_->next_out = out + done;
            inflater_->avail_out = chunk;
            const int code = inflate(inflater_.get(), Z_NO_FLUSH);
            done += chunk - inflater_->avail_out;
            ended_ = code == Z_STREAM_END;
            if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
                refuse("cannot be read: its compressed voxels are damaged");
        }
        return done;
    }

    VoxelSection section_;
    std::int64_t left_;  // bytes of the section that were not read yet
    std::ifstream stream_;
    std::unique_ptr<z_stream, End> inflater_;
    Bytes packed_;
    bool ended_ = false;
};

template <class T>
T voxel_at(const unsigned char* bytes, bool swapped) {
    unsigned char raw[sizeof(T)];
    std::memcpy(raw, bytes, sizeof(T));
    if (swapped) std::reverse(raw, raw + sizeof(T));
    return std::bit_cast<T>(raw);
}

template <class Out, class T>
Out stored_as(T value, const path& file) {
    if constexpr (std::is_same_v<Out, std::int32_t>) {
        if constexpr (std::is_integral_v<T>)
            if (std::in_range<std::int32_t>(value)) return static_cast<std::int32_t>(value);
        const auto label = label_of(static_cast<double>(value));
        if (!label)
            throw InputError(
                fmt::format("{} holds the value {}; labels are whole numbers of 32 bits", file.string(), value));
        return *label;
    }
    return static_cast<Out>(value);
}

constexpr std::int64_t kBlock = 16;  // slices that are in memory at once, and voxels of a tile's side

/// Puts up to 16 slices from first_slice on where they belong. The file has i fastest, a volume k: tiles keep both
/// sides in cache, where slices a power of two apart would not stay of themselves.
template <class T, class Out>
void place(const Bytes& raw, bool swapped, std::int64_t first_slice, std::int64_t slices, const path& file,
           Volume<Out>& volume) {
    const auto [ni, nj, nk] = volume.geometry.shape;
    Out tile[kBlock][kBlock];
    for (std::int64_t i0 = 0; i0 < ni; i0 += kBlock)
        for (std::int64_t j = 0; j < nj; ++j) {
            const std::int64_t wide = std::min(kBlock, ni - i0);
            for (std::int64_t k = 0; k < slices; ++k) {
                const unsigned char* row = &raw[static_cast<std::size_t>((k * nj + j) * ni + i0) * sizeof(T)];
                for (std::int64_t i = 0; i < wide; ++i)
                    tile[k][i] =
                        stored_as<Out>(voxel_at<T>(row + static_cast<std::size_t>(i) * sizeof(T), swapped), file);
            }
            for (std::int64_t i = 0; i < wide; ++i) {
                Out* column = &volume.voxels[static_cast<std::size_t>(((i0 + i) * nj + j) * nk + first_slice)];
                for (std::int64_t k = 0; k < slices; ++k) column[k] = tile[k][i];
            }
        }
}

template <class Out>
using Place = void (*)(const Bytes&, bool, std::int64_t, std::int64_t, const path&, Volume<Out>&);

template <class Out>
Place<Out> place_of(VoxelType type) {
    switch (type) {
        case VoxelType::i8:
            return place<std::int8_t, Out>;
        case VoxelType::u8:
            return place<std::uint8_t, Out>;
        case VoxelType::i16:
            return place<std::int16_t, Out>;
        case VoxelType::u16:
            return place<std::uint16_t, Out>;
        case VoxelType::i32:
            return place<std::int32_t, Out>;
        case VoxelType::u32:
            return place<std::uint32_t, Out>;
        case VoxelType::i64:
            return place<std::int64_t, Out>;
        case VoxelType::u64:
            return place<std::uint64_t, Out>;
        case VoxelType::f32:
            return place<float, Out>;
        case VoxelType::f64:
            return place<double, Out>;
    }
    throw std::logic_error("a VoxelType that is none");
}

template <class Out>
Volume<Out> read_sections(const StoredVoxels& stored) {
    Volume<Out> volume;
    volume.geometry = stored.geometry;
    const auto [ni, nj, nk] = stored.geometry.shape;
    const std::int64_t slices = nk / std::ssize(stored.sections), slice_bytes = ni * nj * bytes_of(stored.type);
    volume.voxels.resize(static_cast<std::size_t>(volume.geometry.voxels()));
    Bytes raw(static_cast<std::size_t>(std::min(slices, kBlock) * slice_bytes));
    const bool swapped = stored.big_endian != (std::endian::native == std::endian::big);
    const Place<Out> place_slices = place_of<Out>(stored.type);
    std::int64_t slice = 0;
    for (const VoxelSection& section : stored.sections) {
        VoxelStream stream(section, stored.compressed);
        for (const std::int64_t end = slice + slices; slice < end;) {
            const std::int64_t count = std::min(kBlock, end - slice);
            stream.read(raw.data(), count * slice_bytes);
            place_slices(raw, swapped, slice, count, section.file, volume);
            slice += count;
        }
        stream.finish();
    }
    return volume;
}

}  // namespace

std::int64_t bytes_of(VoxelType type) {
    switch (type) {
        case VoxelType::i8:
        case VoxelType::u8:
            return 1;
        case VoxelType::i16:
        case VoxelType::u16:
            return 2;
        case VoxelType::i32:
        case VoxelType::u32:
        case VoxelType::f32:
            return 4;
        case VoxelType::i64:
        case VoxelType::u64:
        case VoxelType::f64:
            return 8;
    }
    return 0;
}

std::int64_t size_of_file(const path& file, const std::string& name) {
    std::error_code error;
    const auto status = std::filesystem::status(file, error);
    if (!std::filesystem::exists(status)) throw InputError(fmt::format("cannot read {}: there is no such file", name));
    if (!std::filesystem::is_regular_file(status))
        throw InputError(fmt::format("cannot read {}: it is not a regular file", name));
    const auto size = static_cast<std::int64_t>(std::filesystem::file_size(file, error));
    if (error) throw InputError(fmt::format("cannot read {}: {}", name, error.message()));
    return size;
}

std::string start_of_file(const path& file, std::int64_t most) {
    std::string text(static_cast<std::size_t>(std::min(size_of_file(file, file.string()), most)), '\0');
    std::ifstream stream = opened_file(file, file.string());
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(stream.gcount()));
    return text;
}

void require_size(const VoxelSection& section, std::int64_t promised, std::int64_t stored, bool compressed) {
    const auto refuse = [&](const std::string& what) { throw InputError(fmt::format("{} {}", section.name, what)); };
    if (stored != 0 && section.size != stored)
        refuse(fmt::format("{}: its header promises {} bytes of {}voxels after the first {}, there are {}",
                           section.size < stored ? "ends too early" : "is too long", stored,
                           compressed ? "compressed " : "", section.start, section.size));
    if (compressed && promised > section.size * kMostInflation)
        refuse(
            fmt::format("ends too early: its header promises {} bytes of voxels, but {} compressed bytes can hold at "
                        "most {}",
                        promised, section.size, section.size * kMostInflation));
}

Volume<float> read_stored_image(const StoredVoxels& stored) {
    return read_sections<float>(stored);
}

Volume<std::int32_t> read_stored_labels(const StoredVoxels& stored) {
    return read_sections<std::int32_t>(stored);
}

std::int64_t stored_reading_bytes(const Geometry& geometry, VoxelType type) {
    const auto [ni, nj, nk] = geometry.shape;
    return geometry.voxels() * 4 + ni * nj * bytes_of(type) * std::min(nk, kBlock);
}

/// Blocks keep both sides in cache.
template <class T>
std::vector<std::byte> in_file_order(const Volume<T>& volume) {
    constexpr std::int64_t block = 16;
    const auto [ni, nj, nk] = volume.geometry.shape;
    std::vector<std::byte> bytes(volume.voxels.size() * sizeof(T));
    for (std::int64_t j = 0; j < nj; ++j)
        for (std::int64_t i0 = 0; i0 < ni; i0 += block)
            for (std::int64_t k0 = 0; k0 < nk; k0 += block)
                for (std::int64_t k = k0; k < std::min(k0 + block, nk); ++k)
                    for (std::int64_t i = i0; i < std::min(i0 + block, ni); ++i)
                        std::memcpy(&bytes[static_cast<std::size_t>((k * nj + j) * ni + i) * sizeof(T)],
                                    &volume.voxels[static_cast<std::size_t>((i * nj + j) * nk + k)], sizeof(T));
    return bytes;
}
template std::vector<std::byte> in_file_order(const Volume<float>&);
template std::vector<std::byte> in_file_order(const Volume<std::uint8_t>&);
template std::vector<std::byte> in_file_order(const Volume<std::int16_t>&);
template std::vector<std::byte> in_file_order(const Volume<std::int32_t>&);

}  // namespace iwseg
