// States in git, by libgit2: a bare repository in which a state is a commit, its tree the files,
// its parent the state that the action started from. The message's trailers hold the score, the
// best and where Undo goes; author and time are derived, so equal states below equal parents are
// one commit. Each commit has a ref (refs/states/<id>), so nothing is ever collected, and all of it
// can be read with `git log -p --all`. The private half of a score never comes here.
#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "env/internal.h"

#define SYNC_SECONDS 1            // how long a new state may be in the kernel's memory only
#define CACHE_BYTES ((ssize_t)64 << 20)
#define MARK "mlagent-boot"       // in the repository: the boot of the machine that last opened it
#define EPOCH 946684800           // time of a root state; each child's is a second later
#define MESSAGE_MAX 1024

struct mla__snapshots {
    git_repository *repo;
    pthread_mutex_t lock;         // one repository, several threads
    pthread_cond_t closing;
    pthread_t syncer;
    bool syncs, closed;           // the syncer was started; it is to end
    bool dirty;                   // states were put since it last synced
    int dir;                      // the repository's folder, open
    char *path;
};

static int fail(const mla__snapshots *s, const char *doing, mla_err *err) {
    const git_error *e = git_error_last();
    return mla_err_set(err, "%s: cannot %s: %s", s->path, doing, e ? e->message : "unknown");
}

// --- opening -----------------------------------------------------------------------------------

// Made under another name and renamed, so that a crash leaves no half repository behind.
static int create(mla__snapshots *s, mla_err *err) {
    char *fresh = mla_format("%s.new", s->path);
    git_repository_init_options options;
    git_repository_init_options_init(&options, GIT_REPOSITORY_INIT_OPTIONS_VERSION);
    options.flags = GIT_REPOSITORY_INIT_BARE | GIT_REPOSITORY_INIT_MKDIR |
                    GIT_REPOSITORY_INIT_MKPATH;
    options.initial_head = "main";
    options.description = "states of mlagent: read with git log -p --all";
    git_repository *repo = NULL;
    int rc = mla_fs_remove_tree(fresh, err);
    if (rc == 0 && git_repository_init_ext(&repo, fresh, &options) < 0) rc = fail(s, "create", err);
    git_repository_free(repo);
    if (rc == 0 && rename(fresh, s->path) < 0) {
        rc = mla_err_set(err, "%s: cannot rename to it: %s", s->path, strerror(errno));
    }
    free(fresh);
    return rc;
}

static int open_or_create(mla__snapshots *s, mla_err *err) {
    if (!mla_fs_exists(s->path) && create(s, err) < 0) return -1;
    if (git_repository_open_bare(&s->repo, s->path) == 0) return 0;
    return fail(s, "open as a bare git repository", err);
}

// --- after a power cut --------------------------------------------------------------------------

static char *read_boot(void) {
    mla_buf id;
    mla_buf_init(&id, 64);
    mla_err ignored;
    if (mla_fs_read("/proc/sys/kernel/random/boot_id", 64, &id, &ignored) < 0) mla_buf_reset(&id);
    return mla_buf_take(&id);
}

typedef struct {
    git_odb *odb;
    const char *path;
    size_t removed;
} mending;

// What a power cut has cut short is removed, so that the next one to need it writes it again.
static int mend_object(const git_oid *id, void *ctx) {
    mending *m = ctx;
    git_odb_object *object = NULL;
    int rc = git_odb_read(&object, m->odb, id);
    git_odb_object_free(object);
    if (rc == 0) return 0;
    char hex[MLA_OID_HEX];
    git_oid_tostr(hex, MLA_OID_HEX, id);
    char *file = mla_format("%s/objects/%.2s/%s", m->path, hex, hex + 2);
    if (remove(file) == 0) m->removed++;
    free(file);
    return 0;
}

static int mend_ref(git_reference *ref, void *ctx) {
    mending *m = ctx;
    const git_oid *id = git_reference_target(ref);
    if (id && !git_odb_exists(m->odb, id) && git_reference_delete(ref) == 0) m->removed++;
    git_reference_free(ref);
    return 0;
}

