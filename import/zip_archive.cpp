#include "import/zip_archive.h"

#include <zlib.h>

#include <algorithm>
#include <fstream>
#include <optional>

#include "base/error.h"
#include "import/zip_format.h"

namespace iwseg {
namespace {

using namespace zip;

/// Bytes of a record, whose numbers have the least byte first. Beyond its end is nothing: whoever reads asks has()
/// before.
struct Record {
    std::string_view bytes;

    bool has(std::uint64_t count) const { return bytes.size() >= count; }
    std::uint64_t number(std::size_t at, std::size_t width) const {
        std::uint64_t value = 0;
        for (std::size_t i = width; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
        return value;
    }
};

/// A file's bytes, by place.
class File {
  public:
    explicit File(const std::filesystem::path& file) : in_(file, std::ios::binary) {
        std::error_code none;
        size_ = std::filesystem::file_size(file, none);
        if (none) size_ = 0;
    }
    std::uint64_t size() const { return size_; }
    bool holds(std::uint64_t at, std::uint64_t count) const { return at <= size_ && count <= size_ - at; }
    /// Nothing where the file ends before.
    std::optional<std::string> read(std::uint64_t at, std::uint64_t count) {
        if (!holds(at, count)) return std::nullopt;
        std::string bytes(count, '\0');
        return read_into(bytes.data(), at, count) ? std::optional(std::move(bytes)) : std::nullopt;
    }
    bool read_into(char* to, std::uint64_t at, std::uint64_t count) {
        in_.clear();
        in_.seekg(static_cast<std::streamoff>(at));
        in_.read(to, static_cast<std::streamsize>(count));
        return static_cast<bool>(in_);
    }

  private:
    std::ifstream in_;
    std::uint64_t size_ = 0;
};

/// Where the list of files lies.
struct List {
    std::uint64_t at = 0, bytes = 0, files = 0;
};

/// The record that ends an archive, behind which there may be a comment and nothing else.
std::optional<List> find_list(File& file) {
    const std::uint64_t count = std::min(file.size(), kEndBytes + kBeyond16), from = file.size() - count;
    const std::optional<std::string> tail = file.read(from, count);
    if (!tail || count < kEndBytes) return std::nullopt;
    for (std::uint64_t at = count - kEndBytes + 1; at-- > 0;) {
        const Record end{std::string_view(*tail).substr(at)};
        if (end.number(0, 4) != kEndMark || end.number(20, 2) != end.bytes.size() - kEndBytes) continue;
        const List list{end.number(16, 4), end.number(12, 4), end.number(10, 2)};
        if (list.at != kBeyond32 && list.bytes != kBeyond32 && list.files != kBeyond16) return list;
        const std::uint64_t place = from + at;
        const auto locator = place < kLocatorBytes ? std::nullopt : file.read(place - kLocatorBytes, kLocatorBytes);
        if (!locator || Record{*locator}.number(0, 4) != kLocatorMark) return list;
        const auto wide = file.read(Record{*locator}.number(8, 8), kEnd64Bytes);
        if (!wide || Record{*wide}.number(0, 4) != kEnd64Mark) return std::nullopt;
        return List{Record{*wide}.number(48, 8), Record{*wide}.number(40, 8), Record{*wide}.number(32, 8)};
    }
    return std::nullopt;
}

/// Takes what is beyond 32 bits from the extra fields. False where it is missing.
bool widen(Record extra, ZipArchive::Entry& entry) {
    while (extra.has(4)) {
        const std::uint64_t id = extra.number(0, 2), length = extra.number(2, 2);
        if (!extra.has(4 + length)) return false;
        Record field{extra.bytes.substr(4, length)};
        extra.bytes.remove_prefix(4 + length);
        if (id != kWideExtra) continue;
        for (std::uint64_t* const number : {&entry.bytes, &entry.packed, &entry.at}) {
            if (*number != kBeyond32) continue;
            if (!field.has(8)) return false;
            *number = field.number(0, 8);
            field.bytes.remove_prefix(8);
        }
        return true;
    }
    return entry.bytes != kBeyond32 && entry.packed != kBeyond32 && entry.at != kBeyond32;
}

/// Fills `to` from deflated bytes; false where they are not that, or not so many.
bool inflate_into(std::string_view packed, char* to, std::uint64_t bytes) {
    constexpr std::uint64_t kMostAtOnce = std::uint64_t{1} << 30;  // zlib counts in 32 bits
    z_stream stream{};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return false;
    char beyond;  // zlib wants room for what must not come
    int state = Z_OK;
    std::uint64_t in = 0, out = 0;
    while (state == Z_OK) {
        const std::uint64_t given = std::min(kMostAtOnce, packed.size() - in),
                            room = std::min(kMostAtOnce, bytes - out);
        stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data() + in));
        stream.avail_in = static_cast<uInt>(given);
        stream.next_out = reinterpret_cast<Bytef*>(room > 0 ? to + out : &beyond);
        stream.avail_out = static_cast<uInt>(room > 0 ? room : 1);
        state = inflate(&stream, Z_NO_FLUSH);
        in += given - stream.avail_in;
        if (room > 0)
            out += room - stream.avail_out;
        else if (stream.avail_out == 0)
            state = Z_DATA_ERROR;
    }
    inflateEnd(&stream);
    return state == Z_STREAM_END && out == bytes;
}

}  // namespace

