#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/device/view.h"

namespace iwseg {

class Plan;

/// Memory of a program, by number. Where it lies is found when the program is planned.
struct Buffer {
    int id = -1;

    explicit operator bool() const { return id >= 0; }
    auto operator<=>(const Buffer&) const = default;
};

/// How elements lie in memory.
struct Form {
    Type type = Type::f32;
    Layout layout = Layout::ncdhw;

    bool operator==(const Form&) const = default;
};

struct BufferSpec {
    std::string name;
    Shape shape;
    Form form = {};
    bool external = false;  ///< the caller's memory, bound before each run
    bool output = false;    ///< still wanted after the last call

    std::int64_t bytes() const { return bytes_of(shape, form.type, form.layout); }
};

/// A buffer that a call puts somewhere into another one.
struct Share {
    Buffer part, whole;
    std::int64_t offset = 0;  ///< bytes of the whole before it
};

/// One call of kernels, with what it touches: all the plan needs to know about lifetimes.
struct Call {
    std::string name;  ///< layer and pass, for people
    std::string kind;  ///< of operation and pass, as in "batch norm statistics": what measurements add up
    std::vector<Buffer> reads, writes;  ///< a buffer added to is in both; scratch is a write
    /// Owns all it needs beside the plan's memory, or refers to what outlives the plan.
    std::function<void(const Plan&)> run;
    /// The second may alias the first in place, where nothing reads the first afterwards.
    std::optional<std::pair<Buffer, Buffer>> in_place = {};
    /// The second, of as many bytes or fewer, may begin where the first does, where nothing reads the first afterwards,
    /// but the call takes longer then: done where the arena gets smaller by it.
    std::optional<std::pair<Buffer, Buffer>> over = {};
    /// Parts that may be computed where the call would put them, where nothing else reads them afterwards: it does not
    /// copy what lies there already. Where that is so of all that it reads, nothing is left to do.
    std::vector<Share> shares = {};
    bool copies_only = false;        ///< nothing is left to do once its result lies where its source lay
    std::int64_t operations = 0;     ///< multiplications and additions of a convolution, for measurements
    std::int64_t bytes_outside = 0;  ///< moved beside the buffers named, for measurements
};

/// Everything one run does, in order: forward, loss, backward, update. Made by compiling a graph, executed by a plan.
class Program {
  public:
    Buffer add(BufferSpec spec);
    /// Memory without a shape, for one call or between a few: statistics, partial sums.
    Buffer add_bytes(const std::string& name, std::int64_t bytes);
    void add(Call call) { calls_.push_back(std::move(call)); }
    /// In front of all others.
    void add_first(std::vector<Call> calls);

    const BufferSpec& operator[](Buffer buffer) const { return buffers_.at(static_cast<std::size_t>(buffer.id)); }
    void keep(Buffer buffer) { buffers_.at(static_cast<std::size_t>(buffer.id)).output = true; }
    const std::vector<BufferSpec>& buffers() const { return buffers_; }
    const std::vector<Call>& calls() const { return calls_; }

  private:
    std::vector<BufferSpec> buffers_;
    std::vector<Call> calls_;
};

}  // namespace iwseg
