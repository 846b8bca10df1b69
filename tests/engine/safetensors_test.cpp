#include "engine/safetensors.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>

#include "base/error.h"
#include "engine/optimizer.h"
#include "engine/parameters.h"

// What is loaded and what is refused was compared with safetensors 0.8's own reader, file by file; it takes one name
// twice where both entries are equal, which is refused here too.
namespace iwseg {
namespace {

using std::filesystem::path;

std::string file_of(const std::string& header, const std::string& data, std::uint64_t claimed = 0) {
    const std::uint64_t size = claimed ? claimed : header.size();
    return std::string(reinterpret_cast<const char*>(&size), 8) + header + data;
}

std::string entry(const std::string& name, const std::string& shape, int begin, int end,
                  const std::string& type = "F32") {
    return "\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":" + shape + ",\"data_offsets\":[" +
           std::to_string(begin) + "," + std::to_string(end) + "]}";
}

class SafetensorsFiles : public testing::Test {
  protected:
    SafetensorsFiles() {
        folder_ = std::filesystem::temp_directory_path() / ("iwseg_tensors_" + std::to_string(std::random_device{}()));
        std::filesystem::create_directories(folder_);
    }
    ~SafetensorsFiles() override { std::filesystem::remove_all(folder_); }

    path save(const std::string& bytes) const {
        std::ofstream(folder_ / "x.safetensors", std::ios::binary) << bytes;
        return folder_ / "x.safetensors";
    }
    /// The sentence names the file and what is wrong.
    void expect_refused(const std::string& bytes, const std::string& why) const {
        const path file = save(bytes);
        for (const auto read : {read_safetensors, read_safetensors_header}) try {
                read(file, nullptr);
                ADD_FAILURE() << "read, expected a sentence with: " << why;
            } catch (const InputError& error) {
                const std::string message = error.what();
                EXPECT_NE(message.find(file.string()), std::string::npos) << message;
                EXPECT_NE(message.find(why), std::string::npos) << message;
                EXPECT_EQ(message.find('\n'), std::string::npos) << message;
            }
    }

