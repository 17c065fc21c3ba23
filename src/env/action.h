// The agent's reply to an action (parse) and an action to a reply (format), from the action table.
#ifndef MLA_ENV_ACTION_H
#define MLA_ENV_ACTION_H

#include "base/err.h"
#include "record/action.h"

// Reads a reply of the paper's ReAct form:
//   Reflection, Research Plan and Status, Fact Check: ...      (optional, kept)
//   Thought: ...
//   Action: Edit Script
//   Action Input: {"script_name": "train.py"}
//   <<<<<<< SEARCH
//   old lines
//   =======
//   new lines
//   >>>>>>> REPLACE
// 0, or -1 with `why` holding a message for the agent that teaches the format; so is an action that
// is not in `offered`, a set that is not empty. The usual slips are forgiven (docs/actions.md).
MLA_MUST_USE int mla_action_parse(mla_action *out, const char *reply, mla_action_set offered,
                                  mla_err *why);

// The canonical reply for an action; what experts say and what the parser reads back. Caller frees.
char *mla_action_format(const mla_action *action);

#endif
