/* Drives a Socket.IO server with many clients from one thread, and prints what it measured as a line of JSON. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "net.h"

static const struct {
    const char *name;
    void (*run)(void);
} CASES[] = {
    {"echo", run_echo},   {"paced", run_paced},     {"fanout", run_fanout}, {"connects", run_connects},
    {"churn", run_churn}, {"polling", run_polling}, {"idle", run_idle},     {"across", run_across},
};

static const struct option OPTIONS[] = {
    {"port", required_argument, 0, 'p'},    {"clients", required_argument, 0, 'c'},
    {"inflight", required_argument, 0, 'i'}, {"groups", required_argument, 0, 'g'},
    {"size", required_argument, 0, 's'},    {"binary", no_argument, 0, 'b'},
    {"typed", no_argument, 0, 't'},         {"warmup", required_argument, 0, 'w'},
    {"seconds", required_argument, 0, 'd'}, {"rate", required_argument, 0, 'r'},
    {"other", required_argument, 0, 'o'},   {"first", required_argument, 0, 'f'},
    {"third", required_argument, 0, 'h'},   {"burst", required_argument, 0, 'u'},
    {"paced", no_argument, 0, 'P'},
    {0, 0, 0, 0},
};

static void usage(void) {
    fputs("usage: load CASE --port N [--clients 100] [--inflight 1] [--groups 1] [--size 32] [--binary] [--typed]\n"
          "            [--warmup 0.5] [--seconds 2] [--rate 1000] [--other PORT --third PORT --first N]\n"
          "            [--burst 1] [--paced]\ncases:",
          stderr);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) fprintf(stderr, " %s", CASES[i].name);
    fputc('\n', stderr);
    exit(2);
}

static void read_options(int count, char **values) {
    opt = (options){.clients = 100, .inflight = 1, .groups = 1, .size = 32, .warmup = 0.5, .seconds = 2, .rate = 1000,
                     .burst = 1};
    int name;
    while ((name = getopt_long(count, values, "", OPTIONS, NULL)) != -1) {
        switch (name) {
            case 'p': opt.port = atoi(optarg); break;
            case 'c': opt.clients = atoi(optarg); break;
            case 'i': opt.inflight = atoi(optarg); break;
            case 'g': opt.groups = atoi(optarg); break;
            case 's': opt.size = strtoul(optarg, NULL, 10); break;
            case 'b': opt.binary = true; break;
            case 't': opt.typed = true; break;
            case 'w': opt.warmup = atof(optarg); break;
            case 'd': opt.seconds = atof(optarg); break;
            case 'r': opt.rate = atof(optarg); break;
            case 'o': opt.other = atoi(optarg); break;
            case 'h': opt.third = atoi(optarg); break;
            case 'f': opt.first = atoi(optarg); break;
            case 'u': opt.burst = atoi(optarg); break;
            case 'P': opt.paced = true; break;
            default: usage();
        }
    }
    if (opt.port <= 0 || opt.clients <= 0 || opt.inflight <= 0 || opt.groups <= 0 || opt.rate <= 0 || opt.burst <= 0) usage();
}

int main(int count, char **values) {
    if (count < 2) usage();
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        if (strcmp(values[1], CASES[i].name) != 0) continue;
        read_options(count - 1, values + 1);
        CASES[i].run();
        return 0;
    }
    usage();
}
