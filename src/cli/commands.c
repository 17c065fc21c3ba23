// The table of commands, and what is made of it: completion for bash.
#include <stdio.h>

#include "base/mem.h"
#include "cli/cli.h"

#define WEAKER_HELP                                                                   \
    "  --allow-weaker-sandbox  run scripts though required protections are missing\n"

#define STAGE_HELP                                                                    \
    "  --config FILE    the configuration, copied into the run folder the first time\n" \
    "  --python PATH    interpreter of the task Python\n"                             \
    "  --force          run the stage again: what it made before is removed\n" WEAKER_HELP

#define COLLECT_HELP                                                                  \
    "these are kept in the run's config.yaml (docs/collect.md):\n"                    \
    "  --expert KIND    who makes the trajectories: scripted, endpoint or replay\n"   \
    "  --ideas CHOICE   which of a task's ideas are followed: diverse, random, first or\n" \
    "                   narrow\n"                                                     \
    "  --ideas-from URL  ask an OpenAI-compatible endpoint for the ideas\n"           \
    "  --endpoint URL   the expert's OpenAI-compatible endpoint, such as\n"           \
    "                   http://127.0.0.1:8080/v1; its key is in $OPENAI_API_KEY\n"    \
    "  --endpoint-model NAME  the model's name there (default: the only one)\n"       \
    "  --replay FILE    the steps.jsonl whose trajectories are played again\n"        \
    "  --trajectories N  per task\n"                                                  \
    "  --budget-tokens N, --budget-money X  stop before an endpoint has cost more\n"

#define COMPUTE_HELP                                                                  \
    "  --compute TYPE   f32, bf16 or int8: of weights and products (default: bf16 where\n" \
    "                   the processor has AVX-512, else f32; int8 is the fastest)\n"        \
    "  --adapter DIR    a LoRA adapter (PEFT's format) laid over the weights\n"

#define ACTION_HELP                                                                   \
    "  --actions SET    what can be done: default, all, or names with commas between\n"  \
    "  --editor KIND    who carries out Edit Script (AI): none, policy (the model) or\n" \
    "                   endpoint, with --editor-url URL and --editor-model NAME\n"

#define TASKS_HELP \
    "  --from DIR       prepare: the download of a competition, a folder or zip (docs/tasks.md)\n" \
    "new makes a task of a folder with train.py and train.csv (and perhaps a test.csv that\n" \
    "holds the target), or of a CSV file alone (docs/solve.md):\n" \
    "  --target COLUMN  what is to be predicted\n" \
    "  --metric NAME    one of docs/tasks.md\n" \
    "  --name NAME      the task's name (default: the folder's or file's)\n" \
    "  --id COLUMN      names the rows; it is added when it is not there (default id)\n" \
    "  --script NAME    the script in the folder (default train.py)\n" \
    "  --best SCORE     the reference (default: half the way to a perfect score)\n" \
    "  --seconds N      limit of one run (default: 4 times what the script takes, 20 at least)\n" \
    "  --memory-mb N    limit of one run (default 4096)\n" \
    "  --force          replace a task of this name\n" \
    "check, noise and ideas --run-all run scripts in the sandbox (docs/tasks.md); noise is what\n" \
    "seeds and the choice of rows do to a score:\n" \
    "  --run-all        try each idea on the starter and show the change of its score\n" \
    "  --seconds N      check: a run may take so long, whatever task.yaml says, and its time\n" \
    "                   is no finding: for a slow or busy machine\n" \
    "  --run DIR        where check and ideas keep states and run cache (default: in the home)\n" \
    "vary makes variants of training tasks, tasks of their own called NAME-v0000 and so on,\n" \
    "that are named like any task, or by a pattern such as 'NAME-v*' (docs/tasks.md):\n" \
    "  --count N        variants of each task (default 100); those that are there are kept\n" \
    "  --fast           of few rows, quickly run; called NAME-f0000\n" \
    "  --seed N         the same seed makes the same variants (default 1)\n" \
    "  --output DIR     where their folders go (default: variants/ in the home)\n" \
    "  --dry-run        only say how many different scripts so many seeds give\n" \
    "  --clear          remove the variants, and their data, of the tasks named or of all\n" \
    "all:\n" \
    "  --python PATH    interpreter of the task Python\n" \
    "  --json           print as JSON: check, noise and ideas an object a line\n"

