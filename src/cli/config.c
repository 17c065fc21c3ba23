// One table a section gives the YAML schema, the reading with its range check, the writing back.
#include "cli/config.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/yaml.h"

#define CONFIG_MAX (256 * 1024)
#define NAMES_MAX 8192           // of tasks: a thousand variants each of a few

// X(type, key, member of the options struct, lowest, highest)
#define COLLECT_FIELDS(X)                                     \
    X(INT, trajectories, trajectories, 1, 100000)             \
    X(EXPERT, expert, expert, 0, 0)                           \
    X(IDEAS, ideas, ideas, 0, 0)                              \
    X(INT, ideas_kept, ideas_kept, 1, 1000)                   \
    X(WORD, ideas_from, ideas_from, 0, 0)                     \
    X(INT, ideas_asked, ideas_asked, 1, 4000)                 \
    X(WORD, replay, replay, 0, 0)                             \
    X(INT, max_steps, max_steps, 2, 100)                      \
    X(REAL, max_minutes, max_minutes, 0, 10000)               \
    X(INT, at_once, at_once, 1, 256)
#define ENDPOINT_FIELDS(X)                                                      \
    X(WORD, url, url, 0, 0)                                                     \
    X(WORD, model, model, 0, 0)                                                 \
    X(WORD, embedding_model, embedding_model, 0, 0)                             \
    X(WORD, key_env, key_env, 0, 0)                                             \
    X(REAL, seconds, seconds, 0.1, 86400)                                       \
    X(INT, attempts, attempts, 1, 100)                                          \
    X(INT, at_once, at_once, 1, 256)                                            \
    X(REAL, temperature, temperature, 0, 10)                                    \
    X(INT, max_new, max_new, 1, 100000)                                         \
    X(INT, max_prompt, max_prompt, 128, 1000000)                                \
    X(REAL, requests_per_minute, limits.requests_per_minute, 0, 1e9)            \
    X(REAL, tokens_per_minute, limits.tokens_per_minute, 0, 1e15)               \
    X(REAL, budget_tokens, limits.budget_tokens, 0, 1e15)                       \
    X(REAL, budget_money, limits.budget_money, 0, 1e15)                         \
    X(REAL, price_in, limits.price_in, 0, 1e9)                                  \
    X(REAL, price_out, limits.price_out, 0, 1e9)
#define DATA_FIELDS(X)                                        \
    X(INT, max_tokens, max_tokens, 0, 2000000000)             \
    X(INT, max_sample_tokens, max_sample_tokens, 64, 1000000) \
    X(KEEP, keep, keep, 0, 0)                                 \
    X(REAL, margin, margin, 0, 1000)                          \
    X(REAL, mix_edits, mix.edits, 0.01, 1)                    \
    X(REAL, mix_undos, mix.undos, 0, 1)                       \
    X(REAL, mix_finals, mix.finals, 0, 1)                     \
    X(REAL, mix_looks, mix.looks, 0, 1)                       \
    X(REAL, val_share, val_share, 0, 0.9)
#define SFT_FIELDS(X)                                         \
    X(PRESET, preset, preset, 0, 0)                           \
    X(METHOD, method, method, 0, 0)                           \
    X(INT, lora_rank, lora.rank, 1, MLA_RANK_MAX)             \
    X(FLOAT, lora_alpha, lora.alpha, 0, 1e6)                  \
    X(BOOL, lora_rslora, lora.rslora, 0, 1)                   \
    X(FLOAT, lora_dropout, lora.dropout, 0, 0.99)             \
    X(TARGETS, lora_targets, lora.targets, 0, 0)              \
    X(REAL, lr, schedule.lr, 0, 1)                            \
    X(SHAPE, schedule, schedule.shape, 0, 0)                  \
    X(REAL, lr_floor, schedule.floor, 0, 1)                   \
    X(INT, warmup_steps, schedule.warmup_steps, 0, 1000000)   \
    X(REAL, warmup_ratio, schedule.warmup_ratio, 0, 1)        \
    X(INT, epochs, epochs, 1, 1000)                           \
    X(INT, batch, batch, 1, 4096)                             \
    X(INT, cutoff, cutoff, 16, 10000000)                      \
    X(INT, pack_tokens, pack_tokens, 64, 1000000)             \
    X(INT, recompute, recompute, 0, 1)                        \
    X(REAL, weight_decay, weight_decay, 0, 10)                \
    X(REAL, clip_norm, clip_norm, 0, 1e9)                     \
    X(REAL, ema, ema, 0, 0.999999)                            \
    X(INT, val_every, val_every, 0, 1000000)                  \
    X(INT, val_actions, val_actions, 0, 4096)                 \
    X(INT, val_max_new, val_max_new, 1, 100000)               \
    X(BEST, keep, keep, 0, 0)                                 \
    X(INT, patience, patience, 0, 1000000)                    \
    X(REAL, checkpoint_seconds, checkpoint_seconds, 0, 1000000)
