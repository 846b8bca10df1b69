#include "studies/luna16.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/studies/plain_studies.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

// ---- What the study computes, written as plainly as can be

/// One round of the six neighbours' maximum (of lung) or minimum, looking only inside the scan.
Bytes neighbours_round(const Bytes& mask, const Extent& shape, bool largest) {
    Bytes result = mask;
    for (std::int64_t i = 0; i < shape[0]; ++i)
        for (std::int64_t j = 0; j < shape[1]; ++j)
            for (std::int64_t k = 0; k < shape[2]; ++k)
                for (const auto& [di, dj, dk] :
                     std::array<Extent, 6>{{{-1, 0, 0}, {1, 0, 0}, {0, -1, 0}, {0, 1, 0}, {0, 0, -1}, {0, 0, 1}}}) {
                    const std::int64_t a = i + di, b = j + dj, c = k + dk;
                    if (a < 0 || b < 0 || c < 0 || a >= shape[0] || b >= shape[1] || c >= shape[2]) continue;
                    std::uint8_t& voxel = result[at(shape, i, j, k)];
                    const std::uint8_t other = mask[at(shape, a, b, c)];
                    voxel = largest ? std::max(voxel, other) : std::min(voxel, other);
                }
    return result;
}

bool counts(const RawNodule& nodule, const RawLunaScan& scan) {
    double x = 0, y = 0, z = 0, n = 0;
    for (const RawContour& contour : nodule)
        for (const auto& point : contour.points()) {
            x += point[0], y += point[1], z += (contour.z_mm - scan.origin[2]) / scan.spacing[2];
            ++n;
        }
    for (const auto& mm : scan.annotations) {
        double squares = 0;
        const double mean[3] = {std::nearbyint(x / n), std::nearbyint(y / n), std::nearbyint(z / n)};
        for (int a = 0; a < 3; ++a) {
            const double c = scan.flipped && a < 2 ? 2 * scan.origin[a] - mm[a] : mm[a];
            squares += std::pow(mean[a] - std::nearbyint((c - scan.origin[a]) / scan.spacing[a]), 2);
        }
        if (std::sqrt(squares) <= 10) return true;
    }
    return false;
}

Plain plain_luna(const RawLunaScan& scan) {
    const Extent& shape = scan.shape;
    Bytes lungs(scan.ct.size()), drawn(scan.ct.size());
    for (std::size_t v = 0; v < lungs.size(); ++v) lungs[v] = scan.lungs[v] == 3 || scan.lungs[v] == 4;
    for (int step = 0; step < 10; ++step) lungs = neighbours_round(lungs, shape, true);
    for (int step = 0; step < 10; ++step) lungs = neighbours_round(lungs, shape, false);
    for (int step = 0; step < 3; ++step) lungs = neighbours_round(lungs, shape, true);
    std::vector<double> votes(scan.ct.size());
    for (const auto& session : scan.sessions)
        for (const RawNodule& nodule : session) {
            if (!counts(nodule, scan)) continue;
            Bytes filled(scan.ct.size());
            for (const RawContour& contour : nodule)
                for (std::int64_t i = 0; i < shape[0]; ++i)
                    for (std::int64_t j = 0; j < shape[1]; ++j)
                        if (contour.holds(i, j))
                            filled[at(shape, i, j,
                                      static_cast<int>((contour.z_mm - scan.origin[2]) / scan.spacing[2]))] = 1;
            for (std::size_t v = 0; v < votes.size(); ++v) votes[v] += filled[v];
        }
    for (std::size_t v = 0; v < votes.size(); ++v) drawn[v] = votes[v] / 4 >= 0.5;
    Plain plain;
    box_and_crop(plain, lungs, shape, scan.ct, drawn);
    return plain;
}

// ---- Claims

