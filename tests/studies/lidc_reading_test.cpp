#include "studies/lidc_reading.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"

namespace iwseg {
namespace {

using std::filesystem::path;
using Points = std::vector<std::array<int, 2>>;

std::string element(const std::string& name, const std::string& content) {
    return "<" + name + ">" + content + "</" + name + ">";
}

std::string edge(const std::string& x, const std::string& y) {
    return element("edgeMap", element("xCoord", x) + element("yCoord", y));
}

std::string roi(const std::string& z, const Points& points, const std::string& inclusion = "TRUE") {
    std::string content =
        element("imageZposition", z) + element("imageSOP_UID", "1.3.6") + element("inclusion", inclusion);
    for (const auto& [x, y] : points) content += edge(std::to_string(x), std::to_string(y));
    return element("roi", content);
}

std::string nodule(const std::string& id, const std::string& rois) {
    return element("unblindedReadNodule",
                   element("noduleID", id) + element("characteristics", element("subtlety", "5")) + rois);
}

const std::string kHeader =
    element("ResponseHeader", element("Version", "1.8.1") + element("SeriesInstanceUid", "1.2.3"));

std::string message(const std::string& sessions, const std::string& first = kHeader) {
    return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<LidcReadMessage uid=\"1.3\" xmlns=\"http://www.nih.gov\">\n" +
           first + sessions + "</LidcReadMessage>\n";
}

class LidcFiles : public testing::Test {
  protected:
    LidcFiles() {
        folder_ = std::filesystem::temp_directory_path() / ("iwseg_lidc_" + std::to_string(std::random_device{}()));
        std::filesystem::create_directories(folder_);
    }
    ~LidcFiles() override { std::filesystem::remove_all(folder_); }

    path save(const std::string& text, const std::string& name = "reading.xml") const {
        std::ofstream(folder_ / name, std::ios::binary) << text;
        return folder_ / name;
    }
    /// The sentence by which the file is refused; it names the file and is one line.
    static std::string refusal(const std::function<void()>& read, const path& file) {
        try {
            read();
        } catch (const InputError& error) {
            const std::string said = error.what();
            EXPECT_NE(said.find(file.filename().string()), std::string::npos) << said;
            EXPECT_EQ(said.find('\n'), std::string::npos) << said;
            EXPECT_LT(said.size(), 500u) << said;
            return said;
        }
        return "";
    }

