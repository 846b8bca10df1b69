#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace iwseg {

/// A tensor as torch.save describes it: where its elements lie in a storage, not the elements.
struct PickledTensor {
    std::string storage;  ///< its name: a file of the archive, data/NAME
    std::string type;     ///< of the storage: FloatStorage, HalfStorage, …
    std::int64_t storage_elements = 0, offset = 0;
    std::vector<std::int64_t> shape, strides;  ///< in elements, outermost first
};

/// What a pickle holds, as far as torch.save writes it: its protocol 2, with plain values, lists, tuples, dictionaries,
/// tensors, NumPy's scalars and torch.device. Nothing is ever called: each name that a pickle asks for is one of an own
/// list, or the pickle is refused.
class Pickle {
  public:
    /// The last three are what tensors and NumPy's scalars are made of; nobody asks for them.
    enum class Kind : std::uint8_t {
        none,
        boolean,
        integer,
        real,
        text,
        bytes,
        list,
        tuple,
        dictionary,
        tensor,
        name,
        storage,
        number_type
    };

    class Value;

    /// origin: of the bytes in sentences. Throws InputError, naming it, where the bytes are no such pickle, end early,
    /// or ask for anything that is not on the list.
    Pickle(std::span<const std::byte> bytes, const std::string& origin);

    /// The value itself. The pickle must outlive it.
    Value root() const;

  private:
    friend class PickleReader;
    struct Node {
        Kind kind = Kind::none;
        std::int64_t integer = 0;  ///< of integers and booleans
        double real = 0;
        std::string text;                  ///< of text, bytes and names
        std::vector<std::uint32_t> items;  ///< of lists and tuples; of dictionaries keys and values in turn
        std::uint32_t tensor = 0;          ///< of tensors and storages, in tensors_
    };

    std::string origin_;
    std::vector<Node> nodes_;
    std::vector<PickledTensor> tensors_;
    std::uint32_t root_ = 0;
};

/// A handle of one value. What is asked for as something that it is not is refused by InputError, naming the file and
/// the way to the value, as `init_args.configuration`.
class Pickle::Value {
  public:
    Kind kind() const { return node().kind; }
    bool is_none() const { return kind() == Kind::none; }
    bool boolean() const;
    std::int64_t integer() const;
    double real() const;  ///< of integers too
    const std::string& text() const;
    const PickledTensor& tensor() const;

    std::size_t size() const { return node().items.size(); }  ///< of lists and tuples
    Value operator[](std::size_t i) const;                    ///< of a list or tuple
    /// Of a dictionary whose key is this text.
    std::optional<Value> find(std::string_view key) const;
    Value at(std::string_view key) const;
    /// Keys, all of them text, with their values, in the order of the file.
    std::vector<std::pair<std::string, Value>> entries() const;

  private:
    friend class Pickle;
    Value(const Pickle& pickle, std::uint32_t index, std::string way)
        : pickle_(&pickle), index_(index), way_(std::move(way)) {}
    const Node& node() const { return pickle_->nodes_[index_]; }
    const Node& require(Kind kind, const char* expected) const;
    std::string way_to(std::string_view key) const;

    const Pickle* pickle_;
    std::uint32_t index_;
    std::string way_;
};

}  // namespace iwseg
