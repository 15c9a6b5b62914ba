from ..protocol._encoded cimport AckEncoder


cdef class Route:
    cdef public object function, bind, bind_args, ack_at, decode
    cdef public bint takes_socket, is_async, concurrent, whole
    cdef public Py_ssize_t exact


cdef class EventPath:
    cdef public bint connected
    cdef public object write
    cdef public object _queue
    cdef public dict _routes, _own_routes
    cdef public bint _plain
    cdef public AckEncoder _ack_encoder

    cdef int receive(self, bytes payload, long long ack_id) except -1
    cdef int receive_values(self, list values, long long ack_id, Py_ssize_t size) except -1
    cdef Route _route(self, bytes name)
    cdef bint _decode(self, Route route, bytes payload, long long ack_id) except -1
    cdef bint _call(self, Route route, object values, long long ack_id) except -1
    cdef int _finish_call(self, Route route, object result, long long ack_id) except -1
