// The ledger of an endpoint: admission by rates and budget, the file of answers. It leaves out the
// calls themselves (endpoint.c).
#include "agent/ledger.h"

#include <math.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "record/store.h"

#define MINUTE 60.0
#define MILLION 1e6
#define LOOK_SECONDS 0.02      // between looks whether a call may go

typedef struct {
    char *key, *text;          // owned
    bool cut;
} answer;

// A call that counts for the rates until a minute has gone by.
typedef struct {
    size_t number;
    double at, tokens;
    int requests;
} recent;

struct mla_ledger {
    mla_ledger_options options;
    pthread_mutex_t lock;
    mla_lines *lines;          // NULL: nothing is kept
    void *answers;             // a tree of `answer` by key (tsearch), of earlier runs only
    recent *window;            // [n_window], oldest first
    size_t n_window, cap;
    size_t admitted, under_way;
    double claimed_tokens, claimed_money;      // by the calls under way
    mla_ledger_totals totals;
};

static int by_key(const void *a, const void *b) {
    return strcmp(((const answer *)a)->key, ((const answer *)b)->key);
}

static void free_answer(void *node) {
    answer *a = node;
    free(a->key);
    free(a->text);
    free(a);
}

static double price_of(const mla_ledger_options *o, double tokens_in, double tokens_out) {
    return (tokens_in * o->price_in + tokens_out * o->price_out) / MILLION;
}

static double spent_tokens(const mla_ledger *l) {
    return l->totals.tokens_in + l->totals.tokens_out;
}

// --- the file -----------------------------------------------------------------------------------

static void keep_answer(mla_ledger *l, const char *key, const char *text, bool cut) {
    answer *a = MLA_NEW(answer);
    *a = (answer){.key = mla_strdup(key), .text = mla_strdup(text), .cut = cut};
    void *there = tsearch(a, &l->answers, by_key);
    MLA_ASSERT(there);
    if (*(answer **)there != a) free_answer(a);
}

static int take_line(void *ctx, json_t *object, mla_err *err) {
    mla_ledger *l = ctx;
    const char *key = mla_json_get_text(object, "key", NULL);
    double in = mla_json_get_number(object, "tokens_in", NAN);
    double out = mla_json_get_number(object, "tokens_out", NAN);
    double money = mla_json_get_number(object, "money", 0);
    if (!key || !(in >= 0) || !(out >= 0)) {
        return mla_err_set(err, "a call needs key, tokens_in and tokens_out");
    }
    const char *text = mla_json_get_text(object, "text", NULL);
    if (text) keep_answer(l, key, text, mla_json_get_bool(object, "cut", false));
    l->totals.calls++;
    l->totals.tokens_in += in;
    l->totals.tokens_out += out;
    l->totals.money += isfinite(money) ? money : 0;
    return 0;
}

static int write_line(mla_ledger *l, const mla_ledger_call *call, double money, mla_err *err) {
    json_t *line = json_object();
    json_object_set_new(line, "key", json_string(call->key));
    json_object_set_new(line, "purpose", json_string(call->purpose));
    json_object_set_new(line, "model", mla_json_text(call->model, strlen(call->model)));
    json_object_set_new(line, "tokens_in", json_integer((json_int_t)call->tokens_in));
    json_object_set_new(line, "tokens_out", json_integer((json_int_t)call->tokens_out));
    json_object_set_new(line, "estimated", json_boolean(call->estimated));
    json_object_set_new(line, "money", mla_json_number(money));
    json_object_set_new(line, "requests", json_integer(call->requests));
    json_object_set_new(line, "cut", json_boolean(call->cut));
    json_object_set_new(line, "text", call->text ? mla_json_text(call->text, strlen(call->text))
                                                 : json_null());
    return mla_lines_append_take(l->lines, line, err);
}

mla_ledger *mla_ledger_open(const char *path, const mla_ledger_options *options, mla_err *err) {
    if (options->budget_money > 0 && options->price_in + options->price_out <= 0) {
        mla_err_set(err, "endpoint.budget_money needs endpoint.price_in and endpoint.price_out, "
                    "the prices of a million tokens");
        return NULL;
    }
    mla_ledger *l = MLA_NEW(mla_ledger);
    l->options = *options;
    MLA_ASSERT(pthread_mutex_init(&l->lock, NULL) == 0);
    if (!path) return l;
    if (mla_lines_read(path, take_line, l, err) < 0 || !(l->lines = mla_lines_open(path, err))) {
        mla_ledger_close(l);
        return NULL;
    }
    return l;
}

void mla_ledger_close(mla_ledger *l) {
    if (!l) return;
    mla_lines_close(l->lines);
    tdestroy(l->answers, free_answer);
    pthread_mutex_destroy(&l->lock);
    free(l->window);
    free(l);
}

mla_ledger_totals mla_ledger_get(mla_ledger *l) {
    pthread_mutex_lock(&l->lock);
    mla_ledger_totals totals = l->totals;
    pthread_mutex_unlock(&l->lock);
    return totals;
}

char *mla_ledger_find(mla_ledger *l, const char *key, bool *cut) {
    const answer wanted = {.key = (char *)key};
    char *text = NULL;
    pthread_mutex_lock(&l->lock);
    answer *const *found = tfind(&wanted, &l->answers, by_key);
    if (found) {
        text = mla_strdup((*found)->text);
        *cut = (*found)->cut;
        l->totals.kept++;
    }
    pthread_mutex_unlock(&l->lock);
    return text;
}

