#include <fmt/format.h>
#include <fmt/ranges.h>
#include <libdeflate.h>
#include <nifti2_io.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "data/volume/compression.h"
#include "data/volume/nifti.h"
#include "data/volume/nifti_header.h"

// Bytes are read here and not by the library, because only so can a header that promises more than its file holds be
// refused before memory is taken for it.

namespace iwseg {
namespace {

using std::filesystem::path;

/// The bytes of a file's voxels, and room for what lies before them.
class RawVoxels {
  public:
    RawVoxels(std::int64_t offset, std::int64_t bytes)
        : offset_(offset),
          bytes_(bytes),
          file_(std::make_unique_for_overwrite<unsigned char[]>(static_cast<std::size_t>(offset + bytes))) {}

    unsigned char* file() { return file_.get(); }
    std::size_t file_bytes() const { return static_cast<std::size_t>(offset_ + bytes_); }
    unsigned char* data() { return file_.get() + offset_; }
    const unsigned char* data() const { return file_.get() + offset_; }

  private:
    std::int64_t offset_, bytes_;
    std::unique_ptr<unsigned char[]> file_;
};

/// A file that is inflated while it is read, where it is gzip.
class ByteSource {
  public:
    explicit ByteSource(const path& name) : name_(name) {
        std::error_code error;
        if (std::filesystem::is_directory(name, error))
            throw InputError(name.string() + " is a folder, not a NIfTI file");
        size_ = static_cast<std::int64_t>(std::filesystem::file_size(name, error));
        if (error) throw InputError("cannot read " + name.string() + ": " + error.message());
        unsigned char magic[2] = {};
        std::ifstream(name, std::ios::binary).read(reinterpret_cast<char*>(magic), 2);
        compressed_ = magic[0] == 0x1f && magic[1] == 0x8b;
        file_.reset(gzopen(name.c_str(), "rb"));
        if (!file_) throw InputError("cannot read " + name.string() + ": " + std::strerror(errno));
        gzbuffer(file_.get(), 1 << 20);
    }

    /// Reads up to `bytes`; returns how many there were.
    std::int64_t read(void* out, std::int64_t bytes) {
        std::int64_t done = 0;
        while (done < bytes) {
            const auto chunk = static_cast<unsigned>(std::min<std::int64_t>(bytes - done, 1 << 30));
            const int got = gzread(file_.get(), static_cast<char*>(out) + done, chunk);
            if (got <= 0) {
                int code = Z_OK;
                gzerror(file_.get(), &code);
                if (code != Z_OK && code != Z_BUF_ERROR)
                    throw InputError("cannot read " + name_.string() + ": its gzip data is damaged");
                cut_ = code == Z_BUF_ERROR;
                break;
            }
            done += got;
        }
        return done;
    }

    /// The `bytes` from `offset` on, which are all there is after it, at once: in half the time that streaming takes.
    /// False where that is not so, or the file is damaged; streaming says what is wrong.
    bool inflate_at_once(std::int64_t offset, std::int64_t bytes, RawVoxels& raw) const;

    void seek(std::int64_t offset) { gzseek(file_.get(), offset, SEEK_SET); }
    std::int64_t size() const { return size_; }
    std::int64_t most_bytes() const { return compressed_ ? size_ * kMostInflation : size_; }
    bool compressed() const { return compressed_; }
    bool cut() const { return cut_; }  ///< its gzip data had no end where it was read up to

