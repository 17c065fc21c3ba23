// Other programs' conversations become samples for fine-tuning. The text is the truth: it is
// tokenised once, here, special tokens in it as plain text.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "collect/dataset.h"
#include "collect/records.h"
#include "env/action.h"

#define MEGABYTE 1e6

mla_import_options mla_import_options_default(void) {
    const mla_dataset_options data = mla_dataset_options_default();
    return (mla_import_options){.max_bad = 20, .max_sample_tokens = data.max_sample_tokens,
                                .val_share = data.val_share, .seed = data.seed};
}

typedef struct {
    const mla_policy *policy;
    const mla_import_options *options;
    mla_import_counts *counts;
    const char *path, *word;       // of the file being read
    bool held_back;                // it is a validation file
    bool drawn;                    // no file is: conversations are drawn
    mla_steps train, validation;
    mla__seen names;               // of conversations
    mla_progress bar;
    size_t bytes;                  // read so far
} importing;

// ---- samples -----------------------------------------------------------------------------------

static mla_steps *samples_of(importing *im) {
    return im->held_back ? &im->validation : &im->train;
}

// Takes over the step and the ids.
static void add_sample(importing *im, mla_step *step, mla_ids *prompt, mla_ids *action) {
    if (prompt->len + action->len > (size_t)im->options->max_sample_tokens) {
        im->counts->too_long++;
        mla_step_clear(step);
        mla_ids_clear(prompt);
        mla_ids_clear(action);
        return;
    }
    step->prompt_ids = prompt->data, step->n_prompt = prompt->len;
    step->action_ids = action->data, step->n_action = action->len;
    step->ended = true;
    step->cost.prompt_tokens = (int)prompt->len;
    step->cost.action_tokens = (int)action->len;
    *prompt = *action = (mla_ids){0};
    mla_steps_push_take(samples_of(im), step);
}

static void read_action(mla_step *step) {
    mla_action action;
    mla_err why;
    if (mla_action_parse(&action, step->text, MLA_ACTIONS_ALL, &why) < 0) return;
    step->kind = action.kind;
    mla_action_clear(&action);
}

// `before`: the turns before it, tokenised.
static int add_turn(importing *im, const mla_talk *talk, const mla_turn *turn, size_t k,
                    const char *name, const mla_ids *before, mla_err *err) {
    mla_step step;
    if (mla_talk_step(talk, turn, k, name, &step, err) < 0) return -1;
    if (!talk->steps) read_action(&step);
    mla_ids prompt = {0}, action = {0};
    mla_ids_append(&prompt, before->data, before->len);
    mla_chat_open_reply(im->policy, &prompt);
    mla_tokenizer_encode(mla_policy_tokenizer(im->policy), turn->text, strlen(turn->text),
                         &action);
    mla_ids_push(&action, mla_chat_end_of_turn(im->policy));
    add_sample(im, &step, &prompt, &action);
    return 0;
}

static int add_talk(importing *im, const mla_talk *talk, const char *name, mla_err *err) {
    mla_ids before = {0};
    size_t k = 0, unanswered = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < talk->n_turns; i++) {
        const mla_turn *turn = &talk->turns[i];
        unanswered = turn->learn ? 0 : unanswered + 1;
        if (turn->learn) rc = add_turn(im, talk, turn, k++, name, &before, err);
        mla_chat_turn(im->policy, &before, mla_role_name(turn->role), turn->text);
    }
    if (rc == 0) im->counts->unanswered += unanswered;
    mla_ids_clear(&before);
    return rc;
}

// ---- records -----------------------------------------------------------------------------------

// Ids are only good for the vocabulary that made them: they must say what the text says.
static int check_ids(const importing *im, const mla_step *step, mla_err *err) {
    const mla_tokenizer *tok = mla_policy_tokenizer(im->policy);
    size_t vocab = mla_tokenizer_vocab(tok);
    if (!step->n_prompt || !step->n_action || !step->text) {
        return mla_err_set(err, "no prompt_ids, action_ids or text; what is imported is a data set "
                           "(sft/steps.jsonl)");
    }
    for (size_t i = 0; i < step->n_prompt + step->n_action; i++) {
        int32_t id = i < step->n_prompt ? step->prompt_ids[i]
                                        : step->action_ids[i - step->n_prompt];
        if ((size_t)id >= vocab) return mla_err_set(err, "token id %d is not in the vocabulary of "
                                                    "the run's model", id);
    }
    char *text = mla_tokenizer_decode(tok, step->action_ids, step->n_action, NULL);
    int rc = strcmp(text, step->text) == 0 ? 0 : -1;
    free(text);
    if (rc == 0) return 0;
    return mla_err_set(err, "its token ids are of another model's vocabulary; export it there with "
                       "--to sharegpt, which holds the text");
}

