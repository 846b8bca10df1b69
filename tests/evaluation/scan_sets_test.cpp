#include "evaluation/scan_sets.h"

#include <gtest/gtest.h>

#include "base/some_names.h"

namespace iwseg {
namespace {

Record lesion(double diameter) {
    Record record;
    record.is_tum = true;
    record.diameter = diameter;
    return record;
}

TEST(ScanSets, NameWhatEachMethodLacks) {
    const Records a{{"s1", {}}, {"s2", {}}, {"s3", {}}}, b{{"s2", {}}, {"s4", {}}}, c{{"s1", {}}, {"s2", {}}};
    const ScanSets sets = compare_scans({&a, &b, &c});
    EXPECT_EQ(sets.in_any, 4);
    EXPECT_EQ(sets.in_all, 1);
    EXPECT_EQ(sets.missing, (std::vector<std::vector<std::string>>{{"s4"}, {"s1", "s3"}, {"s3", "s4"}}));
    EXPECT_FALSE(sets.agree());
    EXPECT_EQ(
        describe_differences(sets, {"A", "B", "C"}),
        "Not the same scans: 1 of 4 are in all records, so the figures cannot be compared; A lacks 1 (s4); B lacks 2 "
        "(s1, s3); C lacks 2 (s3, s4).\n");
}

TEST(ScanSets, SameScansWithOtherLesionsAreNamed) {
    const Records a{{"s1", {lesion(2), lesion(3)}}, {"s2", {lesion(1)}}};
    Records b = a;
    b["s2"][0].diameter += 1e-9;  // a file's rounding
    EXPECT_TRUE(compare_scans({&a, &b}).agree());
    EXPECT_EQ(describe_differences(compare_scans({&a, &b}), {"A", "B"}), "");
    b["s1"].pop_back();
    const ScanSets sets = compare_scans({&a, &b});
    EXPECT_EQ(sets.other_lesions, (std::vector<std::string>{"s1"}));
    EXPECT_EQ(sets.in_all, 2);
    EXPECT_FALSE(sets.agree());
}

TEST(ScanSets, ManyNamesAreCutShort) {
    EXPECT_EQ(some_names({"a", "b"}, 2), "a, b");
    EXPECT_EQ(some_names({"a", "b", "c", "d"}, 2), "a, b and 2 more");
    EXPECT_EQ(some_names({}), "");
}

}  // namespace
}  // namespace iwseg