#define DATA_HELP \
    "stats counts what trajectories and data set hold, and what the filters leave out;\n" \
    "export writes the data set to FILE (.json: an array, else an object a line); import makes\n" \
    "one of conversations that other programs keep, without any environment (docs/data.md):\n" \
    "  --to FORMAT      sharegpt (LLaMA-Factory), openai (chat JSONL) or steps (our records);\n" \
    "                   import tells them by itself\n" \
    "  --max-bad N      records that import may leave out, each with a line (default 20)\n" \
    "  --model MODEL    import into a new run of this model, without a configuration\n" \
    "  --force          replace FILE, or the run's data set\n" \
    "  --json           print counts as JSON\n" \
    "else:\n"

#define SOLVE_HELP \
    "  --model MODEL    a fetched model's name, or a path; with --endpoint its name there\n" \
    "  --endpoint URL   an OpenAI-compatible service, such as http://127.0.0.1:8080/v1\n" \
    "  --trajectories N  attempts, each from the starting script (default 4)\n" \
    "  --steps N        of an attempt at most (default 10)\n" \
    "  --at-once N      attempts side by side (default 2)\n" \
    "  --from-best      later attempts start from the best script so far\n" \
    "  --hours N, --minutes N  stop when so much time has passed\n" \
    "  --output DIR     where it all goes (default runs/solve-<task>); the same command with\n" \
    "                   the same folder goes on\n" \
    "  --temperature T  0 is greedy (default 1)\n" \
    "  --max-new N      tokens of a reply at most (default 512)\n" \
    "  --seed N         (default 1)\n" COMPUTE_HELP ACTION_HELP \
    "  --python PATH    interpreter of the task Python\n" \
    "  --json           one JSON object a step on standard output\n"

const mla_command *mla_commands(size_t *n) {
    static const mla_command commands[] = {
        {"pipeline", "pipeline CONFIG.yaml [--run DIR]", "run all stages: the whole method",
         "  --run DIR        the run folder (default: runs/<name in the config>)\n"
         "  --python PATH    interpreter of the task Python\n"
         "  --force          start the run again: what it made before is removed\n"
         "  --json           print the table as JSON\n" WEAKER_HELP, mla_cmd_pipeline},
        {"collect",
         "collect RUN [--config CONFIG.yaml] |\n"
         "               collect stats RUN|STEPS.jsonl |\n"
         "               collect export RUN FILE --to FORMAT |\n"
         "               collect import RUN FILE... [--model MODEL | --config CONFIG.yaml]",
         "make expert trajectories and the fine-tuning data set; count, export or import it",
         DATA_HELP STAGE_HELP COLLECT_HELP, mla_cmd_collect},
        {"sft", "sft RUN [--config CONFIG.yaml]", "fine-tune the model on the expert's actions",
         STAGE_HELP, mla_cmd_stage},
        {"rl", "rl RUN [--config CONFIG.yaml]",
         "step-wise reinforcement learning from the expert's states", STAGE_HELP, mla_cmd_stage},
        {"eval", "eval RUN [--config CONFIG.yaml]",
         "evaluate the untrained, fine-tuned and RL-trained model",
         STAGE_HELP "  --json           print the table as JSON\n", mla_cmd_stage},
        {"report", "report RUN [--config CONFIG.yaml]", "write report.html of a run", STAGE_HELP,
         mla_cmd_stage},
        {"env", "env TASK | env --check", "walk a task by hand: type actions, see facts and reward",
         "  --run DIR        keep states and run cache there (default: a temporary folder)\n"
         ACTION_HELP
         "  --model MODEL    of the editor\n"
         "  --python PATH    interpreter of the task Python\n"
         "  --json           print each step record as JSON\n"
         "  --check          say which protections hold scripts on this machine, one a line; exit\n"
         "                   status 0 when all that are required are given (docs/sandbox.md)\n"
         WEAKER_HELP, mla_cmd_env},
        {"serve", "serve MODEL [--adapter DIR]", "serve a model by OpenAI's HTTP API, until Ctrl-C",
         "  --host HOST      where to listen (default 127.0.0.1: this machine only)\n"
         "  --port N         0 takes any free one (default 8080); the address is printed\n"
         "  --queue N        requests that wait or run at a time; beyond: 429 (default 64)\n"
         "  --kv-mb N        ceiling of the KV cache in MiB (default 1024)\n"
         "  --seed N         of requests without one (default 1)\n" COMPUTE_HELP
         "With MLAGENT_API_KEY in the environment, clients must send it as their bearer key.\n",
         mla_cmd_serve},
        {"chat", "chat MODEL [--adapter DIR]", "talk with a model; /help lists commands",
         "  --max-new N      tokens of a reply at most (default 256)\n"
         "  --temperature T  0 is greedy (default 1)\n"
         "  --seed N         (default 1)\n" COMPUTE_HELP, mla_cmd_chat},
        {"generate", "generate MODEL [--adapter DIR] [--prompt TEXT | --jsonl]",
         "sample a reply; the prompt comes from --prompt or standard input",
         "  --jsonl          read one JSON object a line, write one a line in the same order:\n"
         "                   {\"prompt\": ...} or {\"messages\": [...]}, with id, n, max_new,\n"
         "                   temperature, top_k, top_p, min_p, seed, stop as wanted\n" COMPUTE_HELP
         "  --max-new N      tokens at most (default 256)\n"
         "  --temperature T  0 is greedy (default 1)\n"
         "  --seed N         (default 1)\n"
         "  --json           print ids and log-probabilities too\n", mla_cmd_generate},
        {"tasks",
         "tasks list | show NAME | prepare [NAME...] |\n"
         "               prepare NAME --from DIR|FILE.zip |\n"
         "               new DIR|FILE.csv --target COLUMN --metric NAME |\n"
         "               check [NAME...] | noise [NAME...] | ideas NAME [--run-all] |\n"
         "               vary NAME... [--count N] [--fast] | vary --clear [NAME...]",
         "list, show, prepare, make and measure tasks",
         TASKS_HELP WEAKER_HELP, mla_cmd_tasks},
        {"solve", "solve TASK|DIR --model MODEL",
         "have a model improve a task's script; leaves best.py and best.diff",
         SOLVE_HELP WEAKER_HELP, mla_cmd_solve},
        {"model",
         "model list | fetch NAME... | info MODEL | convert IN OUT --to FORMAT |\n"
         "               merge MODEL ADAPTER OUT [--to FORMAT]",
         "list, fetch, describe, convert and merge models; MODEL and IN are names or paths",
         "  --to FORMAT      hf (a folder, bf16), or GGUF: bf16, f16, q8_0 or q4_0; merge writes\n"
         "                   hf if nothing is said; ADAPTER is a LoRA adapter in PEFT's format,\n"
         "                   which info describes too\n"
         "  --eos TOKEN      the end of a turn, such as <|im_end|> or <|endoftext|>, where the\n"
         "                   file names none or the wrong one\n"
         "  --python PATH    interpreter whose pip fetches\n"
         "  --force          replace OUT if it is there\n"
         "  --json           list or describe as JSON\n", mla_cmd_model},
        {"cache", "cache stats RUN | prune RUN [--older-than DAYS] [--max-mb N]",
         "what a run cache holds, and making it smaller; RUN is a run folder or an exec.sqlite",
         "  --older-than DAYS  delete results that were last used longer ago\n"
         "  --max-mb N       then those used longest ago, until the others fill about N MiB\n"
         "  --json           print as JSON\n", mla_cmd_cache},
        {"completion", "completion bash", "print a completion script for bash", "",
         mla_cmd_completion},
    };
    *n = MLA_COUNT(commands);
    return commands;
}

