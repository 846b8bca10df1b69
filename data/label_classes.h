#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace iwseg {

struct LabelNames;

/// A class of lesions, by the label values that it stands for: one, or the union of several.
struct LabelClass {
    std::string name;
    std::vector<std::int32_t> values;  ///< ascending, at least one

    bool holds(std::int32_t value) const;
    bool operator==(const LabelClass&) const = default;
};

/// Whether the text asks for the classes that dataset.json names: `dataset` alone.
bool are_of_dataset(const std::string& text);

/// Reads classes as they are written in options and configurations: "edema=1,tumour=2+3", spaces allowed. `dataset`
/// alone: as dataset.json names its labels, background and ignore left out; in its order where it has a
/// regions_class_order, else those of more values come first, of as many those of the smaller value. origin stands for
/// the text in sentences. Throws InputError, naming the class, on another form, on a name that comes twice or cannot be
/// that of a folder, on values that are not above 0, that dataset.json does not name where it names any, or that it
/// calls ignore.
std::vector<LabelClass> read_label_classes(const std::string& text, const LabelNames& names, const std::string& origin);

/// The one way of writing them, which reads as the same.
std::string label_classes_text(const std::vector<LabelClass>& classes);

/// Two classes that a value belongs to both of, in a sentence; empty where every value belongs to one at most.
std::string shared_value(const std::vector<LabelClass>& classes);

}  // namespace iwseg
