#ifndef IWSEG_C_API_H
#define IWSEG_C_API_H

/* iwseg for programs in C99 and whatever calls C: predicting scans with a trained network, connected components,
 * inverse weights. Memory is the caller's, models are opaque handles, and nothing is thrown through these functions.
 *
 * Functions that can fail return iwseg_status: IWSEG_OK (0), or what was wrong, of which iwseg_last_error then tells in
 * one sentence; what they would have written is then undefined.
 *
 * Threads: calls on one model from several threads take turns, calls on different models run at the same time (on a GPU
 * they take turns too). A model is closed once nobody uses it. The library holds no state but its models, on a GPU
 * what they share of convolutions' plans, and for each thread the sentence of its last error: loaded twice under two
 * names it is two libraries.
 *
 * Arrays of a scan are (D, H, W), W innermost, D, H, W being a file's axes i, j, k as nibabel shows them; images have
 * channels before, (C, D, H, W). shape: voxels along D, H, W, each at least 1, at most 2^31 - 1 in all. */

#include <stdint.h>

#if defined(__GNUC__)
#define IWSEG_C_API __attribute__((visibility("default")))
#else
#define IWSEG_C_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A trained network, its device and threads. */
typedef struct iwseg_model iwseg_model;

enum iwseg_status {
    IWSEG_OK = 0,
    IWSEG_BAD_ARGUMENT = 1, /* a null pointer, a shape, a number: the call is wrong */
    IWSEG_UNUSABLE = 2,     /* a file, a device, the values of a scan: what was given cannot be used */
    IWSEG_NO_MEMORY = 3,    /* of this process; a scan or network that needs more than is free: IWSEG_UNUSABLE */
    IWSEG_FAILED = 4        /* anything else */
};

/* "0.1.0". */
IWSEG_C_API const char* iwseg_version(void);

/* One sentence on the last call of the calling thread that failed, in UTF-8; "" where none did. Valid until the next
 * call of this thread that fails. */
IWSEG_C_API const char* iwseg_last_error(void);

/* Opens weights that training wrote (model.safetensors, best.safetensors), with what the file says of how scans are
 * read and predicted: channels, what is done to intensities, patches, precision, the rule of masks. weights: path of
 * the file. device: "cpu", "cuda", or NULL or "auto" for a GPU where there is one. threads: that compute; 0: as many as
 * the processor and its quota give. *model: receives the model, to be closed by iwseg_close; NULL where this fails. */
IWSEG_C_API int iwseg_open(const char* weights, const char* device, int threads, iwseg_model** model);

/* Frees the model and its threads. NULL is allowed. */
IWSEG_C_API void iwseg_close(iwseg_model* model);

/* What computes, for people; valid as long as the model. */
IWSEG_C_API int iwseg_device(const iwseg_model* model, const char** description);

/* How many channels an image has. */
IWSEG_C_API int iwseg_channel_count(const iwseg_model* model, int* count);

/* The name of a channel, from 0; "" where the file does not tell. Where the network was trained with a mask channel (a
 * brain mask), that is the last. Valid as long as the model. */
IWSEG_C_API int iwseg_channel_name(const iwseg_model* model, int channel, const char** name);

/* The rule by which masks are made, chosen on validation scans where there were any: probability > threshold, without
 * connected components below min_volume, in mm^3. Either may be NULL. */
IWSEG_C_API int iwseg_mask_rule(const iwseg_model* model, float* threshold, double* min_volume);

/* Bytes that the prediction of a scan of this shape takes beside the model's weights and the caller's arrays,
 * estimated. The part that does not depend on the shape is kept from the first prediction until the model is closed. */
IWSEG_C_API int iwseg_prediction_bytes(const iwseg_model* model, const int64_t shape[3], int64_t* bytes);

/* Predicts a scan.
 * image: (C, D, H, W), its own values as its file holds them: what the network was trained on is made of them here.
 * spacing: mm a voxel along D, H, W; above 0; NULL where mask is NULL.
 * probability: (D, H, W), receives the probability of lesion; or NULL. mask: (D, H, W), receives 1 where
 * iwseg_mask_rule says lesion, else 0; or NULL. One of the two is asked for. IWSEG_UNUSABLE where the image holds a
 * value that is not finite and the file does not say what it becomes. */
IWSEG_C_API int iwseg_predict(iwseg_model* model, const float* image, const int64_t shape[3], const double spacing[3],
                              float* probability, uint8_t* mask);

/* Labels the connected components of a mask, nonzero being foreground.
 * connectivity: neighbours that share a face (6), also an edge (18), also a corner (26).
 * labels: (D, H, W), receives 0 for background and 1, 2, ... in the raster order of the components' first voxels.
 * *count: receives their number. sizes: receives the voxels of the first `capacity` components, or of all where they
 * are fewer: sizes[0] is that of component 1. It may be NULL where capacity is 0. */
IWSEG_C_API int iwseg_components(const uint8_t* mask, const int64_t shape[3], int connectivity, int32_t* labels,
                                 int32_t* count, int64_t* sizes, int64_t capacity);

/* Inverse weights of labels as iwseg_components makes them: N / ((K + 1) |C|) for each voxel of component C, clipped to
 * [low, high]; N voxels and K components in all, |C| voxels of C, background being one more component where there is
 * any. Shirokikh et al., MICCAI 2020, with low 1 and high 2e5. Labels need not be consecutive, but lie from 0 to N; -1
 * is a voxel whose truth is unknown: none of the N, its weight 0.
 * weights: (D, H, W). low above 0, high at least low. */
IWSEG_C_API int iwseg_inverse_weights(const int32_t* labels, const int64_t shape[3], float low, float high,
                                      float* weights);

#ifdef __cplusplus
}
#endif

#endif
