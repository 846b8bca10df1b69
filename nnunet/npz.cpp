#include "nnunet/npz.h"

#include <fmt/format.h>
#include <zip.h>

#include <cstddef>
#include <cstring>
#include <iterator>
#include <span>
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
    std::string header = npy_header(shape);
    zip_source_t* const memory = zip_source_buffer_create(nullptr, 0, 1, nullptr);
    require(memory);
    zip_source_keep(memory);  // it is read once the archive is closed
    zip_t* const archive = zip_open_from_source(memory, ZIP_TRUNCATE, nullptr);
    require(archive);
    // Read where they lie; libzip takes what it does not change through pointers to what it could.
    zip_buffer_fragment_t parts[] = {
        {reinterpret_cast<zip_uint8_t*>(header.data()), header.size()},
        {reinterpret_cast<zip_uint8_t*>(const_cast<float*>(values.data())), values.size() * sizeof(float)}};
    zip_source_t* const content = zip_source_buffer_fragment(archive, parts, std::size(parts), 0);
    require(content);
    require(zip_file_add(archive, (name + ".npy").c_str(), content, 0) >= 0 && zip_close(archive) == 0);
    require(zip_source_open(memory) == 0);
    AtomicFile out(file);
    std::vector<std::byte> packed(std::size_t{1} << 20);
    zip_int64_t count = 0;
    while ((count = zip_source_read(memory, packed.data(), packed.size())) > 0)
        out.write(std::span(packed).first(static_cast<std::size_t>(count)));
    require(count == 0);
    zip_source_close(memory);
    zip_source_free(memory);
    out.commit();
}

}  // namespace iwseg::nnunet
