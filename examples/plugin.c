/* A plugin of some host's, that holds iwseg: linked against the static libraries, it shows nothing of them. */
#include <iwseg/c_api.h>
#include <stdlib.h>
#include <string.h>

/* Predicts a small volume; the sum of its probabilities, or -1 with the reason in `reason`. */
__attribute__((visibility("default"))) double plugin_predict(const char* weights, char* reason, size_t size) {
    const int64_t shape[3] = {20, 17, 21}, voxels = 20 * 17 * 21;
    iwseg_model* model = NULL;
    int channels = 0;
    float *image = NULL, *probability = malloc((size_t)voxels * sizeof *probability);
    double sum = -1;
    if (iwseg_open(weights, "cpu", 2, &model) == IWSEG_OK && iwseg_channel_count(model, &channels) == IWSEG_OK)
        image = malloc((size_t)(channels * voxels) * sizeof *image);
    if (image && probability) {
        for (int64_t i = 0; i < channels * voxels; ++i) image[i] = (float)(i * 7919 % 1000);
        if (iwseg_predict(model, image, shape, NULL, probability, NULL) == IWSEG_OK) {
            sum = 0;
            for (int64_t v = 0; v < voxels; ++v) sum += probability[v];
        }
    }
    if (sum < 0) strncat(reason, iwseg_last_error(), size - strlen(reason) - 1);
    iwseg_close(model);
    free(probability), free(image);
    return sum;
}
