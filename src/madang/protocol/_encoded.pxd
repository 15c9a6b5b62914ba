cpdef bytes websocket_frame(int opcode, bytes data)


cdef class Encoded:
    cdef readonly bytes text
    cdef readonly tuple attachments
    cdef readonly bint compress
    cdef public tuple event
    cdef public bytes frame
    cdef public bytes payload
    cdef public str string

    cpdef bytes make_frame(self)


cdef class AckEncoder:
    cdef object _dumps, _replace, _options
    cdef list _attachments
    cdef public Py_ssize_t limit

    cdef Encoded encode(self, object result, long long ack_id)