#define RL_FIELDS(X)                                          \
    X(INT, iterations, iterations, 1, 1000000)                \
    X(INT, states, states, 1, 4096)                           \
    X(INT, samples, samples, 1, 1024)                         \
    X(FLOAT, temperature, temperature, 0.01, 10)              \
    X(INT, max_new, max_new, 1, 100000)                       \
    X(REAL, clip_low, ppo.clip_low, 0, 1)                     \
    X(REAL, clip_high, ppo.clip_high, 0, 100)                 \
    X(REAL, kl_coef, ppo.kl_coef, 0, 100)                     \
    X(REAL, entropy_coef, ppo.entropy_coef, 0, 100)           \
    X(REAL, gamma, gamma, 0, 1)                               \
    X(REAL, lambda, lambda, 0, 1)                             \
    X(INT, minibatches, minibatches, 1, 4096)                 \
    X(INT, epochs, epochs, 1, 100)                            \
    X(REAL, lr, lr, 0, 1)                                     \
    X(REAL, critic_lr, critic_lr, 0, 10)                      \
    X(REAL, clip_norm, clip_norm, 0, 1e9)                     \
    X(INT, critic_epochs, critic_epochs, 1, 10000)            \
    X(INT, critic_warmup, critic_warmup, 0, 10000)            \
    X(INT, max_steps, max_steps, 1, 1000)                     \
    X(INT, checkpoint_every, checkpoint_every, 1, 1000000)    \
    X(INT, sample_int8, sample_int8, 0, 1)                    \
    X(REAL, sampling_cap, sampling_cap, 1, 1000)              \
    X(INT, drop_flagged, drop_flagged, 0, 1)
#define EVAL_FIELDS(X)                                        \
    X(INT, trajectories, trajectories, 0, 10000)              \
    X(INT, states, states, 0, 10000)                          \
    X(INT, state_samples, state_samples, 1, 1000)             \
    X(INT, max_steps, max_steps, 1, 1000)                     \
    X(FLOAT, temperature, temperature, 0, 10)                 \
    X(INT, max_new, max_new, 1, 100000)
#define REWARD_FIELDS(X)                                      \
    X(REAL, alpha, alpha, 0, 1000)                            \
    X(FORM, form, form, 0, 0)
#define PROMPT_FIELDS(X)                                      \
    X(INT, max_tokens, max_tokens, 128, 1000000)              \
    X(INT, feedback_bytes, feedback_bytes, 64, 100000)        \
    X(ACTIONS, actions, actions, 0, 0)                        \
    X(ENTRIES, entries, entries, 0, 0)
#define EDITOR_FIELDS(X)                                      \
    X(EDITOR, kind, kind, 0, 0)                               \
    X(WORD, url, url, 0, 0)                                   \
    X(WORD, model, model, 0, 0)                               \
    X(WORD, key_env, key_env, 0, 0)                           \
    X(REAL, seconds, seconds, 0.1, 86400)                     \
    X(INT, attempts, attempts, 1, 100)                        \
    X(INT, max_tokens, max_tokens, 1, 1000000)

// X(section, its fields, the type of its options)
#define SECTIONS(X)                                           \
    X(collect, COLLECT_FIELDS, mla_collect_options)           \
    X(endpoint, ENDPOINT_FIELDS, mla_collect_endpoint)        \
    X(data, DATA_FIELDS, mla_dataset_options)                 \
    X(sft, SFT_FIELDS, mla_sft_options)                       \
    X(rl, RL_FIELDS, mla_rl_options)                          \
    X(eval, EVAL_FIELDS, mla_eval_options)                    \
    X(reward, REWARD_FIELDS, mla_reward_options)              \
    X(prompt, PROMPT_FIELDS, mla_prompt_options)              \
    X(editor, EDITOR_FIELDS, mla_editor_options)

