#include "data/volume/meta_image.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "data/volume/meta_header.h"

namespace iwseg {
namespace {

using std::filesystem::path;
using Bytes = std::vector<unsigned char>;

constexpr std::int64_t most_inflation = 1032;                // the most that deflate can shrink
constexpr std::int64_t most_header = std::int64_t{1} << 20;  // bytes; a LIST of a thousand names has 30,000

/// The file's size. A pipe or device, which has none, is refused before it is opened.
std::int64_t size_of(const path& file, const std::string& name) {
    std::error_code error;
    const auto status = std::filesystem::status(file, error);
    if (!std::filesystem::exists(status)) throw InputError(fmt::format("cannot read {}: there is no such file", name));
    if (!std::filesystem::is_regular_file(status))
        throw InputError(fmt::format("cannot read {}: it is not a regular file", name));
    const auto size = static_cast<std::int64_t>(std::filesystem::file_size(file, error));
    if (error) throw InputError(fmt::format("cannot read {}: {}", name, error.message()));
    return size;
}

std::ifstream opened(const path& file, const std::string& name) {
    std::ifstream stream(file, std::ios::binary);
    if (!stream) throw InputError(fmt::format("cannot read {}: {}", name, std::strerror(errno)));
    return stream;
}

MetaDescription read_description(const path& file) {
    const std::int64_t size = size_of(file, file.string());
    std::string text(static_cast<std::size_t>(std::min(size, most_header)), '\0');
    std::ifstream stream = opened(file, file.string());
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(stream.gcount()));
    return parse_meta_header(file, text);
}

/// Where the voxels of one data file lie in it.
struct Section {
    path file;
    std::string name;  ///< for sentences
    std::int64_t start = 0, size = 0;
};

/// Finds the voxels in a data file. Throws where it cannot hold `promised` bytes of them, or holds more.
Section find_section(const MetaDescription& description, const path& file, const path& header, std::int64_t promised) {
    Section section{file, file.string(), description.local_start, 0};
    if (file != header) section.name += fmt::format(" (the data file of {})", header.string());
    const auto refuse = [&](const std::string& what) { throw InputError(fmt::format("{} {}", section.name, what)); };
    const std::int64_t all = size_of(file, section.name);
    const std::int64_t stored = description.compressed ? description.compressed_bytes : promised;
    if (description.skipped_bytes > 0) {
        // HeaderSize counts from the file's first byte, in a file with the header too.
        if (description.skipped_bytes < section.start)
            refuse(fmt::format("has HeaderSize {}, but its header alone has {} bytes", description.skipped_bytes,
                               section.start));
        section.start = description.skipped_bytes;
    } else if (description.skipped_bytes < 0) {
        if (stored == 0) refuse("has HeaderSize -1 and compressed voxels, which needs their CompressedDataSize");
        section.start = std::max(section.start, all - stored);
    }
    section.size = std::max<std::int64_t>(all - section.start, 0);
    if (stored != 0 && section.size != stored)
        refuse(fmt::format("{}: its header promises {} bytes of {}voxels after the first {}, there are {}",
                           section.size < stored ? "ends too early" : "is too long", stored,
                           description.compressed ? "compressed " : "", section.start, section.size));
    if (description.compressed && promised > section.size * most_inflation)
        refuse(
            fmt::format("ends too early: its header promises {} bytes of voxels, but {} compressed bytes can hold at "
                        "most {}",
                        promised, section.size, section.size * most_inflation));
    return section;
}

/// The voxels of one data file, inflated while they are read where they are compressed.
class VoxelStream {
  public:
    VoxelStream(Section section, bool compressed) : section_(std::move(section)), left_(section_.size) {
        stream_ = opened(section_.file, section_.name);
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
            const auto piece = static_cast<unsigned>(std::min<std::int64_t>(bytes - done, 1 << 30));
            inflater_->next_out = out + done;
            inflater_->avail_out = piece;
            const int code = inflate(inflater_.get(), Z_NO_FLUSH);
            done += piece - inflater_->avail_out;
            ended_ = code == Z_STREAM_END;
            if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
                refuse("cannot be read: its compressed voxels are damaged");
        }
        return done;
    }

    Section section_;
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
Out converted(T value, const path& file) {
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
                        converted<Out>(voxel_at<T>(row + static_cast<std::size_t>(i) * sizeof(T), swapped), file);
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
Place<Out> place_of(MetaElement element) {
    switch (element) {
        case MetaElement::i8:
            return place<std::int8_t, Out>;
        case MetaElement::u8:
            return place<std::uint8_t, Out>;
        case MetaElement::i16:
            return place<std::int16_t, Out>;
        case MetaElement::u16:
            return place<std::uint16_t, Out>;
        case MetaElement::i32:
            return place<std::int32_t, Out>;
        case MetaElement::u32:
            return place<std::uint32_t, Out>;
        case MetaElement::i64:
            return place<std::int64_t, Out>;
        case MetaElement::u64:
            return place<std::uint64_t, Out>;
        case MetaElement::f32:
            return place<float, Out>;
        case MetaElement::f64:
            return place<double, Out>;
    }
    throw std::logic_error("a MetaElement that is none");
}

template <class Out>
Volume<Out> read_volume(const path& file) {
    const MetaDescription description = read_description(file);
    const auto files = static_cast<std::int64_t>(description.data_files.size());
    const std::int64_t slices = description.header.shape[2] / files, slice_bytes = description.bytes() / slices / files;
    // All are looked at before memory is taken.
    std::vector<Section> sections;
    for (const path& data_file : description.data_files)
        sections.push_back(find_section(description, data_file, file, slices * slice_bytes));

    Volume<Out> volume;
    volume.geometry = description.header.geometry();
    volume.voxels.resize(static_cast<std::size_t>(volume.geometry.voxels()));
    Bytes raw(static_cast<std::size_t>(std::min(slices, kBlock) * slice_bytes));
    const bool swapped = description.big_endian != (std::endian::native == std::endian::big);
    const Place<Out> place_slices = place_of<Out>(description.element);
    std::int64_t slice = 0;
    for (const Section& section : sections) {
        VoxelStream stream(section, description.compressed);
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

MetaHeader read_meta_header(const path& file) {
    return read_description(file).header;
}

std::vector<path> meta_data_files(const path& file) {
    return read_description(file).data_files;
}

Volume<float> read_meta_image(const path& file) {
    return read_volume<float>(file);
}

Volume<std::int32_t> read_meta_labels(const path& file) {
    return read_volume<std::int32_t>(file);
}

std::int64_t meta_reading_bytes(const path& file) {
    const MetaDescription description = read_description(file);
    const std::int64_t slices = description.header.shape[2];
    return description.header.geometry().voxels() * 4 + description.bytes() / slices * std::min(slices, kBlock);
}

}  // namespace iwseg
