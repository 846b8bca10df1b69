#include "nnunet/npz.h"

#include <fmt/format.h>
#include <zip.h>

#include <cstring>
#include <stdexcept>

#include "base/atomic_file.h"

namespace iwseg::nnunet {
namespace {

/// NumPy's format 1.0: six letters, a version, the header's length in two bytes, the header up to a multiple of 64
/// bytes, the values.
std::string npy_header(const std::array<std::int64_t, 4>& shape) {
    constexpr std::size_t kAligned = 64, kBefore = 10;
    std::string text = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}, {}, {}), }}", shape[0],
                                   shape[1], shape[2], shape[3]);
    text += std::string(kAligned - (kBefore + text.size() + 1) % kAligned, ' ') + '\n';
    const auto bytes = static_cast<unsigned>(text.size());
    return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(bytes & 0xFF) + static_cast<char>(bytes >> 8) + text;
}

}  // namespace

void write_npz(const std::filesystem::path& file, const std::string& name, const std::array<std::int64_t, 4>& shape,
               const std::vector<float>& values) {
    const auto require = [&](bool done) {
        if (!done) throw std::runtime_error("libzip could not pack " + file.string());
    };
    std::string array = npy_header(shape);
    array.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    zip_source_t* const memory = zip_source_buffer_create(nullptr, 0, 1, nullptr);
    require(memory);
    zip_source_keep(memory);  // it is read once the archive is closed
    zip_t* const archive = zip_open_from_source(memory, ZIP_TRUNCATE, nullptr);
    require(archive);
    zip_source_t* const content = zip_source_buffer(archive, array.data(), array.size(), 0);
    require(zip_file_add(archive, (name + ".npy").c_str(), content, 0) >= 0 && zip_close(archive) == 0);
    zip_stat_t stat;
    require(zip_source_stat(memory, &stat) == 0 && zip_source_open(memory) == 0);
    std::vector<std::byte> packed(stat.size);
    require(zip_source_read(memory, packed.data(), packed.size()) == static_cast<zip_int64_t>(packed.size()));
    zip_source_close(memory);
    zip_source_free(memory);
    AtomicFile out(file);
    out.write(packed);
    out.commit();
}

}  // namespace iwseg::nnunet
