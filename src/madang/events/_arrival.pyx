# cython: language_level=3, boundscheck=False, wraparound=False, binding=False
"""The compiled twin of `arrival`: the head of an event or answer for ``/`` is read here, all else by the parser."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

import msgspec

from ..errors import PacketError
from ..protocol.parser import RESERVED_EVENTS

from ._path cimport EventPath

cdef enum:
    PLACES = 9  # attachments of an event that is taken the short way

cdef object decode = msgspec.json.Decoder().decode
cdef object reserved = RESERVED_EVENTS


cdef class BinaryEvent:
    """An event for ``/`` whose attachments, each an argument of its own, are on their way."""

    cdef list values
    cdef Py_ssize_t places[PLACES]
    cdef int count, come
    cdef long long ack_id
    cdef Py_ssize_t size

    cdef bint fill(self, bytes payload, int count, long long ack_id) except -1:
        """Decode the event; False if it is not one of the simple kind, or not valid."""
        cdef Py_ssize_t at
        cdef int found = 0, number
        cdef list values
        cdef dict argument
        try:
            decoded = decode(payload)
        except Exception:
            return False
        if type(decoded) is not list or len(<list>decoded) < 2:
            return False
        values = <list>decoded
        if type(values[0]) is not str or values[0] in reserved:
            return False
        for at in range(1, len(values)):
            value = values[at]
            if type(value) is list:
                return False  # it may hold placeholders
            if type(value) is not dict:
                continue
            argument = <dict>value
            number_of = argument.get("num")
            if argument.get("_placeholder") is not True or type(number_of) is not int or number_of != found:
                return False
            if found == count:
                return False
            self.places[found] = at
            found += 1
        self.values = values
        self.count = count
        self.ack_id = ack_id
        return found == count


cdef class Arrival:
    """What a message meets first; see `arrival.Arrival`."""

    cdef public EventPath _main
    cdef public object _partial

    def on_text(self, bytes packet not None):
        """A message of text: one packet, or the head of one with attachments."""
        cdef char *text = PyBytes_AS_STRING(packet)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(packet), start = 2, first
        cdef long long ack_id = 0
        cdef EventPath main = self._main
        cdef int count = 0
        try:
            if main is not None and self._partial is None and size > 4 and text[1] in b"235":
                if text[1] == b"5":
                    count = text[2] - 48
                    start = 4
                    if not 0 < count <= PLACES or text[3] != b"-":
                        self.receive_text(packet)
                        return
                first = start
                while start < size and start < first + 18 and b"0" <= text[start] <= b"9":
                    ack_id = ack_id * 10 + (text[start] - 48)
                    start += 1
                if start < size and text[start] == b"[":
                    payload = PyBytes_FromStringAndSize(text + start, size - start)
                    if text[1] == b"3":
                        if start > first and self._answer(main, payload, ack_id):
                            return
                        self.receive_text(packet)
                        return
                    if start == first:
                        ack_id = -1
                    if count == 0:
                        main.receive(payload, ack_id)
                        return
                    if self._begin(payload, count, ack_id):
                        return
            self.receive_text(packet)
        except PacketError as error:
            self.violated(error)

    cdef bint _answer(self, EventPath main, bytes payload, long long ack_id) except -1:
        """An answer came; False if it takes the longer way."""
        try:
            values = decode(payload)
        except Exception:
            return False
        if type(values) is not list:
            return False
        main.receive_ack(ack_id, values)
        return True

    cdef bint _begin(self, bytes payload, int count, long long ack_id) except -1:
        """The head of an event with attachments came; False if it takes the longer way."""
        cdef BinaryEvent event = BinaryEvent.__new__(BinaryEvent)
        if count > self.hub.parser.max_attachments or not event.fill(payload, count, ack_id):
            return False
        self._partial = event
        self.hub.attachments.add(self)
        return True

    def on_binary(self, bytes data not None):
        """An attachment."""
        cdef BinaryEvent event
        cdef EventPath main
        if type(self._partial) is not BinaryEvent:
            self.receive_binary(data)
            return
        event = <BinaryEvent>self._partial
        event.values[event.places[event.come]] = data
        event.size += PyBytes_GET_SIZE(data)
        event.come += 1
        if event.come < event.count:
            return
        self._partial = None
        self.hub.attachments.discard(self)
        main = self._main
        if main is None:  # it has left while the attachments came
            return
        try:
            main.receive_values(event.values, event.ack_id, event.size)
        except PacketError as error:
            self.violated(error)
