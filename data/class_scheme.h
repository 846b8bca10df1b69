#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/label_classes.h"
#include "data/volume/volume.h"
#include "kernels/loss/class_channels.h"
#include "models/class_decision.h"

namespace iwseg {

struct LabelNames;

/// The classes or regions that a network is trained on: how label files, the labels of a step, the network's channels
/// and the labels that it writes stand for them. Without any, lesions are of no class and the network has one channel.
class ClassScheme {
  public:
    ClassScheme() = default;
    /// The keys of a configuration (data/label_classes.h says how they are written), of which one at most is not empty.
    /// Throws InputError, naming the key, as read_label_classes does, where both are given, where classes share a
    /// value, where a region lies wholly within later ones, which would leave nothing of it, where two overlap and
    /// neither lies within the other, where regions_class_order gives a region a value that is not its own, and where
    /// there are too many.
    ClassScheme(const std::string& classes, const std::string& regions, const LabelNames& names);

    bool any() const { return !classes_.empty(); }
    bool regions() const { return regions_; }
    const std::vector<LabelClass>& classes() const { return classes_; }
    /// The network's; background, where classes exclude each other, is the first.
    int outputs() const { return any() ? static_cast<int>(classes_.size()) + (regions_ ? 0 : 1) : 1; }
    /// Which channel is that class's.
    int channel_of(std::size_t nth) const { return static_cast<int>(nth) + (regions_ ? 0 : 1); }

    /// Every value of a class, ascending.
    std::vector<int> values() const;
    /// Labels of a step, from 1: a class's number; of regions, that of a value. How many there are.
    std::int32_t labels() const;
    /// The step's labels of a label file, 0 where it holds none of the classes' values. Throws InputError, naming the
    /// file and the value, on a value that neither dataset.json nor the classes name.
    std::vector<std::uint8_t> map_of(const Volume<std::int32_t>& file, const std::string& name,
                                     const LabelNames& names) const;
    ClassChannels channels() const;
    /// "edema=1, tumour=2+3; 4 (necrosis) counts as background": and what the dataset names beside them.
    std::string sentence(const LabelNames& names) const;
    /// Each class is written as its smallest value; each region as regions_class_order says where regions are the
    /// dataset's and it has one, else as that of its values that the fewest regions hold, and no later one.
    OutputClasses output() const;

  private:
    std::int32_t label_of(std::int32_t value) const;

    std::vector<LabelClass> classes_;
    std::vector<std::int32_t> written_;  ///< a label value for each class
    bool regions_ = false;
};

}  // namespace iwseg
