// Replies to actions and back. A reply is read line by line: entries ("Thought:", "Action:",
// "Action Input:"), then the inputs (action_input.c), then an edit's blocks (edit.c). It leaves out
// what the actions do: step.c.
#include "env/action.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "env/internal.h"

// Entries of the paper's reply and what models imagine after it. Longer names first where one
// begins another.
#define ENTRY_MAP(X)                                   \
    X(REFLECTION, "Reflection")                        \
    X(PLAN, "Research Plan and Status")                \
    X(FACT_CHECK, "Fact Check")                        \
    X(THOUGHT, "Thought")                              \
    X(INPUT, "Action Input")                           \
    X(ACTION, "Action")                                \
    X(OBSERVATION, "Observation")

typedef enum {
#define X(id, name) ENTRY_##id,
    ENTRY_MAP(X)
#undef X
    ENTRY_COUNT,
    ENTRY_NONE = -1
} entry;

static const char *const entry_names[ENTRY_COUNT] = {
#define X(id, name) name,
    ENTRY_MAP(X)
#undef X
};

static const char *skip(const char *p, const char *set) {
    return p + strspn(p, set);
}

static const char *next_line(const char *p) {
    const char *end = strchr(p, '\n');
    return end ? end + 1 : p + strlen(p);
}

// What follows `name` at p, or NULL; a blank of it may be any blanks, '_' or '-', or nothing.
static const char *after_name(const char *p, const char *name) {
    for (; *name; name++) {
        if (*name == ' ') {
            p = skip(p, " \t_-");
        } else if (tolower((unsigned char)*p++) != tolower((unsigned char)*name)) {
            return NULL;
        }
    }
    return p;
}

// Behind a colon (ASCII or full-width) at p, or NULL.
static const char *after_colon(const char *p) {
    static const char wide[] = "\xEF\xBC\x9A";
    if (*p == ':') return p + 1;
    return strncmp(p, wide, sizeof wide - 1) ? NULL : p + sizeof wide - 1;
}

// The entry that a line opens, bold or heading marks forgiven; *value is what follows its colon.
static entry entry_at(const char *line, const char **value) {
    const char *p = skip(line, " \t*#_>");
    for (int e = 0; e < ENTRY_COUNT; e++) {
        const char *q = after_name(p, entry_names[e]);
        if (q) q = after_colon(skip(q, " \t*_"));
        if (!q) continue;
        *value = skip(skip(q, "*"), " \t");        // "**Thought:** x"
        return e;
    }
    return ENTRY_NONE;
}

bool mla__entry_opens(const char *line) {
    const char *value;
    return entry_at(line, &value) != ENTRY_NONE;
}

typedef struct {
    mla__slice told[ENTRY_INPUT];   // the entries before Action Input; .at NULL when absent
    const char *action;             // what follows "Action:"; NULL when absent
    const char *input;              // what follows "Action Input:"; NULL when absent
} reply_parts;

typedef struct {                    // of find_parts
    reply_parts parts;
    const char *early;              // an input that came before its action
    mla__slice *open;               // the entry whose end is still to be found
} search;

static void close_entry(search *s, const char *end) {
    if (s->open) s->open->len = (size_t)(end - s->open->at);
    s->open = NULL;
}

// Takes in an entry; false when what comes from here on is not looked at: an imagined observation,
// a second action, the next step's thought.
static bool take_entry(search *s, entry e, const char *value) {
    reply_parts *parts = &s->parts;
    bool whole = parts->action && (parts->input || s->early);
    if (e < ENTRY_INPUT) {
        if (whole && parts->told[e].at) return false;
        parts->told[e] = (mla__slice){value, strlen(value)};
        s->open = &parts->told[e];
    } else if (e == ENTRY_OBSERVATION) {
        return !parts->action;
    } else if (e == ENTRY_INPUT) {
        if (parts->input) return false;
        if (parts->action) parts->input = value;
        else s->early = value;
    } else {
        if (whole) return false;
        parts->action = value;
    }
    return true;
}

// The entries of the first whole action, in whatever order; of those that stand before it more than
// once, the last. A line inside an edit's block opens no entry.
static reply_parts find_parts(const char *reply) {
    search s = {.parts = {.action = NULL}};
    for (const char *p = reply; *p;) {
        mla__block block;
        const char *value, *cut;
        if (s.parts.action && mla__block_opens(p)) {
            close_entry(&s, p);
            if (mla__block_read(&p, &block, &cut) < 0) p = next_line(p);
            continue;
        }
        entry e = entry_at(p, &value);
        if (e != ENTRY_NONE) {
            close_entry(&s, p);
            if (!take_entry(&s, e, value)) break;
        }
        p = next_line(p);
    }
    if (!s.parts.input && s.parts.action) s.parts.input = s.early;
    return s.parts;
}

static char *trimmed(const char *at, size_t len, const char *set) {
    while (len && strchr(set, at[0])) at++, len--;
    while (len && strchr(set, at[len - 1])) len--;
    return mla_strndup(at, len);
}

