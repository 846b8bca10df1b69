// Zip archives: what is packed is read again, and what is damaged is refused in a sentence.
#include "import/zip_archive.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <string>

#include "base/error.h"
#include "tests/support/refusal.h"
#include "tests/support/zip_text.h"

namespace iwseg {
namespace {

using std::filesystem::path;

std::string text_of(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class ZipArchives : public testing::Test {
  protected:
    void TearDown() override { std::filesystem::remove(file_); }

    void write(const std::string& bytes) { std::ofstream(file_, std::ios::binary) << bytes; }
    /// Of reading every file of an archive of these bytes.
    std::string refusal_of(const std::string& bytes) {
        write(bytes);
        return refusal([&] {
            const ZipArchive archive(file_);
            for (const auto& [name, entry] : archive.entries()) archive.read(name);
        });
    }

    path file_ = std::filesystem::temp_directory_path() / ("archive_" + std::to_string(getpid()) + ".zip");
};

TEST_F(ZipArchives, GiveBackWhatWasPacked) {
    std::mt19937 random(std::random_device{}());
    std::string noise(100'003, '\0'), repeated(100'003, '\0');
    for (char& letter : noise) letter = static_cast<char>(random());
    for (const bool zip64 : {false, true}) {
        write(zip_text({{"a", {noise}}, {"folder/b", {noise, "more"}, true}, {"c", {repeated}, true}, {"empty", {}}},
                       zip64));
        const ZipArchive archive(file_);
        EXPECT_EQ(archive.entries().size(), 4u);
        EXPECT_EQ(text_of(archive.read("folder/b")), noise + "more");
        EXPECT_EQ(text_of(archive.read("a")), noise);
        EXPECT_EQ(text_of(archive.read("c")), repeated);
        EXPECT_TRUE(archive.read("empty").empty());
        EXPECT_TRUE(archive.entries().at("a").stored());
        EXPECT_FALSE(archive.entries().at("folder/b").stored());
        EXPECT_LT(archive.entries().at("c").packed, 1000u);
        EXPECT_TRUE(says(refusal([&] { archive.read("d"); }), "d is missing"));
    }
    write(zip_text({}));
    EXPECT_TRUE(ZipArchive(file_).entries().empty());
}

TEST_F(ZipArchives, WithANameTwiceAreRefused) {
    EXPECT_TRUE(says(refusal_of(zip_text({{"a", {"1"}}, {"b", {"2"}}, {"a", {"3"}}})), "holds a twice"));
}

TEST_F(ZipArchives, ThatAreCutOffAreRefused) {
    for (const bool zip64 : {false, true}) {
        const std::string whole = zip_text({{"a", {"something"}}, {"b", {"something else"}, true}}, zip64);
        for (std::size_t size = 0; size < whole.size(); ++size)
            EXPECT_FALSE(refusal_of(whole.substr(0, size)).empty()) << size << " bytes";
    }
}

TEST_F(ZipArchives, WithOtherBytesThanTheirChecksumSaysAreRefused) {
    const std::string whole = zip_text({{"a", {"something"}}});
    std::string changed = whole;
    changed[changed.find("something")] ^= 1;
    EXPECT_TRUE(says(refusal_of(changed), "checksum"));
}

TEST_F(ZipArchives, WithALetterChangedAreReadOrRefused) {
    const std::string many(99, 'x'), whole = zip_text({{"a", {"something"}}, {"b", {many}, true}}, true);
    for (std::size_t at = 0; at < whole.size(); ++at)
        for (const char letter : {'\0', '\x7F', '\xFF'}) {
            std::string changed = whole;
            changed[at] = letter;
            write(changed);
            try {
                const ZipArchive archive(file_);
                for (const auto& [name, entry] : archive.entries())
                    EXPECT_TRUE(text_of(archive.read(name)) == "something" || text_of(archive.read(name)) == many);
            } catch (const InputError& error) {
                EXPECT_TRUE(says(error.what(), file_.string()));
            }
        }
}

}  // namespace
}  // namespace iwseg
