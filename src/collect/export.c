// A run's data set in other programs' formats. Prompts are kept as token ids: here they become the
// turns that the chat template made them of.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "collect/data.h"
#include "record/store.h"

typedef struct {
    const mla_policy *policy;
    mla_data_format format;
    mla_steps steps;               // of one file, sorted by trajectory and index
    mla_buf out;
    bool array;
    size_t records, forgotten;     // forgotten: turns with a weight of 0, which the format lacks
} exporting;

#define OUT_MAX ((size_t)16 << 30)

// ---- prompts to turns --------------------------------------------------------------------------

// The turn that ids [n], between its markers, say: "role\ntext".
static int add_turn(const mla_policy *policy, const int32_t *ids, size_t n, mla_talk *out,
                    mla_err *err) {
    char *text = mla_tokenizer_decode(mla_policy_tokenizer(policy), ids, n, NULL);
    char *newline = strchr(text, '\n');
    if (newline) *newline = '\0';
    int role = newline ? mla_role_parse(text) : -1;
    if (role < 0) mla_err_set(err, "a turn of \"%.40s\"", text);
    else mla_talk_push_take(out, (mla_role)role, mla_strdup(newline + 1), false);
    free(text);
    return role < 0 ? -1 : 0;
}

// The turns of a prompt without the opened reply at its end.
static int read_prompt(const mla_policy *policy, const int32_t *ids, size_t n, mla_talk *out,
                       mla_err *err) {
    const mla_tokenizer *tok = mla_policy_tokenizer(policy);
    int32_t begin = mla_tokenizer_special(tok, "<|im_start|>"), end = mla_chat_end_of_turn(policy);
    size_t from = 0;
    bool inside = false;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] == begin) from = i + 1;
        if (ids[i] == end && inside && add_turn(policy, ids + from, i - from, out, err) < 0) {
            return -1;
        }
        if (ids[i] == begin || ids[i] == end) inside = ids[i] == begin;
    }
    return inside ? 0 : mla_err_set(err, "no reply is opened at its end");
}

static int step_talk(const exporting *ex, const mla_step *step, mla_talk *out, mla_err *err) {
    *out = (mla_talk){0};
    if (read_prompt(ex->policy, step->prompt_ids, step->n_prompt, out, err) < 0) {
        mla_talk_clear(out);
        return mla_err_wrap(err, "trajectory %s, step %d: its prompt is not in the chat template "
                            "of this model; export with --to steps", step->trajectory,
                            step->index);
    }
    mla_talk_push_take(out, MLA_ROLE_ASSISTANT, mla_strdup(step->text), true);
    return 0;
}

// ---- records -----------------------------------------------------------------------------------

static bool is_imported(const mla_step *step) {
    return strcmp(step->actor, "imported") == 0;
}

// What is said of a sample beside its turns. A foreign one has nothing but its conversation's name.
static void describe(mla_talk *talk, const mla_step *step) {
    if (is_imported(step)) {
        talk->id = mla_strdup(step->trajectory);
    } else {
        talk->id = mla_format("%s/%d", step->trajectory, step->index);
        talk->steps = json_array();
        json_array_append_new(talk->steps, mla_talk_rest(step));
    }
}

static void put_record(exporting *ex, const json_t *record) {
    char *line = mla_json_line(record);
    mla_buf_puts(&ex->out, !ex->array ? "" : ex->records ? ",\n" : "[\n");
    mla_buf_puts(&ex->out, line);
    if (!ex->array) mla_buf_puts(&ex->out, "\n");
    ex->records++;
    free(line);
}

static void put_talk(exporting *ex, const mla_talk *talk) {
    json_t *record = mla_talk_write(talk, ex->format);
    for (size_t i = 0; i < talk->n_turns; i++) {
        ex->forgotten += talk->turns[i].role == MLA_ROLE_ASSISTANT && !talk->turns[i].learn &&
                         ex->format == MLA_FORMAT_SHAREGPT;
    }
    put_record(ex, record);
    json_decref(record);
}

