// Daemons for the tests of the sandbox.
#ifndef MLA_TESTS_DAEMONS_H
#define MLA_TESTS_DAEMONS_H

// A Python script that leaves three daemons in sessions of their own, forked twice, deaf to
// signals, with the streams held open. Each does `body`: lines indented by twelve blanks.
#define DAEMONS(body)                                       \
    "import os, signal, sys, time\n"                        \
    "for i in range(3):\n"                                  \
    "    if os.fork() == 0:\n"                              \
    "        os.setsid()\n"                                 \
    "        for s in range(1, 32):\n"                      \
    "            try: signal.signal(s, signal.SIG_IGN)\n"   \
    "            except (OSError, ValueError): pass\n"      \
    "        if os.fork() == 0:\n"                          \
    body                                                    \
    "        os._exit(0)\n"

#endif