static int add_step(importing *im, const json_t *record, mla_err *err) {
    mla_step step;
    if (mla_step_from_json(&step, record, err) < 0) return -1;
    if (check_ids(im, &step, err) < 0) {
        mla_step_clear(&step);
        return -1;
    }
    mla_ids prompt = {.data = step.prompt_ids, .len = step.n_prompt},
            action = {.data = step.action_ids, .len = step.n_action};
    add_sample(im, &step, &prompt, &action);
    return 0;
}

// The conversation's own name, or one made of the file's and the record's number.
static char *name_of(importing *im, const mla_talk *talk, size_t number) {
    const char *slash = strrchr(im->path, '/'), *base = slash ? slash + 1 : im->path;
    int stem = (int)strcspn(base, ".");
    char *name = talk->id && *talk->id ? mla_strdup(talk->id)
                                       : mla_format("%.*s-%06zu", stem, base, number);
    if (mla__seen_add(&im->names, mla_rng_hash(name))) return name;
    char *other = mla_format("%s#%zu", name, number);
    mla__seen_add(&im->names, mla_rng_hash(other));
    free(name);
    return other;
}

static int add_conversation(importing *im, size_t number, const json_t *record, mla_err *err) {
    mla_talk talk;
    if (mla_talk_read(&talk, record, err) < 0) return -1;
    char *name = name_of(im, &talk, number);
    int rc = add_talk(im, &talk, name, err);
    free(name);
    mla_talk_clear(&talk);
    return rc;
}

static void drop_behind(mla_steps *steps, size_t len) {
    while (steps->len > len) mla_step_clear(&steps->items[--steps->len]);
}

// A record is taken whole, or told and left out.
static int take_record(void *ctx, size_t number, const json_t *record, const char *why,
                       mla_err *err) {
    importing *im = ctx;
    size_t len = samples_of(im)->len;
    mla_err bad = {{0}};
    im->counts->records++;
    mla_progress_set(&im->bar, (double)im->bytes / MEGABYTE, "%zu samples",
                     im->train.len + im->validation.len);
    int rc = -1;
    if (!record) mla_err_set(&bad, "%s", why);
    else if (json_object_get(record, "action_ids")) rc = add_step(im, record, &bad);
    else rc = add_conversation(im, number, record, &bad);
    if (rc == 0) return 0;
    drop_behind(samples_of(im), len);
    mla__one_line(bad.text);
    mla_warn("%s: %s %zu: %s; it is left out", im->path, im->word, number, bad.text);
    if (++im->counts->bad <= (size_t)im->options->max_bad) return 0;
    return mla_err_set(err, "%s: more than %d %ss that cannot be used: nothing was imported; mend "
                       "the file, or allow more with --max-bad", im->path, im->options->max_bad,
                       im->word);
}

// ---- what is held back -------------------------------------------------------------------------

static int by_lot(const void *a, const void *b) {
    const uint64_t *p = a, *q = b;
    return (*p > *q) - (*p < *q);
}

static uint64_t lot_of(const importing *im, const mla_step *step) {
    return mla_rng_derive(im->options->seed, mla_rng_hash(step->trajectory), 0, 6);
}

// The lot below which conversations are held back; one at least when there are two or more.
static uint64_t draw_limit(const importing *im) {
    uint64_t *lots = MLA_NEW_ARRAY(uint64_t, im->train.len + 1);
    size_t n = 0, different = 0;
    for (size_t i = 0; i < im->train.len; i++) lots[n++] = lot_of(im, &im->train.items[i]);
    if (n) qsort(lots, n, sizeof *lots, by_lot);
    for (size_t i = 0; i < n; i++) {
        if (!i || lots[i] != lots[different - 1]) lots[different++] = lots[i];
    }
    size_t wanted = (size_t)llround(im->options->val_share * (double)different);
    if (!wanted && im->options->val_share > 0) wanted = 1;
    uint64_t limit = different < 2 || !wanted ? 0 : lots[wanted < different ? wanted
                                                                          : different - 1];
    free(lots);
    return limit;
}

static void draw(importing *im) {
    uint64_t limit = draw_limit(im);
    size_t kept = 0;
    for (size_t i = 0; i < im->train.len; i++) {
        mla_step *step = &im->train.items[i];
        if (lot_of(im, step) < limit) mla_steps_push_take(&im->validation, step);
        else im->train.items[kept++] = *step;
    }
    im->train.len = kept;
}

static uint64_t prompt_of(const mla_step *step) {
    return mla__ids_hash(step->prompt_ids, step->n_prompt);
}

