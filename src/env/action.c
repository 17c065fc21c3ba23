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

// The entry that a line opens, bold or heading marks forgiven; *value is what follows its colon.
static entry entry_at(const char *line, const char **value) {
    const char *p = skip(line, " \t*#_");
    for (int e = 0; e < ENTRY_COUNT; e++) {
        size_t n = strlen(entry_names[e]);
        if (strncasecmp(p, entry_names[e], n)) continue;
        const char *q = skip(p + n, " \t*_");
        if (*q != ':') continue;
        *value = skip(q + 1, " \t*");
        return e;
    }
    return ENTRY_NONE;
}

bool mla__entry_opens(const char *line) {
    const char *value;
    return entry_at(line, &value) != ENTRY_NONE;
}

typedef struct {
    mla__slice thought;      // .at NULL when absent
    const char *action;      // what follows "Action:"; NULL when absent
    const char *input;       // what follows "Action Input:"; NULL when absent
} reply_parts;

// Takes the last Thought and Action before the first Action Input; what comes after the first whole
// action (an imagined observation, a second action) is not looked at.
static reply_parts find_parts(const char *reply) {
    reply_parts parts = {0};
    bool in_thought = false;
    for (const char *p = reply; *p && !parts.input; p = next_line(p)) {
        const char *value;
        entry e = entry_at(p, &value);
        if (e == ENTRY_NONE) continue;
        if (in_thought) parts.thought.len = (size_t)(p - parts.thought.at);
        in_thought = e == ENTRY_THOUGHT;
        if (e == ENTRY_OBSERVATION && parts.action) break;
        if (e == ENTRY_THOUGHT) parts.thought = (mla__slice){value, strlen(value)};
        if (e == ENTRY_ACTION) parts.action = value;
        if (e == ENTRY_INPUT && parts.action) parts.input = value;
    }
    return parts;
}

static char *trimmed(const char *at, size_t len, const char *set) {
    while (len && strchr(set, at[0])) at++, len--;
    while (len && strchr(set, at[len - 1])) len--;
    return mla_strndup(at, len);
}

// The name on an Action line (or on the line after it), without marks round it.
static char *action_name(const char *value) {
    const char *p = skip(value, " \t\r\n*`");
    const char *unused;
    if (entry_at(p, &unused) != ENTRY_NONE) return mla_strdup("");
    return trimmed(p, strcspn(p, "\n"), " \t\r*_`'\"[]<>.");
}

// --- messages ----------------------------------------------------------------------------------

static void add_names(mla_buf *out) {
    for (int i = 0; i < MLA_ACTION_COUNT; i++) {
        mla_buf_printf(out, "%s%s", i ? ", " : "", mla_action_name((mla_action_kind)i));
    }
}

static void add_usage(mla_buf *out, mla_action_kind kind) {
    mla_buf_printf(out, "Action: %s\nAction Input: {", mla_action_name(kind));
    for (int i = 0; i < MLA_ACTION_INPUTS && mla_action_input_name(kind, i); i++) {
        mla_buf_printf(out, "%s\"%s\": ...", i ? ", " : "", mla_action_input_name(kind, i));
    }
    mla_buf_puts(out, "}");
    if (mla_action_is_edit(kind)) {
        mla_buf_puts(out, "\n<<<<<<< SEARCH\nlines of the script as they are\n=======\n"
                          "lines to put there\n>>>>>>> REPLACE");
    }
}

// `fault`, then how a reply should look; for a known action that action's form.
static int refuse(mla_err *why, mla_action_kind kind, const char *fault) {
    mla_buf out;
    mla_buf_init(&out, sizeof why->text - 1);
    mla_buf_printf(&out, "The reply could not be read: %s. Write:\n", fault);
    mla_buf_puts(&out, "Thought: why you do it\n");
    if (kind == MLA_ACTION_NONE) {
        mla_buf_puts(&out, "Action: one of ");
        add_names(&out);
        mla_buf_puts(&out, "\nAction Input: a JSON object with its inputs, for example\n");
        add_usage(&out, MLA_ACTION_EDIT_SCRIPT);
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

static int read_action(mla_action *out, const char *reply, mla_err *why) {
    reply_parts parts = find_parts(reply);
    if (!parts.action) return refuse(why, MLA_ACTION_NONE, "it has no line \"Action: ...\"");
    char *name = action_name(parts.action);
    int kind = mla_action_kind_parse(name);
    if (kind < 0) {
        char *fault = mla_format("there is no action \"%.60s\"", name);
        refuse(why, MLA_ACTION_NONE, fault);
        free(fault);
        free(name);
        return -1;
    }
    free(name);
    if (!parts.input) {
        return refuse(why, (mla_action_kind)kind, "it has no line \"Action Input: ...\"");
    }

    mla_err fault = {{0}};
    const char *rest = parts.input;
    char *edit = NULL;
    out->kind = (mla_action_kind)kind;
    int rc = mla__inputs_read(out, &rest, &edit, &fault);
    if (rc == 0 && mla_action_is_edit(out->kind)) {
        char *text = edit ? unix_lines(edit, strlen(edit)) : NULL;
        rc = read_blocks(&out->blocks, text ? text : rest, &fault);
        free(text);
    }
    free(edit);
    if (rc < 0) return refuse(why, (mla_action_kind)kind, fault.text);
    if (parts.thought.at) {
        size_t marks = strspn(parts.thought.at, " \t\r\n*");     // of "**Thought:**", say
        if (marks > parts.thought.len) marks = parts.thought.len;
        out->thought = trimmed(parts.thought.at + marks, parts.thought.len - marks, " \t\r\n");
    }
    return 0;
}

int mla_action_parse(mla_action *out, const char *reply, mla_err *why) {
    *out = (mla_action){.kind = MLA_ACTION_NONE};
    size_t len = strnlen(reply, MLA__REPLY_MAX + 1);
    if (len > MLA__REPLY_MAX) return refuse(why, MLA_ACTION_NONE, "it is longer than 64 kB");
    char *text = unix_lines(reply, len);
    int rc = read_action(out, text, why);
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

char *mla_action_format(const mla_action *action) {
    json_t *inputs = json_object();
    for (int i = 0; i < MLA_ACTION_INPUTS; i++) {
        const char *name = mla_action_input_name(action->kind, i);
        const char *value = action->inputs[i];
        if (name && value) json_object_set_new(inputs, name, input_value(value));
    }
    char *line = json_dumps(inputs, 0);
    MLA_ASSERT(line);
    const char *blocks = action->blocks ? action->blocks : "";
    size_t n = strlen(blocks);
    if (n && blocks[n - 1] == '\n') n--;
    char *reply = mla_format("%s%s%sAction: %s\nAction Input: %s%s%.*s",
                             action->thought ? "Thought: " : "",
                             action->thought ? action->thought : "",
                             action->thought ? "\n" : "", mla_action_name(action->kind), line,
                             n ? "\n" : "", (int)n, blocks);
    free(line);
    json_decref(inputs);
    return reply;
}
