// Options: one table for all commands, so that an option means the same everywhere.
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"

enum { HOME = 256, TASKS, CONFIG, RUN, PYTHON, PROMPT, TEMPERATURE, MAX_NEW, SEED, JSON, QUIET,
       CHECK, FORCE, TO, EOS, HOST, PORT, QUEUE, KV_MB, JSONL,
       COMPUTE, ADAPTER, OLDER_THAN, MAX_MB, ALLOW_WEAKER_SANDBOX,
       TARGET, METRIC, ID, NAME, SCRIPT, BEST, SECONDS, MEMORY_MB,
       MODEL, STEPS, TRAJECTORIES, AT_ONCE, HOURS, MINUTES, OUTPUT, FROM_BEST,
       ACTIONS, EDITOR, EDITOR_URL, EDITOR_MODEL, ENDPOINT, RUN_ALL, FROM,
       EXPERT, IDEAS, IDEAS_FROM, ENDPOINT_MODEL, REPLAY, BUDGET_TOKENS, BUDGET_MONEY,
       MAX_BAD, COUNT, FAST, CLEAR, DRY_RUN };

static const struct option long_options[] = {{"help", no_argument, NULL, 'h'},
                                             {"home", required_argument, NULL, HOME},
                                             {"tasks", required_argument, NULL, TASKS},
                                             {"config", required_argument, NULL, CONFIG},
                                             {"run", required_argument, NULL, RUN},
                                             {"python", required_argument, NULL, PYTHON},
                                             {"prompt", required_argument, NULL, PROMPT},
                                             {"temperature", required_argument, NULL, TEMPERATURE},
                                             {"max-new", required_argument, NULL, MAX_NEW},
                                             {"seed", required_argument, NULL, SEED},
                                             {"json", no_argument, NULL, JSON},
                                             {"quiet", no_argument, NULL, QUIET},
                                             {"check", no_argument, NULL, CHECK},
                                             {"force", no_argument, NULL, FORCE},
                                             {"host", required_argument, NULL, HOST},
                                             {"port", required_argument, NULL, PORT},
                                             {"queue", required_argument, NULL, QUEUE},
                                             {"kv-mb", required_argument, NULL, KV_MB},
                                             {"jsonl", no_argument, NULL, JSONL},
                                             {"compute", required_argument, NULL, COMPUTE},
                                             {"adapter", required_argument, NULL, ADAPTER},
                                             {"older-than", required_argument, NULL, OLDER_THAN},
                                             {"max-mb", required_argument, NULL, MAX_MB},
                                             {"to", required_argument, NULL, TO},
                                             {"eos", required_argument, NULL, EOS},
                                             {"allow-weaker-sandbox", no_argument, NULL,
                                              ALLOW_WEAKER_SANDBOX},
                                             {"target", required_argument, NULL, TARGET},
                                             {"metric", required_argument, NULL, METRIC},
                                             {"id", required_argument, NULL, ID},
                                             {"name", required_argument, NULL, NAME},
                                             {"script", required_argument, NULL, SCRIPT},
                                             {"best", required_argument, NULL, BEST},
                                             {"seconds", required_argument, NULL, SECONDS},
                                             {"memory-mb", required_argument, NULL, MEMORY_MB},
                                             {"model", required_argument, NULL, MODEL},
                                             {"steps", required_argument, NULL, STEPS},
                                             {"trajectories", required_argument, NULL,
                                              TRAJECTORIES},
                                             {"at-once", required_argument, NULL, AT_ONCE},
                                             {"hours", required_argument, NULL, HOURS},
                                             {"minutes", required_argument, NULL, MINUTES},
                                             {"output", required_argument, NULL, OUTPUT},
                                             {"from-best", no_argument, NULL, FROM_BEST},
                                             {"actions", required_argument, NULL, ACTIONS},
                                             {"editor", required_argument, NULL, EDITOR},
                                             {"editor-url", required_argument, NULL, EDITOR_URL},
                                             {"editor-model", required_argument, NULL,
                                              EDITOR_MODEL},
                                             {"endpoint", required_argument, NULL, ENDPOINT},
                                             {"run-all", no_argument, NULL, RUN_ALL},
                                             {"from", required_argument, NULL, FROM},
                                             {"expert", required_argument, NULL, EXPERT},
                                             {"ideas", required_argument, NULL, IDEAS},
                                             {"ideas-from", required_argument, NULL, IDEAS_FROM},
                                             {"endpoint-model", required_argument, NULL,
                                              ENDPOINT_MODEL},
                                             {"replay", required_argument, NULL, REPLAY},
                                             {"budget-tokens", required_argument, NULL,
                                              BUDGET_TOKENS},
                                             {"budget-money", required_argument, NULL,
                                              BUDGET_MONEY},
                                             {"count", required_argument, NULL, COUNT},
                                             {"fast", no_argument, NULL, FAST},
                                             {"clear", no_argument, NULL, CLEAR},
                                             {"dry-run", no_argument, NULL, DRY_RUN},
                                             {"max-bad", required_argument, NULL, MAX_BAD},
                                             {NULL, 0, NULL, 0}};

