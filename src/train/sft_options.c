// Fine-tuning's settings: defaults, presets and their names.
#include <string.h>

#include "base/mem.h"
#include "train/train.h"

#define NAMES(what, MAP)                                                        \
    static const char *const what##_names[] = {MAP(NAME)};                      \
    const char *mla_sft_##what##_name(mla_sft_##what what) {                    \
        return what##_names[what];                                              \
    }                                                                           \
    int mla_sft_##what##_parse(const char *name) {                              \
        for (size_t i = 0; i < MLA_COUNT(what##_names); i++)                    \
            if (strcmp(name, what##_names[i]) == 0) return (int)i;              \
        return -1;                                                              \
    }
#define NAME(id, name) name,
NAMES(preset, MLA_SFT_PRESETS)
NAMES(method, MLA_SFT_METHODS)
NAMES(keep, MLA_SFT_KEEPS)

mla_sft_options mla_sft_options_default(void) {
    return (mla_sft_options){
        .lora = mla_adapter_options_default(),
        .schedule = {.shape = MLA_SCHEDULE_COSINE, .lr = 1e-4, .floor = 0.1, .warmup_steps = 2},
        .epochs = 1, .batch = 4, .cutoff = 15000, .pack_tokens = 2048, .clip_norm = 1.0,
        .val_actions = 16, .val_max_new = 256, .checkpoint_seconds = 120,
        .actions = MLA_ACTIONS_DEFAULT, .compute = mla_compute_best(), .seed = 1};
}

void mla_sft_preset_apply(mla_sft_options *o, mla_sft_preset preset) {
    o->preset = preset;
    if (preset != MLA_SFT_PAPER) return;
    o->method = MLA_SFT_FULL;
    o->schedule = (mla_schedule){.shape = MLA_SCHEDULE_COSINE, .lr = 2e-5};
    o->epochs = 2;
    o->batch = 64;
    o->cutoff = 15000;
    o->weight_decay = 0;
    o->clip_norm = 1.0;
    o->ema = 0;
    o->keep = MLA_SFT_KEEP_LAST;
    o->patience = 0;
}
