/* usage: predict WEIGHTS.safetensors   Predicts a small volume by the C interface and says what it found. */
#include <iwseg/c_api.h>
#include <stdio.h>
#include <stdlib.h>

static void must(int status) {
    if (status == IWSEG_OK) return;
    fprintf(stderr, "%s\n", iwseg_last_error());
    exit(1);
}

int main(int count, char** arguments) {
    const int64_t shape[3] = {20, 37, 41}, voxels = 20 * 37 * 41;
    const double spacing[3] = {3, 1, 1};
    if (count != 2) return fprintf(stderr, "usage: predict WEIGHTS.safetensors\n"), 2;

    iwseg_model* model;
    must(iwseg_open(arguments[1], NULL, 0, &model));
    int channels;
    int64_t bytes;
    must(iwseg_channel_count(model, &channels));
    must(iwseg_prediction_bytes(model, shape, &bytes));
    fprintf(stderr, "iwseg %s: %d channels, %.1f MB\n", iwseg_version(), channels, (double)bytes / 1e6);

    float* image = malloc((size_t)(channels * voxels) * sizeof *image);
    float *probability = malloc((size_t)voxels * sizeof *probability), largest = 0;
    uint8_t* mask = malloc((size_t)voxels);
    int32_t *labels = malloc((size_t)voxels * sizeof *labels), components;
    if (!image || !probability || !mask || !labels) return 1;
    for (int64_t i = 0; i < channels * voxels; ++i) image[i] = (float)(i * 7919 % 1000);
    must(iwseg_predict(model, image, shape, spacing, probability, mask));
    iwseg_close(model);

    long lesion = 0;
    for (int64_t v = 0; v < voxels; ++v) {
        if (probability[v] > largest) largest = probability[v];
        lesion += mask[v];
    }
    printf("%ld voxels, largest probability %.6f, %ld of them lesion\n", (long)voxels, largest, lesion);
    int64_t first = 0;
    must(iwseg_components(mask, shape, 26, labels, &components, &first, 1));
    fprintf(stderr, "%d components, the first of %ld voxels\n", components, (long)first);
    free(labels), free(mask), free(probability), free(image);
    return 0;
}
