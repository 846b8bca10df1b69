#include <fmt/format.h>

#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/atomic_file.h"
#include "evaluation/records.h"
#include "kernels/error.h"

namespace iwseg {
namespace {

using nlohmann::json;

/// The numbers of a record in the order of the file; obj and is_tum come before them, hit_obj before self_stat.
struct NumberKey {
    const char* key;
    double Record::*member;
};
constexpr std::array<NumberKey, 9> number_keys{{{"diameter", &Record::diameter},
                                                {"hit_dice", &Record::hit_dice},
                                                {"hit_max", &Record::hit_max},
                                                {"hit_median", &Record::hit_median},
                                                {"hit_q95", &Record::hit_q95},
                                                {"hit_logit", &Record::hit_logit},
                                                {"hit_stat", &Record::hit_stat},
                                                {"self_stat", &Record::self_stat},
                                                {"self_logit", &Record::self_logit}}};

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& what) {
    throw InputError(file.string() + " is not a usable records file: " + what);
}

/// Python writes Infinity, which JSON does not know: outside of strings the word becomes the string "Infinity".
std::string quote_infinities(const std::string& text) {
    constexpr std::string_view word = "Infinity";
    std::string quoted;
    quoted.reserve(text.size() + text.size() / 16);
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (in_string && text[i] == '\\' && i + 1 < text.size()) {
            quoted.append(text, i++, 2);
            continue;
        }
        if (text[i] == '"') in_string = !in_string;
        const std::size_t sign = text[i] == '-';
        if (!in_string && (sign || text[i] == 'I') && text.compare(i + sign, word.size(), word) == 0) {
            quoted.append("\"").append(text, i, sign + word.size()).append("\"");
            i += sign + word.size() - 1;
        } else {
            quoted += text[i];
        }
    }
    return quoted;
}

double read_number(const json& value, const std::string& where, const std::filesystem::path& file) {
    if (value.is_number()) return value.get<double>();
    if (value == "Infinity") return std::numeric_limits<double>::infinity();
    if (value == "-Infinity") return -std::numeric_limits<double>::infinity();
    refuse(file, where + " is not a number");
}

Record read_record(const json& object, const std::string& where, const std::filesystem::path& file) {
    if (!object.is_object()) refuse(file, where + " is not an object");
    const auto member = [&](const char* key) -> const json& {
        const auto found = object.find(key);
        if (found == object.end()) refuse(file, where + " lacks the key " + key);
        return *found;
    };
    const auto text = [&](const char* key) {
        if (!member(key).is_string()) refuse(file, where + "." + key + " is not a string");
        return member(key).get<std::string>();
    };
    Record record;
    record.obj = text("obj");
    record.hit_obj = text("hit_obj");
    if (!member("is_tum").is_boolean()) refuse(file, where + ".is_tum is neither true nor false");
    record.is_tum = member("is_tum").get<bool>();
    for (const auto& [key, number] : number_keys) record.*number = read_number(member(key), where + "." + key, file);
    return record;
}

/// As Python writes a float: the shortest digits that read back the same, never without a point or an exponent.
std::string python_number(double value) {
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    std::string text = fmt::format("{}", value);
    return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

void append_record(std::string& text, const Record& record) {
    text += fmt::format(R"({{"obj": {}, "is_tum": {})", json(record.obj).dump(), record.is_tum);
    for (const auto& [key, number] : number_keys) {
        if (number == &Record::self_stat) text += fmt::format(R"(, "hit_obj": {})", json(record.hit_obj).dump());
        text += fmt::format(R"(, "{}": {})", key, python_number(record.*number));
    }
    text += "}";
}

}  // namespace

Records read_records(const std::filesystem::path& file) {
    json document;
    try {
        document = json::parse(quote_infinities(read_text(file)));
    } catch (const json::exception& error) {
        const std::string what = error.what();  // "[json.exception.…] message"
        refuse(file, what.substr(what.find("] ") == std::string::npos ? 0 : what.find("] ") + 2));
    }
    if (!document.is_object()) refuse(file, "it is not an object of scans");
    Records records;
    for (const auto& [scan, list] : document.items()) {
        if (!list.is_array()) refuse(file, "scan " + scan + " is not a list of records");
        std::vector<Record>& of_scan = records[scan];
        of_scan.reserve(list.size());
        for (std::size_t i = 0; i < list.size(); ++i)
            of_scan.push_back(read_record(list[i], fmt::format("{}[{}]", scan, i), file));
    }
    return records;
}

void write_records(const std::filesystem::path& file, const Records& records) {
    std::string text = "{";
    for (const auto& [scan, list] : records) {
        text += fmt::format("{}{}: [", text.size() > 1 ? ",\n" : "\n", json(scan).dump());
        for (std::size_t i = 0; i < list.size(); ++i) {
            text += i ? ",\n  " : "\n  ";
            append_record(text, list[i]);
        }
        text += "]";
    }
    write_text(file, text + "\n}\n");
}

}  // namespace iwseg
