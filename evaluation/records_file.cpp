#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/atomic_file.h"
#include "base/error.h"
#include "evaluation/records.h"

namespace iwseg {
namespace {

/// The numbers of a record in the order of the file; obj and is_tum come before them, hit_obj before self_stat.
struct NumberKey {
    const char* key;
    double Record::*member;
};
constexpr std::array<NumberKey, 9> kNumberKeys{{{"diameter", &Record::diameter},
                                                {"hit_dice", &Record::hit_dice},
                                                {"hit_max", &Record::hit_max},
                                                {"hit_median", &Record::hit_median},
                                                {"hit_q95", &Record::hit_q95},
                                                {"hit_logit", &Record::hit_logit},
                                                {"hit_stat", &Record::hit_stat},
                                                {"self_stat", &Record::self_stat},
                                                {"self_logit", &Record::self_logit}}};
constexpr const char* kDiameterMmKey = "diameter_mm";  // may be absent
constexpr std::size_t kObjKey = kNumberKeys.size(), kHitObjKey = kObjKey + 1, kIsTumKey = kObjKey + 2,
                      kKeyCount = kObjKey + 3;

/// Reads the one shape of document that records.json has. A general JSON library refuses Infinity, which Python writes,
/// and takes most of the time of a whole evaluation.
class RecordsParser {
  public:
    RecordsParser(const std::filesystem::path& file, std::string_view text) : file_(file), text_(text) {}

    Records parse() {
        Records records;
        members('{', '}', [&] {
            scan_ = string();
            take(':');
            if (records.contains(scan_)) refuse("the scan " + scan_ + " is there twice");
            std::vector<Record>& list = records[scan_];
            members('[', ']', [&] { list.push_back(record(list.size())); });
        });
        if (peek() != '\0') refuse("something follows its end");
        return records;
    }

  private:
    [[noreturn]] void refuse(const std::string& what) const {
        const auto line = std::count(text_.begin(), text_.begin() + std::min(at_, text_.size()), '\n') + 1;
        throw InputError(fmt::format("{} is not a usable records file: line {}: {}", file_.string(), line, what));
    }

