#include "import/pickle_reader.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/letters.h"

// The instructions by their letters, as Python's pickletools describes them; the names beside are its own.
namespace iwseg {
namespace {

constexpr std::uint32_t kMark = 0xFFFFFFFF;  ///< on the stack, in place of a value
constexpr unsigned char kStop = '.';
constexpr std::size_t kMostSides = 64;  ///< PyTorch's own limit
constexpr std::size_t kMostArguments = 8, kMostLetters = 64;

/// What may be called. None of it is; each stands for what becomes of its arguments.
constexpr std::array kFunctions{
    std::string_view("torch._utils _rebuild_tensor_v2"),
    std::string_view("torch._utils _rebuild_parameter"),
    std::string_view("collections OrderedDict"),
    std::string_view("torch device"),
    std::string_view("torch Size"),
    std::string_view("numpy dtype"),
    std::string_view("numpy.core.multiarray scalar"),
    std::string_view("numpy._core.multiarray scalar"),
    std::string_view("_codecs encode"),
};

constexpr std::array kStorages{
    std::string_view("DoubleStorage"),   std::string_view("FloatStorage"), std::string_view("HalfStorage"),
    std::string_view("BFloat16Storage"), std::string_view("LongStorage"),  std::string_view("IntStorage"),
    std::string_view("ShortStorage"),    std::string_view("CharStorage"),  std::string_view("ByteStorage"),
    std::string_view("BoolStorage"),
};

bool is_known(const std::string& name) {
    constexpr std::string_view torch = "torch ";
    if (std::find(kFunctions.begin(), kFunctions.end(), name) != kFunctions.end()) return true;
    return name.starts_with(torch) &&
           std::find(kStorages.begin(), kStorages.end(), name.substr(torch.size())) != kStorages.end();
}

std::string hexadecimal(unsigned char byte) {
    constexpr char digits[] = "0123456789abcdef";
    return std::string("0x") + digits[byte / 16] + digits[byte % 16];
}

}  // namespace

void PickleReader::refuse(const std::string& what) const {
    throw InputError(result_.origin_ + " cannot be read: " + what);
}

std::span<const std::byte> PickleReader::take(std::size_t count) {
    if (count > bytes_.size() - at_) refuse("it ends in the middle");
    at_ += count;
    return bytes_.subspan(at_ - count, count);
}

/// Stored with the last byte first, as this program's processors have it; BINFLOAT alone is the other way round.
template <class T>
T PickleReader::number() {
    static_assert(std::endian::native == std::endian::little);
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
}

/// LONG1: two's complement of as many bytes as the first one says.
std::int64_t PickleReader::long_integer() {
    const auto bytes = take(number<std::uint8_t>());
    if (bytes.size() > 8) refuse("it holds a whole number of more than 64 bits");
    const bool negative = !bytes.empty() && (bytes.back() & std::byte{0x80}) != std::byte{0};
    std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
    for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
    return static_cast<std::int64_t>(value);
}

std::string PickleReader::text(std::size_t bytes) {
    const auto span = take(bytes);
    return {reinterpret_cast<const char*>(span.data()), span.size()};
}

std::string PickleReader::line() {
    const auto rest = bytes_.subspan(at_);
    const auto end = std::find(rest.begin(), rest.end(), std::byte{'\n'});
    if (end == rest.end()) refuse("it ends in the middle");
    std::string content = text(static_cast<std::size_t>(end - rest.begin()));
    ++at_;
    return content;
}

void PickleReader::push(Node made) {
    stack_.push_back(static_cast<Index>(result_.nodes_.size()));
    result_.nodes_.push_back(std::move(made));
}

void PickleReader::push(Kind kind, Arguments items) {
    Node made;
    made.kind = kind;
    made.items = std::move(items);
    push(std::move(made));
}

PickleReader::Index PickleReader::pop() {
    if (stack_.empty() || stack_.back() == kMark) refuse("it takes a value where there is none");
    const Index index = stack_.back();
    stack_.pop_back();
    return index;
}

PickleReader::Arguments PickleReader::pop_since_mark() {
    const auto mark = std::find(stack_.rbegin(), stack_.rend(), kMark);
    if (mark == stack_.rend()) refuse("it takes values to a mark that was not set");
    Arguments values(mark.base(), stack_.end());
    stack_.erase(mark.base() - 1, stack_.end());
    return values;
}

PickleReader::Node& PickleReader::top(Kind kind, const char* expected) {
    if (stack_.empty() || stack_.back() == kMark || node(stack_.back()).kind != kind)
        refuse(std::string("it adds to what is not ") + expected);
    return node(stack_.back());
}

void PickleReader::read() {
    if (bytes_.size() > std::numeric_limits<Index>::max()) refuse("it has more than 4 GB of values");
    if (bytes_.size() < 2 || number<std::uint8_t>() != 0x80 || number<std::uint8_t>() != 2)
        refuse("it is no pickle of protocol 2, which torch.save writes");
    for (unsigned char instruction; (instruction = number<std::uint8_t>()) != kStop;) step(instruction);
    result_.root_ = pop();
    if (!stack_.empty()) refuse("it leaves values over");
}

void PickleReader::step(unsigned char instruction) {
    if (make_value(instruction) || make_container(instruction) || remember_or_recall(instruction)) return;
    switch (instruction) {
        case 'c':  // GLOBAL
            return push_name();
        case 'Q':  // BINPERSID
            return push_storage();
        case 'R':  // REDUCE
            return call();
        case 'b':  // BUILD
            return set_state();
        default:
            refuse("it has the instruction " + hexadecimal(instruction) + ", which torch.save does not write");
    }
}

bool PickleReader::make_value(unsigned char instruction) {
    Node made;
    const auto integer = [&](std::int64_t value) { made.kind = Kind::integer, made.integer = value; };
    switch (instruction) {
        case 'N':  // NONE
            break;
        case 0x88:  // NEWTRUE
        case 0x89:  // NEWFALSE
            made.kind = Kind::boolean;
            made.integer = instruction == 0x88;
            break;
        case 'J':  // BININT
            integer(number<std::int32_t>());
            break;
        case 'K':  // BININT1
            integer(number<std::uint8_t>());
            break;
        case 'M':  // BININT2
            integer(number<std::uint16_t>());
            break;
        case 0x8A:  // LONG1
            integer(long_integer());
            break;
        case 'G': {  // BINFLOAT
            std::uint64_t bits = 0;
            for (const std::byte byte : take(8)) bits = bits << 8 | std::to_integer<std::uint64_t>(byte);
            made.kind = Kind::real;
            made.real = std::bit_cast<double>(bits);
            break;
        }
        case 'X':  // BINUNICODE
            made.kind = Kind::text;
            made.text = text(number<std::uint32_t>());
            break;
        default:
            return false;
    }
    push(std::move(made));
    return true;
}

bool PickleReader::make_container(unsigned char instruction) {
    switch (instruction) {
        case '(':  // MARK
            stack_.push_back(kMark);
            return true;
        case ')':  // EMPTY_TUPLE
            push(Kind::tuple, {});
            return true;
        case ']':  // EMPTY_LIST
            push(Kind::list, {});
            return true;
        case '}':  // EMPTY_DICT
            push(Kind::dictionary, {});
            return true;
        case 't':  // TUPLE
            push(Kind::tuple, pop_since_mark());
            return true;
        case 0x85:    // TUPLE1
        case 0x86:    // TUPLE2
        case 0x87: {  // TUPLE3
            Arguments items(instruction - 0x84u);
            for (std::size_t i = items.size(); i-- > 0;) items[i] = pop();
            push(Kind::tuple, std::move(items));
            return true;
        }
        case 'a': {  // APPEND
            const Index item = pop();
            top(Kind::list, "a list").items.push_back(item);
            return true;
        }
        case 'e': {  // APPENDS
            const Arguments items = pop_since_mark();
            Arguments& list = top(Kind::list, "a list").items;
            list.insert(list.end(), items.begin(), items.end());
            return true;
        }
        case 's': {  // SETITEM
            const Index value = pop(), key = pop();
            add_to_dictionary({key, value});
            return true;
        }
        case 'u':  // SETITEMS
            add_to_dictionary(pop_since_mark());
            return true;
        default:
            return false;
    }
}

void PickleReader::add_to_dictionary(const Arguments& items) {
    if (items.size() % 2) refuse("a dictionary has a key without a value");
    Arguments& all = top(Kind::dictionary, "a dictionary").items;
    all.insert(all.end(), items.begin(), items.end());
}

bool PickleReader::remember_or_recall(unsigned char instruction) {
    const bool wide = instruction == 'r' || instruction == 'j';           // LONG_BINPUT, LONG_BINGET
    if (!wide && instruction != 'q' && instruction != 'h') return false;  // BINPUT, BINGET
    const std::uint32_t place = wide ? number<std::uint32_t>() : number<std::uint8_t>();
    if (instruction == 'r' || instruction == 'q') {
        if (stack_.empty() || stack_.back() == kMark) refuse("it remembers a value where there is none");
        memo_[place] = stack_.back();
        return true;
    }
    const auto found = memo_.find(place);
    if (found == memo_.end()) refuse("it recalls a value that was not remembered");
    stack_.push_back(found->second);
    return true;
}

void PickleReader::push_name() {
    const std::string module = line();
    const std::string name = module + " " + line();
    if (!is_known(name)) refuse("it asks for " + shown(name) + ", which weights need not; nothing of it was run");
    Node made;
    made.kind = Kind::name;
    made.text = name;
    push(std::move(made));
}

/// ('storage', torch.FloatStorage, '0', 'cpu', 1024).
void PickleReader::push_storage() {
    const Index tuple = pop();
    if (node(tuple).kind != Kind::tuple) refuse("it refers to what is no storage");
    if (node(tuple).items.size() > kMostArguments) refuse("it refers to what is no storage");
    const Arguments arguments = node(tuple).items;
    if (argument(arguments, 0, Kind::text, "text").text != "storage") refuse("it refers to what is no storage");
    const std::string type = argument(arguments, 1, Kind::name, "a type of storage").text;
    PickledTensor made;
    made.type = type.substr(type.find(' ') + 1);
    if (std::find(kStorages.begin(), kStorages.end(), made.type) == kStorages.end())
        refuse("a storage is of type " + shown(type));
    made.storage = argument(arguments, 2, Kind::text, "text").text;
    // It becomes part of a file's name, and of sentences.
    if (made.storage.empty() || made.storage.size() > 32 ||
        !std::all_of(made.storage.begin(), made.storage.end(), [](char c) { return c >= '0' && c <= '9'; }))
        refuse("a storage has the name " + shown(made.storage) + ", which is no number");
    made.storage_elements = argument(arguments, 4, Kind::integer, "a whole number").integer;
    Node place;
    place.kind = Kind::storage;
    place.tensor = static_cast<Index>(result_.tensors_.size());
    result_.tensors_.push_back(std::move(made));
    push(std::move(place));
}

const PickleReader::Node& PickleReader::argument(const Arguments& arguments, std::size_t i, Kind kind,
                                                 const char* expected) {
    if (i >= arguments.size() || node(arguments[i]).kind != kind)
        refuse(std::string("an argument is missing or is not ") + expected);
    return node(arguments[i]);
}

/// The first argument of what makes a value of a text anew: of any length, each call of few bytes would take that much.
std::string PickleReader::short_text(const Arguments& arguments) {
    const std::string& text = argument(arguments, 0, Kind::text, "text").text;
    if (text.size() > kMostLetters)
        refuse("a name or number is written by " + std::to_string(text.size()) + " letters");
    return text;
}

void PickleReader::call() {
    const Index tuple = pop(), function = pop();
    if (node(function).kind != Kind::name || node(tuple).kind != Kind::tuple)
        refuse("it calls what is no function, or without arguments");
    if (node(tuple).items.size() > kMostArguments)
        refuse("it calls a name with " + std::to_string(node(tuple).items.size()) + " arguments");
    const std::string name = node(function).text;
    const Arguments arguments = node(tuple).items;
    if (name == "torch._utils _rebuild_tensor_v2") {
        rebuild_tensor(arguments);
    } else if (name == "torch._utils _rebuild_parameter") {
        argument(arguments, 0, Kind::tensor, "a tensor");
        stack_.push_back(arguments[0]);
    } else if (name == "collections OrderedDict") {
        if (!arguments.empty()) refuse("a dictionary is made of arguments");
        push(Kind::dictionary, {});
    } else if (name == "torch device") {
        Node made;
        made.kind = Kind::text;
        made.text = short_text(arguments);
        push(std::move(made));
    } else if (name == "torch Size") {
        if (arguments.empty() || node(arguments[0]).kind != Kind::tuple) refuse("a size is no tuple");
        stack_.push_back(arguments[0]);
    } else if (name == "numpy dtype") {
        Node made;
        made.kind = Kind::number_type;
        made.text = short_text(arguments);
        push(std::move(made));
    } else if (name == "_codecs encode") {
        // Protocol 2 has no bytes: they are text of as many letters below 256, in UTF-8.
        const std::string letters = short_text(arguments);
        Node made;
        made.kind = Kind::bytes;
        for (std::size_t i = 0; i < letters.size(); ++i) {
            const auto first = static_cast<unsigned char>(letters[i]);
            if (first < 0x80) {
                made.text += letters[i];
            } else if ((first == 0xC2 || first == 0xC3) && i + 1 < letters.size()) {
                made.text += static_cast<char>(first << 6 | (static_cast<unsigned char>(letters[++i]) & 0x3F));
            } else {
                refuse("bytes are written by letters that stand for none");
            }
        }
        push(std::move(made));
    } else if (name.ends_with("multiarray scalar")) {
        const std::string type = argument(arguments, 0, Kind::number_type, "a type of NumPy's").text;
        number_of_numpy(type, argument(arguments, 1, Kind::bytes, "bytes").text);
    } else {
        refuse("it calls " + shown(name));
    }
}

/// A dictionary's attributes (a state_dict's versions) and a NumPy type's byte order.
void PickleReader::set_state() {
    const Index state = pop();
    if (stack_.empty() || stack_.back() == kMark) refuse("it gives a state to what is not there");
    const Node& of = node(stack_.back());
    if (of.kind == Kind::dictionary) return;
    if (of.kind != Kind::number_type || node(state).kind != Kind::tuple || node(state).items.size() > kMostArguments)
        refuse("it gives a state to what has none");
    const Arguments items = node(state).items;
    if (argument(items, 1, Kind::text, "text").text == ">") refuse("it holds numbers with the first byte first");
}

void PickleReader::number_of_numpy(const std::string& type, const std::string& bytes) {
    Node made;
    const auto read = [&](auto value, Kind kind) {
        if (bytes.size() != sizeof value) refuse("a number of NumPy's type " + shown(type) + " has another size");
        std::memcpy(&value, bytes.data(), sizeof value);
        made.kind = kind;
        made.integer = static_cast<std::int64_t>(kind == Kind::real ? 0 : value);
        made.real = static_cast<double>(value);
    };
    if (type == "f8")
        read(double{}, Kind::real);
    else if (type == "f4")
        read(float{}, Kind::real);
    else if (type == "i8")
        read(std::int64_t{}, Kind::integer);
    else if (type == "i4")
        read(std::int32_t{}, Kind::integer);
    else if (type == "b1")
        read(std::uint8_t{}, Kind::boolean);
    else
        refuse("it holds a number of NumPy's type " + shown(type));
    push(std::move(made));
}

std::vector<std::int64_t> PickleReader::sides(const Node& list) {
    std::vector<std::int64_t> all;
    for (const Index index : list.items) {
        if (node(index).kind != Kind::integer || node(index).integer < 0)
            refuse("a tensor has a side or stride that is no whole number from 0");
        all.push_back(node(index).integer);
    }
    return all;
}

void PickleReader::rebuild_tensor(const Arguments& arguments) {
    PickledTensor made = result_.tensors_[argument(arguments, 0, Kind::storage, "a storage").tensor];
    made.offset = argument(arguments, 1, Kind::integer, "a whole number").integer;
    made.shape = sides(argument(arguments, 2, Kind::tuple, "a tuple"));
    made.strides = sides(argument(arguments, 3, Kind::tuple, "a tuple"));
    if (made.shape.size() > kMostSides) refuse("a tensor has " + std::to_string(made.shape.size()) + " dimensions");
    if (made.offset < 0 || made.shape.size() != made.strides.size())
        refuse("a tensor of the storage " + shown(made.storage) + " lies before its start, or has other strides");
    Node place;
    place.kind = Kind::tensor;
    place.tensor = static_cast<Index>(result_.tensors_.size());
    result_.tensors_.push_back(std::move(made));
    push(std::move(place));
}

}  // namespace iwseg
