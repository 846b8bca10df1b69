#include <zlib.h>

#include <algorithm>
#include <stdexcept>

#include "import/zip_archive.h"
#include "import/zip_format.h"

namespace iwseg {
namespace {

using namespace zip;

constexpr std::uint64_t kVersion = 45;       ///< of the format: the first with zip64
constexpr std::uint64_t kFirstDay = 0x0021;  ///< 1 January 1980, the earliest that there is

/// Appends numbers, the least byte first.
struct Bytes {
    std::string text;

    void add(std::uint64_t value, int width) {
        for (int i = 0; i < width; ++i) text += static_cast<char>(value >> 8 * i);
    }
    void add_all(std::initializer_list<std::pair<std::uint64_t, int>> numbers) {
        for (const auto& [value, width] : numbers) add(value, width);
    }
};

/// In pieces, so that growing holds nothing twice.
std::vector<std::string> deflated(const std::vector<std::string_view>& parts) {
    constexpr std::size_t kMostAtOnce = std::size_t{1} << 30;  // zlib counts in 32 bits
    z_stream stream{};
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        throw std::runtime_error("zlib could not begin to pack an archive");
    std::vector<std::string> packed;
    std::string buffer(std::size_t{1} << 20, '\0');
    const auto run = [&](std::string_view bytes, int flush) {
        stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
        stream.avail_in = static_cast<uInt>(bytes.size());
        int state = Z_OK;
        do {
            stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
            stream.avail_out = static_cast<uInt>(buffer.size());
            state = deflate(&stream, flush);
            packed.push_back(buffer.substr(0, buffer.size() - stream.avail_out));
        } while (state == Z_OK && (stream.avail_out == 0 || flush == Z_FINISH));
        return state;
    };
    for (std::string_view part : parts)
        for (; !part.empty(); part.remove_prefix(std::min(kMostAtOnce, part.size())))
            run(part.substr(0, kMostAtOnce), Z_NO_FLUSH);
    const int state = run({}, Z_FINISH);
    deflateEnd(&stream);
    if (state != Z_STREAM_END) throw std::runtime_error("zlib could not pack an archive");
    return packed;
}

template <class Parts>
std::uint64_t size_of(const Parts& parts) {
    std::uint64_t bytes = 0;
    for (const std::string_view part : parts) bytes += part.size();
    return bytes;
}

std::uint64_t checksum_of(const ZipContent& file) {
    uLong sum = 0;
    for (const std::string_view part : file.parts)
        sum = crc32_z(sum, reinterpret_cast<const Bytef*>(part.data()), part.size());
    return sum;
}

}  // namespace

void write_zip(const std::vector<ZipContent>& files, const std::function<void(std::string_view)>& out, bool zip64) {
    std::uint64_t most = 0;
    for (const ZipContent& file : files) most += size_of(file.parts) + 2 * (kCentralBytes + file.name.size()) + 1024;
    const bool wide = zip64 || most >= kBeyond32 || files.size() >= kBeyond16;
    const auto narrow = [&](std::uint64_t value) { return wide ? kBeyond32 : value; };
    Bytes list;
    std::uint64_t written = 0;
    const auto write = [&](std::string_view bytes) {
        out(bytes);
        written += bytes.size();
    };
    for (const ZipContent& file : files) {
        const std::vector<std::string> packed = file.deflated ? deflated(file.parts) : std::vector<std::string>();
        const std::uint64_t at = written, unpacked = size_of(file.parts), checksum = checksum_of(file);
        const std::uint64_t stored = file.deflated ? size_of(packed) : unpacked;
        const std::uint64_t method = file.deflated ? kDeflated : kStored;
        const auto head = [&](Bytes& to, int wide_numbers) {
            to.add_all({{kVersion, 2}, {0, 2}, {method, 2}, {0, 2}, {kFirstDay, 2}, {checksum, 4}});
            to.add_all({{narrow(stored), 4}, {narrow(unpacked), 4}, {file.name.size(), 2}});
            to.add(wide ? 4 + 8 * wide_numbers : 0, 2);
        };
        const auto name_and_extra = [&](Bytes& to, std::initializer_list<std::uint64_t> numbers) {
            to.text += file.name;
            if (!wide) return;
            to.add_all({{kWideExtra, 2}, {8 * numbers.size(), 2}});
            for (const std::uint64_t number : numbers) to.add(number, 8);
        };
        Bytes local;
        local.add(kLocalMark, 4);
        head(local, 2);
        name_and_extra(local, {unpacked, stored});
        write(local.text);
        for (const std::string_view part : packed) write(part);
        for (const std::string_view part : file.parts)
            if (!file.deflated) write(part);
        list.add_all({{kCentralMark, 4}, {kVersion, 2}});
        head(list, 3);
        list.add_all({{0, 2}, {0, 2}, {0, 2}, {0, 4}, {narrow(at), 4}});
        name_and_extra(list, {unpacked, stored, at});
    }
    const std::uint64_t count = files.size(), at = written, bytes = list.text.size(), end64 = at + bytes;
    if (wide) {
        list.add_all({{kEnd64Mark, 4}, {kEnd64Bytes - 12, 8}, {kVersion, 2}, {kVersion, 2}, {0, 4}, {0, 4}});
        list.add_all({{count, 8}, {count, 8}, {bytes, 8}, {at, 8}});
        list.add_all({{kLocatorMark, 4}, {0, 4}, {end64, 8}, {1, 4}});
    }
    const std::uint64_t few = wide ? kBeyond16 : count;
    list.add_all({{kEndMark, 4}, {0, 2}, {0, 2}, {few, 2}, {few, 2}, {narrow(bytes), 4}, {narrow(at), 4}, {0, 2}});
    write(list.text);
}

}  // namespace iwseg
