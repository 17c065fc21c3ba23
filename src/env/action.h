// The agent's reply to an action (parse) and an action to a reply (format), from the action table.
#ifndef MLA_ENV_ACTION_H
#define MLA_ENV_ACTION_H

#include "base/err.h"
#include "record/action.h"

// Reads a reply of the paper's ReAct form:
//   Thought: ...                      (optional entries before it are skipped)
//   Action: Edit Script
//   Action Input: {"script_name": "train.py"}
//   <<<<<<< SEARCH
//   old lines
//   =======
//   new lines
//   >>>>>>> REPLACE
// 0, or -1 with `why` holding a message for the agent that teaches the format. The usual slips
// (bold markers, a code fence round the whole, text after the end) are forgiven.
MLA_MUST_USE int mla_action_parse(mla_action *out, const char *reply, mla_err *why);

// The canonical reply for an action; what experts say and what the parser reads back. Caller frees.
char *mla_action_format(const mla_action *action);

#endif
