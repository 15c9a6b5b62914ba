#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "figures.h"
#include "net.h"

/* Messages carry a number of this many digits, so that none can be lost, doubled or out of its turn unseen. */
enum { DIGITS = 10, WINDOW = 1024 };

typedef struct {
    client *sender;
    long sent, complete;
    int missing[WINDOW];   /* members that have not got message number n, at n % WINDOW */
    double begun[WINDOW];
    int number;
} group;

typedef struct {
    group *group;
    long expected;
    bool joined;
} member;

static int members; /* of each group */
static int joined;
static char *padding;

static void send_next(group *it) {
    char text[65536 + 128];
    int place = (int)(it->sent % WINDOW), length;
    if (opt.groups == 1)
        length = snprintf(text, sizeof text, "42[\"say\",\"%0*ld%s\"]", DIGITS, it->sent, padding);
    else
        length = snprintf(text, sizeof text, "42[\"tell\",\"room %d\",\"%0*ld%s\"]", it->number, DIGITS, it->sent, padding);
    bytes made = {0};
    frame_append(&made, OP_TEXT, text, (size_t)length);
    client_write(it->sender, made.data, made.length);
    free(made.data);
    it->missing[place] = members;
    it->begun[place] = now();
    it->sent++;
}

static void on_message(client *from, const frame *message) {
    static const char prefix[] = "42[\"said\",\"";
    member *own = from->own;
    if (!own->joined) {
        if (message->length < 2 || memcmp(message->payload, "43", 2) != 0) fail("client %d could not join", from->index);
        own->joined = true;
        joined++;
        return;
    }
    size_t head = sizeof prefix - 1;
    if (message->length != head + opt.size + 2 || memcmp(message->payload, prefix, head) != 0)
        fail("client %d got an unexpected message: %.*s", from->index, (int)message->length, message->payload);
    long number = 0;
    for (int i = 0; i < DIGITS; i++) number = number * 10 + (message->payload[head + (size_t)i] - '0');
    group *it = own->group;
    if (number < it->complete || number >= it->sent) fail("client %d got a message that was not due", from->index);
    if (number != own->expected) figures.reordered++;
    own->expected = number + 1;
    if (figures.measuring) figures.done++;
    int place = (int)(number % WINDOW);
    if (--it->missing[place] > 0) return;
    if (figures.measuring) figures_wait(now() - it->begun[place]);
    while (it->complete < it->sent && it->missing[it->complete % WINDOW] == 0) {
        it->complete++;
        send_next(it);
    }
}

static void join_rooms(client *all, group *groups) {
    for (int i = 0; i < opt.clients; i++) {
        char text[64];
        member *own = calloc(1, sizeof *own);
        own->group = &groups[i % opt.groups];
        own->joined = opt.groups == 1;
        all[i].own = own;
        if (own->joined) continue;
        bytes made = {0};
        int length = snprintf(text, sizeof text, "420[\"join\",\"room %d\"]", own->group->number);
        frame_append(&made, OP_TEXT, text, (size_t)length);
        client_write(&all[i], made.data, made.length);
        free(made.data);
    }
    flush();
    while (opt.groups > 1 && joined < opt.clients) turn(1000);
}

void run_fanout(void) {
    if (opt.inflight >= WINDOW) fail("at most %d may be in flight", WINDOW - 1);
    if (opt.size < DIGITS || opt.size > 65536) fail("a payload has %d to 65536 bytes here", DIGITS);
    members = opt.clients / opt.groups;
    padding = calloc(1, opt.size + 1);
    memset(padding, 'x', opt.size - DIGITS);
    client *all = connect_all(opt.clients, on_message);
    group *groups = calloc((size_t)opt.groups, sizeof *groups);
    for (int i = 0; i < opt.groups; i++) groups[i] = (group){.sender = &all[i], .number = i};
    join_rooms(all, groups);
    for (int i = 0; i < opt.groups; i++)
        for (int k = 0; k < opt.inflight; k++) send_next(&groups[i]);
    flush();
    run_for(opt.warmup);
    figures_begin();
    figures_end(run_for(opt.seconds));
}
