#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "import/zip_archive.h"

namespace iwseg {

/// One array of an .npz file, f32 in C order.
struct NumpyArray {
    std::vector<std::int64_t> shape;
    std::vector<float> values;
};

/// Throws where the file has none of that name, or of another type or order.
inline NumpyArray read_npz(const std::filesystem::path& file, const std::string& name) {
    const std::string entry = name + ".npy";
    const std::vector<std::byte> read = ZipArchive(file).read(entry);
    const std::string bytes(reinterpret_cast<const char*>(read.data()), read.size());
    // Version 1: six letters, version, two bytes of the header's length, the header as a Python dictionary.
    const std::size_t length = static_cast<unsigned char>(bytes[8]) | static_cast<unsigned char>(bytes[9]) << 8;
    const std::string header = bytes.substr(10, length);
    if (bytes[6] != 1 || header.find("'descr': '<f4'") == std::string::npos ||
        header.find("'fortran_order': False") == std::string::npos)
        throw std::runtime_error(entry + " is not f32 in C order: " + header);
    NumpyArray array;
    std::size_t at = header.find("'shape': (") + 10, elements = 1;
    while (header[at] != ')') {
        array.shape.push_back(std::stoll(header.substr(at)));
        elements *= static_cast<std::size_t>(array.shape.back());
        at = header.find_first_of(",)", at);
        while (header[at] == ',' || header[at] == ' ') ++at;
    }
    array.values.resize(elements);
    if (bytes.size() != 10 + length + 4 * elements) throw std::runtime_error(entry + " has another size");
    std::memcpy(array.values.data(), bytes.data() + 10 + length, 4 * elements);
    return array;
}

}  // namespace iwseg