// `next` goes on from `talk`, which it then replaces: what was learned from still is.
static bool goes_on(const mla_talk *talk, const mla_step *step, mla_talk *next,
                    const mla_step *next_step) {
    if (strcmp(step->trajectory, next_step->trajectory) != 0 || !mla_talk_begins(talk, next) ||
        talk->n_turns == next->n_turns) {
        return false;
    }
    for (size_t i = 0; i < talk->n_turns; i++) next->turns[i].learn = talk->turns[i].learn;
    next->id = mla_strdup(talk->id);
    if (talk->steps) {
        next->steps = json_copy(talk->steps);
        json_array_append_new(next->steps, mla_talk_rest(next_step));
    }
    return true;
}

static int put_talks(exporting *ex, mla_err *err) {
    mla_talk talk = {0};
    for (size_t i = 0; i < ex->steps.len; i++) {
        const mla_step *step = &ex->steps.items[i];
        mla_talk next;
        if (step_talk(ex, step, &next, err) < 0) {
            mla_talk_clear(&talk);
            return -1;
        }
        if (i && !goes_on(&talk, step - 1, &next, step)) put_talk(ex, &talk);
        if (!next.id) describe(&next, step);
        mla_talk_clear(&talk);
        talk = next;
    }
    if (ex->steps.len) put_talk(ex, &talk);
    mla_talk_clear(&talk);
    return 0;
}

static int put_steps(exporting *ex) {
    for (size_t i = 0; i < ex->steps.len; i++) {
        json_t *record = mla_step_to_json(&ex->steps.items[i]);
        put_record(ex, record);
        json_decref(record);
    }
    return 0;
}

// ---- files -------------------------------------------------------------------------------------

// Equal places keep the order of the file, so that it is a function of it.
static int by_place(const void *a, const void *b) {
    const mla_step *p = *(const mla_step *const *)a, *q = *(const mla_step *const *)b;
    int order = strcmp(p->trajectory, q->trajectory);
    if (!order) order = (p->index > q->index) - (p->index < q->index);
    return order ? order : (p > q) - (p < q);
}

static void sort_steps(mla_steps *steps) {
    const mla_step **order = MLA_NEW_ARRAY(const mla_step *, steps->len + 1);
    mla_step *sorted = MLA_NEW_ARRAY(mla_step, steps->len + 1);
    for (size_t i = 0; i < steps->len; i++) order[i] = &steps->items[i];
    if (steps->len) qsort(order, steps->len, sizeof *order, by_place);
    for (size_t i = 0; i < steps->len; i++) sorted[i] = *order[i];
    memcpy(steps->items, sorted, steps->len * sizeof *sorted);
    free(order);
    free(sorted);
}

static int load(exporting *ex, const char *path, mla_err *err) {
    if (mla_store_read(path, &ex->steps, err) < 0) return -1;
    for (size_t i = 0; i < ex->steps.len; i++) {
        const mla_step *step = &ex->steps.items[i];
        if (step->n_prompt && step->n_action && step->text) continue;
        return mla_err_set(err, "%s: line %zu has no prompt_ids, action_ids or text: it is not a "
                           "data set", path, i + 1);
    }
    sort_steps(&ex->steps);
    return 0;
}

static int write_out(exporting *ex, const char *path, mla_err *err) {
    if (ex->array) mla_buf_puts(&ex->out, ex->records ? "\n]\n" : "[]\n");
    if (ex->forgotten) {
        mla_warn("%s: %zu turns have a weight of 0, which ShareGPT cannot say: other programs will "
                 "learn from them", path, ex->forgotten);
    }
    if (ex->out.truncated) return mla_err_set(err, "%s: longer than %zu bytes", path, OUT_MAX);
    return mla_fs_write(path, mla_buf_text(&ex->out), ex->out.len, err);
}

