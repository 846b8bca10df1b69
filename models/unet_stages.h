#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/ops/conv.h"
#include "engine/safetensors.h"
#include "engine/tensor.h"
#include "kernels/device/view.h"
#include "models/network.h"
#include "models/unet_style.h"

// What the U-Nets that nnU-Net plans have in common, by whatever their encoders are made of. Parameters have the names
// of its state_dict.
namespace iwseg {

/// Voxels of a stride or a kernel along an axis; 1 is the least.
constexpr int kMostSide = 7;

/// Channels, strides and kernels of the stages, of which there are two or more.
struct UnetStages {
    std::string kind;  ///< "a plain U-Net", for messages
    int in_channels = 1, out_channels = 1;
    std::vector<int> widths;
    std::vector<Sides> strides;  ///< of each stage's first convolution
    std::vector<Sides> kernels;
    std::vector<int> decoder_convs;  ///< of each of the decoder's stages, the deepest first
    UnetStyle style = {};
    bool heads = false;  ///< logits of each of the decoder's stages, of which there are several
};

/// With strides (1, then 2), kernels (3) and the decoder's convolutions where there are none. Throws InputError where
/// there are not as many of each, and on what is not usable.
UnetStages completed(UnetStages stages, int decoder_convs);
/// `counts`, or as many `most_often` where it is empty. Throws InputError where there are not `stages` of them, or one
/// is below 1.
std::vector<int> completed_counts(std::vector<int> counts, std::size_t stages, int most_often, const std::string& kind);

/// Along each axis the product: voxels of an image that one of the deepest stage stands for.
Sides product_of(const std::vector<Sides>& strides);
/// The kernel of a convolution's weights of this shape.
Sides kernel_in(const std::vector<std::int64_t>& shape);

/// Throws InputError where a side is not a multiple of the product of its strides, and where the deepest stage would be
/// a single voxel.
void require_patch(const UnetStages& stages, const Shape& image);

/// NAME.conv and NAME.norm. The options' bias and name are the style's and `name`.
Tensor conv_norm(Tensor x, const std::string& name, ConvOptions options, const UnetStyle& style);
/// The same and LeakyReLU.
Tensor conv_norm_relu(Tensor x, const std::string& name, const ConvOptions& options, const UnetStyle& style);
/// `convs` of these, NAME.convs.0 and so on, the first with the options' stride.
Tensor conv_stage(Tensor x, const std::string& name, int convs, ConvOptions options, const UnetStyle& style);

/// Logits of the encoder's results, one a stage: doubled by transposed convolutions, joined by concatenation. With
/// heads those of each of the decoder's stages, the finest first.
std::vector<Tensor> decode(const UnetStages& stages, const std::vector<Tensor>& levels);

/// The network as a value. encode: the encoder's results of an image.
Network network_of(const UnetStages& stages, const std::string& name,
                   std::function<std::vector<Tensor>(Tensor image)> encode);

/// Metadata of a weights file that say how its network differs from the default in what its shapes do not show: empty,
/// or "unet_style": {"epsilon": 1e-05, "slope": 0.01}.
std::map<std::string, std::string> style_metadata(const UnetStyle& style);

/// A weights file's header, to be asked for the network that it was written for.
class StoredStages {
  public:
    /// kind: as in UnetStages. Throws InputError where the file cannot be read.
    StoredStages(const std::string& file, const std::string& kind, std::map<std::string, std::string>* metadata);

    bool contains(const std::string& name) const { return stored_.contains(name); }
    /// 0 where there is none.
    std::int64_t elements_of(const std::string& name) const {
        const auto found = stored_.find(name);
        return found == stored_.end() ? 0 : found->second.elements();
    }
    /// Of a convolution's weights. Throws InputError, naming the file, where they are missing or no weights of one.
    std::vector<std::int64_t> shape_of(const std::string& name) const;
    /// How many of these there are: NAME0REST, NAME1REST, …
    int count(const std::string& name, const std::string& rest) const;
    /// The stages whose widths and kernels are those of these weights, NAME0REST and so on. A bias is one of the file;
    /// what leaves no trace in shapes is read from its metadata, where style_metadata() left it.
    UnetStages read(const std::string& name, const std::string& rest) const;

  private:
    std::string file_, kind_;
    UnetStyle style_;
    std::map<std::string, StoredTensor> stored_;
};

}  // namespace iwseg