// --- admission ----------------------------------------------------------------------------------

static void forget_old(mla_ledger *l, double now) {
    size_t old = 0;
    while (old < l->n_window && l->window[old].at < now - MINUTE) old++;
    if (!old) return;
    l->n_window -= old;
    memmove(l->window, l->window + old, l->n_window * sizeof *l->window);
}

// A call that alone is more than a minute's tokens goes when nothing else counts.
static bool rates_allow(mla_ledger *l, double tokens) {
    const mla_ledger_options *o = &l->options;
    double requests = 0, sum = 0;
    forget_old(l, mla_clock());
    for (size_t i = 0; i < l->n_window; i++) {
        requests += l->window[i].requests;
        sum += l->window[i].tokens;
    }
    if (o->requests_per_minute > 0 && requests + 1 > fmax(o->requests_per_minute, 1)) return false;
    return o->tokens_per_minute <= 0 || l->n_window == 0 || sum + tokens <= o->tokens_per_minute;
}

static bool budget_allows(const mla_ledger *l, double tokens, double money) {
    const mla_ledger_options *o = &l->options;
    if (o->budget_tokens > 0 && spent_tokens(l) + l->claimed_tokens + tokens > o->budget_tokens) {
        return false;
    }
    return o->budget_money <= 0 ||
           l->totals.money + l->claimed_money + money <= o->budget_money * (1 + 1e-12);
}

static int past_budget(const mla_ledger *l, double tokens, double money, mla_err *err) {
    const mla_ledger_options *o = &l->options;
    bool by_tokens = o->budget_tokens > 0 && spent_tokens(l) + tokens > o->budget_tokens;
    if (by_tokens) {
        return mla_err_set(err, "the budget of %.0f tokens does not allow another call: %.0f are "
                           "spent in %zu calls and it may take %.0f; raise endpoint.budget_tokens "
                           "(--budget-tokens) and run the same command again, every answer so far "
                           "is kept", o->budget_tokens, spent_tokens(l), l->totals.calls, tokens);
    }
    return mla_err_set(err, "the budget of %g does not allow another call: %.6g is spent in %zu "
                       "calls and it may cost %.6g; raise endpoint.budget_money (--budget-money) "
                       "and run the same command again, every answer so far is kept",
                       o->budget_money, l->totals.money, l->totals.calls, money);
}

static void claim_for(mla_ledger *l, double tokens, double money) {
    l->admitted++;
    l->under_way++;
    l->claimed_tokens += tokens;
    l->claimed_money += money;
    MLA_GROW(l->window, l->cap, l->n_window + 1);
    l->window[l->n_window++] = (recent){.number = l->admitted, .at = mla_clock(),
                                        .tokens = tokens, .requests = 1};
}

// 1: go, 0: not yet, -1: never.
static int try_admit(mla_ledger *l, double tokens, double money, mla_err *err) {
    bool affordable = budget_allows(l, tokens, money);
    // Calls under way may take less than they claim.
    if (!affordable && !l->under_way) return past_budget(l, tokens, money, err);
    if (!affordable || !rates_allow(l, tokens)) return 0;
    claim_for(l, tokens, money);
    return 1;
}

int mla_ledger_admit(mla_ledger *l, mla_ledger_claim *claim, mla_err *err) {
    double tokens = claim->tokens_in + claim->tokens_out;
    double money = price_of(&l->options, claim->tokens_in, claim->tokens_out);
    while (!mla_stop_wanted()) {
        pthread_mutex_lock(&l->lock);
        int rc = try_admit(l, tokens, money, err);
        if (rc > 0) claim->number = l->admitted;
        pthread_mutex_unlock(&l->lock);
        if (rc) return rc < 0 ? -1 : 0;
        const struct timespec slice = {.tv_nsec = (long)(LOOK_SECONDS * 1e9)};
        nanosleep(&slice, NULL);
    }
    return mla_err_set(err, "stopped");
}

int mla_ledger_settle(mla_ledger *l, const mla_ledger_claim *claim, const mla_ledger_call *call,
                      mla_err *err) {
    double money = price_of(&l->options, call->tokens_in, call->tokens_out);
    double claimed = claim->tokens_in + claim->tokens_out;
    bool counts = call->text || call->tokens_in + call->tokens_out > 0;
    pthread_mutex_lock(&l->lock);
    l->under_way--;
    l->claimed_tokens -= claimed;
    l->claimed_money -= price_of(&l->options, claim->tokens_in, claim->tokens_out);
    for (size_t i = 0; i < l->n_window; i++) {
        if (l->window[i].number != claim->number) continue;
        l->window[i].tokens = call->tokens_in + call->tokens_out;
        l->window[i].requests = call->requests > 1 ? call->requests : 1;
    }
    l->totals.calls += counts;
    l->totals.tokens_in += call->tokens_in;
    l->totals.tokens_out += call->tokens_out;
    l->totals.money += money;
    int rc = counts && l->lines ? write_line(l, call, money, err) : 0;
    pthread_mutex_unlock(&l->lock);
    return rc;
}