// `from` to `path`; how many records, or -1.
static int export_file(const mla_policy *policy, mla_data_format format, const char *from,
                       const char *path, size_t *records, mla_err *err) {
    size_t n = strlen(path);
    exporting ex = {.policy = policy, .format = format,
                    .array = n > 5 && !strcmp(path + n - 5, ".json")};
    mla_buf_init(&ex.out, OUT_MAX);
    int rc = load(&ex, from, err);
    if (rc == 0) rc = format == MLA_FORMAT_STEPS ? put_steps(&ex) : put_talks(&ex, err);
    if (rc == 0) rc = write_out(&ex, path, err);
    *records = ex.records;
    mla_buf_clear(&ex.out);
    mla_steps_clear(&ex.steps);
    return rc;
}

// ---- dataset_info.json -------------------------------------------------------------------------

static json_t *describe_file(const char *name, mla_data_format format) {
    if (format == MLA_FORMAT_SHAREGPT) {
        return json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s, s:s, s:s}}", "file_name", name,
                         "formatting", "sharegpt", "columns", "messages", "conversations",
                         "system", "system", "tags", "role_tag", "from", "content_tag", "value",
                         "user_tag", "human", "assistant_tag", "gpt");
    }
    return json_pack("{s:s, s:s, s:{s:s}, s:{s:s, s:s, s:s, s:s, s:s}}", "file_name", name,
                     "formatting", "sharegpt", "columns", "messages", "messages", "tags",
                     "role_tag", "role", "content_tag", "content", "user_tag", "user",
                     "assistant_tag", "assistant", "system_tag", "system");
}

// Adds the file to what is there already.
static int add_info(const char *path, mla_data_format format, mla_err *err) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *info = slash ? mla_format("%.*s/dataset_info.json", (int)(slash - path), path)
                       : mla_strdup("dataset_info.json");
    json_t *all = mla_fs_exists(info) ? mla_json_read_file(info, (size_t)64 << 20, err)
                                      : json_object();
    int rc = all ? 0 : -1;
    if (all && !json_is_object(all)) rc = mla_err_set(err, "%s: is no JSON object", info);
    if (rc == 0) {
        const char *dot = strrchr(name, '.');
        char *key = mla_strndup(name, dot ? (size_t)(dot - name) : strlen(name));
        json_object_set_new(all, key, describe_file(name, format));
        rc = mla_json_write_file(info, all, err);
        free(key);
    }
    json_decref(all);
    free(info);
    return rc;
}

// ---- the whole ---------------------------------------------------------------------------------

static int export_one(const mla_policy *policy, mla_data_format format, const char *from,
                      const char *path, size_t *records, mla_err *err) {
    int rc = export_file(policy, format, from, path, records, err);
    if (rc == 0 && format != MLA_FORMAT_STEPS) rc = add_info(path, format, err);
    return rc;
}

int mla_data_export(const char *run_dir, const mla_policy *policy, mla_data_format format,
                    const char *path, size_t *counts, mla_err *err) {
    char *train = mla_fs_join(run_dir, "sft/steps.jsonl"),
         *held = mla_fs_join(run_dir, "sft/validation.jsonl"), *beside = mla_data_counterpart(path);
    counts[0] = counts[1] = 0;
    int rc = mla_fs_exists(train) ? 0 : mla_err_set(err, "%s: there is no data set; make one with "
                                                    "`mlagent collect`", train);
    if (rc == 0) rc = export_one(policy, format, train, path, &counts[0], err);
    if (rc == 0 && mla_fs_exists(held)) {
        rc = export_one(policy, format, held, beside, &counts[1], err);
    } else if (rc == 0 && mla_fs_exists(beside)) {
        rc = mla_fs_remove_tree(beside, err);
    }
    free(train);
    free(held);
    free(beside);
    return rc;
}
