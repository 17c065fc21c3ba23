// What the files of the net room share with their tests.
#ifndef MLA_NET_INTERNAL_H
#define MLA_NET_INTERNAL_H

#include "net/client.h"

// Seconds to wait after `attempts` attempts, by a uniform number u in [0, 1) and the seconds that
// Retry-After asks for (0: it does not).
double mla__http_wait(const mla_http_client_options *options, int attempts, double u,
                      double retry_after);
// Whether a reply with this status may be better the next time.
bool mla__http_may_pass(int status);

#endif