// Leaves out what is held back but has a prompt that is trained on.
static void drop_shared(importing *im) {
    mla__seen trained = {0};
    size_t kept = 0;
    for (size_t i = 0; i < im->train.len; i++) {
        const mla_step *step = &im->train.items[i];
        if (mla__seen_add(&trained, prompt_of(step))) im->counts->tokens += step->n_prompt;
        im->counts->tokens += step->n_action;
    }
    for (size_t i = 0; i < im->validation.len; i++) {
        mla_step *step = &im->validation.items[i];
        if (mla__seen_has(&trained, prompt_of(step))) mla_step_clear(step);
        else im->validation.items[kept++] = *step;
    }
    im->counts->shared = im->validation.len - kept;
    im->validation.len = kept;
    mla__seen_clear(&trained);
}

// ---- the whole ---------------------------------------------------------------------------------

char *mla_data_counterpart(const char *path) {
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    size_t stem = dot ? (size_t)(dot - path) : strlen(path);
    return mla_format("%.*s.validation%s", (int)stem, path, path + stem);
}

static int read_file(importing *im, const char *path, bool held_back, mla_err *err) {
    im->path = path;
    im->word = mla__records_word(path);
    im->held_back = held_back;
    return mla__records_read(path, take_record, im, &im->bytes, err);
}

// Of the files and what is beside them.
static double megabytes_of(char *const *files, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        char *beside = mla_data_counterpart(files[i]);
        int64_t a = mla_fs_size(files[i]), b = mla_fs_size(beside);
        sum += (a > 0 ? (double)a : 0) + (b > 0 ? (double)b : 0);
        free(beside);
    }
    return sum / MEGABYTE;
}

static int read_files(importing *im, char *const *files, size_t n, mla_err *err) {
    int rc = 0;
    mla_progress_begin(&im->bar, "import", "MB", megabytes_of(files, n), 0);
    for (size_t i = 0; rc == 0 && i < n && !mla_stop_wanted(); i++) {
        char *beside = mla_data_counterpart(files[i]);
        rc = read_file(im, files[i], false, err);
        if (rc == 0 && mla_fs_exists(beside)) {
            im->drawn = false;
            rc = read_file(im, beside, true, err);
        }
        free(beside);
    }
    im->bar.done = (double)im->bytes / MEGABYTE;
    mla_progress_end(&im->bar);
    return rc;
}

static int write_counts(const mla_run *run, const mla_import_counts *c, mla_err *err) {
    json_t *o = json_pack(
        "{s:i, s:{s:I, s:I, s:I, s:I, s:I}, s:{s:I, s:I}, s:{s:I}}", "version", 1, "imported",
        "records", (json_int_t)c->records, "bad", (json_int_t)c->bad, "too long",
        (json_int_t)c->too_long, "held back, but of a trained prompt", (json_int_t)c->shared,
        "turns without a reply", (json_int_t)c->unanswered, "train", "samples",
        (json_int_t)c->train, "tokens", (json_int_t)c->tokens, "validation", "samples",
        (json_int_t)c->validation);
    char *path = mla_run_path(run, "sft/data.json");
    int rc = mla_json_write_file(path, o, err);
    free(path);
    json_decref(o);
    return rc;
}

static int write_all(importing *im, const mla_run *run, mla_err *err) {
    if (!im->train.len) {
        return mla_err_set(err, "%s: nothing to learn from: of %zu %ss %zu cannot be used, and %zu "
                           "samples are longer than data.max_sample_tokens (%d)", im->path,
                           im->counts->records, im->word, im->counts->bad, im->counts->too_long,
                           im->options->max_sample_tokens);
    }
    char *train = mla_run_path(run, "sft/steps.jsonl"),
         *validation = mla_run_path(run, "sft/validation.jsonl");
    int rc = mla__samples_write(&im->validation, validation, im->options->seed, err);
    if (rc == 0) rc = mla__samples_write(&im->train, train, im->options->seed, err);
    if (rc == 0) rc = write_counts(run, im->counts, err);
    free(train);
    free(validation);
    return rc;
}

int mla_data_import(mla_run *run, const mla_policy *policy, char *const *files, size_t n_files,
                    const mla_import_options *options, mla_import_counts *counts, mla_err *err) {
    *counts = (mla_import_counts){0};
    importing im = {.policy = policy, .options = options, .counts = counts, .drawn = true};
    int rc = read_files(&im, files, n_files, err);
    if (rc == 0 && im.drawn && options->val_share > 0) draw(&im);
    if (rc == 0) drop_shared(&im);
    counts->train = im.train.len;
    counts->validation = im.validation.len;
    bool stopped = mla_stop_wanted();
    if (rc == 0 && !stopped) rc = write_all(&im, run, err);
    mla_steps_clear(&im.train);
    mla_steps_clear(&im.validation);
    mla__seen_clear(&im.names);
    return rc < 0 ? -1 : !stopped;
}
