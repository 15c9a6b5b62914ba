# cython: language_level=3, boundscheck=False, wraparound=False, binding=False
"""The compiled twin of `arrival`: the head of an event for ``/`` is read here, all else by the parser."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from ..errors import PacketError

from ..events._path cimport EventPath


cdef class Arrival:
    """What a message meets first; see `arrival.Arrival`."""

    cdef public EventPath _main
    cdef public object _partial

    def on_text(self, bytes packet not None):
        """A message of text: one packet, or the head of one with attachments."""
        cdef char *text = PyBytes_AS_STRING(packet)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(packet), start = 2
        cdef long long ack_id = 0
        cdef EventPath main = self._main
        try:
            if main is not None and self._partial is None and size > 2 and text[1] == b"2":
                while start < size and start < 20 and b"0" <= text[start] <= b"9":
                    ack_id = ack_id * 10 + (text[start] - 48)
                    start += 1
                if start < size and text[start] == b"[":
                    payload = PyBytes_FromStringAndSize(text + start, size - start)
                    main.receive(payload, ack_id if start > 2 else -1)
                    return
            self.receive_text(packet)
        except PacketError as error:
            self.violated(error)