ZipArchive::ZipArchive(const std::filesystem::path& file) : file_(file) {
    const std::string damaged = file_.string() + " is damaged: its list of files ";
    File in(file);
    const std::optional<List> list = find_list(in);
    if (!list) throw InputError(file_.string() + " is damaged, or no zip archive");
    const std::optional<std::string> records = in.read(list->at, list->bytes);
    if (!records) throw InputError(damaged + "ends in the middle");
    Record rest{*records};
    for (std::uint64_t i = 0; i < list->files; ++i) {
        if (!rest.has(kCentralBytes) || rest.number(0, 4) != kCentralMark) throw InputError(damaged + "is no list");
        const std::uint64_t name = rest.number(28, 2), extra = rest.number(30, 2), comment = rest.number(32, 2);
        if (!rest.has(kCentralBytes + name + extra + comment)) throw InputError(damaged + "ends in the middle");
        Entry entry{rest.number(24, 4),
                    rest.number(20, 4),
                    rest.number(42, 4),
                    static_cast<std::uint32_t>(rest.number(16, 4)),
                    static_cast<int>(rest.number(10, 2)),
                    (rest.number(8, 2) & 1) != 0};
        const std::string text(rest.bytes.substr(kCentralBytes, name));
        if (!widen({rest.bytes.substr(kCentralBytes + name, extra)}, entry) ||
            (entry.stored() && entry.bytes != entry.packed) || !in.holds(entry.at, entry.packed))
            throw InputError(damaged + "has a size or a place that cannot be");
        if (!entries_.emplace(text, entry).second) throw InputError(damaged + "holds " + text + " twice");
        rest.bytes.remove_prefix(kCentralBytes + name + extra + comment);
    }
}

std::vector<std::byte> ZipArchive::read(const std::string& name) const {
    constexpr std::uint64_t kMostTimes = 1032;  // as often as deflate can repeat a byte
    const std::string damaged = file_.string() + " is damaged: " + name;
    const auto found = entries_.find(name);
    if (found == entries_.end()) throw InputError(damaged + " is missing");
    const Entry& entry = found->second;
    if (entry.encrypted || (entry.method != kStored && entry.method != kDeflated))
        throw InputError(file_.string() + " holds " + name + " encrypted, or packed otherwise than by deflate");
    if (entry.bytes / kMostTimes > entry.packed) throw InputError(damaged + " cannot be as large as it says");
    File in(file_);
    const std::optional<std::string> local = in.read(entry.at, kLocalBytes);
    const bool begins = local && Record{*local}.number(0, 4) == kLocalMark;
    const std::uint64_t named = begins ? Record{*local}.number(26, 2) : 0,
                        extra = begins ? Record{*local}.number(28, 2) : 0;
    if (!begins || in.read(entry.at + kLocalBytes, named) != name)
        throw InputError(damaged + " is not where its list of files says");
    const std::uint64_t at = entry.at + kLocalBytes + named + extra;
    std::vector<std::byte> bytes(in.holds(at, entry.packed) ? entry.bytes : 0);
    auto* const to = reinterpret_cast<char*>(bytes.data());
    bool whole = in.holds(at, entry.packed);
    if (whole && entry.method == kStored) {
        whole = in.read_into(to, at, entry.packed);
    } else if (whole) {
        const std::optional<std::string> packed = in.read(at, entry.packed);
        whole = packed && inflate_into(*packed, to, entry.bytes);
    }
    if (!whole || crc32_z(0, reinterpret_cast<const Bytef*>(to), bytes.size()) != entry.checksum)
        throw InputError(damaged + " ends in the middle, or is not what its checksum says");
    return bytes;
}

}  // namespace iwseg