static int bad_number(const char *option, const char *text) {
    fprintf(stderr, "mlagent: %s: \"%s\" is not a number in range\n", option, text);
    return MLA_EXIT_USAGE;
}

static int read_number(const char *option, const char *text, double lo, double hi, double *out) {
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    if (end == text || *end || errno || !(*out >= lo && *out <= hi))
        return bad_number(option, text);
    return 0;
}

static int read_int(const char *option, const char *text, int lo, int hi, int *out) {
    double value;
    int rc = read_number(option, text, lo, hi, &value);
    if (rc == 0 && value != (int)value) rc = bad_number(option, text);
    if (rc == 0) *out = (int)value;
    return rc;
}

static int read_compute(const char *text, mla_compute *out) {
    static const struct {
        const char *name;
        mla_compute compute;
    } known[] = {{"f32", MLA_COMPUTE_F32}, {"bf16", MLA_COMPUTE_BF16}, {"int8", MLA_COMPUTE_INT8}};
    for (size_t i = 0; i < MLA_COUNT(known); i++) {
        if (strcmp(text, known[i].name) != 0) continue;
        *out = known[i].compute;
        return 0;
    }
    fprintf(stderr, "mlagent: --compute: \"%s\" is not f32, bf16 or int8\n", text);
    return MLA_EXIT_USAGE;
}

// The texts and numbers of `tasks new`, `solve` and `env`. MLA_EXIT_USAGE for what is none of them.
static int take_task_option(mla_options *out, int option) {
    switch (option) {
    case TARGET: out->target = optarg; break;
    case METRIC: out->metric = optarg; break;
    case ID: out->id = optarg; break;
    case NAME: out->name = optarg; break;
    case FROM: out->from = optarg; break;
    case COUNT: return read_int("--count", optarg, 1, 1000000, &out->count);
    case FAST: out->fast = true; break;
    case CLEAR: out->clear = true; break;
    case DRY_RUN: out->dry_run = true; break;
    case MAX_BAD: return read_int("--max-bad", optarg, 0, 1000000000, &out->max_bad);
    case SCRIPT: out->script = optarg; break;
    case BEST: return read_number("--best", optarg, -1e300, 1e300, &out->best);
    case SECONDS: return read_number("--seconds", optarg, 1, 86400, &out->seconds);
    case MEMORY_MB: return read_int("--memory-mb", optarg, 64, 1 << 24, &out->memory_mb);
    case MODEL: out->model = optarg; break;
    case STEPS: return read_int("--steps", optarg, 1, 1000, &out->steps);
    case TRAJECTORIES:
        return read_int("--trajectories", optarg, 1, 100000, &out->trajectories);
    case AT_ONCE: return read_int("--at-once", optarg, 1, 64, &out->at_once);
    case HOURS: return read_number("--hours", optarg, 0.001, 10000, &out->hours);
    case MINUTES: return read_number("--minutes", optarg, 0.01, 600000, &out->minutes);
    case OUTPUT: out->output = optarg; break;
    case FROM_BEST: out->from_best = true; break;
    case RUN_ALL: out->run_all = true; break;
    case ACTIONS: out->actions = optarg; break;
    case ENDPOINT: out->endpoint = optarg; break;
    case EDITOR: out->editor = optarg; break;
    case EDITOR_URL: out->editor_url = optarg; break;
    case EDITOR_MODEL: out->editor_model = optarg; break;
    default: return MLA_EXIT_USAGE;
    }
    return 0;
}