  private:
    struct Close {
        void operator()(gzFile file) const { gzclose(file); }
    };
    path name_;
    std::int64_t size_ = 0;
    bool compressed_ = false, cut_ = false;
    std::unique_ptr<std::remove_pointer_t<gzFile>, Close> file_;
};

bool ByteSource::inflate_at_once(std::int64_t offset, std::int64_t bytes, RawVoxels& raw) const {
    if (!compressed_) return false;
    const auto packed = std::make_unique_for_overwrite<char[]>(static_cast<std::size_t>(size_));
    if (!std::ifstream(name_, std::ios::binary).read(packed.get(), size_)) return false;
    const std::unique_ptr<libdeflate_decompressor, decltype(&libdeflate_free_decompressor)> inflater(
        libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
    raw = RawVoxels(offset, bytes);
    // A file may be several members one after the other, as bgzip writes it, of 64 KiB each.
    const auto size = static_cast<std::size_t>(size_);
    std::size_t read = 0, written = 0;
    while (read < size) {
        std::size_t member = 0, inflated = 0;
        if (libdeflate_gzip_decompress_ex(inflater.get(), packed.get() + read, size - read, raw.file() + written,
                                          raw.file_bytes() - written, &member, &inflated) != LIBDEFLATE_SUCCESS)
            break;
        read += member;
        written += inflated;
    }
    if (read == size && written == raw.file_bytes()) return true;
    raw = RawVoxels(0, 0);  // streaming takes memory of its own
    return false;
}

NiftiHeader read_header(ByteSource& source, const path& file) {
    std::array<std::byte, kMostNiftiHeader> start;
    const std::int64_t found = source.read(start.data(), std::ssize(start));
    return parse_nifti_header(file, std::span(start).first(static_cast<std::size_t>(found)));
}

/// Throws where the file is not three-dimensional; where channels are asked for, a fourth axis may be there.
void require_three_axes(const NiftiHeader& header, const path& file, std::optional<std::int64_t> channel) {
    const std::size_t axes = header.shape.size();
    if (axes == 3 && channel.value_or(0) == 0) return;
    if (axes == 4 && channel && *channel < header.shape[3]) return;
    if (channel && axes <= 4)
        throw InputError(fmt::format("{} has {} channels, so there is no channel {}", file.string(),
                                     axes == 4 ? header.shape[3] : 1, *channel));
    throw InputError(
        fmt::format("{} has {} axes ({}); a scan has three", file.string(), axes, fmt::join(header.shape, " x ")));
}

/// IEEE 754 quadruple precision, which the machine's long double is not.
double quadruple(const unsigned char* bytes) {
    std::uint64_t low = 0, high = 0;
    std::memcpy(&low, bytes, 8);
    std::memcpy(&high, bytes + 8, 8);
    const int exponent = static_cast<int>(high >> 48 & 0x7fff);
    const std::uint64_t top = high & 0xffffffffffff;
    if (exponent == 0x7fff)
        return top || low ? std::numeric_limits<double>::quiet_NaN()
                          : std::copysign(std::numeric_limits<double>::infinity(), high >> 63 ? -1.0 : 1.0);
    const double fraction = (static_cast<double>(top) + static_cast<double>(low) * 0x1p-64) * 0x1p-48;
    const double size = std::ldexp(exponent ? 1.0 + fraction : fraction, std::max(exponent, 1) - 16383);
    return high >> 63 ? -size : size;
}

struct Quadruple {
    unsigned char bytes[16];
};

template <class T>
double value_of(const T& raw) {
    if constexpr (std::is_same_v<T, Quadruple>)
        return quadruple(raw.bytes);
    else
        return static_cast<double>(raw);
}

template <class Out, class T>
Out converted(const T& stored, const NiftiHeader& header, const path& file) {
    if constexpr (std::is_integral_v<T> && std::is_integral_v<Out>)
        if (header.slope == 1 && header.intercept == 0 && std::in_range<Out>(stored)) return static_cast<Out>(stored);
    const double value = value_of(stored) * header.slope + header.intercept;
    if constexpr (std::is_same_v<Out, std::int32_t>) {
        const auto label = label_of(value, std::is_integral_v<T> ? header.slope : 0.0);
        if (!label)
            throw InputError(fmt::format("{} holds the value {}; labels are whole numbers", file.string(), value));
        return *label;
    } else {
        return static_cast<Out>(value);
    }
}

/// The file has i fastest, a volume k. Blocks of 16 x 16 keep both sides in cache.
template <class T, class Out>
void transpose(const unsigned char* raw, const NiftiHeader& header, const path& file, std::vector<Out>& out) {
    constexpr std::int64_t block = 16;
    const std::int64_t ni = header.shape[0], nj = header.shape[1], nk = header.shape[2];
    for (std::int64_t j = 0; j < nj; ++j)
        for (std::int64_t k0 = 0; k0 < nk; k0 += block)
            for (std::int64_t i0 = 0; i0 < ni; i0 += block)
                for (std::int64_t i = i0; i < std::min(i0 + block, ni); ++i)
                    for (std::int64_t k = k0; k < std::min(k0 + block, nk); ++k) {
                        T voxel;
                        std::memcpy(&voxel, &raw[((k * nj + j) * ni + i) * sizeof(T)], sizeof(T));
                        out[(i * nj + j) * nk + k] = converted<Out>(voxel, header, file);
                    }
}

template <class Out>
void decode(const unsigned char* raw, const NiftiHeader& header, const path& file, std::vector<Out>& out) {
    switch (header.type) {
        case DT_UINT8:
            return transpose<std::uint8_t>(raw, header, file, out);
        case DT_INT8:
            return transpose<std::int8_t>(raw, header, file, out);
        case DT_UINT16:
            return transpose<std::uint16_t>(raw, header, file, out);
        case DT_INT16:
            return transpose<std::int16_t>(raw, header, file, out);
        case DT_UINT32:
            return transpose<std::uint32_t>(raw, header, file, out);
        case DT_INT32:
            return transpose<std::int32_t>(raw, header, file, out);
        case DT_UINT64:
            return transpose<std::uint64_t>(raw, header, file, out);
        case DT_INT64:
            return transpose<std::int64_t>(raw, header, file, out);
        case DT_FLOAT32:
            return transpose<float>(raw, header, file, out);
        case DT_FLOAT64:
            return transpose<double>(raw, header, file, out);
        case DT_FLOAT128:
            return transpose<Quadruple>(raw, header, file, out);
        default:
            throw std::logic_error("a NIfTI type that its header's reader lets pass");
    }
}

/// Of the first three axes, in floating point, since a lying header's product may not fit whole numbers.
double volume_voxels(const NiftiHeader& header) {
    return static_cast<double>(header.shape[0]) * static_cast<double>(header.shape[1]) *
           static_cast<double>(header.shape[2]);
}

template <class Out>
Volume<Out> read_volume(const path& file, std::optional<std::int64_t> channel) {
    ByteSource source(file);
    const NiftiHeader header = read_header(source, file);
    require_three_axes(header, file, channel);
    Volume<Out> volume;
    volume.geometry = header.geometry(file);
    const std::array<std::int64_t, 3>& shape = volume.geometry.shape;
    const double promised = volume_voxels(header) * header.bytes_per_voxel;
    const double first = static_cast<double>(header.offset) + static_cast<double>(channel.value_or(0)) * promised;
    const auto too_short = [&](const std::string& what_is_there) {
        return InputError(
            fmt::format("{} ends too early: its header promises {:.0f} bytes of voxels ({}) from byte {:.0f} on but {}",
                        file.string(), promised, fmt::join(shape, " x "), first, what_is_there));
    };
    if (first + promised > static_cast<double>(source.most_bytes()))
        throw too_short(fmt::format("the file {} {} bytes in all",
                                    source.compressed() ? "can inflate to at most" : "has", source.most_bytes()));

    const std::int64_t bytes = volume.geometry.voxels() * header.bytes_per_voxel;
    RawVoxels raw(0, 0);  // a channel of several is streamed
    if (header.shape.size() > 3 || !source.inflate_at_once(header.offset, bytes, raw)) {
        raw = RawVoxels(0, bytes);
        source.seek(static_cast<std::int64_t>(first));
        // One byte beyond makes zlib compare the checksum where the file ends there.
        unsigned char beyond = 0;
        const std::int64_t found = source.read(raw.data(), bytes);
        if (found < bytes) throw too_short(fmt::format("holds {}", found));
        source.read(&beyond, 1);
        if (source.cut()) throw InputError(file.string() + " ends too early: its gzip data has no end");
    }
    if (const int width = header.swapped_bytes; width > 1) nifti_swap_Nbytes(bytes / width, width, raw.data());
    volume.voxels.resize(static_cast<std::size_t>(volume.geometry.voxels()));
    decode(raw.data(), header, file, volume.voxels);
    return volume;
}

NiftiHeader open_header(const path& file) {
    ByteSource source(file);
    NiftiHeader header = read_header(source, file);
    require_three_axes(header, file, 0);
    return header;
}

}  // namespace

Geometry read_nifti_geometry(const path& file) {
    return open_header(file).geometry(file);
}

std::int64_t read_nifti_channel_count(const path& file) {
    const NiftiHeader header = open_header(file);
    return header.shape.size() > 3 ? header.shape[3] : 1;
}

std::int64_t nifti_reading_bytes(const path& file) {
    ByteSource source(file);
    const NiftiHeader header = read_header(source, file);
    require_three_axes(header, file, 0);
    constexpr double result = 4, most = 1e18;  // a header may lie
    const double voxels = volume_voxels(header);
    // The compressed bytes are given back before the result is made.
    const double packed = source.compressed() && header.shape.size() == 3 ? static_cast<double>(source.size()) : 0;
    return static_cast<std::int64_t>(
        std::min(most, voxels * header.bytes_per_voxel + std::max(packed, voxels * result)));
}

Volume<float> read_nifti_image(const path& file) {
    return read_volume<float>(file, std::nullopt);
}
Volume<std::int32_t> read_nifti_labels(const path& file) {
    return read_volume<std::int32_t>(file, std::nullopt);
}
Volume<float> read_nifti_channel(const path& file, std::int64_t channel) {
    return read_volume<float>(file, channel);
}

}  // namespace iwseg
