#define _GNU_SOURCE
#include "exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

exchange exchanges[SLOTS_MAX];
bytes payload;

#define PLACEHOLDER "{\"_placeholder\":true,\"num\":0}"
#define ORDER                                                                                              \
    "{\"id\":7,\"customer\":\"Kim Minji\",\"items\":[{\"sku\":\"A-100\",\"quantity\":2,\"price\":1250},"   \
    "{\"sku\":\"B-200\",\"quantity\":1,\"price\":9900},{\"sku\":\"C-300\",\"quantity\":12,\"price\":75}]," \
    "\"note\":\"leave it at the door\"}"
#define RECEIPT "{\"id\":7,\"total\":13300}"

static char *formatted(const char *format, int slot, const char *text) {
    char *made = NULL;
    if (asprintf(&made, format, slot, text) < 0) fail("out of memory");
    return made;
}

static void make_payload(void) {
    payload.length = opt.size;
    payload.data = malloc(opt.size + 1);
    for (size_t i = 0; i < opt.size; i++) payload.data[i] = (uint8_t)('a' + i % 26);
    payload.data[opt.size] = '\0';
}

void exchanges_make(int count) {
    if (count > SLOTS_MAX) fail("at most %d may be in flight", SLOTS_MAX);
    make_payload();
    for (int slot = 0; slot < count; slot++) {
        exchange *it = &exchanges[slot];
        char *answer;
        if (opt.binary) {
            it->packet = formatted("451-%d[\"echo\",%s]", slot, PLACEHOLDER);
            answer = formatted("461-%d[%s]", slot, PLACEHOLDER);
        } else if (opt.typed) {
            it->packet = formatted("42%d[\"order\",%s]", slot, ORDER);
            answer = formatted("43%d[%s]", slot, RECEIPT);
        } else {
            it->packet = formatted("42%d[\"echo\",\"%s\"]", slot, (char *)payload.data);
            answer = formatted("43%d[\"%s\"]", slot, (char *)payload.data);
        }
        it->answer = (bytes){(uint8_t *)answer, strlen(answer)};
        frame_append(&it->request, OP_TEXT, it->packet, strlen(it->packet));
        if (opt.binary) frame_append(&it->request, OP_BINARY, payload.data, payload.length);
    }
}

int exchange_match(const uint8_t *message, size_t length) {
    size_t at = opt.binary ? 4 : 2;
    if (length < at + 2 || message[0] != '4' || message[1] != (opt.binary ? '6' : '3')) return -1;
    int slot = 0;
    for (; at < length && message[at] >= '0' && message[at] <= '9'; at++) slot = slot * 10 + (message[at] - '0');
    if (slot >= SLOTS_MAX || exchanges[slot].answer.length != length ||
        memcmp(exchanges[slot].answer.data, message, length) != 0)
        fail("a wrong acknowledgement: %.*s", (int)(length < 200 ? length : 200), message);
    return slot;
}
