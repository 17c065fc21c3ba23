// A conversation as other programs keep it: turns of text. Reading and writing the two common
// forms; no tokens, no files.
#ifndef MLA_COLLECT_TALK_H
#define MLA_COLLECT_TALK_H

#include "base/json.h"
#include "record/step.h"

// X(id, name, meaning)
#define MLA_FORMAT_MAP(X)                                                                    \
    X(SHAREGPT, "sharegpt", "conversations of from and value, as LLaMA-Factory reads them")   \
    X(OPENAI, "openai", "messages of role and content, as OpenAI's fine-tuning reads them")   \
    X(STEPS, "steps", "our own step records, token ids included")

typedef enum mla_data_format {
#define X(id, name, meaning) MLA_FORMAT_##id,
    MLA_FORMAT_MAP(X)
#undef X
    MLA_FORMAT_COUNT
} mla_data_format;
const char *mla_data_format_name(mla_data_format format);
int mla_data_format_parse(const char *name);        // the enum, or -1

typedef enum mla_role { MLA_ROLE_SYSTEM, MLA_ROLE_USER, MLA_ROLE_ASSISTANT, MLA_ROLE_TOOL,
                        MLA_ROLE_COUNT } mla_role;
const char *mla_role_name(mla_role role);      // as in the chat template: "assistant"
int mla_role_parse(const char *name);          // the enum, or -1

typedef struct mla_turn {
    mla_role role;
    char *text;                    // owned
    bool learn;                    // an assistant's turn that is learned from
} mla_turn;

typedef struct mla_talk {
    char *id;                      // owned; NULL: it has none
    mla_turn *turns;               // [n_turns], owned; a system turn only at the front
    size_t n_turns, cap;
    json_t *steps;                 // owned; of each turn that is learned from the rest of its step
                                   // record (ShareGPT's "mlagent"); NULL: there is none
} mla_talk;

void mla_talk_clear(mla_talk *talk);
void mla_talk_push_take(mla_talk *talk, mla_role role, char *text, bool learn);
// Whether it is the beginning of the other, turn by turn.
bool mla_talk_begins(const mla_talk *talk, const mla_talk *with);

// Reads a record of either form, told by its keys ("messages" or "conversations"). What a policy
// could not be taught from is an error that says what: unknown roles, calls of tools, pictures, no
// turn that is learned from. Of what else is in the record only "id" and "mlagent" are kept.
MLA_MUST_USE int mla_talk_read(mla_talk *out, const json_t *record, mla_err *err);
// `format`: MLA_FORMAT_SHAREGPT or MLA_FORMAT_OPENAI. Caller owns.
json_t *mla_talk_write(const mla_talk *talk, mla_data_format format);

// The step record of the turn, the k-th that is learned from: what "mlagent" says of it, or, where
// there is nothing, a record that says no more than that somebody said so: actor "imported",
// trajectory `name`, index k. Without token ids.
MLA_MUST_USE int mla_talk_step(const mla_talk *talk, const mla_turn *turn, size_t k,
                               const char *name, mla_step *out, mla_err *err);
// What mla_talk_step reads: the record without its ids and its text.
json_t *mla_talk_rest(const mla_step *step);

#endif
