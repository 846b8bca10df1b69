#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/volume/meta_image.h"

namespace iwseg {

using Keys = std::vector<std::pair<std::string, std::string>>;

/// As a zlib or gzip stream.
inline std::string packed(const std::string& bytes, bool gzip = false) {
    z_stream deflater{};
    deflateInit2(&deflater, 6, Z_DEFLATED, gzip ? 15 + 16 : 15, 8, Z_DEFAULT_STRATEGY);
    std::string out(deflateBound(&deflater, bytes.size()), '\0');
    deflater.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    deflater.avail_in = static_cast<unsigned>(bytes.size());
    deflater.next_out = reinterpret_cast<Bytef*>(out.data());
    deflater.avail_out = static_cast<unsigned>(out.size());
    deflate(&deflater, Z_FINISH);
    out.resize(deflater.total_out);
    deflateEnd(&deflater);
    return out;
}

/// A header of 4 x 3 x 2 bytes in its own file, which a test changes as it needs.
struct Header {
    Keys keys{{"ObjectType", "Image"},
              {"NDims", "3"},
              {"DimSize", "4 3 2"},
              {"ElementType", "MET_UCHAR"},
              {"ElementDataFile", "LOCAL"}};

    Header() = default;
    Header(std::initializer_list<std::pair<std::string, std::string>> changes) {
        for (const auto& [key, value] : changes) set(key, value);
    }
    void set(const std::string& key, const std::string& value) {
        for (auto& [known, old] : keys)
            if (known == key) {
                old = value;
                return;
            }
        keys.insert(keys.end() - 1, {key, value});
    }
    std::string text(const std::string& between = " = ", const std::string& end = "\n") const {
        std::string lines;
        for (const auto& [key, value] : keys) lines += key + between + value + end;
        return lines;
    }
};

/// The bytes 0, 1, 2, ...
inline std::string counted(int bytes) {
    std::string all;
    for (int v = 0; v < bytes; ++v) all.push_back(static_cast<char>(v));
    return all;
}

/// A folder of its own for each test, with what writes, reads and expects MetaImage files in it.
class MetaFiles : public testing::Test {
  protected:
    MetaFiles() {
        folder_ = std::filesystem::temp_directory_path() / ("iwseg_meta_" + std::to_string(std::random_device{}()));
        std::filesystem::create_directories(folder_);
        std::cout << "seed " << seed_ << "\n";
    }
    ~MetaFiles() override { std::filesystem::remove_all(folder_); }

    std::filesystem::path save(const std::string& name, const std::string& bytes) const {
        std::ofstream(folder_ / name, std::ios::binary) << bytes;
        return folder_ / name;
    }
    /// Reads the header with 24 counted bytes after it, and sees them in their places.
    Volume<float> read_counted(const Header& header, const std::string& bytes = counted(24)) const {
        const Volume<float> volume = read_meta_image(save("counted.mha", header.text() + bytes));
        expect_counted(volume);
        return volume;
    }
    static void expect_counted(const Volume<float>& volume) {
        ASSERT_EQ(volume.geometry.shape, (std::array<std::int64_t, 3>{4, 3, 2}));
        for (std::size_t i = 0; i < 4; ++i)
            for (std::size_t j = 0; j < 3; ++j)
                for (std::size_t k = 0; k < 2; ++k)
                    ASSERT_EQ(volume.voxels[(i * 3 + j) * 2 + k], static_cast<float>(i + 4 * (j + 3 * k)));
    }
    /// The sentence by which the file is refused; it names the file and is one line.
    static std::string refusal(const std::filesystem::path& file) {
        try {
            read_meta_image(file);
        } catch (const InputError& error) {
            const std::string message = error.what();
            EXPECT_NE(message.find(file.filename().string()), std::string::npos) << message;
            EXPECT_EQ(message.find('\n'), std::string::npos) << message;
            EXPECT_LT(message.size(), 500u) << message;
            return message;
        }
        return "";
    }

    std::filesystem::path folder_;
    unsigned seed_ = std::random_device{}();
    std::mt19937 random_{seed_};
};

}  // namespace iwseg