TEST_F(Studies, LunaScansArePreparedAsThePlainComputationDoes) {
    const std::vector<RawLunaScan> scans = write_luna(folder_ / "raw", random_, 3);
    const Luna16 study(folder_ / "raw");
    ASSERT_EQ(study.cases().size(), scans.size());
    std::int64_t lesion_voxels = 0, touching = 0;
    for (const RawLunaScan& scan : scans) {
        SCOPED_TRACE(scan.uid);
        const RawCase& raw = find(study, scan.uid);
        EXPECT_EQ(raw.part, scan.subset);
        const StudyCase got = study.prepare(raw);
        const Plain plain = plain_luna(scan);
        expect_equal(got, plain);
        EXPECT_EQ(got.lesion_count, static_cast<std::int64_t>(scan.annotations.size()));
        EXPECT_EQ(got.raw_shape, scan.shape);
        lesion_voxels += std::accumulate(got.target.voxels.begin(), got.target.voxels.end(), std::int64_t{0});
        touching += plain.first[2] == 0;
        // RAS: x and y of LPS negated; the box's first voxel.
        for (int row = 0; row < 3; ++row) {
            const auto mm = world(scan, {static_cast<double>(plain.first[0]), static_cast<double>(plain.first[1]),
                                         static_cast<double>(plain.first[2])});
            EXPECT_NEAR(got.image.geometry.affine[row][3], (row < 2 ? -1 : 1) * mm[row], 1e-9);
        }
        EXPECT_GE(study.bytes_needed(raw), 10 * got.image.geometry.voxels());
    }
    EXPECT_GT(lesion_voxels, 100);  // the comparison was of something
    EXPECT_GT(touching, 0);
}

/// One annotation, and lungs all over, so that nothing is cropped.
RawLunaScan plain_scan(std::mt19937& random) {
    RawLunaScan scan = draw_luna_scan(random, "1.2.3", 0, 0, false);
    std::fill(scan.lungs.begin(), scan.lungs.end(), 3);
    scan.lungs[0] = scan.lungs[1] = 0;
    scan.lungs[2] = 5;
    scan.annotations = {world(scan, {20, 20, 10})};
    return scan;
}

Bytes target_of(const RawLunaScan& scan, const fs::path& raw, std::vector<std::string>* notes = nullptr) {
    fs::remove_all(raw);
    write_luna_scan(raw, scan);
    write_luna_annotations(raw, {scan});
    const Luna16 study(raw);
    const StudyCase got = study.prepare(find(study, scan.uid));
    if (notes) *notes = got.notes;
    // Back into the whole scan.
    Bytes whole(scan.ct.size());
    std::size_t v = 0;
    for (std::int64_t i = got.box.first[0]; i < got.box.end[0]; ++i)
        for (std::int64_t j = got.box.first[1]; j < got.box.end[1]; ++j)
            for (std::int64_t k = got.box.first[2]; k < got.box.end[2]; ++k)
                whole[at(scan.shape, i, j, k)] = got.target.voxels[v++];
    return whole;
}

TEST_F(Studies, TwoContoursOfOneNoduleCountOnceAndTwoNodulesOfOneExpertTwice) {
    RawLunaScan scan = plain_scan(random_);
    const RawContour square{scan.z_mm(10.5), 20, 20, 2, 2, false};
    scan.sessions = {{{square, square}}, {}, {}, {}};
    std::vector<std::string> notes;
    const Bytes once = target_of(scan, folder_ / "raw", &notes);
    EXPECT_EQ(std::count(once.begin(), once.end(), 1), 0);
    ASSERT_EQ(notes.size(), 1u);
    EXPECT_TRUE(says(notes[0], "no voxel"));
    scan.sessions = {{{square}, {square}}, {}, {}, {}};
    const Bytes twice = target_of(scan, folder_ / "raw");
    EXPECT_EQ(std::count(twice.begin(), twice.end(), 1), 25);
    EXPECT_EQ(twice[at(scan.shape, 18, 22, 10)], 1);
}

TEST_F(Studies, NodulesCountUpToTenVoxelsFromAnAnnotationHalvesGoingToTheEven) {
    for (const auto& [x, slice, counted] : {std::tuple{30, 10.0, true},
                                            {31, 10.0, false},
                                            {20, 20.4, true},
                                            {20, 20.6, false},
                                            {20, 19.5, true},
                                            {20, 20.5, true}}) {
        RawLunaScan scan = plain_scan(random_);
        scan.shape = {42, 42, 30};  // as the drawn arrays must be
        scan.origin = {-100, -100, -64};
        scan.spacing = {0.5, 0.5, 2};  // sums without rounding
        scan.ct.assign(42 * 42 * 30, 0);
        scan.lungs.assign(scan.ct.size(), 3);
        scan.lungs[0] = scan.lungs[1] = 0;
        scan.lungs[2] = 5;
        scan.annotations = {world(scan, {20, 20, 10})};
        const RawNodule nodule{{scan.z_mm(slice), x, 20, 1, 1, false}};
        scan.sessions = {{nodule}, {nodule}, {}, {}};
        const Bytes target = target_of(scan, folder_ / "raw");
        EXPECT_EQ(std::count(target.begin(), target.end(), 1), counted ? 9 : 0) << x << " " << slice;
        EXPECT_EQ(target[at(scan.shape, x, 20, static_cast<std::int64_t>(slice))], counted);
    }
}

