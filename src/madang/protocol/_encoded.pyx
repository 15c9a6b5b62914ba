# cython: language_level=3, boundscheck=False, wraparound=False, binding=False
"""The compiled twin of `encoded`: outgoing messages, and acknowledgements encoded without a detour."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

import sys
from os import urandom as _urandom

from .engineio import SEPARATOR, encode_binary


cdef extern from *:
    """
    /* The length of a frame's head, and the head (RFC 6455, section 5.2). */
    static inline Py_ssize_t frame_head(uint8_t *at, int opcode, Py_ssize_t size) {
        at[0] = (uint8_t)(0x80 | opcode);
        if (size < 126) {
            at[1] = (uint8_t)size;
            return 2;
        }
        if (size < 65536) {
            at[1] = 126;
            at[2] = (uint8_t)(size >> 8);
            at[3] = (uint8_t)size;
            return 4;
        }
        at[1] = 127;
        for (int i = 0; i < 8; i++) at[2 + i] = (uint8_t)((uint64_t)size >> (56 - 8 * i));
        return 10;
    }

    static inline void mask(uint8_t *into, const uint8_t *from, Py_ssize_t size, const uint8_t *key) {
        uint8_t twice[8];
        uint64_t wide, word;
        Py_ssize_t i = 0;
        memcpy(twice, key, 4);
        memcpy(twice + 4, key, 4);
        memcpy(&wide, twice, 8);
        for (; i + 8 <= size; i += 8) {
            memcpy(&word, from + i, 8);
            word ^= wide;
            memcpy(into + i, &word, 8);
        }
        for (; i < size; i++) into[i] = from[i] ^ key[i & 3];
    }
    """
    void mask(uint8_t *into, const uint8_t *source, Py_ssize_t size, const uint8_t *key) nogil
    Py_ssize_t frame_head(uint8_t *at, int opcode, Py_ssize_t size) nogil


cdef enum:
    HEAD_MAX = 10


cdef uint8_t *put_frame(uint8_t *into, int opcode, bytes data):
    """Write a frame; where the next one goes."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    into += frame_head(into, opcode, size)
    memcpy(into, PyBytes_AS_STRING(data), size)
    return into + size


cpdef bytes websocket_frame(int opcode, bytes data):
    """A finished server-to-client WebSocket frame; see `encoded.websocket_frame`."""
    cdef uint8_t head[10]
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), length = frame_head(head, opcode, size)
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, length + size)
    memcpy(PyBytes_AS_STRING(frame), head, length)
    memcpy(PyBytes_AS_STRING(frame) + length, PyBytes_AS_STRING(data), size)
    return frame


cdef enum:
    KEYS = 4096

cdef object urandom = _urandom
cdef bytes keys = b""
cdef Py_ssize_t keys_used = 0


