#include "frame.h"

#include <stdlib.h>
#include <string.h>

#include "net.h"

/* The key need not be random here: no proxy stands between, and servers pay the same for any key. */
static const uint8_t KEY[4] = {0x1f, 0x2e, 0x3d, 0x4c};

void frame_append(bytes *out, int opcode, const void *payload, size_t length) {
    out->data = realloc(out->data, out->length + length + FRAME_HEAD_MAX);
    if (out->data == NULL) fail("out of memory");
    uint8_t *at = out->data + out->length;
    *at++ = (uint8_t)(0x80 | opcode);
    if (length < 126) {
        *at++ = (uint8_t)(0x80 | length);
    } else if (length < 65536) {
        *at++ = 0x80 | 126;
        *at++ = (uint8_t)(length >> 8);
        *at++ = (uint8_t)length;
    } else {
        *at++ = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8) *at++ = (uint8_t)((uint64_t)length >> shift);
    }
    memcpy(at, KEY, 4);
    at += 4;
    for (size_t i = 0; i < length; i++) at[i] = ((const uint8_t *)payload)[i] ^ KEY[i & 3];
    out->length = (size_t)(at + length - out->data);
}

size_t frame_read(const uint8_t *data, size_t length, frame *into) {
    if (length < 2) return 0;
    size_t size = data[1] & 0x7f, head = 2;
    if (data[1] & 0x80) fail("the server has masked a frame");
    if (!(data[0] & 0x80)) fail("the server has sent a message in fragments, which this client does not read");
    if (size == 126) {
        head = 4;
        if (length < head) return 0;
        size = (size_t)data[2] << 8 | data[3];
    } else if (size == 127) {
        head = 10;
        if (length < head) return 0;
        size = 0;
        for (int i = 2; i < 10; i++) size = size << 8 | data[i];
    }
    if (length < head + size) return 0;
    into->opcode = data[0] & 0x0f;
    into->payload = data + head;
    into->length = size;
    return head + size;
}
