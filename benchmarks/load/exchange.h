/* One acked event: the bytes that ask, and the bytes that must come back. */
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include "frame.h"

enum { SLOTS_MAX = 1024 };

/* Events are told apart by their ack id, which is also the number of their slot. */
typedef struct {
    bytes request;    /* one frame, or two with an attachment */
    bytes answer;     /* the text of the ack */
    char *packet;     /* the request as a Socket.IO packet in an Engine.IO message, for polling */
} exchange;

extern exchange exchanges[SLOTS_MAX];
extern bytes payload;

/* Make the first `count` exchanges, of the kind that the options ask for. */
void exchanges_make(int count);

/* The slot of an acknowledgement, or -1 when `message` is none; fails when it is not what was asked for. */
int exchange_match(const uint8_t *message, size_t length);

#endif