cpdef bytes masked_frame(int opcode, bytes data):
    """A finished client-to-server WebSocket frame; see `encoded.masked_frame`."""
    global keys, keys_used
    cdef uint8_t head[10]
    cdef uint8_t key[4]
    cdef uint8_t *to
    cdef uint8_t *source = <uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), length = frame_head(head, opcode, size)
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, length + 4 + size)
    if keys_used >= PyBytes_GET_SIZE(keys):
        keys = urandom(KEYS)  # drawn many at a time, and each used once
        keys_used = 0
    memcpy(key, PyBytes_AS_STRING(keys) + keys_used, 4)
    keys_used += 4
    head[1] |= 0x80
    to = <uint8_t *>PyBytes_AS_STRING(frame)
    memcpy(to, head, length)
    memcpy(to + length, key, 4)
    mask(to + length + 4, source, size, key)
    return frame


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Encoded:
    """A message for one or many sessions; see `encoded.Encoded`."""

    def __cinit__(
        self,
        bytes text not None,
        tuple attachments not None=(),
        bint compress=True,
        tuple event=None,
        bytes frame=None,
        bytes payload=None,
        str string=None,
    ):
        self.text = text
        self.attachments = attachments
        self.compress = compress
        self.event = event
        self.frame = frame
        self.payload = payload
        self.string = string

    def __repr__(self):
        return f"Encoded({self.text!r}, {self.attachments!r}, {self.compress!r})"

    def __eq__(self, other):
        if not isinstance(other, Encoded):
            return NotImplemented
        it = <Encoded>other
        mine = (self.text, self.attachments, self.compress, self.event)
        return mine == (it.text, it.attachments, it.compress, it.event)

    cpdef bytes make_frame(self):
        """The WebSocket frames, joined; kept in `frame`."""
        cdef Py_ssize_t size = 0
        cdef uint8_t *into
        cdef bytes data, frame
        if not self.attachments:
            self.frame = websocket_frame(1, self.text)
            return self.frame
        if self.text:
            size = HEAD_MAX + PyBytes_GET_SIZE(self.text)
        for data in self.attachments:
            size += HEAD_MAX + PyBytes_GET_SIZE(data)
        frame = PyBytes_FromStringAndSize(NULL, size)
        into = <uint8_t *>PyBytes_AS_STRING(frame)
        if self.text:
            into = put_frame(into, 1, self.text)
        for data in self.attachments:
            into = put_frame(into, 2, data)
        self.frame = frame[: into - <uint8_t *>PyBytes_AS_STRING(frame)]
        return self.frame

    def make_payload(self):
        """The packets as part of a polling payload; kept in `payload`."""
        if self.attachments:
            parts = [self.text] if self.text else []
            parts += [encode_binary(data) for data in self.attachments]
            self.payload = SEPARATOR.join(parts)
        else:
            self.payload = self.text
        return self.payload

    def make_string(self):
        """The text as `str`, for hosts that send text as such; kept in `string`."""
        self.string = self.text.decode()
        return self.string


@cython.final
cdef class AckEncoder:
    """Encodes the acknowledgements of ``/`` that hold no bytes, or nothing else, which are nearly all.

    Args:
        dumps: orjson's.
        encoder: the parser's `JsonEncoder`.
        options: for `dumps`.

    Attributes:
        limit: bytes of a packet, or an attachment, from which on it takes the longer way, where its size is looked at.
    """

    def __init__(self, dumps, encoder, options):
        self.limit = sys.maxsize
        self._dumps = dumps
        self._replace = encoder.replace
        self._options = options
        self._attachments = encoder.attachments

    cdef Encoded encode(self, object result, long long ack_id):
        """The packet for what a handler has returned; None if it takes the longer way."""
        cdef uint8_t digits[24]
        cdef int at = 24
        cdef bytes json, text
        cdef Py_ssize_t size, head = 2
        cdef char *into
        cdef tuple attachments = ()
        if result is None:
            json = b"[]"
        elif type(result) is bytes:
            if PyBytes_GET_SIZE(result) > self.limit // 4 * 3:  # it may travel as base64
                return None
            json = b'[{"_placeholder":true,"num":0}]'
            attachments = (result,)
            head = 4
        else:
            try:
                json = self._dumps(result if type(result) is tuple else (result,), self._replace, self._options)
            except Exception:  # the longer way meets it again, and says what it is
                self._attachments.clear()
                return None
            if PyList_GET_SIZE(self._attachments):
                self._attachments.clear()
                return None
        while True:
            at -= 1
            digits[at] = <uint8_t>(48 + ack_id % 10)
            ack_id //= 10
            if ack_id == 0:
                break
        size = PyBytes_GET_SIZE(json)
        if head + 24 - at + size > self.limit:
            return None
        text = PyBytes_FromStringAndSize(NULL, head + 24 - at + size)
        into = PyBytes_AS_STRING(text)
        memcpy(into, b"461-" if head == 4 else b"43", head)
        memcpy(into + head, digits + at, 24 - at)
        memcpy(into + head + 24 - at, PyBytes_AS_STRING(json), size)
        return Encoded.__new__(Encoded, text, attachments)