// ---- the YAML as text: what is absent stays NULL ---------------------------------------------

#define RAW_FIELD(type, key, member, lo, hi) char *key;
#define RAW_SECTION(section, fields, options) \
    typedef struct {                          \
        fields(RAW_FIELD)                     \
    } raw_##section;
SECTIONS(RAW_SECTION)

typedef struct {
    char **train, **evaluate;
    unsigned train_count, evaluate_count;
} raw_tasks;

typedef struct {
    char *name, *note, *model, *compute, *seed, *workers;
    raw_tasks *tasks;
#define RAW_MEMBER(section, fields, options) raw_##section *section;
    SECTIONS(RAW_MEMBER)
} raw_config;

#define TEXT(key, flags, type, max) \
    CYAML_FIELD_STRING_PTR(#key, CYAML_FLAG_POINTER | (flags), type, key, 1, max)
#define FIELD(type, key, member, lo, hi) TEXT(key, CYAML_FLAG_OPTIONAL, RAW_HERE, 400),

#define RAW_HERE raw_collect
static const cyaml_schema_field_t collect_fields[] = {COLLECT_FIELDS(FIELD) CYAML_FIELD_END};
#undef RAW_HERE
#define RAW_HERE raw_endpoint
static const cyaml_schema_field_t endpoint_fields[] = {ENDPOINT_FIELDS(FIELD) CYAML_FIELD_END};
#undef RAW_HERE
#define RAW_HERE raw_data
static const cyaml_schema_field_t data_fields[] = {DATA_FIELDS(FIELD) CYAML_FIELD_END};
#undef RAW_HERE
#define RAW_HERE raw_sft
static const cyaml_schema_field_t sft_fields[] = {SFT_FIELDS(FIELD) CYAML_FIELD_END};
#undef RAW_HERE
#define RAW_HERE raw_rl
static const cyaml_schema_field_t rl_fields[] = {RL_FIELDS(FIELD) CYAML_FIELD_END};
#undef RAW_HERE
#define RAW_HERE raw_eval
static const cyaml_schema_field_t eval_fields[] = {EVAL_FIELDS(FIELD) CYAML_FIELD_END};
#undef RAW_HERE
#define RAW_HERE raw_reward
static const cyaml_schema_field_t reward_fields[] = {REWARD_FIELDS(FIELD) CYAML_FIELD_END};
#undef RAW_HERE
#define RAW_HERE raw_prompt
static const cyaml_schema_field_t prompt_fields[] = {PROMPT_FIELDS(FIELD) CYAML_FIELD_END};
#undef RAW_HERE
#define RAW_HERE raw_editor
static const cyaml_schema_field_t editor_fields[] = {EDITOR_FIELDS(FIELD) CYAML_FIELD_END};
#undef RAW_HERE

static const cyaml_schema_value_t task_name = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, 64)};
static const cyaml_schema_field_t task_fields[] = {
    CYAML_FIELD_SEQUENCE("train", CYAML_FLAG_POINTER, raw_tasks, train, &task_name, 1, NAMES_MAX),
    CYAML_FIELD_SEQUENCE("evaluate", CYAML_FLAG_POINTER, raw_tasks, evaluate, &task_name, 1,
                         NAMES_MAX),
    CYAML_FIELD_END};

#define MAPPING(section, fields, options)                                                 \
    CYAML_FIELD_MAPPING_PTR(#section, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, raw_config, \
                            section, section##_fields),
static const cyaml_schema_field_t config_fields[] = {
    TEXT(name, 0, raw_config, 64),
    TEXT(note, CYAML_FLAG_OPTIONAL, raw_config, 1000),
    TEXT(model, 0, raw_config, 4000),
    TEXT(compute, CYAML_FLAG_OPTIONAL, raw_config, 8),
    TEXT(seed, CYAML_FLAG_OPTIONAL, raw_config, 20),
    TEXT(workers, CYAML_FLAG_OPTIONAL, raw_config, 10),
    CYAML_FIELD_MAPPING_PTR("tasks", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, raw_config, tasks,
                            task_fields),
    SECTIONS(MAPPING) CYAML_FIELD_END};
static const cyaml_schema_value_t config_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, raw_config, config_fields)};