TEST_F(Studies, ContoursOutsideOfTheScansSlicesAreLeftOutWithANote) {
    RawLunaScan scan = plain_scan(random_);
    scan.annotations = {world(scan, {20, 20, 3})};
    RawNodule nodule;
    for (const double slice : {-0.75, 0.5, 1.5, 2.5}) nodule.push_back({scan.z_mm(slice), 20, 20, 1, 1, false});
    nodule.push_back({scan.z_mm(-1.25), 20, 20, 1, 1, false});
    scan.sessions = {{nodule}, {nodule}, {}, {}};
    std::vector<std::string> notes;
    const Bytes target = target_of(scan, folder_ / "raw", &notes);
    // −0.75 is truncated to slice 0, as int() of Python does.
    EXPECT_EQ(target[at(scan.shape, 20, 20, 0)], 1);
    EXPECT_EQ(std::count(target.begin(), target.end(), 1), 27);
    ASSERT_EQ(notes.size(), 1u);
    EXPECT_TRUE(says(notes[0], "2 contours"));
}

TEST_F(Studies, UnusableLunaScansAreRefusedByFileName) {
    const fs::path raw = folder_ / "raw";
    std::vector<RawLunaScan> scans = write_luna(raw, random_, 1);
    const RawLunaScan &annotated = scans[0], &healthy = scans[1];
    const auto prepare = [&](const RawLunaScan& scan) {
        return refusal([&] {
            const Luna16 study(raw);
            study.prepare(find(study, scan.uid));
        });
    };
    ASSERT_EQ(prepare(annotated), "");
    fs::remove(find(Luna16(raw), annotated.uid).reading);
    EXPECT_TRUE(says(prepare(annotated), annotated.uid) && says(prepare(annotated), "SeriesInstanceUid"));
    fs::remove(find(Luna16(raw), healthy.uid).reading);
    EXPECT_EQ(prepare(healthy), "");
    fs::remove(raw / "seg-lungs-LUNA16" / (healthy.uid + ".mhd"));
    EXPECT_TRUE(says(prepare(healthy), "lung mask"));
    fs::resize_file(raw / "subset2" / (scans[2].uid + ".raw"), 1000);
    EXPECT_TRUE(says(prepare(scans[2]), scans[2].uid));
    scans[4].annotations.push_back(world(scans[4], {20, -3, 10}));
    write_luna_annotations(raw, scans);
    EXPECT_TRUE(says(prepare(scans[4]), "(20, -3, 10)")) << prepare(scans[4]);
    RawLunaScan other = scans[5];
    other.lungs.assign(other.lungs.size(), 0);
    write_luna_scan(raw, other);
    EXPECT_TRUE(says(prepare(scans[5]), "no lung"));
    other = scans[6];
    other.shape[0] += 1;
    other.lungs.resize(static_cast<std::size_t>(other.shape[0] * other.shape[1] * other.shape[2]));
    const std::string header = read_text(raw / "subset6" / (other.uid + ".mhd")),
                      bytes = read_text(raw / "subset6" / (other.uid + ".raw"));
    other.ct.resize(other.lungs.size());
    write_luna_scan(raw, other);
    write_text(raw / "subset6" / (other.uid + ".mhd"), header);
    write_text(raw / "subset6" / (other.uid + ".raw"), bytes);
    EXPECT_TRUE(says(prepare(scans[6]), "must be the same"));
    ASSERT_FALSE(scans[3].annotations.empty());
    const fs::path file = find(Luna16(raw), scans[3].uid).image;
    std::string text = read_text(file);
    const std::size_t begin = text.find("TransformMatrix"), end = text.find('\n', begin);
    write_text(file, text.replace(begin, end - begin, "TransformMatrix = 0.6 0.8 0 -0.8 0.6 0 0 0 1"));
    EXPECT_TRUE(says(prepare(scans[3]), "oblique")) << prepare(scans[3]);
}

