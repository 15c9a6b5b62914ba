/* WebSocket frames (RFC 6455, section 5.2), as a client writes and reads them. */
#ifndef FRAME_H
#define FRAME_H

#include <stddef.h>
#include <stdint.h>

enum { OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

enum { FRAME_HEAD_MAX = 14 };

/* Bytes made once and sent many times. */
typedef struct {
    uint8_t *data;
    size_t length;
} bytes;

/* A frame that a server has sent: `payload` points into the buffer that was parsed. */
typedef struct {
    int opcode;
    const uint8_t *payload;
    size_t length;
} frame;

/* Append a masked client frame to `out`, which grows. */
void frame_append(bytes *out, int opcode, const void *payload, size_t length);

/* Read one frame from `data`. Returns its whole length, or 0 when `length` bytes do not hold all of it. */
size_t frame_read(const uint8_t *data, size_t length, frame *into);

#endif
