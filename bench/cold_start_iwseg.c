/* For cold_start.py: predicts FOLDER/patch.f32, 48^3, by FOLDER/network.safetensors, prints the sum of probabilities,
 * waits. */
#include <iwseg/c_api.h>
#include <stdio.h>

int main(int count, char** arguments) {
    enum { side = 48, voxels = side * side * side };
    static float image[voxels], probability[voxels];
    const int64_t shape[3] = {side, side, side};
    char path[4096];
    iwseg_model* model;
    double sum = 0;
    if (count != 2) return 2;
    snprintf(path, sizeof path, "%s/patch.f32", arguments[1]);
    FILE* file = fopen(path, "rb");
    if (!file || fread(image, sizeof *image, voxels, file) != voxels) return 1;
    fclose(file);
    snprintf(path, sizeof path, "%s/network.safetensors", arguments[1]);
    if (iwseg_open(path, "cpu", 0, &model) != IWSEG_OK ||
        iwseg_predict(model, image, shape, NULL, probability, NULL) != IWSEG_OK)
        return fprintf(stderr, "%s\n", iwseg_last_error()), 1;
    for (int v = 0; v < voxels; ++v) sum += probability[v];
    printf("%.6f\n", sum);
    fflush(stdout);
    getchar();
    iwseg_close(model);
    return 0;
}