// Those of `collect`. MLA_EXIT_USAGE for what is none of them.
static int take_collect_option(mla_options *out, int option) {
    switch (option) {
    case EXPERT: out->expert = optarg; break;
    case IDEAS: out->ideas = optarg; break;
    case IDEAS_FROM: out->ideas_from = optarg; break;
    case ENDPOINT_MODEL: out->endpoint_model = optarg; break;
    case REPLAY: out->replay = optarg; break;
    case BUDGET_TOKENS: return read_number("--budget-tokens", optarg, 0, 1e15, &out->budget_tokens);
    case BUDGET_MONEY: return read_number("--budget-money", optarg, 0, 1e15, &out->budget_money);
    default: return take_task_option(out, option);
    }
    return 0;
}

static int take(mla_options *out, int option) {
    double value;
    int rc = 0;
    switch (option) {
    case HOME: out->home = optarg; break;
    case TASKS: out->tasks = optarg; break;
    case CONFIG: out->config = optarg; break;
    case RUN: out->run = optarg; break;
    case PYTHON: out->python = optarg; break;
    case PROMPT: out->prompt = optarg; break;
    case JSON: out->json = true; break;
    case QUIET: out->quiet = true; break;
    case CHECK: out->check = true; break;
    case FORCE: out->force = true; break;
    case ALLOW_WEAKER_SANDBOX: out->allow_weaker_sandbox = true; break;
    case HOST: out->host = optarg; break;
    case JSONL: out->jsonl = true; break;
    case COMPUTE: rc = read_compute(optarg, &out->compute); break;
    case PORT: rc = read_int("--port", optarg, 0, 65535, &out->port); break;
    case QUEUE: rc = read_int("--queue", optarg, 1, 10000, &out->queue); break;
    case KV_MB: rc = read_int("--kv-mb", optarg, 1, 1 << 20, &out->kv_mb); break;
    case ADAPTER: out->adapter = optarg; break;
    case TO: out->to = optarg; break;
    case EOS: out->eos = optarg; break;
    case OLDER_THAN: rc = read_number("--older-than", optarg, 0, 1e5, &out->older_than); break;
    case MAX_MB: rc = read_number("--max-mb", optarg, 0, 1e9, &out->max_mb); break;
    case TEMPERATURE:
        rc = read_number("--temperature", optarg, 0, 10, &out->temperature);
        break;
    case MAX_NEW:
        rc = read_number("--max-new", optarg, 1, 100000, &value);
        out->max_new = rc ? 0 : (int)value;
        break;
    case SEED:
        rc = read_number("--seed", optarg, 0, 9e15, &value);
        out->seed = rc ? 0 : (uint64_t)value;
        break;
    default: rc = take_collect_option(out, option);
    }
    return rc;
}

static void print_help(const char *name) {
    size_t n;
    const mla_command *commands = mla_commands(&n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(commands[i].name, name) != 0) continue;
        printf("usage: mlagent %s\n\n%s\n\n%s", commands[i].usage, commands[i].summary,
               commands[i].help);
    }
    fputs("  --home DIR       models, task data, task Python (default: $MLAGENT_HOME or\n"
          "                   ~/.local/share/mlagent)\n"
          "  --tasks DIR      the tasks' folders (default: tasks/ here or beside the program)\n"
          "  --quiet          no progress\n"
          "  --help           this\n", stdout);
}

