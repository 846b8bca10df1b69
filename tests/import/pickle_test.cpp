// Pickles as torch.save writes them, byte by byte; what asks for anything else is refused, and nothing is run.
#include "import/pickle.h"

#include <gtest/gtest.h>

#include <span>
#include <string>

#include "base/error.h"
#include "tests/import/pickle_files.h"
#include "tests/support/refusal.h"

namespace iwseg {
namespace {

using namespace pickle_files;
using Kind = Pickle::Kind;

Pickle read_bytes(const std::string& bytes) {
    return Pickle(std::as_bytes(std::span(bytes)), "weights.pth");
}

Pickle read(const std::string& value) {
    return read_bytes(pickle(value));
}

std::string refusal_of(const std::string& value) {
    return refusal([&] { read(value); });
}

TEST(Pickles, HoldPlainValues) {
    const Pickle pickle = read(
        dictionary(text("small") + "K\xC8" + text("middle") + "M\x01\x02" + text("negative") + number(-5) +
                   text("long") + "\x8A\x05\x00\x00\x00\x00\x01"s + text("negative long") + "\x8A\x01\x80" +
                   text("no bytes") + "\x8A\x00"s + text("half") + "G\x3F\xE0\x00\x00\x00\x00\x00\x00"s + text("yes") +
                   "\x88" + text("no") + "\x89" + text("nothing") + "N" + text("list") + "](" + number(1) + number(2) +
                   "e" + number(3) + "a" + text("pair") + number(7) + text("eight") + "\x86"));
    const Pickle::Value root = pickle.root();
    EXPECT_EQ(root.at("small").integer(), 200);
    EXPECT_EQ(root.at("middle").integer(), 513);
    EXPECT_EQ(root.at("negative").integer(), -5);
    EXPECT_EQ(root.at("long").integer(), std::int64_t{1} << 32);
    EXPECT_EQ(root.at("negative long").integer(), -128);
    EXPECT_EQ(root.at("no bytes").integer(), 0);
    EXPECT_EQ(root.at("half").real(), 0.5);
    EXPECT_EQ(root.at("small").real(), 200);
    EXPECT_TRUE(root.at("yes").boolean());
    EXPECT_FALSE(root.at("no").boolean());
    EXPECT_TRUE(root.at("nothing").is_none());
    ASSERT_EQ(root.at("list").size(), 3u);
    EXPECT_EQ(root.at("list")[2].integer(), 3);
    EXPECT_EQ(root.at("pair")[0].integer(), 7);
    EXPECT_EQ(root.at("pair")[1].text(), "eight");
    EXPECT_FALSE(root.find("other"));
    EXPECT_EQ(root.entries().size(), 12u);
    EXPECT_EQ(root.entries()[0].first, "small");
}

TEST(Pickles, RecallWhatTheyRemember) {
    const Pickle pickle = read(tuple(text("once") + "q\x01" + "h\x01" + "r\x00\x01\x00\x00"s + "j\x00\x01\x00\x00"s));
    EXPECT_EQ(pickle.root().size(), 3u);
    EXPECT_EQ(pickle.root()[2].text(), "once");
}

TEST(Pickles, OfKeysThatComeTwiceHoldTheLast) {
    EXPECT_EQ(read(dictionary(text("a") + number(1) + text("a") + number(2))).root().at("a").integer(), 2);
}

TEST(Pickles, HoldTensors) {
    const std::string state = call(name("collections", "OrderedDict"), "") + text("w") +
                              tensor(storage("12", 24), 6, number(2) + number(3), number(3) + number(1)) + "s" +
                              dictionary(text("_metadata") + number(1)) + "b";  // attributes, which say nothing
    const Pickle pickle = read(state);
    const PickledTensor& tensor = pickle.root().at("w").tensor();
    EXPECT_EQ(tensor.storage, "12");
    EXPECT_EQ(tensor.type, "FloatStorage");
    EXPECT_EQ(tensor.storage_elements, 24);
    EXPECT_EQ(tensor.offset, 6);
    EXPECT_EQ(tensor.shape, (std::vector<std::int64_t>{2, 3}));
    EXPECT_EQ(tensor.strides, (std::vector<std::int64_t>{3, 1}));
    const std::string parameter =
        call(name("torch._utils", "_rebuild_parameter"), pickle_files::tensor(storage("0", 1), 0, "", "") + "\x88N");
    EXPECT_TRUE(read(parameter).root().tensor().shape.empty());
}

TEST(Pickles, HoldNumbersOfNumpyAndDevices) {
    const std::string type = call(name("numpy", "dtype"), text("f8") + "\x89\x88") +
                             tuple(number(3) + text("<") + "NNN" + number(-1) + number(-1) + number(0)) + "b";
    // 1.5 as bytes 00 00 00 00 00 00 F8 3F, each a letter in UTF-8.
    const std::string bytes =
        call(name("_codecs", "encode"), text("\x00\x00\x00\x00\x00\x00\xC3\xB8\x3F"s) + text("latin1"));
    for (const char* module : {"numpy.core.multiarray", "numpy._core.multiarray"})
        EXPECT_EQ(read(call(name(module, "scalar"), type + bytes)).root().real(), 1.5) << module;
    EXPECT_EQ(read(call(name("torch", "device"), text("cuda") + number(0))).root().text(), "cuda");
    EXPECT_EQ(read(call(name("torch", "Size"), tuple(number(4)))).root()[0].integer(), 4);
}

TEST(Pickles, ThatAskForOtherNamesAreRefused) {
    EXPECT_EQ(refusal_of(call(name("os", "system"), text("touch /tmp/harmed"))),
              "weights.pth cannot be read: it asks for os system, which weights need not; nothing of it was run");
    EXPECT_NE(refusal_of(name("builtins", "eval")).find("builtins eval"), std::string::npos);
    EXPECT_NE(refusal_of(name("torch", "load")).find("torch load"), std::string::npos);
    EXPECT_NE(refusal_of(name("posix\x1B[2J", "system")).find("posix [2J system"), std::string::npos)
        << "what a terminal would obey is shown";
    EXPECT_NE(refusal_of(text("os") + text("system") + "\x93").find("0x93"), std::string::npos);
    EXPECT_NE(refusal_of("}\x81").find("0x81"), std::string::npos);
}

TEST(Pickles, ThatAreCutOrMadeUpAreRefused) {
    const std::string whole = pickle(dictionary(text("w") + tensor(storage("0", 6), 0, number(6), number(1))));
    for (std::size_t size = 0; size < whole.size(); ++size)
        EXPECT_FALSE(refusal([&] { read_bytes(whole.substr(0, size)); }).empty()) << size << " bytes were taken";
    for (const std::string& bad :
         {""s,
          "t"s,
          "u"s,
          "}u"s,
          "a"s,
          "N" + number(1) + "a",
          "](" + number(1) + "u",
          "}(" + number(1) + "u",
          "Q"s,
          "NQ"s,
          tuple("") + "Q",
          "R"s,
          "N)R"s,
          "(R"s,
          "h\x05"s,
          "q\x05"s,
          "(q\x05"s,
          "b"s,
          "NNb"s,
          "NN"s,
          "((t"s,
          "\x8A\x09\1\1\1\1\1\1\1\1\1"s,
          storage("../0", 1),
          storage("", 1),
          tuple(text("storage") + name("collections", "OrderedDict") + text("0") + text("cpu") + number(1)) + "Q",
          tensor("N", 0, number(1), number(1)),
          tensor(storage("0", 1), -1, number(1), number(1)),
          tensor(storage("0", 1), 0, number(-1), number(1)),
          tensor(storage("0", 1), 0, number(1), ""),
          tensor(storage("0", 1), 0, text("1"), number(1)),
          call(name("numpy", "dtype"), number(1)),
          call(name("collections", "OrderedDict"), number(1)),
          call(name("_codecs", "encode"), text("\xE2\x82\xAC")),
          call(name("numpy.core.multiarray", "scalar"),
               call(name("numpy", "dtype"), text("O")) + call(name("_codecs", "encode"), text("a")))})
        EXPECT_TRUE(refusal_of(bad).starts_with("weights.pth cannot be read: ")) << bad;
    EXPECT_FALSE(refusal([&] { read_bytes("\x80\x04N."); }).empty()) << "another protocol was taken";
}

TEST(Pickles, OfFewBytesDoNotTakeMuchMemory) {
    const std::string long_text = text(std::string(1000, 'a'));
    for (const auto& function : {name("torch", "device"), name("numpy", "dtype"), name("_codecs", "encode")})
        EXPECT_TRUE(says(refusal_of(call(function, long_text)), "1000 letters"));
    std::string many;
    for (int i = 0; i < 9; ++i) many += "N";
    EXPECT_TRUE(says(refusal_of(call(name("collections", "OrderedDict"), many)), "9 arguments"));
    EXPECT_TRUE(says(refusal_of(tuple(many) + "Q"), "no storage"));
    const Pickle pickle = read(dictionary(text(std::string(1001, 'a')) + "N"));
    EXPECT_TRUE(says(refusal([&] { pickle.root().entries(); }), "more than 1000 letters"));
}

TEST(Pickles, SayWhatIsOfAnotherKindAndWhere) {
    const Pickle pickle = read(dictionary(text("init_args") + dictionary(text("fold") + text("all"))));
    EXPECT_EQ(refusal([&] { pickle.root().at("init_args").at("fold").integer(); }),
              "weights.pth: init_args.fold is not a whole number");
    EXPECT_EQ(refusal([&] { pickle.root().at("init_args").at("plans"); }), "weights.pth has no init_args.plans");
    const Pickle odd = read(dictionary(text("a\n" + std::string(500, 'b')) + dictionary(text("c") + number(1))));
    const std::string sentence = refusal([&] { odd.root().entries()[0].second.at("d"); });
    EXPECT_LT(sentence.size(), 120u) << "keys of any length and lines are shown";
    EXPECT_EQ(refusal([&] { pickle.root()[0]; }), "weights.pth: what it holds is not a list");
    EXPECT_EQ(refusal([&] { read(number(1)).root().find("a"); }), "weights.pth: what it holds is not a dictionary");
}

}  // namespace
}  // namespace iwseg
