// Text of others on a person's terminal: what a script or a model wrote must not move the cursor,
// colour, rename the window or turn letters round.
#ifndef MLA_CLI_TERMINAL_H
#define MLA_CLI_TERMINAL_H

// A copy of a UTF-8 text with a '?' for each control character (of ASCII, of Latin-1, of writing
// direction) but newlines and tabs. Caller frees.
char *mla_terminal_text(const char *text);

#endif