// Looks through all objects once after each boot of the machine, for it may have gone down with the
// repository open; a process that is killed takes nothing with it.
static int after_power_cut(mla__snapshots *s, mla_err *err) {
    char *mark = mla_fs_join(s->path, MARK), *boot = read_boot();
    mending m = {.path = s->path};
    mla_buf before;
    mla_buf_init(&before, 64);
    int rc = mla_fs_exists(mark) ? mla_fs_read(mark, 64, &before, err) : 0;
    if (rc == 0 && strcmp(mla_buf_text(&before), boot)) {
        if (git_repository_odb(&m.odb, s->repo) < 0) rc = fail(s, "open the objects", err);
        if (rc == 0) rc = git_odb_foreach(m.odb, mend_object, &m);
        if (rc == 0) rc = git_reference_foreach(s->repo, mend_ref, &m);
        git_odb_free(m.odb);
    }
    if (m.removed) mla_warn("%s: the machine went down while it was written: %zu objects and refs "
                            "of the last seconds were cut short and are removed", s->path,
                            m.removed);
    if (rc == 0) rc = mla_fs_write(mark, boot, strlen(boot), err);
    mla_buf_clear(&before);
    free(mark);
    free(boot);
    return rc;
}

// A state's objects reach the kernel when it is put, so that no end of this process loses it, and
// the disk within a second or so: a sync of each would cost more than all else of a cached step.
static void *sync_main(void *arg) {
    mla__snapshots *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->closed || s->dirty) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += SYNC_SECONDS;
        while (!s->closed && pthread_cond_timedwait(&s->closing, &s->lock, &until) == 0) continue;
        if (!s->dirty) continue;
        s->dirty = false;
        pthread_mutex_unlock(&s->lock);
        syncfs(s->dir);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static int start_syncer(mla__snapshots *s, mla_err *err) {
    s->dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir < 0) return mla_err_set(err, "%s: cannot open: %s", s->path, strerror(errno));
    int rc = pthread_create(&s->syncer, NULL, sync_main, s);
    if (rc) return mla_err_set(err, "cannot start a thread: %s", strerror(rc));
    s->syncs = true;
    return 0;
}

mla__snapshots *mla__snapshots_open(const char *path, mla_err *err) {
    git_libgit2_init();
    // Files of a state are read at each step from it: libgit2 by itself keeps no blob in memory.
    git_libgit2_opts(GIT_OPT_SET_CACHE_OBJECT_LIMIT, GIT_OBJECT_BLOB, MLA__FILE_MAX);
    git_libgit2_opts(GIT_OPT_SET_CACHE_MAX_SIZE, CACHE_BYTES);
    // What a tree or a commit names was written a moment ago.
    git_libgit2_opts(GIT_OPT_ENABLE_STRICT_OBJECT_CREATION, 0);
    mla__snapshots *s = MLA_NEW(mla__snapshots);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->closing, NULL);
    s->path = mla_strdup(path);
    s->dir = -1;
    if (open_or_create(s, err) == 0 && after_power_cut(s, err) == 0 &&
        start_syncer(s, err) == 0) return s;
    mla__snapshots_free(s);
    return NULL;
}

static void stop_syncer(mla__snapshots *s) {
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    pthread_cond_broadcast(&s->closing);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->syncer, NULL);
}

void mla__snapshots_free(mla__snapshots *s) {
    if (!s) return;
    if (s->syncs) stop_syncer(s);
    if (s->dir >= 0) close(s->dir);
    git_repository_free(s->repo);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->closing);
    free(s->path);
    free(s);
    git_libgit2_shutdown();
}

// --- messages ----------------------------------------------------------------------------------

static void add_number(mla_buf *out, const char *key, double value) {
    if (isfinite(value)) mla_buf_printf(out, "%s: %.17g\n", key, value);
    else mla_buf_printf(out, "%s: none\n", key);
}

