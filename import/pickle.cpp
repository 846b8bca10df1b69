#include "import/pickle.h"

#include "base/error.h"
#include "base/letters.h"
#include "import/pickle_reader.h"

namespace iwseg {
namespace {

constexpr std::size_t kMostKey = 1000;

}  // namespace

Pickle::Pickle(std::span<const std::byte> bytes, const std::string& origin) : origin_(origin) {
    PickleReader(*this, bytes).read();
}

Pickle::Value Pickle::root() const {
    return {*this, root_, ""};
}

const Pickle::Node& Pickle::Value::require(Kind kind, const char* expected) const {
    if (node().kind != kind)
        throw InputError(pickle_->origin_ + ": " + (way_.empty() ? "what it holds" : way_) + " is not " + expected);
    return node();
}

std::string Pickle::Value::way_to(std::string_view key) const {
    return way_.empty() ? shown(key) : way_ + "." + shown(key);
}

bool Pickle::Value::boolean() const {
    return require(Kind::boolean, "true or false").integer != 0;
}

std::int64_t Pickle::Value::integer() const {
    return require(Kind::integer, "a whole number").integer;
}

double Pickle::Value::real() const {
    if (kind() == Kind::integer) return static_cast<double>(node().integer);
    return require(Kind::real, "a number").real;
}

const std::string& Pickle::Value::text() const {
    return require(Kind::text, "text").text;
}

const PickledTensor& Pickle::Value::tensor() const {
    return pickle_->tensors_[require(Kind::tensor, "a tensor").tensor];
}

Pickle::Value Pickle::Value::operator[](std::size_t i) const {
    if (kind() != Kind::tuple) require(Kind::list, "a list");
    if (i >= size()) throw InputError(pickle_->origin_ + ": " + way_ + " has " + std::to_string(size()) + " items");
    return {*pickle_, node().items[i], way_ + "[" + std::to_string(i) + "]"};
}

std::optional<Pickle::Value> Pickle::Value::find(std::string_view key) const {
    const std::vector<std::uint32_t>& items = require(Kind::dictionary, "a dictionary").items;
    // Of keys that come twice the last counts, as in Python.
    for (std::size_t i = items.size(); i >= 2; i -= 2) {
        const Node& name = pickle_->nodes_[items[i - 2]];
        if (name.kind == Kind::text && name.text == key) return Value(*pickle_, items[i - 1], way_to(key));
    }
    return std::nullopt;
}

Pickle::Value Pickle::Value::at(std::string_view key) const {
    if (const auto found = find(key)) return *found;
    throw InputError(pickle_->origin_ + " has no " + way_to(key));
}

std::vector<std::pair<std::string, Pickle::Value>> Pickle::Value::entries() const {
    const std::vector<std::uint32_t>& items = require(Kind::dictionary, "a dictionary").items;
    std::vector<std::pair<std::string, Value>> entries;
    for (std::size_t i = 0; i < items.size(); i += 2) {
        const Node& key = pickle_->nodes_[items[i]];
        if (key.kind != Kind::text || key.text.size() > kMostKey)
            throw InputError(pickle_->origin_ + ": " + way_ +
                             " has a key that is no text, or of more than 1000 letters");
        entries.emplace_back(key.text, Value(*pickle_, items[i + 1], way_to(key.text)));
    }
    return entries;
}

}  // namespace iwseg