// What an entry says, NULL when it is absent.
static char *entry_text(mla__slice told) {
    return told.at ? trimmed(told.at, told.len, " \t\r\n") : NULL;
}

// The name on an Action line (or on the line after it), without marks round it; *inputs is the
// object behind it, or NULL.
static char *action_name(const char *value, const char **inputs) {
    const char *p = skip(value, " \t\r\n*`");
    const char *unused;
    *inputs = NULL;
    if (entry_at(p, &unused) != ENTRY_NONE) return mla_strdup("");
    size_t n = strcspn(p, "\n{");
    if (p[n] == '{') *inputs = p + n;
    return trimmed(p, n, " \t\r*_`'\"[]<>.");
}

// --- messages ----------------------------------------------------------------------------------

static void add_names(mla_buf *out, mla_action_set offered) {
    const char *comma = "";
    for (int i = 0; i < MLA_ACTION_COUNT; i++) {
        if (!mla_action_set_has(offered, (mla_action_kind)i)) continue;
        mla_buf_printf(out, "%s%s", comma, mla_action_name((mla_action_kind)i));
        comma = ", ";
    }
}

static void add_usage(mla_buf *out, mla_action_kind kind) {
    mla_buf_printf(out, "Action: %s\nAction Input: {", mla_action_name(kind));
    for (int i = 0; i < MLA_ACTION_INPUTS && mla_action_input_name(kind, i); i++) {
        mla_buf_printf(out, "%s\"%s\": ...", i ? ", " : "", mla_action_input_name(kind, i));
    }
    mla_buf_puts(out, "}");
    if (kind == MLA_ACTION_EDIT_SCRIPT) {
        mla_buf_puts(out, "\n<<<<<<< SEARCH\nlines of the script as they are\n=======\n"
                          "lines to put there\n>>>>>>> REPLACE");
    }
}

// An example for an agent that is not offered Edit Script: the first action that it is.
static mla_action_kind example_of(mla_action_set offered) {
    int kind = MLA_ACTION_EDIT_SCRIPT;
    for (int i = 0; !mla_action_set_has(offered, (mla_action_kind)kind); i++) kind = i;
    return (mla_action_kind)kind;
}

// `fault`, then how a reply should look; for a known action that action's form.
static int refuse(mla_err *why, mla_action_set offered, mla_action_kind kind, const char *fault) {
    mla_buf out;
    mla_buf_init(&out, sizeof why->text - 1);
    mla_buf_printf(&out, "The reply could not be read: %s. Write:\n", fault);
    mla_buf_puts(&out, "Thought: why you do it\n");
    if (kind == MLA_ACTION_NONE) {
        mla_buf_puts(&out, "Action: one of ");
        add_names(&out, offered);
        mla_buf_puts(&out, "\nAction Input: a JSON object with its inputs, for example\n");
        add_usage(&out, example_of(offered));
    } else {
        add_usage(&out, kind);
    }
    mla_err_set(why, "%s", mla_buf_text(&out));
    mla_buf_clear(&out);
    return -1;
}

// --- reading -----------------------------------------------------------------------------------

// Collects the blocks of `text` up to where the next entry begins; prose and fences between them
// are passed over.
static int read_blocks(char **out, const char *text, mla_err *fault) {
    mla_buf blocks;
    mla_buf_init(&blocks, 2 * MLA__REPLY_MAX);
    size_t n = 0;
    int rc = 0;
    for (const char *p = text; *p && rc == 0 && !mla__entry_opens(p);) {
        mla__block block;
        const char *cut = NULL;
        if (!mla__block_opens(p)) {
            p = next_line(p);
        } else if (mla__block_read(&p, &block, &cut) == 0) {
            mla__block_write(&blocks, &block);
            n++;
        } else {
            rc = mla_err_set(fault, "block %zu is cut short: %s", n + 1, cut);
        }
    }
    if (rc == 0 && !n) rc = mla_err_set(fault, "there is no SEARCH/REPLACE block after the input");
    if (blocks.len) blocks.data[--blocks.len] = '\0';      // no newline at the end
    if (rc == 0) *out = mla_buf_take(&blocks);
    mla_buf_clear(&blocks);
    return rc;
}

// Newlines as one character, whatever the model wrote.
static char *unix_lines(const char *reply, size_t len) {
    char *copy = mla_alloc(len + 1, 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        while (reply[i] == '\n' && n && copy[n - 1] == '\r') n--;
        copy[n++] = reply[i];
    }
    copy[n] = '\0';
    return copy;
}