    path folder_;
};

TEST_F(LidcFiles, ExpertsNodulesAndContoursAreReadInOrder) {
    const unsigned seed = std::random_device{}();
    std::cout << "seed " << seed << "\n";
    std::mt19937 random(seed);
    std::vector<std::vector<Nodule>> expected(1 + random() % 4);
    std::string sessions;
    for (std::size_t s = 0; s < expected.size(); ++s) {
        expected[s].resize(random() % 4);
        std::string content = element("annotationVersion", "3.12");
        for (std::size_t n = 0; n < expected[s].size(); ++n) {
            Nodule& one = expected[s][n];
            one.id = "Nodule " + std::to_string(random() % 1000);
            one.rois.resize(1 + random() % 5);
            std::string rois;
            for (Roi& contour : one.rois) {
                contour.z_position = static_cast<double>(random() % 100000) / 16 - 3000;
                contour.inclusion = random() % 4 > 0;
                contour.points.resize(1 + random() % 30);
                for (auto& point : contour.points)
                    point = {static_cast<int>(random() % 512), static_cast<int>(random() % 512)};
                rois += roi(std::to_string(contour.z_position), contour.points, contour.inclusion ? "TRUE" : "FALSE");
            }
            content += nodule(one.id, rois);
        }
        sessions += element("readingSession", content);
    }
    const LidcReading reading = read_lidc(save(message(sessions)));
    EXPECT_EQ(reading.series_uid, "1.2.3");
    ASSERT_EQ(reading.sessions.size(), expected.size());
    for (std::size_t s = 0; s < expected.size(); ++s) {
        ASSERT_EQ(reading.sessions[s].size(), expected[s].size());
        for (std::size_t n = 0; n < expected[s].size(); ++n) {
            const Nodule &found = reading.sessions[s][n], &one = expected[s][n];
            EXPECT_EQ(found.id, one.id);
            ASSERT_EQ(found.rois.size(), one.rois.size());
            for (std::size_t r = 0; r < one.rois.size(); ++r) {
                EXPECT_EQ(found.rois[r].z_position, one.rois[r].z_position);  // sixteenths: written in full
                EXPECT_EQ(found.rois[r].inclusion, one.rois[r].inclusion);
                EXPECT_EQ(found.rois[r].points, one.rois[r].points);
            }
        }
    }
}

TEST_F(LidcFiles, AnExpertWhoFoundNothingCounts) {
    const std::string marks =
        element("nonNodule", element("nonNoduleID", "7") + element("imageZposition", "-3") +
                                 element("locus", element("xCoord", "1") + element("yCoord", "2")));
    const std::string empty = nodule("no contour", "");
    const LidcReading reading = read_lidc(save(message("<readingSession/>" + element("readingSession", marks + empty) +
                                                       element("readingSession", nodule("a", roi("1", {{2, 3}}))) +
                                                       "<readingSession></readingSession>")));
    ASSERT_EQ(reading.sessions.size(), 4u);
    EXPECT_TRUE(reading.sessions[0].empty());
    EXPECT_TRUE(reading.sessions[1].empty());
    ASSERT_EQ(reading.sessions[2].size(), 1u);
    EXPECT_EQ(reading.sessions[2][0].rois.at(0).points, (Points{{2, 3}}));
}

TEST_F(LidcFiles, PrefixesCommentsAndWhiteSpaceDoNotMatter) {
    const std::string text = R"(<?xml version="1.0"?><!-- a reading -->
        <lidc:LidcReadMessage xmlns:lidc="http://www.nih.gov"><lidc:ResponseHeader>
        <lidc:SeriesInstanceUID> 1.2<!-- within -->.3
        </lidc:SeriesInstanceUID></lidc:ResponseHeader><lidc:readingSession><!-- <unblindedReadNodule> -->
        <lidc:unblindedReadNodule><lidc:roi><!-- z --><lidc:imageZposition> +12.5e0 </lidc:imageZposition>
        <lidc:inclusion>false</lidc:inclusion><lidc:edgeMap><lidc:xCoord>3<!-- -->1</lidc:xCoord>
        <lidc:yCoord><![CDATA[ 7 ]]></lidc:yCoord></lidc:edgeMap></lidc:roi></lidc:unblindedReadNodule>
        </lidc:readingSession></lidc:LidcReadMessage><!-- end -->)";
    const LidcReading reading = read_lidc(save(text));
    EXPECT_EQ(reading.series_uid, "1.2.3");
    const Roi& contour = reading.sessions.at(0).at(0).rois.at(0);
    EXPECT_EQ(contour.z_position, 12.5);
    EXPECT_FALSE(contour.inclusion);
    EXPECT_EQ(contour.points, (Points{{31, 7}}));
    EXPECT_EQ(lidc_series_uid(folder_ / "reading.xml"), "1.2.3");
}

TEST_F(LidcFiles, AScansUidIsFoundAndOtherXmlHasNone) {
    for (const char* name : {"SeriesInstanceUid", "SeriesInstanceUID", "seriesInstanceUid"})
        EXPECT_EQ(lidc_series_uid(save(message("", element("ResponseHeader", element(name, "9.8"))))), "9.8");
    EXPECT_EQ(lidc_series_uid(save(message("", element("SeriesInstanceUid", "9.8")))), "9.8");
    const std::string chest =
        element("ResponseHeader", element("CXRSeriesInstanceUid", "1.2")) + element("CXRreadingSession", "");
    EXPECT_EQ(lidc_series_uid(save(element("IdriReadMessage", chest))), std::nullopt);
    EXPECT_EQ(lidc_series_uid(save(element("IdriReadMessage", kHeader))), std::nullopt);
    EXPECT_EQ(lidc_series_uid(save(message("", ""))), std::nullopt);
    EXPECT_EQ(lidc_series_uid(save("<a/>")), std::nullopt);
}

/// A reading whose only contour is the text.
std::string with_roi(const std::string& content) {
    return message(element("readingSession", nodule("bad\nnodule", roi("0", {{1, 1}}) + content)));
}

TEST_F(LidcFiles, ReadingsThatCannotBeUnderstoodAreRefusedInOneSentence) {
    const std::string z = element("imageZposition", "1"), point = edge("1", "2");
    const auto contour = [](const std::string& content) { return with_roi(element("roi", content)); };
    const std::pair<const char*, std::string> table[] = {
        {"root is IdriReadMessage", element("IdriReadMessage", kHeader)},
        {"root is lidcreadmessage", element("lidcreadmessage", kHeader)},
        {"no SeriesInstanceUid", message("<readingSession/>", "")},
        {"no SeriesInstanceUid", message("<readingSession/>", element("ResponseHeader", ""))},
        {"no SeriesInstanceUid",
         message("<readingSession/>", element("ResponseHeader", element("SeriesInstanceUid", " ")))},
        {"no SeriesInstanceUid", message(element("readingSession", element("SeriesInstanceUid", "1")), "")},
        {"no readingSession", message("")},
        {"no readingSession", message(element("readingsession", ""))},
        {"no readingSession", message(element("Readings", element("readingSession", "")))},
        {"contour 2 of nodule 'bad nodule'", contour("")},
        {"0 imageZposition", contour(point)},
        {"2 imageZposition", contour(z + z + point)},
        {"imageZposition", contour(element("imageZposition", "") + point)},
        {"imageZposition", contour(element("imageZposition", "up") + point)},
        {"imageZposition", contour(element("imageZposition", "1,5") + point)},
        {"imageZposition", contour(element("imageZposition", "1 5") + point)},
        {"imageZposition", contour(element("imageZposition", "nan") + point)},
        {"imageZposition", contour(element("imageZposition", "-inf") + point)},
        {"imageZposition", contour(element("imageZposition", "1e999") + point)},
        {"imageZposition", contour(element("imageZposition", element("z", "1")) + point)},
        {"no edgeMap", contour(z)},
        {"no edgeMap", contour(z + element("EdgeMap", ""))},
        {"0 xCoord", contour(z + "<edgeMap/>")},
        {"0 xCoord", contour(z + element("edgeMap", element("yCoord", "1")))},
        {"0 yCoord", contour(z + element("edgeMap", element("xCoord", "1")))},
        {"2 xCoord", contour(z + element("edgeMap", element("xCoord", "1") + element("xCoord", "1")))},
        {"xCoord", contour(z + edge("", "1"))},
        {"xCoord", contour(z + edge("-1", "1"))},
        {"xCoord", contour(z + edge("1.5", "1"))},
        {"xCoord", contour(z + edge("x", "1"))},
        {"xCoord", contour(z + edge("65536", "1"))},
        {"xCoord", contour(z + edge("99999999999999999999", "1"))},
        {"yCoord", contour(z + edge("1", "0x10"))},
        {"yCoord", contour(z + edge("1", "1e2"))},
        {"yCoord", contour(z + edge("1", "4 5"))},
        {"yCoord", contour(z + point + edge("1", "+-1"))},
        {"inclusion", contour(z + element("inclusion", "") + point)},
        {"inclusion", contour(z + element("inclusion", "maybe") + point)},
    };
    for (const auto& [says, text] : table) {
        SCOPED_TRACE(text);
        const path file = save(text);
        const std::string said = refusal([&] { read_lidc(file); }, file);
        EXPECT_NE(said.find(says), std::string::npos) << said;
    }
}

TEST_F(LidcFiles, FilesThatAreNoXmlAreRefusedInOneSentence) {
    const std::string good = message(element("readingSession", nodule("a", roi("1", {{2, 3}}))));
    std::string unclosed = good, crossed = good;
    unclosed.erase(unclosed.find("</roi>"), 6);
    std::swap(crossed[crossed.find("</roi>") + 2], crossed[crossed.find("</roi>") + 3]);
    const std::string table[] = {
        "",
        " \n",
        "text",
        "{\"json\": 1}",
        std::string(3000, '\0'),
        "\xff\xfe\xff",
        unclosed,
        crossed,
        good + "<a/>",
        good + good,
        "<",
        "<a",
        "<a>",
        "<a><b></a></b>",
        "</a>",
        "<a b></a>",
        "<a b=c></a>",
        "<a b=\"c></a>",
        "<!-- no end",
        "<!DOCTYPE a",
        "<?xml",
        "<a><![CDATA[ </a>",
        "< a></a>",
        "<a/ >",
        std::string(100000, '<'),
    };
    for (const std::string& text : table) {
        SCOPED_TRACE(text.substr(0, 300));
        const path file = save(text);
        EXPECT_NE(refusal([&] { read_lidc(file); }, file), "");
        EXPECT_NE(refusal([&] { lidc_series_uid(file); }, file), "");
    }
    // Every prefix of a good reading, too.
    for (std::size_t length = 0; length < good.find("</LidcReadMessage>") + 17; length += 3) {
        const path file = save(good.substr(0, length));
        EXPECT_NE(refusal([&] { read_lidc(file); }, file), "") << length;
    }
    mkfifo((folder_ / "pipe.xml").c_str(), 0600);
    for (const path& file : {folder_ / "absent.xml", folder_ / "pipe.xml", folder_}) {
        EXPECT_NE(refusal([&] { read_lidc(file); }, file), "") << file;
        EXPECT_NE(refusal([&] { lidc_series_uid(file); }, file), "") << file;
    }
}

TEST_F(LidcFiles, DeepNestingIsReadOrRefusedWithoutRecursion) {
    std::string deep;
    for (int level = 0; level < 200000; ++level) deep += "<a>";
    const path file = save(deep);
    EXPECT_NE(refusal([&] { read_lidc(file); }, file), "");
    for (int level = 0; level < 200000; ++level) deep += "</a>";
    EXPECT_EQ(read_lidc(save(message(deep + "<readingSession/>"))).sessions.size(), 1u);
}

}  // namespace
}  // namespace iwseg