TEST_F(Studies, AChangedDataFileChangesTheFingerprintWhateverItsName) {
    const fs::path raw = folder_ / "raw";
    const RawLunaScan scan = write_luna(raw, random_, 1)[0];
    const fs::path header = find(Luna16(raw), scan.uid).image, data = fs::path(header).replace_extension(".raw");
    const auto fingerprint = [&] {
        const Luna16 study(raw);
        return study.fingerprint(find(study, scan.uid));
    };
    std::string text = read_text(header);
    const std::size_t key = text.find("ElementDataFile");
    ASSERT_NE(key, std::string::npos);
    // One file of another name, then one a slice.
    fs::rename(data, fs::path(data).replace_filename("other.bin"));
    write_text(header, text.substr(0, key) + "ElementDataFile = other.bin\n");
    std::string before = fingerprint();
    write_text(fs::path(data).replace_filename("other.bin"), "longer than before? no, but another size");
    EXPECT_NE(fingerprint(), before);
    std::string list = text.substr(0, key) + "ElementDataFile = LIST\n";
    for (std::int64_t slice = 0; slice < scan.shape[2]; ++slice) {
        const std::string name = fmt::format("slice{}.raw", slice);
        list += name + "\n";
        write_text(fs::path(data).replace_filename(name), "some bytes");
    }
    write_text(header, list);
    before = fingerprint();
    EXPECT_EQ(fingerprint(), before);
    write_text(fs::path(data).replace_filename(fmt::format("slice{}.raw", scan.shape[2] - 1)), "some other bytes");
    EXPECT_NE(fingerprint(), before);
}

TEST_F(Studies, OfSeveralReadingsTheOneWithMostContoursIsTakenAndSaid) {
    const fs::path raw = folder_ / "raw";
    RawLunaScan scan = write_luna(raw, random_, 1)[0];
    const fs::path reading = find(Luna16(raw), scan.uid).reading, empty = raw / "tcia-lidc-xml/000.xml";
    EXPECT_TRUE(Luna16(raw).notes().empty());
    RawLunaScan nothing = scan;
    nothing.sessions.assign(4, {});
    write_text(empty, reading_xml(nothing));
    const Luna16 study(raw);
    EXPECT_EQ(find(study, scan.uid).reading, reading);
    ASSERT_EQ(study.notes().size(), 1u);
    for (const std::string& part :
         {scan.uid + " has 2 readings", std::string("000.xml (0 contours)"), std::string("most contours")})
        EXPECT_TRUE(says(study.notes()[0], part)) << study.notes()[0];
    // Of equals the first by path.
    write_text(empty, reading_xml(scan));
    EXPECT_EQ(find(Luna16(raw), scan.uid).reading, empty);
}

TEST_F(Studies, LunaFoldersThatLackAPartAreRefused) {
    const fs::path raw = folder_ / "raw";
    const auto open = [&] { return refusal([&] { Luna16 study(raw); }); };
    EXPECT_TRUE(says(open(), "not a folder"));
    fs::create_directories(raw);
    EXPECT_TRUE(says(open(), "no LUNA16 scans"));
    const std::vector<RawLunaScan> scans = write_luna(raw, random_, 1);
    EXPECT_EQ(open(), "");
    write_text(raw / "tcia-lidc-xml" / "torn.xml", "<LidcReadMessage>");
    ASSERT_EQ(open(), "");
    EXPECT_TRUE(says(Luna16(raw).notes().at(0), "torn.xml"));
    fs::create_directories(raw / "subset9" / "again");
    fs::copy(raw / "subset9" / (scans[9].uid + ".mhd"), raw / "subset9" / "again");
    EXPECT_TRUE(says(open(), "both there"));
    fs::remove_all(raw / "subset9" / "again");
    fs::copy(raw / "subset9" / (scans[9].uid + ".mhd"), raw / "subset4");
    EXPECT_TRUE(says(open(), "two subsets"));
    fs::remove(raw / "subset4" / (scans[9].uid + ".mhd"));
    fs::rename(raw / "seg-lungs-LUNA16", raw / "lungs");
    EXPECT_TRUE(says(open(), "seg-lungs-LUNA16"));
    fs::remove(raw / "annotations.csv");
    EXPECT_TRUE(says(open(), "annotations.csv"));
}