// ---- text to values --------------------------------------------------------------------------

typedef struct {
    const char *path, *within;
    mla_err *err;
} place;

static int bad(const place *at, const char *key, const char *text, const char *wanted, double lo,
               double hi) {
    return mla_err_set(at->err, "%s: %s%s%s: \"%s\" is not %s from %g to %g", at->path, at->within,
                       *at->within ? "." : "", key, text, wanted, lo, hi);
}

static int read_REAL(const place *at, const char *key, const char *text, double lo, double hi,
                     double *out) {
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end || errno || !(value >= lo && value <= hi)) {
        return bad(at, key, text, "a number", lo, hi);
    }
    *out = value;
    return 0;
}

static int read_FLOAT(const place *at, const char *key, const char *text, double lo, double hi,
                      float *out) {
    double value;
    if (read_REAL(at, key, text, lo, hi, &value) < 0) return -1;
    *out = (float)value;
    return 0;
}

static int read_INT(const place *at, const char *key, const char *text, double lo, double hi,
                    int *out) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end || errno || (double)value < lo || (double)value > hi) {
        return bad(at, key, text, "a whole number", lo, hi);
    }
    *out = (int)value;
    return 0;
}

// A name of the reward's table; the range says nothing here.
static int read_FORM(const place *at, const char *key, const char *text, double lo, double hi,
                     mla_reward_form *out) {
    (void)lo, (void)hi;
    int form = mla_reward_form_parse(text);
    if (form < 0) {
#define X(id, name, meaning) " " name
        return mla_err_set(at->err, "%s: %s.%s: \"%s\" is none of" MLA_REWARD_FORM_MAP(X),
                           at->path, at->within, key, text);
#undef X
    }
    *out = (mla_reward_form)form;
    return 0;
}

// Names, texts and sets need no range; they are told by what they are.
static int bad_name(const place *at, const char *key, const char *text, const char *wanted) {
    return mla_err_set(at->err, "%s: %s.%s: \"%s\" is not %s", at->path, at->within, key, text,
                       wanted);
}

// One of an enum's names, by its parser.
static int read_enum(const place *at, const char *key, const char *text, const char *wanted,
                     int (*parse)(const char *), int *out) {
    *out = parse(text);
    return *out < 0 ? bad_name(at, key, text, wanted) : 0;
}
#define ENUM_READER(TYPE, type, parse, wanted)                                                  \
    static int read_##TYPE(const place *at, const char *key, const char *text, double lo,       \
                           double hi, type *out) {                                              \
        int found;                                                                              \
        (void)lo, (void)hi;                                                                     \
        if (read_enum(at, key, text, wanted, parse, &found) < 0) return -1;                     \
        *out = (type)found;                                                                     \
        return 0;                                                                               \
    }
ENUM_READER(PRESET, mla_sft_preset, mla_sft_preset_parse, "\"none\" or \"paper\"")
ENUM_READER(METHOD, mla_sft_method, mla_sft_method_parse, "\"full\" or \"lora\"")
ENUM_READER(SHAPE, mla_schedule_shape, mla_schedule_shape_parse,
            "\"cosine\", \"linear\" or \"constant\"")
ENUM_READER(BEST, mla_sft_keep, mla_sft_keep_parse,
            "\"last\", \"val_loss\" or \"action_accuracy\"")

static int read_BOOL(const place *at, const char *key, const char *text, double lo, double hi,
                     bool *out) {
    int value;
    if (read_INT(at, key, text, lo, hi, &value) < 0) return -1;
    *out = value;
    return 0;
}

static int read_TARGETS(const place *at, const char *key, const char *text, double lo, double hi,
                        unsigned *out) {
    (void)lo, (void)hi;
    if (mla_targets_parse(out, text) == 0) return 0;
    return bad_name(at, key, text, "\"all\" or names of linear layers (q_proj, k_proj, v_proj, "
                    "o_proj, gate_proj, up_proj, down_proj) with commas between");
}

