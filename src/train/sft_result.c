// Which weights become the result of fine-tuning, and writing them: the last ones, or those of the
// best validation, which are kept in sft/best meanwhile.
#include <math.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "train/sft_internal.h"

void mla__sft_result_init(mla__sft_result *r, const mla_run *run,
                          const mla_sft_options *options) {
    *r = (mla__sft_result){.keep = options->keep, .lora = options->method == MLA_SFT_LORA,
                           .patience = options->patience, .best = {NAN, NAN},
                           .kept = mla_run_path(run, "sft/best"),
                           .model = mla_run_path(run, "sft/model"),
                           .adapter = mla_run_path(run, "sft/adapter")};
}

void mla__sft_result_clear(mla__sft_result *r) {
    free(r->kept);
    free(r->model);
    free(r->adapter);
    *r = (mla__sft_result){0};
}

json_t *mla__sft_result_to_json(const mla__sft_result *r) {
    return json_pack("{s:i, s:o, s:o, s:i}", "best_step", r->best_step, "val_loss",
                     mla_json_number(r->best.loss), "action_accuracy",
                     mla_json_number(r->best.accuracy), "stale", r->stale);
}

void mla__sft_result_from_json(mla__sft_result *r, const json_t *state) {
    r->best_step = (int)mla_json_get_int(state, "best_step", 0);
    r->best.loss = mla_json_get_number(state, "val_loss", NAN);
    r->best.accuracy = mla_json_get_number(state, "action_accuracy", NAN);
    r->stale = (int)mla_json_get_int(state, "stale", 0);
}

// Few states give few values of the accuracy; among equal ones the loss decides.
static bool is_better(const mla__sft_result *r, const mla__sft_score *score) {
    if (!r->best_step) return true;
    if (r->keep == MLA_SFT_KEEP_ACCURACY && score->accuracy != r->best.accuracy)
        return score->accuracy > r->best.accuracy;
    return score->loss < r->best.loss;
}

// Of a whole model rounded as the result will be, of an adapter in fp32.
static int save(const mla__sft_result *r, const mla_policy *policy, mla_model *model,
                const char *dir, mla_err *err) {
    if (!r->lora) return mla_policy_save(policy, dir, false, err);
    return mla_adapter_save(model, mla_adapter_count(model) - 1, dir, true, err);
}

int mla__sft_result_offer(mla__sft_result *r, const mla__sft_score *score, int step,
                          mla_policy *policy, mla_err *err) {
    if (!is_better(r, score)) {
        r->stale++;
        return 0;
    }
    r->best = *score;
    r->best_step = step;
    r->stale = 0;
    if (r->keep == MLA_SFT_KEEP_LAST) return 1;
    return save(r, policy, mla_policy_model(policy), r->kept, err) < 0 ? -1 : 1;
}

bool mla__sft_result_given_up(const mla__sft_result *r) {
    return r->patience > 0 && r->stale >= r->patience;
}

static int copy_dir(const char *from, const char *to, mla_err *err) {
    char **names, *tmp = mla_format("%s.tmp", to);
    size_t n;
    int rc = mla_fs_list(from, &names, &n, err);
    if (rc == 0) {
        rc = mla_fs_remove_tree(tmp, err);
        if (rc == 0) rc = mla_fs_mkdirs(tmp, err);
        for (size_t i = 0; i < n && rc == 0; i++) {
            char *source = mla_fs_join(from, names[i]), *copy = mla_fs_join(tmp, names[i]);
            rc = mla_fs_copy_file(source, copy, err);
            free(source);
            free(copy);
        }
        if (rc == 0) rc = mla_fs_replace_dir(tmp, to, err);
        mla_fs_names_free(names, n);
    }
    free(tmp);
    return rc;
}

// The base's weights with the adapter added, w + s B A in fp32, rounded once.
static int write_merged(const mla__sft_result *r, const mla_policy *policy, const char *base,
                        mla_err *err) {
    char *tmp = mla_format("%s.tmp", r->model);
    mla_weights *weights = mla_weights_open(base, err);
    int rc = weights ? mla_weights_adapt(weights, r->adapter, err) : -1;
    if (rc == 0) rc = mla_fs_remove_tree(tmp, err);
    if (rc == 0) rc = mla_weights_convert(weights, tmp, MLA_TO_HF, "", err);
    if (rc == 0) rc = mla_tokenizer_save(mla_policy_tokenizer(policy), tmp, err);
    if (rc == 0) rc = mla_fs_replace_dir(tmp, r->model, err);
    mla_weights_close(weights);
    free(tmp);
    return rc;
}

int mla__sft_result_write(const mla__sft_result *r, mla_policy *policy, const char *base,
                          mla_err *err) {
    const char *first = r->lora ? r->adapter : r->model;
    bool kept = r->keep != MLA_SFT_KEEP_LAST && r->best_step;
    int rc = kept ? copy_dir(r->kept, first, err)
                  : save(r, policy, mla_policy_model(policy), first, err);
    return rc == 0 && r->lora ? write_merged(r, policy, base, err) : rc;
}

int mla__sft_result_tidy(const mla__sft_result *r, mla_err *err) {
    return mla_fs_remove_tree(r->kept, err);
}
