#include <stdlib.h>

#include "cases.h"
#include "figures.h"
#include "net.h"

static void on_message(client *it, const frame *message) {
    fail("client %d got an unexpected message: %.*s", it->index, (int)message->length, message->payload);
}

/* Handshakes, `inflight` at a time; the clients stay, so that each is one more. */
void run_connects(void) {
    client *all = calloc((size_t)opt.clients, sizeof *all);
    int started = 0, begun = 0;
    double begin = now(), time = begin;
    int warm = opt.clients / 10;
    while (ready_count < opt.clients && time - begin < opt.warmup + opt.seconds) {
        for (; started < opt.clients && connecting_count < opt.inflight; started++)
            client_start(&all[started], started, on_message);
        turn(1000);
        time = now();
        if (!figures.measuring && ready_count >= warm) {
            figures_begin();
            begin = time;
            begun = ready_count;
        }
    }
    figures.done = (uint64_t)(ready_count - begun);
    figures_end(time - begin);
    for (int i = 0; i < started; i++) client_close(&all[i], false);
}

/* Handshakes and farewells, `inflight` clients at a time, until `clients` of them have come and gone. */
void run_churn(void) {
    client *all = calloc((size_t)opt.inflight, sizeof *all);
    int started = 0;
    double begin = now();
    figures_begin();
    for (int i = 0; i < opt.inflight; i++) client_start(&all[i], started++, on_message);
    while (figures.done < (uint64_t)opt.clients) {
        turn(1000);
        for (int i = 0; i < opt.inflight; i++) {
            if (all[i].state == READY) {
                client_close(&all[i], true);
            } else if (all[i].state == CLOSED && all[i].rest == NULL && all[i].out == NULL && all[i].fd >= 0) {
                figures.done++;
                all[i].fd = -1;
                if (started < opt.clients) client_start(&all[i], started++, on_message);
            }
        }
    }
    figures_end(now() - begin);
}
