#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cases.h"
#include "exchange.h"
#include "figures.h"
#include "net.h"

/* One client: a connection for its GETs and one for its POSTs, as browsers have them. */
typedef struct {
    client poll, post;
    char sid[64];
    bool joined, posting, answered;
    bool pinged; /* a pong is owed */
    double sent;
} pair;

static int joined;

static void get(pair *it) {
    char head[256];
    const char *session = it->sid[0] ? "&sid=" : "";
    int length = snprintf(head, sizeof head,
                          "GET /socket.io/?EIO=4&transport=polling%s%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", session,
                          it->sid, opt.port);
    client_write(&it->poll, head, (size_t)length);
}

static void post(pair *it, const char *body) {
    char head[320];
    int length = snprintf(head, sizeof head,
                          "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                          "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %zu\r\n\r\n",
                          it->sid, opt.port, strlen(body));
    client_write(&it->post, head, (size_t)length);
    client_write(&it->post, body, strlen(body));
    it->posting = true;
}

/* The next event goes out once the last was acknowledged and its POST answered; a pong goes with it, or alone. */
static void next(pair *it) {
    static char both[1 << 17];
    if (it->posting || !(it->answered || it->pinged)) return;
    if (!it->answered) {
        post(it, "3");
    } else {
        it->answered = false;
        it->sent = now();
        if (it->pinged) snprintf(both, sizeof both, "3\x1e%s", exchanges[0].packet);
        post(it, it->pinged ? both : exchanges[0].packet);
    }
    it->pinged = false;
}

static void take_packet(pair *it, const uint8_t *packet, size_t length) {
    if (length > 0 && packet[0] == '0') {
        const uint8_t *sid = memmem(packet, length, "\"sid\":\"", 7);
        const uint8_t *end = sid ? memchr(sid + 7, '"', length - (size_t)(sid + 7 - packet)) : NULL;
        if (end == NULL || end - sid - 7 >= (long)sizeof it->sid) fail("a handshake without a session id");
        memcpy(it->sid, sid + 7, (size_t)(end - sid - 7));
        post(it, "40");
    } else if (length >= 3 && memcmp(packet, "40{", 3) == 0) {
        it->joined = it->answered = true;
        joined++;
    } else if (length == 1 && packet[0] == '2') {
        it->pinged = true;
    } else if (exchange_match(packet, length) == 0) {
        if (figures.measuring) {
            figures.done++;
            figures_wait(now() - it->sent);
        }
        it->answered = true;
    } else {
        fail("an unexpected packet: %.*s", (int)length, packet);
    }
}

static void take_body(pair *it, bool posted, const uint8_t *body, size_t length) {
    if (posted) {
        it->posting = false;
    } else {
        for (const uint8_t *at = body, *end = body + length; at <= end;) {
            const uint8_t *stop = memchr(at, 0x1e, (size_t)(end - at));
            if (stop == NULL) stop = end;
            take_packet(it, at, (size_t)(stop - at));
            at = stop + 1;
        }
        get(it);
    }
    if (it->joined) next(it);
}

/* Join the chunks of a body in `into`. Returns the length of the coded body, or 0 when it has not wholly come. */
static size_t read_chunks(const uint8_t *data, size_t length, uint8_t *into, size_t *joined_length) {
    size_t at = 0;
    *joined_length = 0;
    for (;;) {
        const uint8_t *line = memmem(data + at, length - at, "\r\n", 2);
        if (line == NULL) return 0;
        size_t size = strtoul((const char *)data + at, NULL, 16);
        at = (size_t)(line - data) + 2;
        if (length < at + size + 2) return 0;
        memcpy(into + *joined_length, data + at, size);
        *joined_length += size;
        at += size + 2;
        if (size == 0) return at;
    }
}

static size_t on_bytes(client *from, const uint8_t *data, size_t length) {
    static uint8_t body[1 << 20];
    size_t taken = 0;
    while (taken < length) {
        const uint8_t *start = data + taken, *end = memmem(start, length - taken, "\r\n\r\n", 4);
        if (end == NULL) break;
        char head[2048];
        size_t head_length = (size_t)(end + 4 - start), left = length - taken - head_length;
        if (head_length >= sizeof head) fail("a response head of %zu bytes", head_length);
        memcpy(head, start, head_length);
        head[head_length] = '\0';
        if (memcmp(head + 9, "200", 3) != 0) fail("an unexpected response: %s", head);
        char *sized = strcasestr(head, "\r\ncontent-length:");
        size_t coded, size;
        const uint8_t *content = end + 4;
        if (sized != NULL) {
            coded = size = strtoul(sized + 17, NULL, 10);
            if (left < coded) break;
        } else if (strcasestr(head, "transfer-encoding: chunked") != NULL) {
            coded = read_chunks(content, left, body, &size);
            if (coded == 0) break;
            content = body;
        } else {
            fail("a response without a length: %s", head);
        }
        taken += head_length + coded;
        pair *it = from->own;
        take_body(it, from == &it->post, content, size);
    }
    return taken;
}

void run_polling(void) {
    exchanges_make(1);
    pair *all = calloc((size_t)opt.clients, sizeof *all);
    for (int i = 0; i < opt.clients; i++) {
        all[i].poll.own = all[i].post.own = &all[i];
        client_start_plain(&all[i].poll, i, on_bytes);
        client_start_plain(&all[i].post, i, on_bytes);
        get(&all[i]);
    }
    for (double begin = now(); joined < opt.clients; turn(1000))
        if (now() - begin > 20) fail("only %d of %d clients have connected in 20 seconds", joined, opt.clients);
    run_for(opt.warmup);
    figures_begin();
    figures_end(run_for(opt.seconds));
}
