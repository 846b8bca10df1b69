/* usage: plugin_host WEIGHTS.safetensors PLUGIN...   Loads all plugins, lets each predict, twice, in a thread of its
 * own at the same time as the others, and unloads them. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

enum { most = 8 };
typedef double predict_function(const char* weights, char* reason, size_t size);

struct plugin {
    void* library;
    predict_function* predict;
    const char* weights;
    double sums[2];
    char reason[512];
};

static void* predict_twice(void* given) {
    struct plugin* plugin = given;
    for (int time = 0; time < 2; ++time)
        plugin->sums[time] = plugin->predict(plugin->weights, plugin->reason, sizeof plugin->reason);
    return NULL;
}

int main(int count, char** arguments) {
    static struct plugin plugins[most];
    pthread_t threads[most];
    const int all = count - 2;
    if (all < 1 || all > most) return fprintf(stderr, "usage: plugin_host WEIGHTS.safetensors PLUGIN...\n"), 2;
    for (int p = 0; p < all; ++p) {
        plugins[p].weights = arguments[1];
        plugins[p].library = dlopen(arguments[p + 2], RTLD_NOW | RTLD_LOCAL);
        if (!plugins[p].library) return fprintf(stderr, "%s\n", dlerror()), 1;
        *(void**)&plugins[p].predict = dlsym(plugins[p].library, "plugin_predict");
        for (int before = 0; before < p; ++before)
            if (plugins[p].predict == plugins[before].predict) return fprintf(stderr, "loaded once, not twice\n"), 1;
    }
    for (int p = 0; p < all; ++p) pthread_create(&threads[p], NULL, predict_twice, &plugins[p]);
    for (int p = 0; p < all; ++p) pthread_join(threads[p], NULL);
    for (int p = 0; p < all; ++p) {
        if (plugins[p].sums[0] != plugins[0].sums[0] || plugins[p].sums[1] != plugins[0].sums[0] ||
            plugins[p].sums[0] < 0)
            return fprintf(stderr, "plugin %d: %f, %f %s\n", p, plugins[p].sums[0], plugins[p].sums[1],
                           plugins[p].reason),
                   1;
        dlclose(plugins[p].library);
    }
    printf("%d plugins agree: %.4f\n", all, plugins[0].sums[0]);
    return 0;
}
