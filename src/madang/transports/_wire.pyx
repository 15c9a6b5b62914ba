# cython: language_level=3, boundscheck=False, wraparound=False, binding=False, cdivision=True
"""The compiled WebSocket transport of the native host: frames are read and written here, without picows.

One object is the connection's asyncio protocol and the session's transport. All connections of a loop share one buffer
for reading; a connection keeps bytes only while a frame is incomplete, or while it has had its share of the loop's turn.
What is sent in one turn leaves with one system call, made here while the event loop holds nothing back.
"""

cimport cython
from cpython.buffer cimport PyBUF_WRITE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memmove

import asyncio

from ..engine.session import Session
from ..engine.transport import TRANSPORT_CLOSE, TRANSPORT_ERROR

from .handshake import problem_with_close

from ..protocol._encoded cimport Encoded, websocket_frame


cdef extern from *:
    """
    #ifdef _WIN32
    #define WIN32_LEAN_AND_MEAN
    #include <winsock2.h>
    static Py_ssize_t send_now(int fd, const char *data, Py_ssize_t size) { return -1; }
    #else
    #include <sys/socket.h>
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0
    #endif
    static Py_ssize_t send_now(int fd, const char *data, Py_ssize_t size) {
        return send(fd, data, (size_t)size, MSG_NOSIGNAL);
    }
    #endif

    static void unmask(uint8_t *into, const uint8_t *from, Py_ssize_t size, const uint8_t *key) {
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
    Py_ssize_t send_now(int fd, const char *data, Py_ssize_t size) nogil
    void unmask(uint8_t *into, const uint8_t *source, Py_ssize_t size, const uint8_t *key) nogil


cdef enum:
    READ_ROOM = 256 * 1024  # bytes read in one go: as many as TLS decrypts of one read
    TLS_REST = 1024 * 1024  # bytes of a client over TLS that may wait for their turn
    JOIN_ROOM = 64 * 1024  # up to which frames are copied together for one write
    EARLY_FLUSH = 256 * 1024  # bytes after which what waits is written before the turn ends
    SHARE = 64  # frames of one client that are handled in one turn of the loop,
    SHARE_UNIT = 4096  # a frame of more than so many bytes counting as several

cdef object memory_error = MemoryError
cdef double CLOSE_TIMEOUT = 2.0  # seconds for the client to answer a close frame
cdef double REFUSED_TIMEOUT = 0.1  # the same for one that has broken the protocol


cdef class WireOutbox:
    """The connections of a loop that have something to write when the turn ends; see `outbox.Outbox`."""

    cdef object _loop, _call_soon, _flush_bound
    cdef list _dirty, _stalled
    cdef bint _scheduled
    cdef Py_ssize_t _live
    cdef object _emptied
    cdef unsigned int _turn
    cdef char *_read
    cdef char *_join
    cdef object _view

    def __cinit__(self, loop):
        self._loop = loop
        self._call_soon = loop.call_soon
        self._dirty = []
        self._stalled = []
        self._read = <char *>PyMem_Malloc(READ_ROOM)
        self._join = <char *>PyMem_Malloc(JOIN_ROOM)
        if self._read == NULL or self._join == NULL:
            raise memory_error()
        self._view = PyMemoryView_FromMemory(self._read, READ_ROOM, PyBUF_WRITE)

    def __dealloc__(self):
        PyMem_Free(self._read)
        PyMem_Free(self._join)

    cdef inline int _schedule(self) except -1:
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self.flush)
        return 0

    def flush(self):
        """Let each connection write what it has, and go on with those that have had their share."""
        cdef list batch = self._dirty, stalled
        cdef Wire wire
        self._scheduled = False
        self._turn += 1
        if batch:
            self._dirty = []
            for wire in batch:
                try:
                    wire._flush()
                except Exception as error:
                    wire._failed(error)
        if self._stalled:
            stalled, self._stalled = self._stalled, []
            self._call_soon(self._go_on, stalled)

    def _go_on(self, list stalled):
        cdef Wire wire
        stalled.reverse()
        try:
            while stalled:
                wire = stalled.pop()
                wire._go_on()
        finally:
            if stalled:  # a handler has raised what nobody may catch; the others go on all the same
                stalled.reverse()
                self._call_soon(self._go_on, stalled)

    def opened(self):
        """One more connection is open."""
        self._live += 1

    def closed(self):
        """A connection has ended."""
        self._live -= 1
        if not self._live and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    async def all_closed(self):
        """Wait until no connection is open."""
        if self._live:
            self._emptied = self._loop.create_future()
            await self._emptied


cdef class Wire:
    """One WebSocket connection; see `madang.engine.transport.Transport`.

    Args:
        engine: the engine that has admitted it.
        outbox: collects what is written in one turn.
        limit: bytes that a message may have.
    """

    cdef public object session
    cdef object _engine, _tcp, _tcp_write, _tcp_buffered, _close_timer
    cdef WireOutbox _outbox
    cdef bytes _first  # the first frame that waits, and those behind it: most turns have one
    cdef list _more
    cdef Py_ssize_t _pending, _threshold, _limit
    cdef int _fd
    cdef unsigned int _turn, _taken
    cdef char *_rest
    cdef Py_ssize_t _rest_start, _rest_end, _rest_room
    cdef bytearray _fragments
    cdef bint _fragments_are_text
    cdef bint _paused  # writing
    cdef bint _reading_paused, _stalled, _taking
    cdef bint _close_sent, _ended, _tls

    def __cinit__(self, engine, WireOutbox outbox, Py_ssize_t limit):
        self._engine = engine
        self._outbox = outbox
        self._limit = limit
        self._threshold = EARLY_FLUSH
        self._fd = -1

    def __dealloc__(self):
        PyMem_Free(self._rest)

    @property
    def name(self):
        """``"websocket"``."""
        return "websocket"

    @property
    def writable(self):
        """Whether nothing waits before a packet that would be sent now."""
        return self._first is None and not self._paused

    @property
    def buffered(self):
        """Bytes that wait: in this turn's frames and in the event loop's buffer."""
        return self._pending + (self._tcp_buffered() if self._tcp is not None else 0)

    def begin(self, tcp, bytes response, admission, request, bytes behind):
        """The handshake is over.

        Args:
            tcp: the connection.
            response: what accepts the handshake; it leaves with the first packet.
            admission: what `Engine.admit` gave.
            request: the handshake.
            behind: bytes that came behind the handshake.
        """
        self._tcp = tcp
        self._tcp_write = tcp.write
        self._tcp_buffered = tcp.get_write_buffer_size
        self._tls = tcp.get_extra_info("ssl_object") is not None
        if not self._tls:
            socket = tcp.get_extra_info("socket")
            if socket is not None:
                self._fd = socket.fileno()
        self._outbox.opened()
        tcp.set_protocol(self)
        self._push(response)
        self._engine.opened(admission, self, request)
        if behind and not self._ended:
            self._keep(behind, PyBytes_GET_SIZE(behind))
            self._take_rest()

    # what the session calls

    def send(self, Encoded encoded not None):
        """Send a message when the turn ends."""
        cdef bytes frame = encoded.frame
        if frame is None:
            frame = encoded.make_frame()
        self._push(frame)
        if self._pending > self._threshold:
            self._check_pending(frame)

    def send_control(self, bytes packet not None):
        """Send a packet that is no message."""
        self._push(websocket_frame(1, packet))

    def close(self, int code=1000, *, bint linger=True):
        """Send what waits and a close frame, and give the client a short time to answer it."""
        self.session = None
        if self._ended or self._close_sent:
            return
        self._send_close(code)
        self._close_timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._tcp.abort)
        self.resume_reading()

    def abort(self):
        """Drop the connection."""
        self.session = None
        if not self._ended:
            self._drop_frames()
            self._fd = -1
            self._tcp.abort()

    def pause_reading(self):
        """Read nothing more until `resume_reading`."""
        if not self._reading_paused:
            self._reading_paused = True
            self._stop_tcp()

    def resume_reading(self):
        """Undo `pause_reading`."""
        if self._reading_paused:
            self._reading_paused = False
            if self._rest_end > self._rest_start:
                self._stall()
            elif not self._stalled:
                self._start_tcp()

    # writing

    cdef int _push(self, bytes frame) except -1:
        cdef WireOutbox outbox = self._outbox
        if self._ended:
            return 0
        if self._first is None:
            self._first = frame
            outbox._dirty.append(self)
            outbox._schedule()
        elif self._more is None:
            self._more = [frame]
        else:
            self._more.append(frame)
        self._pending += PyBytes_GET_SIZE(frame)
        return 0

    cdef int _flush(self) except -1:
        """Write all frames that wait with one call."""
        cdef bytes first = self._first, frame
        cdef list more = self._more
        cdef Py_ssize_t pending = self._pending, at
        cdef char *into
        if first is None:
            return 0
        self._first = None
        self._more = None
        self._pending = 0
        if more is None:
            self._write(first, PyBytes_AS_STRING(first), pending)
        elif pending > JOIN_ROOM:
            more.insert(0, first)
            first = b"".join(more)
            self._write(first, PyBytes_AS_STRING(first), pending)
        else:
            into = self._outbox._join
            at = PyBytes_GET_SIZE(first)
            memcpy(into, PyBytes_AS_STRING(first), at)
            for frame in more:
                memcpy(into + at, PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame))
                at += PyBytes_GET_SIZE(frame)
            self._write(None, into, pending)
        return 0

    cdef int _write(self, bytes whole, char *data, Py_ssize_t size) except -1:
        """Write `size` bytes at `data`, which are those of `whole` unless that is None."""
        cdef Py_ssize_t sent = 0
        if self._fd >= 0 and <Py_ssize_t>self._tcp_buffered() == 0:
            sent = send_now(self._fd, data, size)
            if sent == size:
                return 0
            if sent < 0:
                sent = 0
        # the event loop keeps what the socket does not take, and finds out what is wrong if something is
        self._tcp_write(whole if whole is not None and sent == 0 else PyBytes_FromStringAndSize(data + sent, size - sent))
        return 0

    cdef int _drop_frames(self) except -1:
        self._first = None
        self._more = None
        self._pending = 0
        return 0

    cdef int _check_pending(self, bytes frame) except -1:
        """Much waits: write it, unless the client is slow; then its bound applies."""
        if not self._paused:
            self._flush()
            return 0
        if self.buffered - PyBytes_GET_SIZE(frame) <= self._engine.options.outbound_limit:
            return 0
        if type(self.session) is not Session:
            return 0
        if self._more:
            self._more.pop()
        else:
            self._first = None
        self._pending -= PyBytes_GET_SIZE(frame)
        self._engine.over_limit(self.session)
        return 0

    cdef int _send_close(self, int code) except -1:
        self._close_sent = True
        self._push(websocket_frame(8, code.to_bytes(2, "big")))
        self._flush()
        return 0

    # what the event loop calls

    def get_buffer(self, size):
        """Where the loop puts what it reads."""
        cdef Py_ssize_t room
        if self._taking:  # from within a call of ours: what is being taken must stay where it is
            return memoryview(bytearray(READ_ROOM))
        if self._rest_end > self._rest_start:
            self._make_room()
            room = min(self._rest_room - self._rest_end, READ_ROOM)
            return PyMemoryView_FromMemory(self._rest + self._rest_end, room, PyBUF_WRITE)
        return self._outbox._view

    def buffer_updated(self, Py_ssize_t size):
        """The loop has read something."""
        cdef char *data = self._outbox._read
        cdef Py_ssize_t taken
        if self._taking:  # see `get_buffer`; the connection is being closed
            return
        if self._rest_end > self._rest_start:
            self._rest_end += size
            if not self._stalled:
                self._take_rest()
            elif self._rest_end - self._rest_start > TLS_REST:
                self._stop_tcp()
            return
        taken = self._take(<uint8_t *>data, size)
        if taken < size and not self._ended:
            self._keep(data + taken, size - taken)

    def eof_received(self):
        """The client sends no more; the connection is closed."""

    def pause_writing(self):
        """The event loop's buffer is over its mark: the client is slow."""
        self._paused = True
        self._threshold = -1

    def resume_writing(self):
        """The client has caught up."""
        self._paused = False
        self._threshold = EARLY_FLUSH
        if type(self.session) is Session:
            self.session.drained()

    def connection_lost(self, error):
        """The connection has ended."""
        self._fd = -1
        if self._ended:
            return
        try:
            if self.session is not None:
                self._take_all_rest()
        finally:
            self._end()

    cdef int _end(self) except -1:
        self._ended = True
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        self._drop_frames()
        self._outbox.closed()
        session, self.session = self.session, None
        if session is not None:
            session.transport_closed(self, TRANSPORT_CLOSE, "websocket connection closed")
        self._tcp = self._tcp_write = self._tcp_buffered = None
        return 0

    # reading

    cdef int _stop_tcp(self) except -1:
        if not self._ended and not self._tcp.is_closing() and self._tcp.is_reading():
            self._tcp.pause_reading()
        return 0

    cdef int _start_tcp(self) except -1:
        if not self._ended and not self._tcp.is_closing() and not self._tcp.is_reading():
            self._tcp.resume_reading()
        return 0

    cdef int _keep(self, const char *data, Py_ssize_t size) except -1:
        """Keep the bytes of a frame that is not complete, or whose turn has not come."""
        cdef Py_ssize_t room = size + 1024
        self._rest = <char *>PyMem_Realloc(self._rest, room)
        if self._rest == NULL:
            raise memory_error()
        memcpy(self._rest, data, size)
        self._rest_start = 0
        self._rest_end = size
        self._rest_room = room
        return 0

    cdef int _make_room(self) except -1:
        """Room behind what is kept for the rest of its frame, up to the size that is read in one go."""
        cdef Py_ssize_t have = self._rest_end - self._rest_start, wanted
        cdef uint8_t *at = <uint8_t *>self._rest + self._rest_start
        cdef char *grown
        wanted = have + 2048
        if have >= 4 and at[1] & 127 == 126:
            wanted = max(wanted, 8 + (at[2] << 8 | at[3]))
        elif have >= 10 and at[1] & 127 == 127:
            wanted = have + READ_ROOM
        if self._tls:
            wanted = have + READ_ROOM
        if self._rest_room - self._rest_end >= wanted - have:
            return 0
        if self._rest_start:
            memmove(self._rest, self._rest + self._rest_start, have)
            self._rest_start = 0
            self._rest_end = have
        if wanted > self._rest_room:
            grown = <char *>PyMem_Realloc(self._rest, wanted + have)
            if grown == NULL:
                raise memory_error()
            self._rest = grown
            self._rest_room = wanted + have
        return 0

    cdef int _take_rest(self) except -1:
        """Go on with what is kept."""
        cdef Py_ssize_t taken
        if self._taking:
            return 0
        try:
            taken = self._take(<uint8_t *>self._rest + self._rest_start, self._rest_end - self._rest_start)
        except BaseException:
            taken = self._rest_end - self._rest_start  # none of it is to be handled twice
            raise
        finally:
            self._rest_start += taken
        if self._rest_start == self._rest_end or self._ended:
            PyMem_Free(self._rest)
            self._rest = NULL
            self._rest_start = self._rest_end = self._rest_room = 0
        return 0

    cdef int _take_all_rest(self) except -1:
        """The connection has ended: handle the complete frames that waited for their turn, or while nothing was read."""
        cdef Py_ssize_t before
        while self._rest_end > self._rest_start:
            before = self._rest_end - self._rest_start
            self._turn = self._outbox._turn
            self._taken = 0
            self._reading_paused = False
            self._take_rest()
            if self._rest_end - self._rest_start == before:
                break
        self._stalled = False
        return 0

    cdef int _stall(self) except -1:
        """Go on in another turn of the loop."""
        if not self._stalled:
            self._stalled = True
            if not self._tls:  # which would drop what it has decrypted if the client closes before we read on
                self._stop_tcp()
            self._outbox._stalled.append(self)
            self._outbox._schedule()
        return 0

    cdef int _go_on(self) except -1:
        if not self._stalled:
            return 0
        self._stalled = False
        if self._ended or self._reading_paused:
            return 0
        self._take_rest()
        if not self._stalled and not self._reading_paused:
            self._start_tcp()
        return 0

    cdef Py_ssize_t _take(self, uint8_t *data, Py_ssize_t length) except -1:
        """Handle the complete frames of `data`, at most this turn's share of them; how many bytes they had."""
        cdef Py_ssize_t at = 0, size, head
        cdef uint8_t first
        cdef WireOutbox outbox = self._outbox
        cdef bytes payload
        if self._turn != outbox._turn:
            self._turn = outbox._turn
            self._taken = 0
        self._taking = True
        try:
            while length - at >= 2 and not self._ended and not self._reading_paused:
                first = data[at]
                size = data[at + 1] & 127
                head = 6
                if not self._is_allowed(first, data[at + 1]):
                    return length
                if size == 126:
                    head = 8
                    if length - at < 4:
                        break
                    size = data[at + 2] << 8 | data[at + 3]
                elif size == 127:
                    head = 14
                    if length - at < 10:
                        break
                    size = self._long_size(data + at + 2)
                if size < 0 or size > self._limit:
                    self._violation(1009, "larger than max_http_buffer_size")
                    return length
                if length - at < head + size:
                    break
                if self._taken >= SHARE:
                    self._stall()
                    break
                self._taken += 1 + size // SHARE_UNIT
                payload = PyBytes_FromStringAndSize(NULL, size)
                unmask(<uint8_t *>PyBytes_AS_STRING(payload), data + at + head, size, data + at + head - 4)
                at += head + size
                if first == 0x81 and self._fragments is None:
                    if self.session is None or self._close_sent:
                        continue
                    if size and PyBytes_AS_STRING(payload)[0] == b"4":
                        self.session.on_text(payload)
                    else:
                        self.session.on_control(payload)
                else:
                    self._take_other(first, payload)
            outbox._schedule()  # what counts the turns
        except Exception as error:
            self._failed(error)
            return length
        except BaseException:
            self._tcp.abort()
            raise
        finally:
            self._taking = False
        return at

    cdef Py_ssize_t _long_size(self, uint8_t *data) noexcept:
        cdef uint64_t size = 0
        cdef int i
        for i in range(8):
            size = size << 8 | data[i]
        return -1 if size >> 62 else <Py_ssize_t>size

    cdef bint _is_allowed(self, uint8_t first, uint8_t second) except -1:
        """Check a frame's first two bytes (RFC 6455, sections 5.2 and 5.5)."""
        cdef int opcode = first & 15
        if self._close_sent and opcode != 8:
            return True  # after our close frame only the client's is of interest
        if first & 0x70:
            self._violation(1002, "a reserved bit is set")
        elif not second & 0x80:
            self._violation(1002, "a frame that is not masked")
        elif opcode > 2 and (opcode < 8 or opcode > 10):
            self._violation(1002, "an unknown opcode")
        elif opcode >= 8 and (second & 127 > 125 or not first & 0x80):
            self._violation(1002, "a control frame that is too long, or in fragments")
        else:
            return True
        return False

    cdef int _take_other(self, uint8_t first, bytes payload) except -1:
        """Any frame but a message of text in one piece."""
        cdef int opcode = first & 15
        if opcode == 8:
            self._client_closed(payload)
        elif self._close_sent or self.session is None:
            pass
        elif opcode == 9:
            if not self._paused:  # a client that floods pings and reads no pong is owed none
                self._push(websocket_frame(10, payload))
        elif opcode == 10:
            pass
        elif first == 0x82 and self._fragments is None:
            self.session.on_binary(payload)
        else:
            self._take_fragment(opcode, first >> 7, payload)
        return 0

    cdef int _take_fragment(self, int opcode, bint last, bytes payload) except -1:
        """Part of a fragmented message (RFC 6455, section 5.4)."""
        cdef bytes message
        if (opcode == 0) == (self._fragments is None):
            self._violation(1002, "fragments out of order")
            return 0
        if self._fragments is None:
            self._fragments = bytearray()
            self._fragments_are_text = opcode == 1
        if len(self._fragments) + PyBytes_GET_SIZE(payload) > self._limit:
            self._violation(1009, "larger than max_http_buffer_size")
            return 0
        self._fragments += payload
        if not last:
            return 0
        message = bytes(self._fragments)
        self._fragments = None
        if not self._fragments_are_text:
            self.session.on_binary(message)
        elif message[:1] == b"4":
            self.session.on_text(message)
        else:
            self.session.on_control(message)
        return 0

    cdef int _violation(self, int code, str description) except -1:
        self._fragments = None
        if self.session is not None:
            self.session.fail(TRANSPORT_ERROR, description, code)
        if not self._ended and not self._close_sent:
            self.close(code)
        if self._close_timer is not None:  # what follows is not read; the client has a moment to take the close frame
            self._close_timer.cancel()
            self._close_timer = asyncio.get_running_loop().call_later(REFUSED_TIMEOUT, self._tcp.abort)
            self.pause_reading()
        return 0

    cdef int _failed(self, error) except -1:
        """Something of ours has failed: this connection ends, the others go on."""
        asyncio.get_running_loop().call_exception_handler(
            {"message": "a WebSocket is closed because of an error of the server", "exception": error}
        )
        session, self.session = self.session, None
        if session is not None:
            session.transport_closed(self, TRANSPORT_ERROR, error)
        try:
            self.close(1011)
        except Exception:  # it cannot even be written to
            self.abort()
        return 0

    cdef int _client_closed(self, bytes payload) except -1:
        """The client's close frame: answer it, and end the connection."""
        cdef int wrong = 0 if self._close_sent else problem_with_close(payload)
        if wrong:
            self._violation(wrong, "an invalid close frame")
            return 0
        session, self.session = self.session, None
        if session is not None:
            session.transport_closed(self, TRANSPORT_CLOSE, "websocket connection closed")
        if self._ended:
            return 0
        if not self._close_sent:
            self._send_close(1000)
        if self._close_timer is None:  # it may not take what is still to be written
            self._close_timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._tcp.abort)
        self._fd = -1
        self._stop_tcp()
        self._tcp.close()
        return 0