// The blocks behind the input, or behind the action where that comes later. Edit Script needs them;
// Edit Script (AI) has them when it is done again from a record.
static int take_blocks(mla_action *out, const reply_parts *parts, const char *rest,
                       const char *inside, mla_err *fault) {
    char *text = inside ? unix_lines(inside, strlen(inside)) : NULL;
    mla_err first;
    int rc = read_blocks(&out->blocks, text ? text : rest, fault);
    if (rc < 0 && !text && parts->action > parts->input) {
        first = *fault;
        rc = read_blocks(&out->blocks, next_line(parts->action), fault);
        if (rc < 0) *fault = first;
    }
    free(text);
    return rc;
}

static bool has_block(const char *text) {
    while (*text && !mla__block_opens(text) && !mla__entry_opens(text)) text = next_line(text);
    return mla__block_opens(text);
}

static int take_inputs(mla_action *out, const reply_parts *parts, mla_err *fault) {
    const char *rest = parts->input;
    char *edit = NULL;
    int rc = mla__inputs_read(out, &rest, &edit, fault);
    bool wants = out->kind == MLA_ACTION_EDIT_SCRIPT ||
                 (out->kind == MLA_ACTION_EDIT_SCRIPT_AI && has_block(rest));
    if (rc == 0 && wants) rc = take_blocks(out, parts, rest, edit, fault);
    free(edit);
    return rc;
}

static int read_action(mla_action *out, const char *reply, mla_action_set offered, mla_err *why) {
    reply_parts parts = find_parts(reply);
    if (!parts.action) {
        return refuse(why, offered, MLA_ACTION_NONE, "it has no line \"Action: ...\"");
    }
    const char *behind;
    char *name = action_name(parts.action, &behind);
    mla_action_kind kind = (mla_action_kind)mla_action_kind_parse(name);
    if (!mla_action_set_has(offered, kind)) {
        char *fault = mla_format("there is no action \"%.60s\"", name);
        refuse(why, offered, MLA_ACTION_NONE, fault);
        free(fault);
        free(name);
        return -1;
    }
    free(name);
    if (!parts.input) parts.input = behind;
    if (!parts.input) return refuse(why, offered, kind, "it has no line \"Action Input: ...\"");
    mla_err fault = {{0}};
    out->kind = kind;
    if (take_inputs(out, &parts, &fault) < 0) return refuse(why, offered, kind, fault.text);
    out->thought = entry_text(parts.told[ENTRY_THOUGHT]);
    out->reflection = entry_text(parts.told[ENTRY_REFLECTION]);
    out->plan = entry_text(parts.told[ENTRY_PLAN]);
    out->fact_check = entry_text(parts.told[ENTRY_FACT_CHECK]);
    return 0;
}

int mla_action_parse(mla_action *out, const char *reply, mla_action_set offered, mla_err *why) {
    *out = (mla_action){.kind = MLA_ACTION_NONE};
    MLA_ASSERT(offered & MLA_ACTIONS_ALL);
    size_t len = strnlen(reply, MLA__REPLY_MAX + 1);
    if (len > MLA__REPLY_MAX) {
        return refuse(why, offered, MLA_ACTION_NONE, "it is longer than 64 kB");
    }
    char *text = unix_lines(reply, len);
    int rc = read_action(out, text, offered, why);
    if (rc < 0) mla_action_clear(out);
    free(text);
    return rc;
}

// --- writing -----------------------------------------------------------------------------------

// Line numbers go out as numbers, all else as strings.
static json_t *input_value(const char *text) {
    char *end;
    long n = strtol(text, &end, 10);
    char *again = mla_format("%ld", n);
    bool is_number = *text && !*end && !strcmp(again, text);
    free(again);
    return is_number ? json_integer(n) : mla_json_text(text, strlen(text));
}

static void add_entry(mla_buf *out, entry e, const char *text) {
    if (text) mla_buf_printf(out, "%s: %s\n", entry_names[e], text);
}

static char *inputs_line(const mla_action *action) {
    json_t *inputs = json_object();
    for (int i = 0; i < MLA_ACTION_INPUTS; i++) {
        const char *name = mla_action_input_name(action->kind, i);
        const char *value = action->inputs[i];
        if (name && value) json_object_set_new(inputs, name, input_value(value));
    }
    char *line = json_dumps(inputs, 0);
    MLA_ASSERT(line);
    json_decref(inputs);
    return line;
}

char *mla_action_format(const mla_action *action) {
    mla_buf out;
    mla_buf_init(&out, (size_t)-1);
    add_entry(&out, ENTRY_REFLECTION, action->reflection);
    add_entry(&out, ENTRY_PLAN, action->plan);
    add_entry(&out, ENTRY_FACT_CHECK, action->fact_check);
    add_entry(&out, ENTRY_THOUGHT, action->thought);
    char *line = inputs_line(action);
    mla_buf_printf(&out, "Action: %s\nAction Input: %s", mla_action_name(action->kind), line);
    free(line);
    const char *blocks = action->blocks ? action->blocks : "";
    size_t n = strlen(blocks);
    if (n && blocks[n - 1] == '\n') n--;
    if (n) mla_buf_printf(&out, "\n%.*s", (int)n, blocks);
    return mla_buf_take(&out);
}
