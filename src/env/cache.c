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
#include "env/cache.h"
#include "env/internal.h"

#define SCHEMA_VERSION 3       // 1 had neither hits nor used, 2 no flags
#define BUSY_MS 10000          // how long one process waits for another's writing

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS runs ("
    " key TEXT PRIMARY KEY, outcome TEXT NOT NULL, error_type TEXT, out BLOB, err BLOB,"
    " score_public REAL, score_private REAL, seconds REAL, peak_mb REAL,"
    " hits INTEGER NOT NULL DEFAULT 0, used INTEGER NOT NULL DEFAULT 0,"    // used: seconds, Unix
    " flags INTEGER)";             // of the submission; NULL: from before they were looked for
static const char from_1_sql[] =
    "ALTER TABLE runs ADD COLUMN hits INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE runs ADD COLUMN used INTEGER NOT NULL DEFAULT 0;"
    "UPDATE runs SET used = unixepoch()";
static const char from_2_sql[] =
    "ALTER TABLE runs ADD COLUMN flags INTEGER;"
    "UPDATE runs SET flags = 0 WHERE outcome <> 'ok'";
// A run whose flags are not known is run once more, for the same submission to be flagged alike.
static const char select_sql[] =
    "SELECT outcome, error_type, out, err, score_public, score_private, seconds, peak_mb, flags"
    " FROM runs WHERE key = ? AND flags IS NOT NULL";
static const char insert_sql[] =
    "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, unixepoch(), ?)"
    " ON CONFLICT (key) DO UPDATE SET flags = excluded.flags WHERE runs.flags IS NULL";
static const char count_sql[] =
    "UPDATE runs SET hits = hits + 1, used = unixepoch() WHERE key = ?";

struct mla__cache {
    sqlite3 *db;
    sqlite3_stmt *select, *insert, *count;
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

static bool execute(const mla__cache *c, const char *sql) {
    return sqlite3_exec(c->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static int upgrade(mla__cache *c, mla_err *err) {
    int version = user_version(c->db);
    if (version < 0) return fail(c, "read", err);
    if (version == SCHEMA_VERSION) return 0;
    if (version > SCHEMA_VERSION) {
        return mla_err_set(err, "%s: run cache of another version (%d); delete it", c->path,
                           version);
    }
    char *pragma = mla_format("PRAGMA user_version = %d", SCHEMA_VERSION);
    bool ok = version || execute(c, schema);
    if (version == 1) ok = execute(c, from_1_sql);
    if (version) ok = ok && execute(c, from_2_sql);
    ok = ok && execute(c, pragma);
    free(pragma);
    return ok ? 0 : fail(c, "open", err);
}

// In one transaction: two processes may open a new or an old cache at the same time.
static int make_tables(mla__cache *c, mla_err *err) {
    if (user_version(c->db) == SCHEMA_VERSION) return 0;
    if (!execute(c, "BEGIN IMMEDIATE")) return fail(c, "open", err);
    int rc = upgrade(c, err);
    if (rc < 0) execute(c, "ROLLBACK");
    else if (!execute(c, "COMMIT")) rc = fail(c, "open", err);
    return rc;
}

// SQLite does not wait for its busy time-out when two processes switch a new file to WAL at once:
// one is told at once that the file is locked.
static bool switch_to_wal(const mla__cache *c) {
    int rc = SQLITE_BUSY;
    for (int i = 0; i < BUSY_MS / 10 && rc == SQLITE_BUSY; i++) {
        if (i) sqlite3_sleep(10);
        rc = sqlite3_exec(c->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    }
    return rc == SQLITE_OK;
}

static int prepare(mla__cache *c, mla_err *err) {
    sqlite3 *db = c->db;
    sqlite3_busy_timeout(db, BUSY_MS);
    // NORMAL in WAL: a power cut may lose the last rows, never the file.
    bool is_wal = switch_to_wal(c) && execute(c, "PRAGMA synchronous = NORMAL");
    if (!is_wal) return fail(c, "open", err);
    if (make_tables(c, err) < 0) return -1;
    bool ok = sqlite3_prepare_v2(db, select_sql, -1, &c->select, NULL) == SQLITE_OK &&
              sqlite3_prepare_v2(db, count_sql, -1, &c->count, NULL) == SQLITE_OK &&
              sqlite3_prepare_v2(db, insert_sql, -1, &c->insert, NULL) == SQLITE_OK;
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
    sqlite3_finalize(c->count);
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
    out->flags = (unsigned)sqlite3_column_int(stmt, 8);
    return 1;
}

static int look_up(mla__cache *c, const char key[65], mla__result *out, mla_err *err) {
    sqlite3_bind_text(c->select, 1, key, -1, SQLITE_STATIC);
    int step = sqlite3_step(c->select), rc = 0;
    if (step == SQLITE_ROW) rc = read_row(c->select, out);
    else if (step != SQLITE_DONE) rc = fail(c, "read", err);
    sqlite3_reset(c->select);
    if (rc == 1) {              // a hit that cannot be counted is a hit all the same
        sqlite3_bind_text(c->count, 1, key, -1, SQLITE_STATIC);
        sqlite3_step(c->count);
        sqlite3_reset(c->count);
    }
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
    sqlite3_bind_int(s, 10, (int)result->flags);
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
    add_text(&all, task->family ? task->family : task->name);      // variants share their data
    add_text(&all, task->data_version ? task->data_version : "");
    add_text(&all, task->id_column);
    mla_buf_printf(&all, "%zu %zu %d;", task->target_count, task->class_count, task->splits);
    for (size_t i = 0; i < task->target_count; i++) add_text(&all, task->target_columns[i]);
    for (size_t i = 0; i < task->class_count; i++) add_text(&all, task->classes[i]);
    add_text(&all, mla_metric_name(task->metric));
    mla_buf_printf(&all, "%.17g %d;", task->limits.seconds, task->limits.memory_mb);
    add_text(&all, script);
    add_text(&all, fingerprint);
    if (task->wheels) add_text(&all, task->wheels);
    for (size_t i = 0; i < files->len; i++) {
        add_text(&all, files->items[i].name);
        add_part(&all, files->items[i].bytes, files->items[i].len);
    }
    mla_sha256(mla_buf_text(&all), all.len, key);
    mla_buf_clear(&all);
}

// --- upkeep ------------------------------------------------------------------------------------

static mla__cache *open_existing(const char *path, mla_err *err) {
    if (mla_fs_exists(path)) return mla__cache_open(path, err);
    mla_err_set(err, "%s: there is no run cache", path);
    return NULL;
}

static int64_t size_on_disk(const char *path) {
    char *log = mla_format("%s-wal", path);
    int64_t file = mla_fs_size(path), more = mla_fs_size(log);
    free(log);
    return (file > 0 ? file : 0) + (more > 0 ? more : 0);
}

int mla_cache_stats_get(const char *path, mla_cache_stats *out, mla_err *err) {
    static const char sql[] = "SELECT count(*), total(hits), total(seconds), total(hits * seconds)"
                              " FROM runs";
    mla__cache *c = open_existing(path, err);
    if (!c) return -1;
    sqlite3_stmt *stmt = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(c->db, sql, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        *out = (mla_cache_stats){.rows = sqlite3_column_int64(stmt, 0),
                                 .hits = sqlite3_column_int64(stmt, 1),
                                 .run_seconds = sqlite3_column_double(stmt, 2),
                                 .saved_seconds = sqlite3_column_double(stmt, 3)};
    } else {
        rc = fail(c, "read", err);
    }
    sqlite3_finalize(stmt);
    mla__cache_free(c);
    if (rc == 0) out->bytes = size_on_disk(path);
    return rc;
}

// Runs a DELETE with one number; the rows it deleted, or -1.
static int64_t delete_rows(mla__cache *c, const char *sql, double number, mla_err *err) {
    sqlite3_stmt *stmt = NULL;
    int64_t n = -1;
    if (sqlite3_prepare_v2(c->db, sql, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_bind_double(stmt, 1, number) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_DONE) {
        n = sqlite3_changes(c->db);
    }
    if (n < 0) fail(c, "prune", err);
    sqlite3_finalize(stmt);
    return n;
}

int64_t mla_cache_prune(const char *path, double days, double max_mb, mla_err *err) {
    static const char by_age[] = "DELETE FROM runs WHERE used < unixepoch() - ? * 86400";
    // 300: a row's key, twice, and its numbers.
    static const char by_size[] =
        "DELETE FROM runs WHERE key IN (SELECT key FROM (SELECT key, sum(300 +"
        " ifnull(length(out), 0) + ifnull(length(err), 0)) OVER (ORDER BY used DESC, key) AS filled"
        " FROM runs) WHERE filled > ? * 1048576)";
    mla__cache *c = open_existing(path, err);
    if (!c) return -1;
    int64_t old = days >= 0 ? delete_rows(c, by_age, days, err) : 0;
    int64_t over = old >= 0 && max_mb >= 0 ? delete_rows(c, by_size, max_mb, err) : 0;
    // The rows are gone already; where another process holds the file, its pages are used again.
    if (old >= 0 && over >= 0) execute(c, "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
    mla__cache_free(c);
    return old < 0 || over < 0 ? -1 : old + over;
}
