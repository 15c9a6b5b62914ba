/* Many Socket.IO clients over raw sockets in one thread: connecting, reading, and one write per client and turn. */
#ifndef NET_H
#define NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"

/* What the command line asked for. */
typedef struct {
    int port;
    int other;       /* a second port, for all clients but the first so many; 0: there is none */
    int third;       /* a third port, for every other of those clients; 0: there is none */
    int first;       /* how many clients connect to the first port, if there are several */
    int clients;     /* Socket.IO clients in all */
    int inflight;    /* messages, or handshakes, under way at once (of each client, or of each group) */
    int groups;      /* rooms; 1 is the whole namespace */
    int burst;       /* broadcasts that one event asks for */
    size_t size;     /* bytes of a payload */
    bool binary;     /* payloads are attachments */
    bool typed;      /* payloads are orders, which the server validates */
    double warmup;   /* seconds before measuring */
    double seconds;  /* seconds of measuring */
    double rate;     /* events a second, for the open loop */
    bool paced;      /* broadcasts across servers go out at that rate, and carry when */
} options;

typedef enum { STARTING, UPGRADING, OPENING, JOINING, READY, CLOSED } state;

typedef struct client {
    int fd;
    int index;
    state state;
    uint8_t *rest; /* bytes of a message that has not wholly come */
    size_t rest_length, rest_room;
    uint8_t *out; /* bytes to send at the end of the turn, or when the socket takes more */
    size_t out_start, out_length, out_room;
    bool dirty, blocked;
    void *own; /* what a case keeps for each client */
} client;

/* Called with each message of a client that is ready. */
typedef void (*message_handler)(client *from, const frame *message);

/* Called with the bytes of a plain connection (HTTP); returns how many of them it has taken. */
typedef size_t (*bytes_handler)(client *from, const uint8_t *data, size_t length);

extern options opt;

_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
double now(void); /* seconds, monotonic */

/* Begin a WebSocket client; it is READY once the namespace "/" has accepted it. */
void client_start(client *it, int index, message_handler on_message);
/* Begin a connection that speaks HTTP; it is READY at once. */
void client_start_plain(client *it, int index, bytes_handler on_bytes);
void client_write(client *it, const void *data, size_t length);
/* End it; with `politely` a WebSocket close frame goes first and the server's end is awaited. */
void client_close(client *it, bool politely);

/* Clients that are ready, and that are connecting. */
extern int ready_count, connecting_count;

/* Wait at most `milliseconds` for something to read, hand it out, and send what was written. */
void turn(int milliseconds);
/* Send what was written, now. */
void flush(void);

/* All clients of a case, connected, at most 64 handshakes at a time. */
client *connect_all(int count, message_handler on_message);
/* Run turns until `seconds` have gone by, and return how many really have. */
double run_for(double seconds);

#endif
