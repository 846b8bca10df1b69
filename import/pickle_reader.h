#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "import/pickle.h"

namespace iwseg {

/// The machine that pickles are programs of, with as many of its instructions as torch.save writes. Each makes one
/// value at most, of a text that is the file's own or short, so that what is kept is bounded by some hundred bytes for
/// each of the file's.
class PickleReader {
  public:
    PickleReader(Pickle& result, std::span<const std::byte> bytes) : result_(result), bytes_(bytes) {}
    void read();

  private:
    using Node = Pickle::Node;
    using Kind = Pickle::Kind;
    using Index = std::uint32_t;
    using Arguments = std::vector<Index>;

    [[noreturn]] void refuse(const std::string& what) const;
    std::span<const std::byte> take(std::size_t count);
    template <class T>
    T number();
    std::int64_t long_integer();
    std::string text(std::size_t bytes);
    std::string line();

    void step(unsigned char instruction);
    bool make_value(unsigned char instruction);
    bool make_container(unsigned char instruction);
    bool remember_or_recall(unsigned char instruction);

    void push(Node node);
    void push(Kind kind, Arguments items);
    Index pop();
    Arguments pop_since_mark();
    Node& node(Index index) { return result_.nodes_[index]; }
    Node& top(Kind kind, const char* expected);
    void add_to_dictionary(const Arguments& items);

    void push_name();
    void push_storage();
    std::string short_text(const Arguments& arguments);
    void call();
    void set_state();
    void rebuild_tensor(const Arguments& arguments);
    void number_of_numpy(const std::string& type, const std::string& bytes);
    const Node& argument(const Arguments& arguments, std::size_t i, Kind kind, const char* expected);
    std::vector<std::int64_t> sides(const Node& list);

    Pickle& result_;
    std::span<const std::byte> bytes_;
    std::size_t at_ = 0;
    std::vector<Index> stack_;  ///< of values, and marks
    std::map<std::uint32_t, Index> memo_;
};

}  // namespace iwseg
