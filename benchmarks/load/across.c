#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cases.h"
#include "figures.h"
#include "net.h"

/* Each message begins with its number, in so many digits; a paced one has the sender's clock after it, in nanoseconds. */
enum { DIGITS = 10, CLOCK_DIGITS = 20 };

typedef struct {
    long expected; /* the number of the message that is due */
    bool joined;
} member;

static int joined;
static long asked;      /* messages that the sender was asked for */
static long delivered;  /* of all members together */
static client *sender;

static void ask(const char *event, int count) {
    char text[128];
    int length = snprintf(text, sizeof text, "42[\"%s\",\"room\",%ld,%d]", event, asked, count);
    bytes made = {0};
    frame_append(&made, OP_TEXT, text, (size_t)length);
    client_write(sender, made.data, made.length);
    free(made.data);
    asked += count;
}

static double number_at(const uint8_t *text, int digits) {
    double number = 0;
    for (int i = 0; i < digits; i++) number = number * 10 + (text[i] - '0');
    return number;
}

static void on_message(client *from, const frame *message) {
    static const char prefix[] = "42[\"said\",\"";
    member *own = from->own;
    size_t head = sizeof prefix - 1;
    if (!own->joined && message->length >= 2 && memcmp(message->payload, "43", 2) == 0) {
        own->joined = true;
        joined++;
        return;
    }
    if (message->length != head + opt.size + 2 || memcmp(message->payload, prefix, head) != 0)
        fail("client %d got an unexpected message: %.*s", from->index, (int)message->length, message->payload);
    long number = (long)number_at(message->payload + head, DIGITS);
    if (number >= asked || number < own->expected) fail("client %d got message %ld, not due", from->index, number);
    if (number != own->expected) fail("client %d did not get message %ld", from->index, own->expected);
    own->expected = number + 1;
    delivered++;
    if (figures.measuring) {
        figures.done++;
        if (opt.paced) figures_wait(now() - number_at(message->payload + head + DIGITS, CLOCK_DIGITS) * 1e-9);
    }
}

static void join_room(client *it) {
    bytes made = {0};
    static const char text[] = "420[\"join\",\"room\"]";
    frame_append(&made, OP_TEXT, text, sizeof text - 1);
    client_write(it, made.data, made.length);
    free(made.data);
}

/* As many as may be under way, and more when they have reached all members. */
static void closed_loop(int members, double seconds) {
    double begin = now();
    while (now() - begin < seconds) {
        while (asked - delivered / members < (long)opt.inflight * opt.burst) ask("burst", opt.burst);
        flush();
        turn(100);
    }
}

/* At random moments (Poisson); in between it sleeps, a millisecond at most. */
static void open_loop(double seconds) {
    static double due;
    double begin = now();
    if (due < begin) due = begin;
    while (now() - begin < seconds) {
        for (; due <= now(); due -= log((double)(random() + 1.0) / (RAND_MAX + 1.0)) / opt.rate) ask("stamp", 1);
        flush();
        turn(1);
    }
}

static void drive(int members, double seconds) {
    if (opt.paced) open_loop(seconds);
    else closed_loop(members, seconds);
}

/* The first client, on the first port, asks for broadcasts; the others, on the other port, are the room. */
void run_across(void) {
    if (opt.size < DIGITS + CLOCK_DIGITS) fail("a payload has at least %d bytes here", DIGITS + CLOCK_DIGITS);
    int members = opt.clients;
    opt.first = 1;
    client *all = connect_all(members + 1, on_message);
    sender = &all[0];
    for (int i = 0; i <= members; i++) {
        all[i].own = calloc(1, sizeof(member));
        if (i > 0) join_room(&all[i]);
    }
    flush();
    while (joined < members) turn(1000);
    drive(members, opt.warmup);
    figures_begin();
    double begin = now();
    drive(members, opt.seconds);
    figures_end(now() - begin);
}