static void write_message(mla_buf *out, const mla__snapshot *snapshot) {
    mla_buf_init(out, MESSAGE_MAX);
    mla_buf_printf(out, "%s\n\nTask: %s\n", snapshot->subject, snapshot->task);
    add_number(out, "Score", snapshot->state.score);
    add_number(out, "Best", snapshot->state.best);
    mla_buf_printf(out, "Undo: %s\n", *snapshot->state.undo ? snapshot->state.undo : "none");
    if (*snapshot->edited) mla_buf_printf(out, "Edited: %s\n", snapshot->edited);
}

// The value of the last trailer of that key; "" when it is "none" or absent.
static void read_trailer(const char *message, const char *key, char *out, size_t size) {
    size_t n = strlen(key);
    *out = '\0';
    for (const char *p = message; p; p = strchr(p, '\n')) {
        if (*p == '\n') p++;
        if (strncmp(p, key, n) || strncmp(p + n, ": ", 2)) continue;
        snprintf(out, size, "%.*s", (int)strcspn(p + n + 2, "\n"), p + n + 2);
    }
    if (!strcmp(out, "none")) *out = '\0';
}

static double read_number(const char *message, const char *key) {
    char text[64];
    read_trailer(message, key, text, sizeof text);
    return *text ? strtod(text, NULL) : NAN;
}

static void read_message(const char *message, mla__snapshot *out) {
    snprintf(out->subject, sizeof out->subject, "%.*s", (int)strcspn(message, "\n"), message);
    read_trailer(message, "Task", out->task, sizeof out->task);
    read_trailer(message, "Undo", out->state.undo, sizeof out->state.undo);
    read_trailer(message, "Edited", out->edited, sizeof out->edited);
    out->state.score = read_number(message, "Score");
    out->state.best = read_number(message, "Best");
}

// --- writing -----------------------------------------------------------------------------------

static int write_tree(git_repository *repo, const mla__files *files, git_oid *out) {
    git_treebuilder *builder = NULL;
    git_odb *odb = NULL;
    int rc = git_treebuilder_new(&builder, repo, NULL);
    if (rc == 0) rc = git_repository_odb(&odb, repo);
    for (size_t i = 0; i < files->len && rc == 0; i++) {
        const mla__file *file = &files->items[i];
        git_oid blob;
        // A file that is there already is neither written nor touched.
        rc = git_odb_hash(&blob, file->bytes, file->len, GIT_OBJECT_BLOB);
        if (rc == 0 && !git_odb_exists_ext(odb, &blob, GIT_ODB_LOOKUP_NO_REFRESH)) {
            rc = git_odb_write(&blob, odb, file->bytes, file->len, GIT_OBJECT_BLOB);
        }
        if (rc == 0) rc = git_treebuilder_insert(NULL, builder, file->name, &blob,
                                                 GIT_FILEMODE_BLOB);
    }
    if (rc == 0) rc = git_treebuilder_write(out, builder);
    git_odb_free(odb);
    git_treebuilder_free(builder);
    return rc;
}

