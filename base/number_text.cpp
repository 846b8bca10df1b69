#include "base/number_text.h"

#include <charconv>

namespace iwseg {
namespace {

template <class Value>
std::string shortest(Value value) {
    char text[64];
    return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

}  // namespace

std::string number_text(float value) {
    return shortest(value);
}

std::string number_text(double value) {
    return shortest(value);
}

}  // namespace iwseg