int mla_cmd_completion(int argc, char **argv) {
    mla_options o;
    int usage = mla_options_parse(&o, argc, argv);
    if (usage) return usage < 0 ? MLA_EXIT_OK : usage;
    size_t n;
    const mla_command *commands = mla_commands(&n);
    printf("_mlagent() {\n  local word=\"${COMP_WORDS[COMP_CWORD]}\"\n"
           "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    COMPREPLY=($(compgen -W \"");
    for (size_t i = 0; i < n; i++) printf("%s%s", i ? " " : "", commands[i].name);
    printf("\" -- \"$word\"))\n  elif [[ \"$word\" == -* ]]; then\n"
           "    COMPREPLY=($(compgen -W \"--help --home --tasks --config --run --python --prompt "
           "--temperature --max-new --seed --json --quiet --check --force --to "
           "--eos --host --port --queue --kv-mb --jsonl "
           "--compute --adapter --older-than --max-mb --target --metric --id --name "
           "--script --best --seconds --memory-mb --model --steps --trajectories --at-once "
           "--hours --minutes --output --from-best --actions --editor --editor-url "
           "--editor-model --endpoint --expert --ideas --ideas-from --endpoint-model "
           "--replay --budget-tokens --budget-money --run-all --from --count --fast --clear "
           "--dry-run --max-bad\" -- \"$word\"))\n"
           "  else\n    COMPREPLY=($(compgen -f -- \"$word\"))\n  fi\n}\n"
           "complete -F _mlagent mlagent\n");
    return MLA_EXIT_OK;
}
