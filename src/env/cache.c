// The run cache: what a script's run gave, by the hash of all that it depends on, in SQLite. RL
// samples the same edit over and over; a run is paid for once, also when several ask at once. The
// private half of a score is kept for evaluation and is read by nothing else.
#include <math.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "env/internal.h"

#define SCHEMA_VERSION 1

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS runs ("
    " key TEXT PRIMARY KEY, outcome TEXT NOT NULL, error_type TEXT, out BLOB, err BLOB,"
    " score_public REAL, score_private REAL, seconds REAL, peak_mb REAL)";
static const char select_sql[] =
    "SELECT outcome, error_type, out, err, score_public, score_private, seconds, peak_mb"
    " FROM runs WHERE key = ?";
static const char insert_sql[] =
    "INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

struct mla__cache {
    sqlite3 *db;
    sqlite3_stmt *select, *insert;
    pthread_mutex_t lock;           // one connection, several threads
    pthread_cond_t ended;           // a run in flight has ended
    char (*running)[65];            // keys of runs in flight
    size_t n_running, cap_running;
    char *path;
    bool warned;
};

void mla__result_clear(mla__result *result) {
    free(result->error_type);
    free(result->out);
    free(result->err);
    *result = (mla__result){.score = {NAN, NAN}};
}

static int fail(const mla__cache *c, const char *doing, mla_err *err) {
    return mla_err_set(err, "%s: cannot %s the run cache: %s (it only saves time and may be "
                       "deleted)", c->path, doing, c->db ? sqlite3_errmsg(c->db) : "out of memory");
}

// --- opening -----------------------------------------------------------------------------------

static int user_version(sqlite3 *db) {
    sqlite3_stmt *stmt = NULL;
    int version = -1;
    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        version = sqlite3_column_int(stmt, 0);
    }
    sqlite3_finalize(stmt);
    return version;
}

static int prepare(mla__cache *c, mla_err *err) {
    sqlite3 *db = c->db;
    sqlite3_busy_timeout(db, 10000);
    // NORMAL in WAL: a power cut may lose the last rows, never the file.
    if (sqlite3_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL", NULL, NULL,
                     NULL) != SQLITE_OK) {
        return fail(c, "open", err);
    }
    int version = user_version(db);
    if (version < 0) return fail(c, "read", err);
    if (version != 0 && version != SCHEMA_VERSION) {
        return mla_err_set(err, "%s: run cache of another version (%d); delete it", c->path,
                           version);
    }
    char *pragma = mla_format("PRAGMA user_version = %d", SCHEMA_VERSION);
    bool ok = sqlite3_exec(db, schema, NULL, NULL, NULL) == SQLITE_OK &&
              sqlite3_exec(db, pragma, NULL, NULL, NULL) == SQLITE_OK &&
              sqlite3_prepare_v2(db, select_sql, -1, &c->select, NULL) == SQLITE_OK &&
              sqlite3_prepare_v2(db, insert_sql, -1, &c->insert, NULL) == SQLITE_OK;
    free(pragma);
    return ok ? 0 : fail(c, "open", err);
}

mla__cache *mla__cache_open(const char *path, mla_err *err) {
    mla__cache *c = MLA_NEW(mla__cache);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->ended, NULL);
    c->path = mla_strdup(path);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    int rc = sqlite3_open_v2(path, &c->db, flags, NULL) == SQLITE_OK ? 0 : fail(c, "open", err);
    if (rc == 0) rc = prepare(c, err);
    if (rc == 0) return c;
    mla__cache_free(c);
    return NULL;
}

void mla__cache_free(mla__cache *c) {
    if (!c) return;
    sqlite3_finalize(c->select);
    sqlite3_finalize(c->insert);
    sqlite3_close(c->db);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->ended);
    free(c->running);
    free(c->path);
    free(c);
}

// --- reading -----------------------------------------------------------------------------------

static char *column_text(sqlite3_stmt *stmt, int column) {
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL) return NULL;
    const void *bytes = sqlite3_column_blob(stmt, column);
    size_t n = (size_t)sqlite3_column_bytes(stmt, column);
    return mla_strndup(bytes ? bytes : "", n);
}

static double column_number(sqlite3_stmt *stmt, int column) {
    bool is_null = sqlite3_column_type(stmt, column) == SQLITE_NULL;
    return is_null ? NAN : sqlite3_column_double(stmt, column);
}

// 1, or 0 when the row has an outcome that this version does not know.
static int read_row(sqlite3_stmt *stmt, mla__result *out) {
    int outcome = mla_outcome_parse((const char *)sqlite3_column_text(stmt, 0));
    if (outcome < 0) return 0;
    out->outcome = (mla_outcome)outcome;
    out->error_type = column_text(stmt, 1);
    out->out = column_text(stmt, 2);
    out->err = column_text(stmt, 3);
    out->score.public_half = column_number(stmt, 4);
    out->score.private_half = column_number(stmt, 5);
    out->seconds = column_number(stmt, 6);
    out->peak_mb = column_number(stmt, 7);
    return 1;
}