static int read_ACTIONS(const place *at, const char *key, const char *text, double lo, double hi,
                        mla_action_set *out) {
    (void)lo, (void)hi;
    mla_err why;
    if (mla_action_set_parse(out, text, &why) == 0) return 0;
    return bad_name(at, key, text, "\"default\", \"all\" or names of actions with commas between");
}

static int read_ENTRIES(const place *at, const char *key, const char *text, double lo, double hi,
                        mla_prompt_entries *out) {
    (void)lo, (void)hi;
    int found = mla_prompt_entries_parse(text);
    if (found < 0) return bad_name(at, key, text, "\"default\" or \"paper\"");
    *out = (mla_prompt_entries)found;
    return 0;
}

static int read_KEEP(const place *at, const char *key, const char *text, double lo, double hi,
                     mla_keep *out) {
    (void)lo, (void)hi;
    int found = mla_keep_parse(text);
#define X(id, name, meaning) " " name
    if (found < 0) return bad_name(at, key, text, "one of" MLA_KEEP_MAP(X));
#undef X
    *out = (mla_keep)found;
    return 0;
}

static int read_EDITOR(const place *at, const char *key, const char *text, double lo, double hi,
                       mla_editor_kind *out) {
    (void)lo, (void)hi;
    int found = mla_editor_kind_parse(text);
    if (found < 0) return bad_name(at, key, text, "\"none\", \"policy\" or \"endpoint\"");
    *out = (mla_editor_kind)found;
    return 0;
}

static int read_EXPERT(const place *at, const char *key, const char *text, double lo, double hi,
                       mla_expert_kind *out) {
    (void)lo, (void)hi;
    int found = mla_expert_kind_parse(text);
    if (found < 0) return bad_name(at, key, text, "\"scripted\", \"endpoint\" or \"replay\"");
    *out = (mla_expert_kind)found;
    return 0;
}

static int read_IDEAS(const place *at, const char *key, const char *text, double lo, double hi,
                      mla_idea_choice *out) {
    (void)lo, (void)hi;
    int found = mla_idea_choice_parse(text);
    if (found < 0) {
        return bad_name(at, key, text, "\"diverse\", \"random\", \"first\" or \"narrow\"");
    }
    *out = (mla_idea_choice)found;
    return 0;
}

static int read_word(const place *at, const char *key, const char *text, char *out, size_t size) {
    if (strlen(text) >= size || strpbrk(text, "\"\\\n")) {
        return bad_name(at, key, text, "a short text without quotes");
    }
    snprintf(out, size, "%s", text);
    return 0;
}
#define read_WORD(at, key, text, lo, hi, out) read_word(at, key, text, *(out), sizeof *(out))

