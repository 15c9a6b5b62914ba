#include <math.h>
#include <stdlib.h>

#include "cases.h"
#include "exchange.h"
#include "figures.h"
#include "net.h"

/* A client may wait for this many answers; one more means that the server does not keep up. */
enum { LINE = SLOTS_MAX };

typedef struct {
    double due[LINE]; /* when each was to be sent: waiting counts from there, not from when it could be sent */
    int first, count;
} line;

static uint64_t random_state = 0x9e3779b97f4a7c15u;

/* Evenly spread over (0, 1]; the same numbers in every run. */
static double next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return ((double)(random_state >> 11) + 1) / 9007199254740992.0;
}

static void on_message(client *it, const frame *message) {
    line *own = it->own;
    int slot = exchange_match(message->payload, message->length);
    if (slot < 0 || own->count == 0) fail("client %d got an unexpected message", it->index);
    if (slot != own->first) figures.reordered++; /* the wait is then another's, which changes no percentile much */
    if (figures.measuring) {
        figures.done++;
        figures_wait(now() - own->due[own->first]);
    }
    own->first = (own->first + 1) % LINE;
    own->count--;
}

/* Arrivals at random moments (Poisson), to one client after another. */
void run_paced(void) {
    exchanges_make(LINE);
    client *all = connect_all(opt.clients, on_message);
    line *lines = calloc((size_t)opt.clients, sizeof *lines);
    for (int i = 0; i < opt.clients; i++) all[i].own = &lines[i];
    double begin = now(), due = begin, measure_from = begin + opt.warmup, end = measure_from + opt.seconds;
    uint64_t overflowed = 0, offered = 0;
    int turn_of = 0;
    while (now() < end) {
        if (!figures.measuring && now() >= measure_from) {
            offered = 0;
            figures_begin();
        }
        for (double time = now(); due <= time; due -= log(next_random()) / opt.rate) {
            client *it = &all[turn_of];
            line *own = it->own;
            turn_of = (turn_of + 1) % opt.clients;
            offered++;
            if (own->count == LINE) {
                overflowed++;
                continue;
            }
            int slot = (own->first + own->count++) % LINE;
            own->due[slot] = due;
            client_write(it, exchanges[slot].request.data, exchanges[slot].request.length);
        }
        flush();
        turn(0);
    }
    figures_add("offered", (double)offered / opt.seconds);
    figures_add("overflowed", (double)overflowed);
    figures_end(now() - measure_from);
}