TEST_F(Studies, AnnotationsAreReadByTheNamesOfTheirColumns) {
    const fs::path file = folder_ / "annotations.csv";
    write_text(
        file,
        "\xEF\xBB\xBF"
        "diameter_mm,seriesuid,extra,coordZ,coordY,coordX\r\n4.5,a,x,-3e1,2,1\r\n\r\n6,\"b\",,3,2,1\r\n5,a,,9,8,7");
    const auto read = read_annotations(file);
    ASSERT_EQ(read.size(), 2u);
    EXPECT_EQ(read.at("a"), (std::vector<NoduleAnnotation>{{{1, 2, -30}, 4.5}, {{7, 8, 9}, 5}}));
    EXPECT_EQ(read.at("b").at(0).diameter, 6);
    const std::string heading = "seriesuid,coordX,coordY,coordZ,diameter_mm\n";
    for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
             {"", "no column seriesuid"},
             {"seriesuid,coordX,coordY,diameter_mm\n", "no column coordZ"},
             {heading + "a,1,2,3\n", "line 2: diameter_mm is \"\""},
             {heading + "a,1,2,3,4\na,1,two,3,4\n", "line 3: coordY is \"two\""},
             {heading + "a,1,2,nan,4\n", "coordZ"},
             {heading + ",1,2,3,4\n", "series UID"},
             {heading + "a,1,2,3,4mm\n", "4mm"}}) {
        write_text(file, text);
        const std::string message = refusal([&] { read_annotations(file); });
        EXPECT_TRUE(says(message, part) && says(message, "annotations.csv")) << message;
    }
}

// As scikit-learn 1.9.1 draws: train_test_split(range(n), test_size=5, random_state=0xBadCafe).
TEST(StudySplits, ValidationIsDrawnAsScikitLearnDraws) {
    const auto drawn = [](int n) {
        std::vector<std::string> names;
        for (int i = 0; i < n; ++i) names.push_back(fmt::format("{:03}", i));
        const Split split = draw_validation(names, 5, 0xBadCafe);
        EXPECT_EQ(split.train.size() + split.validation.size(), names.size());
        return split.validation;
    };
    using Names = std::vector<std::string>;
    EXPECT_EQ(drawn(6), (Names{"000", "001", "002", "003", "004"}));
    EXPECT_EQ(drawn(23), (Names{"002", "008", "009", "012", "022"}));
    EXPECT_EQ(drawn(710), (Names{"292", "300", "356", "374", "647"}));
    EXPECT_EQ(drawn(3).size(), 2u);
    EXPECT_EQ(drawn(0).size(), 0u);
}

TEST_F(Studies, LunaSplitsGoBySubset) {
    write_luna(folder_ / "raw", random_, 1);
    const Luna16 study(folder_ / "raw");
    std::map<std::string, int> parts;
    for (int n = 0; n < 40; ++n) parts[fmt::format("scan{:02}", n)] = n % 10;
    const auto splits = study.splits(parts);
    const Split &holdout = splits.at("holdout"), &validation = splits.at("validation");
    EXPECT_EQ(holdout.train.size(), 27u);
    EXPECT_EQ(holdout.validation.size(), 5u);
    EXPECT_EQ(holdout.test.size(), 8u);
    for (const std::string& name : holdout.test) EXPECT_GE(parts.at(name), 8);
    for (const std::string& name : holdout.validation) EXPECT_LE(parts.at(name), 7);
    EXPECT_EQ(validation.train.size(), 19u);
    EXPECT_EQ(validation.test.size(), 8u);
    for (const std::string& name : validation.test) EXPECT_TRUE(parts.at(name) == 6 || parts.at(name) == 7);
    for (const std::string& name : validation.train) EXPECT_LE(parts.at(name), 5);
    EXPECT_TRUE(study.splits({{"a", 0}, {"b", 1}}).empty());
}

}  // namespace
}  // namespace iwseg