static int look_up(mla__cache *c, const char key[65], mla__result *out, mla_err *err) {
    sqlite3_bind_text(c->select, 1, key, -1, SQLITE_STATIC);
    int step = sqlite3_step(c->select), rc = 0;
    if (step == SQLITE_ROW) rc = read_row(c->select, out);
    else if (step != SQLITE_DONE) rc = fail(c, "read", err);
    sqlite3_reset(c->select);
    return rc;
}

// Its place among the runs in flight, or their number.
static size_t running_at(const mla__cache *c, const char key[65]) {
    size_t at = 0;
    while (at < c->n_running && memcmp(c->running[at], key, 65)) at++;
    return at;
}

int mla__cache_begin(mla__cache *c, const char key[65], mla__result *out, mla_err *err) {
    *out = (mla__result){.score = {NAN, NAN}};
    pthread_mutex_lock(&c->lock);
    while (running_at(c, key) < c->n_running) pthread_cond_wait(&c->ended, &c->lock);
    int rc = look_up(c, key, out, err);
    if (rc == 0) {
        MLA_GROW(c->running, c->cap_running, c->n_running + 1);
        memcpy(c->running[c->n_running++], key, 65);
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

// --- writing -----------------------------------------------------------------------------------

static void bind_text(sqlite3_stmt *stmt, int at, const char *text) {
    if (text) sqlite3_bind_blob64(stmt, at, text, strlen(text), SQLITE_STATIC);
    else sqlite3_bind_null(stmt, at);
}

static bool is_kept(mla_outcome outcome) {
    switch (outcome) {
    case MLA_OUTCOME_OK:
    case MLA_OUTCOME_SCRIPT_ERROR:
    case MLA_OUTCOME_NO_SUBMISSION:
    case MLA_OUTCOME_BAD_SUBMISSION: return true;
    default: return false;      // judged by a clock, a watch or a signal: may end otherwise
    }
}

static int insert(mla__cache *c, const char key[65], const mla__result *result, mla_err *err) {
    sqlite3_stmt *s = c->insert;
    sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_text(s, 2, mla_outcome_name(result->outcome), -1, SQLITE_STATIC);
    if (result->error_type) sqlite3_bind_text(s, 3, result->error_type, -1, SQLITE_STATIC);
    else sqlite3_bind_null(s, 3);
    bind_text(s, 4, result->out);
    bind_text(s, 5, result->err);
    sqlite3_bind_double(s, 6, result->score.public_half);      // NaN is stored as NULL
    sqlite3_bind_double(s, 7, result->score.private_half);
    sqlite3_bind_double(s, 8, result->seconds);
    sqlite3_bind_double(s, 9, result->peak_mb);
    int rc = sqlite3_step(s) == SQLITE_DONE ? 0 : fail(c, "write", err);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return rc;
}

void mla__cache_warn(mla__cache *c, const mla_err *trouble) {
    pthread_mutex_lock(&c->lock);
    bool first = !c->warned;
    c->warned = true;
    pthread_mutex_unlock(&c->lock);
    if (first) mla_warn("%s", trouble->text);
}

int mla__cache_end(mla__cache *c, const char key[65], const mla__result *result, mla_err *err) {
    pthread_mutex_lock(&c->lock);
    size_t at = running_at(c, key);
    MLA_ASSERT(at < c->n_running);
    memmove(c->running[at], c->running[--c->n_running], 65);
    int rc = result && is_kept(result->outcome) ? insert(c, key, result, err) : 0;
    pthread_cond_broadcast(&c->ended);
    pthread_mutex_unlock(&c->lock);
    return rc;
}

// --- keys --------------------------------------------------------------------------------------

// Each part behind its length, so that no two lists of parts read the same.
static void add_part(mla_buf *out, const void *bytes, size_t len) {
    mla_buf_printf(out, "%zu:", len);
    mla_buf_append(out, bytes, len);
}

static void add_text(mla_buf *out, const char *text) {
    add_part(out, text, strlen(text));
}

void mla__cache_key(char key[65], const mla_task *task, const char *script,
                    const mla__files *files, const char *fingerprint) {
    mla_buf all;
    mla_buf_init(&all, (size_t)-1);
    add_text(&all, "mlagent run 1");
    add_text(&all, task->name);
    add_text(&all, task->data_version ? task->data_version : "");
    add_text(&all, task->id_column);
    add_text(&all, task->target_column);
    add_text(&all, mla_metric_name(task->metric));
    mla_buf_printf(&all, "%.17g %d;", task->limits.seconds, task->limits.memory_mb);
    add_text(&all, script);
    add_text(&all, fingerprint);
    for (size_t i = 0; i < files->len; i++) {
        add_text(&all, files->items[i].name);
        add_part(&all, files->items[i].bytes, files->items[i].len);
    }
    mla_sha256(mla_buf_text(&all), all.len, key);
    mla_buf_clear(&all);
}
