/* What a case has measured: counts, waiting times, the load on this program itself; printed as one line of JSON. */
#ifndef FIGURES_H
#define FIGURES_H

#include <stdbool.h>
#include <stdint.h>

extern struct figures {
    uint64_t done;      /* acks, deliveries or connections */
    uint64_t reordered; /* that came before one which was due earlier */
    bool measuring;
} figures;

/* Begin to count (what came before was warming up), and stop. */
void figures_begin(void);
void figures_end(double seconds);

/* One waiting time, in seconds. */
void figures_wait(double seconds);

/* Add a figure of a case's own; call before figures_end. */
void figures_add(const char *name, double value);

#endif
