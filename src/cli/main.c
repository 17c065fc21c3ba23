// The program: a static table of commands.
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"

static int usage(FILE *out) {
    size_t n;
    const mla_command *commands = mla_commands(&n);
    fputs("mlagent trains language models to be machine-learning engineers.\n\n"
          "usage: mlagent COMMAND [OPTIONS]\n\n", out);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].summary);
    fputs("\n`mlagent COMMAND --help` says more.\n"
          "Exit status: 0 done, 1 error, 2 wrong usage, 130 stopped (run again to go on).\n", out);
    return out == stdout ? MLA_EXIT_OK : MLA_EXIT_USAGE;
}

// The scripts of the tasks share the cores with our threads. libgomp's threads spin at a barrier
// for milliseconds by default, which then costs far more than it gains; it reads its environment
// before main, so the program starts itself once more with a shorter spin.
static void spin_briefly(char **argv) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    setenv("GOMP_SPINCOUNT", "20000", 1);
    execv("/proc/self/exe", argv);
}

int main(int argc, char **argv) {
    spin_briefly(argv);
    setlocale(LC_CTYPE, "C.UTF-8");
    signal(SIGPIPE, SIG_IGN);
    mla_stop_install();
    if (argc < 2) return usage(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        return usage(stdout);
    }
    if (strcmp(argv[1], "--version") == 0) return printf("mlagent %s\n", MLA_VERSION) < 0;
    size_t n;
    const mla_command *commands = mla_commands(&n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "mlagent: there is no command \"%s\"; try `mlagent --help`\n", argv[1]);
    return MLA_EXIT_USAGE;
}