int mla_options_parse(mla_options *out, int argc, char **argv) {
    *out = (mla_options){.temperature = 1.0, .seed = 1, .port = -1,
                         .older_than = -1, .max_mb = -1, .id = "id", .script = "train.py",
                         .best = NAN, .steps = 10, .at_once = 2, .budget_tokens = -1,
                         .budget_money = -1,
                         .max_bad = mla_import_options_default().max_bad,
                         .compute = mla_compute_best()};
    optind = 1;
    for (int option; (option = getopt_long(argc, argv, "h", long_options, NULL)) != -1;) {
        if (option == 'h') {
            print_help(argv[0]);
            return -1;
        }
        int rc = take(out, option);
        if (rc) {
            fprintf(stderr, "mlagent: try `mlagent %s --help`\n", argv[0]);
            return rc;
        }
    }
    if (!out->max_new) out->max_new = strcmp(argv[0], "solve") == 0 ? 512 : 256;
    if (!out->trajectories && strcmp(argv[0], "solve") == 0) out->trajectories = 4;
    out->rest = argv + optind;
    out->n_rest = argc - optind;
    if (out->quiet) mla_log_set_level(MLA_LOG_WARN);
    return 0;
}

char *mla_options_home(const mla_options *options) {
    return options->home ? mla_strdup(options->home) : mla_home();
}

char *mla_options_model(const mla_options *options, const char *name) {
    if (strchr(name, '/') || mla_fs_exists(name)) return mla_strdup(name);
    char *home = mla_options_home(options), *path = mla_format("%s/models/%s.gguf", home, name);
    free(home);
    return path;
}

char *mla_options_own_tasks(const mla_options *options) {
    if (options->tasks) return mla_strdup(options->tasks);
    char *home = mla_options_home(options), *own = mla_fs_join(home, "tasks");
    free(home);
    return own;
}

char *mla_options_variants(const mla_options *options) {
    char *home = mla_options_home(options), *variants = mla_fs_join(home, "variants");
    free(home);
    return variants;
}

static bool holds_task(const char *dir) {
    char *yaml = mla_fs_join(dir, "task.yaml");
    bool there = mla_fs_exists(yaml);
    free(yaml);
    return there;
}

char *mla_options_task(const mla_options *options, const char *name, mla_err *err) {
    if (holds_task(name)) return mla_strdup(name);
    bool is_name = !strchr(name, '/');
    char *tasks = mla_options_tasks(options);
    char *roots[] = {tasks, mla_options_own_tasks(options), mla_options_variants(options),
                     mla_fs_join(tasks, "kaggle")};
    char *found = NULL;
    for (size_t i = 0; i < MLA_COUNT(roots); i++) {
        char *dir = mla_fs_join(roots[i], name);
        if (is_name && !found && holds_task(dir)) found = mla_strdup(dir);
        free(dir);
    }
    if (!found && (!is_name || mla_fs_is_dir(name))) {
        mla_err_set(err, "%s: holds no task.yaml; make a task of it with: mlagent tasks new %s "
                    "--target COLUMN --metric NAME", name, name);
    } else if (!found) {
        mla_err_set(err, "there is no task \"%s\" in %s or %s; see mlagent tasks list", name,
                    roots[0], roots[1]);
    }
    for (size_t i = 0; i < MLA_COUNT(roots); i++) free(roots[i]);
    return found;
}

char *mla_options_tasks(const mla_options *options) {
    if (options->tasks) return mla_strdup(options->tasks);
    if (mla_fs_is_dir("tasks")) return mla_strdup("tasks");
    char *self = mla_fs_self_dir();
    char *beside = mla_fs_join(self, "../tasks");
    free(self);
    return beside;
}

int mla_fail(const mla_err *err) {
    bool full = strstr(err->text, strerror(ENOSPC)) || strstr(err->text, "disk is full");
    fprintf(stderr, "mlagent: %s%s\n", err->text[0] ? err->text : "failed without a message",
            full ? "; free some space and run the same command again, it goes on from here" : "");
    return MLA_EXIT_ERROR;
}
