#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace iwseg::pickle_files {

// Instructions of pickles, to be put together; each leaves one value. Texts with zeros need string literals of s.
using namespace std::string_literals;

inline std::string text(const std::string& content) {
    std::string size(4, '\0');
    const auto bytes = static_cast<std::uint32_t>(content.size());
    std::memcpy(size.data(), &bytes, 4);
    return "X" + size + content;
}
inline std::string number(int value) {
    std::string bytes(4, '\0');
    std::memcpy(bytes.data(), &value, 4);
    return "J" + bytes;
}
inline std::string name(const std::string& module, const std::string& function) {
    return "c" + module + "\n" + function + "\n";
}
/// A tuple of instructions one after another.
inline std::string tuple(const std::string& items) {
    return "(" + items + "t";
}
/// Keys and values in turn.
inline std::string dictionary(const std::string& items) {
    return "}(" + items + "u";
}
inline std::string call(const std::string& function, const std::string& arguments) {
    return function + tuple(arguments) + "R";
}
inline std::string storage(const std::string& key, int elements, const std::string& type = "FloatStorage") {
    return tuple(text("storage") + name("torch", type) + text(key) + text("cpu") + number(elements)) + "Q";
}
/// A tensor of a storage that begins at an offset: its sides, then their strides.
inline std::string tensor(const std::string& storage, int offset, const std::string& sides,
                          const std::string& strides) {
    return call(name("torch._utils", "_rebuild_tensor_v2"), storage + number(offset) + tuple(sides) + tuple(strides) +
                                                                "\x89" + call(name("collections", "OrderedDict"), ""));
}
/// The whole of a file.
inline std::string pickle(const std::string& value) {
    return "\x80\x02" + value + ".";
}

}  // namespace iwseg::pickle_files