// The ref comes last: a crash before it leaves loose objects that the next run writes again. It is
// a file as git itself makes it; libgit2 would look at all that could stand in its way.
static int write_ref(mla__snapshots *s, const git_oid *commit, mla_err *err) {
    char id[MLA_OID_HEX], text[MLA_OID_HEX + 1], name[80], lock[88];
    git_oid_tostr(id, sizeof id, commit);
    snprintf(text, sizeof text, "%s\n", id);
    snprintf(name, sizeof name, "refs/states/%s", id);
    snprintf(lock, sizeof lock, "%s.lock", name);
    if (faccessat(s->dir, name, F_OK, 0) == 0) return 0;
    mkdirat(s->dir, "refs/states", 0755);      // git gc takes it away when all refs are packed
    int fd = openat(s->dir, lock, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int rc = fd < 0 ? -1 : mla_fs_write_all(fd, text, MLA_OID_HEX, NULL);
    if (fd >= 0) close(fd);
    if (rc == 0 && renameat(s->dir, lock, s->dir, name) == 0) return 0;
    return mla_err_set(err, "%s: cannot write %s: %s", s->path, name, strerror(errno));
}

static int write_commit(git_repository *repo, const git_oid *tree_id, const char *message,
                        git_commit *parent, git_oid *out) {
    git_tree *tree = NULL;
    git_signature *who = NULL;
    git_time_t when = parent ? git_commit_time(parent) + 1 : EPOCH;
    int rc = git_tree_lookup(&tree, repo, tree_id);
    if (rc == 0) rc = git_signature_new(&who, "mlagent", "mlagent@localhost", when, 0);
    const git_commit *parents[] = {parent};
    if (rc == 0) rc = git_commit_create(out, repo, NULL, who, who, NULL, message, tree,
                                        parent ? 1 : 0, parents);
    git_signature_free(who);
    git_tree_free(tree);
    return rc;
}

static int put(mla__snapshots *s, mla__snapshot *snapshot, const char *parent,
               const mla__files *files, mla_err *err) {
    git_oid parent_id, tree, commit;
    git_commit *above = NULL;
    if (*parent && (git_oid_fromstr(&parent_id, parent) < 0 ||
                    git_commit_lookup(&above, s->repo, &parent_id) < 0)) {
        return fail(s, "find the parent state", err);
    }
    mla_buf message;
    write_message(&message, snapshot);
    int rc = write_tree(s->repo, files, &tree);
    if (rc == 0) rc = write_commit(s->repo, &tree, mla_buf_text(&message), above, &commit);
    mla_buf_clear(&message);
    git_commit_free(above);
    if (rc < 0) return fail(s, "write a state", err);
    if (write_ref(s, &commit, err) < 0) return -1;
    git_oid_tostr(snapshot->state.commit, MLA_OID_HEX, &commit);
    return 0;
}

int mla__snapshots_put(mla__snapshots *s, mla__snapshot *snapshot, const char *parent,
                       const mla__files *files, mla_err *err) {
    pthread_mutex_lock(&s->lock);
    int rc = put(s, snapshot, parent, files, err);
    s->dirty = true;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

// --- reading -----------------------------------------------------------------------------------

static int read_file(mla__snapshots *s, const git_tree_entry *entry, mla__files *files,
                     mla_err *err) {
    const char *name = git_tree_entry_name(entry);
    git_blob *blob = NULL;
    if (git_blob_lookup(&blob, s->repo, git_tree_entry_id(entry)) < 0) {
        return fail(s, "read a file of a state", err);
    }
    int rc = mla__files_put(files, name, git_blob_rawcontent(blob),
                            (size_t)git_blob_rawsize(blob), err);
    git_blob_free(blob);
    return rc;
}

static int read_files(mla__snapshots *s, git_commit *commit, mla__files *files, mla_err *err) {
    git_tree *tree = NULL;
    if (git_commit_tree(&tree, commit) < 0) return fail(s, "read a state's files", err);
    int rc = 0;
    for (size_t i = 0; i < git_tree_entrycount(tree) && rc == 0; i++) {
        rc = read_file(s, git_tree_entry_byindex(tree, i), files, err);
    }
    git_tree_free(tree);
    return rc;
}

static int get(mla__snapshots *s, const char *id, mla__snapshot *out, mla__files *files,
               mla_err *err) {
    git_oid oid;
    git_commit *commit = NULL;
    if (git_oid_fromstr(&oid, id) < 0 || git_commit_lookup(&commit, s->repo, &oid) < 0) {
        return mla_err_set(err, "%s: there is no state %.40s; does this states.git belong to the "
                           "records?", s->path, id);
    }
    if (out) {
        *out = (mla__snapshot){0};
        read_message(git_commit_message(commit), out);
        git_oid_tostr(out->state.commit, MLA_OID_HEX, &oid);
    }
    int rc = files ? read_files(s, commit, files, err) : 0;
    git_commit_free(commit);
    return rc;
}

int mla__snapshots_get(mla__snapshots *s, const char *commit, mla__snapshot *out,
                       mla__files *files, mla_err *err) {
    if (files) *files = (mla__files){0};
    pthread_mutex_lock(&s->lock);
    int rc = get(s, commit, out, files, err);
    pthread_mutex_unlock(&s->lock);
    if (rc < 0 && files) mla__files_clear(files);
    return rc;
}
