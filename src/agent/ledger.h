// What asking an endpoint has cost, and what may still be asked: rates, a budget in tokens and in
// money with a hard stop, and a file of all answers, so that a restarted program pays for none of
// them twice. For several threads at once.
#ifndef MLA_AGENT_LEDGER_H
#define MLA_AGENT_LEDGER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

typedef struct mla_ledger_options {       // 0: no limit
    double requests_per_minute;
    double tokens_per_minute;             // of prompts and answers together, as is the budget
    double budget_tokens;
    double budget_money;                  // in the unit of the prices
    double price_in, price_out;           // of a million tokens that are read, that are written
} mla_ledger_options;

typedef struct mla_ledger mla_ledger;

// `path`: the file of answers (docs/formats.md, calls.jsonl), read and gone on with; what earlier
// runs spent counts. NULL: nothing is kept. NULL on error: a budget in money without prices, a
// file that is none of ours.
mla_ledger *mla_ledger_open(const char *path, const mla_ledger_options *options, mla_err *err);
void mla_ledger_close(mla_ledger *ledger);            // NULL is fine

typedef struct mla_ledger_totals {
    size_t calls;              // answered, of all runs
    size_t kept;               // answers of earlier runs that stood in for a call of this one
    double tokens_in, tokens_out, money;
} mla_ledger_totals;
mla_ledger_totals mla_ledger_get(mla_ledger *ledger);

// ---- a call (agent/endpoint.c) -----------------------------------------------------------------

// What a call may cost at most, before it is made.
typedef struct mla_ledger_claim {
    double tokens_in, tokens_out;
    size_t number;             // set when it is admitted
} mla_ledger_claim;

typedef struct mla_ledger_call {
    const char *key;           // of the question: SHA-256, 64 hex digits
    const char *purpose;       // "step", "ideas", "embedding"
    const char *model;
    double tokens_in, tokens_out;
    bool estimated;            // the endpoint did not say how many
    const char *text;          // NULL: no answer that could be used
    bool cut;                  // the answer, at its limit of tokens
    int requests;              // that it took, repeated ones included
} mla_ledger_call;

// The answer to the same question of an earlier run; caller frees. NULL: there is none.
char *mla_ledger_find(mla_ledger *ledger, const char *key, bool *cut);
// Waits until the rates allow the call. -1: it might go past the budget, or mla_stop_wanted(). A
// call that is admitted must be settled.
MLA_MUST_USE int mla_ledger_admit(mla_ledger *ledger, mla_ledger_claim *claim, mla_err *err);
// Counts what the call took and keeps its answer.
MLA_MUST_USE int mla_ledger_settle(mla_ledger *ledger, const mla_ledger_claim *claim,
                                   const mla_ledger_call *call, mla_err *err);

#endif