    path folder_;
    const std::string a_ = entry("a", "[1]", 0, 4), four_ = std::string(4, '\0'), eight_ = std::string(8, '\0');
};

TEST_F(SafetensorsFiles, TheHeaderAloneSaysTheSameWithoutBytes) {
    const path file = save(file_of("{\"__metadata__\":{\"step\":\"7\"}," + entry("a", "[2,3]", 0, 24) + "," +
                                       entry("b", "[]", 24, 32, "I64") + "}",
                                   std::string(32, '\1')));
    std::map<std::string, std::string> metadata, of_whole;
    const auto whole = read_safetensors(file, &of_whole), header = read_safetensors_header(file, &metadata);
    EXPECT_EQ(metadata, of_whole);
    EXPECT_EQ(metadata.at("step"), "7");
    ASSERT_EQ(header.size(), whole.size());
    for (const auto& [name, tensor] : whole) {
        EXPECT_EQ(header.at(name).type, tensor.type);
        EXPECT_EQ(header.at(name).shape, tensor.shape);
        EXPECT_TRUE(header.at(name).bytes.empty());
    }
    for (const path& other : {folder_, folder_ / "none"})
        for (const auto read : {read_safetensors, read_safetensors_header})
            EXPECT_THROW(read(other, nullptr), InputError);
}

TEST_F(SafetensorsFiles, EveryByteBelongsToOneTensor) {
    expect_refused(file_of("{" + a_ + "," + entry("b", "[1]", 0, 4) + "}", four_), "overlap");
    expect_refused(file_of("{" + entry("a", "[2]", 0, 8) + "," + entry("b", "[1]", 4, 8) + "}", eight_), "overlap");
    expect_refused(file_of("{" + entry("a", "[1]", 4, 8) + "}", eight_), "hole");
    expect_refused(file_of("{" + a_ + "," + entry("b", "[1]", 8, 12) + "}", eight_ + four_), "hole");
    expect_refused(file_of("{" + a_ + "}", four_ + "xyz"), "3 bytes follow");
    expect_refused(file_of("{}", "xyz"), "3 bytes follow");
    expect_refused(file_of("{" + a_ + "}", "abc"), "3 bytes of data");
    expect_refused(file_of("{" + entry("a", "[2]", 0, 8) + "," + entry("b", "[0]", 4, 4) + "}", eight_), "overlap");
}

TEST_F(SafetensorsFiles, ANameComesOnce) {
    expect_refused(file_of("{" + a_ + "," + entry("a", "[1]", 4, 8) + "}", eight_), "name a twice");
    expect_refused(file_of("{" + a_ + "," + a_ + "}", four_), "name a twice");
    expect_refused(file_of(R"({"a":{"dtype":"I32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four_),
                   "name dtype twice");
    expect_refused(file_of(R"({"__metadata__":{"config":"1","config":"2"},)" + a_ + "}", four_), "name config twice");
}

TEST_F(SafetensorsFiles, TheHeaderIsOneJsonObjectOfBoundedLength) {
    const std::string good = "{" + a_ + "}";
    expect_refused("1234567", "7 bytes");
    expect_refused(file_of(good, four_, 100'000'001), "at most 100000000");
    expect_refused(file_of(good, four_, 1000), "1000 bytes");
    expect_refused(file_of(good, four_, std::numeric_limits<std::uint64_t>::max()), "at most");
    using namespace std::string_literals;
    for (const std::string& header : {"[]"s, "1"s, good + "x", good + "\0\0"s, "\xEF\xBB\xBF" + good, good.substr(1),
                                      "{\"\xff\":1}"s, "{" + a_ + ",}", "\0"s})
        expect_refused(file_of(header, four_), "JSON object");
}

TEST_F(SafetensorsFiles, TypesShapesAndMetadataAreOfTheirKind) {
    expect_refused(file_of("{" + entry("a", "[1]", 0, 4, "f32") + "}", four_), "type f32");
    expect_refused(file_of("{" + entry("a", "[1]", 0, 4, "U32") + "}", four_), "type U32");
    expect_refused(file_of("{" + entry("a", "[1]", 0, 4, "") + "}", four_), "type ");
    expect_refused(file_of("{" + entry("a", "[-1]", 0, 4) + "}", four_), "whole numbers");
    expect_refused(file_of("{" + entry("a", "[1.0]", 0, 4) + "}", four_), "whole numbers");
    expect_refused(file_of("{" + entry("a", "[3]", 0, 4) + "}", four_), "shape needs 12");
    expect_refused(file_of("{" + entry("a", "[4294967296,4294967296]", 0, 4) + "}", four_), "larger than any memory");
    // A side of 0 makes the product 0, whatever the others are.
    for (const char* side : {"18446744073709551615", "9223372036854775808", "4611686018427387905"})
        for (const std::string& shape : {std::string("[0,") + side + "]", std::string("[") + side + ",0]"})
            expect_refused(file_of("{" + a_ + "," + entry("b", shape, 4, 4) + "}", four_), "larger than any memory");
    expect_refused(file_of("{" + entry("a", "[1]", 4, 0) + "}", four_), "bytes 4 to 0");
    expect_refused(file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}})", four_), "lacks");
    expect_refused(file_of(R"({"__metadata__":{"config":1},)" + a_ + "}", four_), "config in its __metadata__");
    expect_refused(file_of(R"({"__metadata__":[],)" + a_ + "}", four_), "__metadata__");
}

TEST_F(SafetensorsFiles, WhatTheLibraryLoadsIsLoaded) {
    EXPECT_EQ(read_safetensors(save(file_of("{}", ""))).size(), 0u);
    EXPECT_EQ(read_safetensors(save(file_of(" {" + a_ + "}\n ", four_))).size(), 1u);  // white space around
    EXPECT_EQ(
        read_safetensors(save(file_of(R"({"a":{"x":[1],"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four_)))
            .size(),
        1u);
    // Not in the order of names, one of no elements between, and not aligned.
    const auto mixed =
        read_safetensors(save(file_of("{" + entry("c", "[1]", 0, 1, "U8") + "," + entry("b", "[0,3]", 1, 1) + "," +
                                          entry("a", "[1]", 1, 5) + R"(,"__metadata__":{"k":"v"}})",
                                      std::string("\x07\0\0\x80\x3f", 5))));
    EXPECT_EQ(mixed.at("a").as_f32(), std::vector<float>{1.0f});
    EXPECT_EQ(mixed.at("c").as_i32(), std::vector<std::int32_t>{7});
    EXPECT_EQ(mixed.at("b").elements(), 0);
}