    /// The next character that is not white space; 0 at the end.
    char peek() {
        while (at_ < text_.size() && std::string_view(" \n\r\t").find(text_[at_]) != std::string_view::npos) ++at_;
        return at_ < text_.size() ? text_[at_] : '\0';
    }
    void take(char expected) {
        if (peek() != expected)
            refuse(at_ < text_.size() ? fmt::format("'{}' stands where '{}' is expected", text_[at_], expected)
                                      : fmt::format("it ends where '{}' is expected", expected));
        ++at_;
    }
    bool take_word(std::string_view word) {
        peek();
        if (text_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }

    template <class Member>
    void members(char open, char close, Member&& member) {
        take(open);
        if (peek() == close) {
            ++at_;
            return;
        }
        for (;;) {
            member();
            if (peek() == close) break;
            take(',');
        }
        ++at_;
    }

    std::string string() {
        take('"');
        const std::size_t begin = at_;
        bool escaped = false;
        for (; at_ < text_.size() && text_[at_] != '"'; ++at_)
            if (text_[at_] == '\\') {
                escaped = true;
                ++at_;
            }
        if (at_ >= text_.size()) refuse("it ends within a string");
        const std::string_view content = text_.substr(begin, at_++ - begin);
        if (!escaped) return std::string(content);
        const auto value = nlohmann::json::parse(fmt::format("\"{}\"", content), nullptr, false);
        if (!value.is_string()) refuse("a string with an escape that JSON does not have");
        return value.get<std::string>();
    }

    double number() {
        peek();
        double value = 0;
        const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
        if (error != std::errc{} || std::isnan(value)) refuse(field() + " is not a number");
        at_ = static_cast<std::size_t>(end - text_.data());
        return value;
    }

    /// Logits may be anything.
    void require_in_range(double value, double Record::*member) const {
        if (member == &Record::hit_logit || member == &Record::self_logit) return;
        const bool is_diameter = member == &Record::diameter || member == &Record::diameter_mm;
        if (is_diameter ? value > 0 && std::isfinite(value) : value >= 0 && value <= 1) return;
        refuse(fmt::format("{} is {}; expected {}", field(), value,
                           is_diameter ? "a number above 0" : "a share from 0 to 1"));
    }

    bool truth() {
        if (take_word("true")) return true;
        if (!take_word("false")) refuse(field() + " is neither true nor false");
        return false;
    }

    std::string field() const { return fmt::format("{}[{}].{}", scan_, index_, key_); }

    Record record(std::size_t index) {
        if (peek() != '{') refuse(fmt::format("{}[{}] is not an object", scan_, index));
        Record result;
        unsigned seen = 0;
        members('{', '}', [&] {
            key_ = string();
            take(':');
            index_ = index;
            seen |= 1u << read_member(result);
        });
        for (std::size_t k = 0; k < kKeyCount; ++k)
            if (!(seen >> k & 1u)) refuse(fmt::format("{}[{}] lacks the key {}", scan_, index, name_of(k)));
        return result;
    }

    /// Returns the key's number; kKeyCount for one that records do not have, whose value is passed over.
    std::size_t read_member(Record& result) {
        for (std::size_t k = 0; k < kNumberKeys.size(); ++k)
            if (key_ == kNumberKeys[k].key) {
                result.*kNumberKeys[k].member = number();
                require_in_range(result.*kNumberKeys[k].member, kNumberKeys[k].member);
                return k;
            }
        if (key_ == kDiameterMmKey) {
            result.diameter_mm = number();
            require_in_range(result.diameter_mm, &Record::diameter_mm);
            return kKeyCount;
        }
        if (key_ == name_of(kIsTumKey)) {
            result.is_tum = truth();
            return kIsTumKey;
        }
        if (peek() == '"') {
            std::string value = string();
            if (key_ == name_of(kObjKey)) return result.obj = std::move(value), kObjKey;
            if (key_ == name_of(kHitObjKey)) return result.hit_obj = std::move(value), kHitObjKey;
        } else {
            if (key_ == name_of(kObjKey) || key_ == name_of(kHitObjKey)) refuse(field() + " is not a string");
            if (!take_word("true") && !take_word("false") && !take_word("null")) number();
        }
        return kKeyCount;
    }

    static const char* name_of(std::size_t key) {
        return key < kObjKey ? kNumberKeys[key].key : key == kObjKey ? "obj" : key == kHitObjKey ? "hit_obj" : "is_tum";
    }

    const std::filesystem::path& file_;
    std::string_view text_;
    std::size_t at_ = 0;
    std::string scan_, key_;  // where the parser is, for its sentences
    std::size_t index_ = 0;
};

/// As Python writes a float: the shortest digits that read back the same, never without a point or an exponent.
std::string python_number(double value) {
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    std::string text = fmt::format("{}", value);
    return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

std::string quoted(const std::string& text) {
    return nlohmann::json(text).dump();
}

void append_record(std::string& text, const Record& record) {
    text += fmt::format(R"({{"obj": {}, "is_tum": {})", quoted(record.obj), record.is_tum);
    for (const auto& [key, number] : kNumberKeys) {
        if (number == &Record::self_stat) text += fmt::format(R"(, "hit_obj": {})", quoted(record.hit_obj));
        text += fmt::format(R"(, "{}": {})", key, python_number(record.*number));
    }
    if (record.diameter_mm > 0) text += fmt::format(R"(, "{}": {})", kDiameterMmKey, python_number(record.diameter_mm));
    text += "}";
}

}  // namespace

Records read_records(const std::filesystem::path& file) {
    const std::string text = read_text(file);
    return RecordsParser(file, text).parse();
}

void write_records(const std::filesystem::path& file, const Records& records) {
    std::string text = "{";
    for (const auto& [scan, list] : records) {
        text += fmt::format("{}{}: [", text.size() > 1 ? ",\n" : "\n", quoted(scan));
        for (std::size_t i = 0; i < list.size(); ++i) {
            text += i ? ",\n  " : "\n  ";
            append_record(text, list[i]);
        }
        text += "]";
    }
    write_text(file, text + "\n}\n");
}

}  // namespace iwseg
