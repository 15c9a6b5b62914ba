# cython: language_level=3, boundscheck=False, wraparound=False, binding=False
"""The compiled twin of `path`: the way of an event with one plain handler, in one C call.

Whatever is not plain goes on to `Dispatcher.receive_event`, which knows every case.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.string cimport memchr

from types import CoroutineType

import msgspec

from ..protocol._encoded cimport AckEncoder, Encoded


cdef extern from "Python.h":
    PyObject **PySequence_Fast_ITEMS(object)
    object PyObject_Vectorcall(object callable, PyObject **args, size_t nargsf, PyObject *kwnames)
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET


cdef enum:
    ARGUMENTS_MAX = 12

cdef object astuple = msgspec.structs.astuple
cdef object UNSET = msgspec.UNSET
cdef object coroutine_type = CoroutineType


cdef class Route:
    """What the path of an event needs of a handler; see `path.Route`."""


cdef class EventPath:
    """What the path of an event needs of a socket; see `path.EventPath`."""

    cdef int receive(self, bytes payload, long long ack_id) except -1:
        """An event of the client: `payload` is its JSON text, `ack_id` is -1 if no answer is wanted."""
        cdef char *text = PyBytes_AS_STRING(payload)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
        cdef char *end
        cdef Route route
        if self._plain and size > 2 and text[1] == b'"':
            end = <char *>memchr(text + 2, b'"', size - 2)
            if end != NULL:
                route = self._route(PyBytes_FromStringAndSize(text + 2, end - text - 2))
                if route is not None and self._decode(route, payload, ack_id):
                    return 0
        self.receive_event(payload, ack_id if ack_id >= 0 else None)
        return 0

    cdef int receive_values(self, list values, long long ack_id, Py_ssize_t size) except -1:
        """An event whose name and arguments are decoded and complete; see `Dispatcher.receive_args`."""
        cdef Route route
        cdef str name = <str>values[0]
        if self._plain and "\\" not in name:  # routes are found by the name as it stands in JSON
            route = self._route(name.encode("utf-8", "replace"))
            if route is not None and not route.whole and self._call(route, values, ack_id):
                return 0
        self.receive_args(values, ack_id if ack_id >= 0 else None, size)
        return 0

    cdef Route _route(self, bytes name):
        """The handler of an event if it has just one, which can be called now; else None."""
        cdef PyObject *found = PyDict_GetItem(self._routes, name)
        cdef PyObject *own
        cdef Route route
        if self._own_routes is not None:
            own = PyDict_GetItem(self._own_routes, name)
            if own != NULL:
                found = own if found == NULL else NULL
        if found == NULL or <object>found is None:
            return None
        route = <Route>found
        if route.exact < 0 or not (self._queue is None or route.concurrent):
            return None
        return route

    cdef bint _decode(self, Route route, bytes payload, long long ack_id) except -1:
        """Decode the arguments and call the handler; False if they are not just what it takes."""
        try:
            values = route.decode(payload)
            if route.whole:
                values = astuple(values)
        except Exception:  # the longer way tells the client what is wrong
            return False
        return self._call(route, values, ack_id)

    cdef bint _call(self, Route route, object values, long long ack_id) except -1:
        """Call the handler with what stands behind the event's name; False if that is not just what it takes."""
        cdef PyObject *arguments[ARGUMENTS_MAX + 2]
        cdef PyObject **first = arguments + 1
        cdef PyObject **items
        cdef Py_ssize_t count, i
        if type(values) is list:
            count = PyList_GET_SIZE(values)
        elif type(values) is tuple:
            count = PyTuple_GET_SIZE(values)
        else:
            return False
        if count != route.exact + 1:
            return False
        items = PySequence_Fast_ITEMS(values)
        if items[count - 1] == <PyObject *>UNSET:
            return False
        first[0] = <PyObject *>self
        for i in range(1, count):
            first[i] = items[i]
        if not route.takes_socket:
            first += 1
            count -= 1
        try:
            result = PyObject_Vectorcall(route.function, first, count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
        except BaseException as error:
            self._handler_raised(route, error, ack_id if ack_id >= 0 else None)
            return True
        self._finish_call(route, result, ack_id)
        return True

    cdef int _finish_call(self, Route route, object result, long long ack_id) except -1:
        cdef Encoded encoded
        if route.is_async or type(result) is coroutine_type:
            self._wait_for(route, result, ack_id if ack_id >= 0 else None)
        elif ack_id >= 0:
            if self._ack_encoder is not None:
                encoded = self._ack_encoder.encode(result, ack_id)
                if encoded is not None:
                    self.write(encoded)
                    return 0
            self._answer(ack_id, () if result is None else result if type(result) is tuple else (result,))
        return 0