TEST(StoredTensors, BecomeWholeNumbersOnlyWithinTheirRange) {
    const auto whole = [](auto value, const char* type) {
        StoredTensor one{type, {}, std::vector<std::byte>(sizeof value)};
        std::memcpy(one.bytes.data(), &value, sizeof value);
        return one.as_i32().at(0);
    };
    EXPECT_EQ(whole(-2147483648.0f, "F32"), INT32_MIN);
    EXPECT_EQ(whole(2147483647.0, "F64"), INT32_MAX);
    EXPECT_EQ(whole(-3.75f, "F32"), -3);
    EXPECT_EQ(whole(std::int64_t{INT32_MIN}, "I64"), INT32_MIN);
    for (const float value : {2147483648.0f, -2147483904.0f, std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
        EXPECT_THROW(whole(value, "F32"), InputError) << value;
    EXPECT_THROW(whole(2147483648.0, "F64"), InputError);
    for (const std::int64_t value : {std::int64_t{INT32_MAX} + 1, std::int64_t{INT32_MIN} - 1, INT64_MAX, INT64_MIN})
        EXPECT_THROW(whole(value, "I64"), InputError) << value;
}

class WeightsFiles : public SafetensorsFiles {
  protected:
    WeightsFiles() {
        parameters_.declare({"layer.weight", {2, 3}});
        parameters_.declare({"bn.running_mean", {2}, {}, false});
        parameters_.declare({"bn.running_var", {2}, {}, false});
    }
    std::string refusal(const std::string& name, int element, float value) {
        Parameters changed;
        for (int i = 0; i < parameters_.size(); ++i)
            changed.declare({parameters_[{i}].name, parameters_[{i}].shape, {}, parameters_[{i}].learned});
        changed.value(changed.find(name))[element] = value;
        changed.save(folder_ / "w.safetensors");
        const std::vector<float> before = parameters_.values();
        try {
            parameters_.load(folder_ / "w.safetensors");
        } catch (const InputError& error) {
            EXPECT_EQ(parameters_.values(), before) << "a bad file leaves the network as it was";
            return error.what();
        }
        return "";
    }
    Parameters parameters_;
};

TEST_F(WeightsFiles, ValuesThatAreNotFiniteAreRefusedByTheirTensorsName) {
    EXPECT_EQ(refusal("layer.weight", 5, 1e38f), "");
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -HUGE_VALF})
        for (const char* name : {"layer.weight", "bn.running_mean", "bn.running_var"}) {
            const std::string message = refusal(name, 1, bad);
            EXPECT_NE(message.find(name), std::string::npos) << message;
            EXPECT_NE(message.find("not finite"), std::string::npos) << message;
            EXPECT_NE(message.find("w.safetensors"), std::string::npos) << message;
        }
}

TEST_F(WeightsFiles, AVarianceIsNotNegative) {
    EXPECT_EQ(refusal("bn.running_var", 0, 0.0f), "");
    EXPECT_EQ(refusal("bn.running_mean", 0, -3.0f), "");
    EXPECT_NE(refusal("bn.running_var", 0, -1e-10f).find("bn.running_var holds a negative variance"),
              std::string::npos);
}

TEST_F(WeightsFiles, MomentumThatIsNotFiniteIsRefused) {
    Optimizer optimizer(parameters_, {});
    optimizer.array("")[4] = std::numeric_limits<float>::quiet_NaN();
    optimizer.save(folder_ / "m.safetensors");
    EXPECT_THROW(optimizer.load(folder_ / "m.safetensors"), InputError);
}

}  // namespace
}  // namespace iwseg