#define READ(type, key, member, lo, hi)                                                        \
    if (raw->key && read_##type(&at, #key, raw->key, lo, hi, &out->member) < 0) return -1;
#define READER(section, fields, options)                                                       \
    static int read_##section(options *out, const raw_##section *raw, const char *path,        \
                              mla_err *err) {                                                  \
        const place at = {.path = path, .within = #section, .err = err};                      \
        if (!raw) return 0;                                                                    \
        fields(READ) return 0;                                                                 \
    }
SECTIONS(READER)

static int read_compute(mla_config *out, const char *text, const char *path, mla_err *err) {
    if (!text || strcmp(text, "auto") == 0) return 0;
    if (strcmp(text, "bf16") == 0) out->compute = MLA_COMPUTE_BF16;
    else if (strcmp(text, "f32") == 0) out->compute = MLA_COMPUTE_F32;
    else return mla_err_set(err, "%s: compute: \"%s\" is not auto, bf16 or f32", path, text);
    return 0;
}

static int read_name(mla_config *out, const char *text, const char *path, mla_err *err) {
    static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (text[0] == '.' || strspn(text, ok) != strlen(text)) {
        return mla_err_set(err, "%s: name: \"%s\" is not a folder name of letters, digits, '.', "
                           "'_' and '-'", path, text);
    }
    out->name = mla_strdup(text);
    return 0;
}

static char **copy_names(char **names, size_t n) {
    char **copy = MLA_NEW_ARRAY(char *, n);
    for (size_t i = 0; i < n; i++) copy[i] = mla_strdup(names[i]);
    return copy;
}

static mla_config defaults(void) {
    return (mla_config){
        .seed = 1, .workers = 2, .compute = mla_compute_best(),
        .collect = mla_collect_options_default(),
        .endpoint = mla_collect_options_default().endpoint, .data = mla_dataset_options_default(),
        .sft = mla_sft_options_default(), .rl = mla_rl_options_default(),
        .eval = mla_eval_options_default(), .reward = mla_reward_options_default(),
        .prompt = mla_prompt_options_default(), .editor = mla_editor_options_default()};
}

// A preset changes what the keys beside it start from.
static int apply_preset(mla_config *c, const raw_sft *raw, const char *path, mla_err *err) {
    const place at = {.path = path, .within = "sft", .err = err};
    mla_sft_preset preset = MLA_SFT_NONE;
    if (!raw || !raw->preset) return 0;
    if (read_PRESET(&at, "preset", raw->preset, 0, 0, &preset) < 0) return -1;
    mla_sft_preset_apply(&c->sft, preset);
    return 0;
}

// One seed, one prompt, one way to compute: every stage's options get them from the top.
static void spread(mla_config *c) {
    c->collect.seed = c->data.seed = c->sft.seed = c->rl.seed = c->eval.seed = c->seed;
    c->data.max_steps = c->collect.max_steps;
    c->collect.prompt = c->prompt;
    c->data.prompt = c->rl.prompt = c->eval.prompt = c->prompt;
    c->sft.compute = c->rl.compute = c->compute;
    c->sft.actions = c->prompt.actions;
}

static void take_tasks(mla_config *out, const raw_tasks *raw) {
    out->n_train = raw->train_count;
    out->train = copy_names(raw->train, out->n_train);
    out->n_evaluate = raw->evaluate_count;
    out->evaluate = copy_names(raw->evaluate, out->n_evaluate);
}

static int take(mla_config *out, const raw_config *raw, const char *path, mla_err *err) {
    const place at = {.path = path, .within = "", .err = err};
    int seed = 1;
    if (read_name(out, raw->name, path, err) < 0) return -1;
    if (raw->seed && read_INT(&at, "seed", raw->seed, 0, 2147483647, &seed) < 0) return -1;
    if (raw->workers && read_INT(&at, "workers", raw->workers, 1, 256, &out->workers) < 0)
        return -1;
    if (read_compute(out, raw->compute, path, err) < 0) return -1;
    out->seed = (uint64_t)seed;
    out->note = mla_strdup(raw->note);
    out->model = mla_strdup(raw->model);
    if (raw->tasks) take_tasks(out, raw->tasks);
    if (apply_preset(out, raw->sft, path, err) < 0) return -1;
#define READ_SECTION(section, fields, options) \
    if (read_##section(&out->section, raw->section, path, err) < 0) return -1;
    SECTIONS(READ_SECTION)
    spread(out);
    return 0;
}

mla_config mla_config_of_model(const char *name, const char *model) {
    mla_config config = defaults();
    config.name = mla_strdup(name);
    config.model = mla_strdup(model);
    spread(&config);
    return config;
}

int mla_config_load(mla_config *out, const char *path, mla_err *err) {
    *out = defaults();
    raw_config *raw = mla_yaml_load(path, CONFIG_MAX, &config_schema, err);
    if (!raw) return -1;
    int rc = take(out, raw, path, err);
    mla_yaml_free(&config_schema, raw);
    if (rc < 0) mla_config_clear(out);
    return rc;
}

static void names_clear(char **names, size_t n) {
    for (size_t i = 0; i < n; i++) free(names[i]);
    free(names);
}

void mla_config_clear(mla_config *config) {
    free(config->name);
    free(config->note);
    free(config->model);
    names_clear(config->train, config->n_train);
    names_clear(config->evaluate, config->n_evaluate);
    *config = (mla_config){0};
}

// ---- values to text --------------------------------------------------------------------------

static void write_names(mla_buf *out, const char *key, char **names, size_t n) {
    mla_buf_printf(out, "  %s: [", key);
    for (size_t i = 0; i < n; i++) mla_buf_printf(out, "%s%s", i ? ", " : "", names[i]);
    mla_buf_puts(out, "]\n");
}

static void write_actions(mla_buf *out, const char *key, mla_action_set set) {
    char *text = mla_action_set_text(set);
    mla_buf_printf(out, "  %s: \"%s\"\n", key, text);
    free(text);
}

static void write_targets(mla_buf *out, const char *key, unsigned targets) {
    char *text = mla_targets_text(targets);
    mla_buf_printf(out, "  %s: \"%s\"\n", key, text);
    free(text);
}

#define WRITE_INT(key, value) mla_buf_printf(out, "  %s: %d\n", key, value)
#define WRITE_REAL(key, value) mla_buf_printf(out, "  %s: %.17g\n", key, value)
#define WRITE_FLOAT(key, value) mla_buf_printf(out, "  %s: %.9g\n", key, value)
#define WRITE_BOOL(key, value) WRITE_INT(key, (int)(value))
#define WRITE_NAME(key, name) mla_buf_printf(out, "  %s: %s\n", key, name)
#define WRITE_PRESET(key, value) WRITE_NAME(key, mla_sft_preset_name(value))
#define WRITE_METHOD(key, value) WRITE_NAME(key, mla_sft_method_name(value))
#define WRITE_SHAPE(key, value) WRITE_NAME(key, mla_schedule_shape_name(value))
#define WRITE_BEST(key, value) WRITE_NAME(key, mla_sft_keep_name(value))
#define WRITE_TARGETS(key, value) write_targets(out, key, value)
#define WRITE_ENTRIES(key, value) \
    mla_buf_printf(out, "  %s: %s\n", key, mla_prompt_entries_name(value))
#define WRITE_EXPERT(key, value) mla_buf_printf(out, "  %s: %s\n", key, mla_expert_kind_name(value))
#define WRITE_IDEAS(key, value) mla_buf_printf(out, "  %s: %s\n", key, mla_idea_choice_name(value))
#define WRITE_EDITOR(key, value) mla_buf_printf(out, "  %s: %s\n", key, mla_editor_kind_name(value))
#define WRITE_KEEP(key, value) mla_buf_printf(out, "  %s: %s\n", key, mla_keep_name(value))
#define WRITE_FORM(key, value) \
    mla_buf_printf(out, "  %s: %s\n", key, mla_reward_form_name(value))
#define WRITE_WORD(key, value) \
    if (*(value)) mla_buf_printf(out, "  %s: \"%s\"\n", key, value)
#define WRITE_ACTIONS(key, value) write_actions(out, key, value)
#define WRITE(type, key, member, lo, hi) WRITE_##type(#key, here->member);
#define WRITER(section, fields, options)                                        \
    static void write_##section(mla_buf *out, const options *here) {            \
        mla_buf_puts(out, #section ":\n");                                      \
        fields(WRITE)                                                           \
    }
SECTIONS(WRITER)

// A text as a double-quoted YAML scalar; the texts come from a YAML file, so only quotes,
// backslashes and line breaks need care.
static void write_text(mla_buf *out, const char *key, const char *text) {
    if (!text) return;
    mla_buf_printf(out, "%s: \"", key);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') mla_buf_append(out, "\\", 1);
        if (*text == '\n') mla_buf_puts(out, "\\n");
        else mla_buf_append(out, text, 1);
    }
    mla_buf_puts(out, "\"\n");
}

int mla_config_save(const mla_config *c, const char *path, mla_err *err) {
    mla_buf out;
    mla_buf_init(&out, CONFIG_MAX);
    mla_buf_puts(&out, "# The configuration of this run, every value as used.\n");
    write_text(&out, "name", c->name);
    write_text(&out, "note", c->note);
    write_text(&out, "model", c->model);
    mla_buf_printf(&out, "compute: %s\nseed: %llu\nworkers: %d\n",
                   c->compute == MLA_COMPUTE_BF16 ? "bf16" : "f32", (unsigned long long)c->seed,
                   c->workers);
    if (c->n_train) mla_buf_puts(&out, "tasks:\n");
    if (c->n_train) write_names(&out, "train", c->train, c->n_train);
    if (c->n_train) write_names(&out, "evaluate", c->evaluate, c->n_evaluate);
#define WRITE_SECTION(section, fields, options) write_##section(&out, &c->section);
    SECTIONS(WRITE_SECTION)
    int rc = mla_fs_write(path, mla_buf_text(&out), out.len, err);
    mla_buf_clear(&out);
    return rc;
}
