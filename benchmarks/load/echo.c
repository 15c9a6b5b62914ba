#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "exchange.h"
#include "figures.h"
#include "net.h"

/* The slots of a client that are under way, in the order in which they were sent. */
typedef struct {
    int queue[SLOTS_MAX];
    double sent[SLOTS_MAX];
    int waiting; /* the slot whose attachment is still to come, or -1 */
} line;

static uint64_t first_done; /* on the first port, if there are several */

static void ask(client *it, int slot, int place) {
    line *own = it->own;
    own->queue[place] = slot;
    own->sent[slot] = now();
    client_write(it, exchanges[slot].request.data, exchanges[slot].request.length);
}

static void answered(client *it, int slot) {
    line *own = it->own;
    int place = 0;
    while (own->queue[place] != slot) {
        if (++place == opt.inflight) fail("client %d got an acknowledgement twice", it->index);
    }
    if (figures.measuring) {
        figures.done++;
        if (it->index < opt.first) first_done++;
        if (place > 0) figures.reordered++;
        figures_wait(now() - own->sent[slot]);
    }
    memmove(&own->queue[place], &own->queue[place + 1], sizeof(int) * (size_t)(opt.inflight - 1 - place));
    ask(it, slot, opt.inflight - 1);
}

static void on_message(client *it, const frame *message) {
    line *own = it->own;
    if (message->opcode == OP_BINARY) {
        int slot = own->waiting;
        if (slot < 0 || message->length != payload.length || memcmp(message->payload, payload.data, payload.length) != 0)
            fail("client %d got a wrong attachment", it->index);
        own->waiting = -1;
        answered(it, slot);
        return;
    }
    int slot = exchange_match(message->payload, message->length);
    if (slot < 0) fail("client %d got an unexpected message: %.*s", it->index, (int)message->length, message->payload);
    if (opt.binary) own->waiting = slot;
    else answered(it, slot);
}

void run_echo(void) {
    exchanges_make(opt.inflight);
    client *all = connect_all(opt.clients, on_message);
    for (int i = 0; i < opt.clients; i++) {
        all[i].own = calloc(1, sizeof(line));
        ((line *)all[i].own)->waiting = -1;
        for (int slot = 0; slot < opt.inflight; slot++) ask(&all[i], slot, slot);
    }
    flush();
    run_for(opt.warmup);
    figures_begin();
    double seconds = run_for(opt.seconds);
    if (opt.other) figures_add("first", (double)first_done);
    figures_end(seconds);
}
