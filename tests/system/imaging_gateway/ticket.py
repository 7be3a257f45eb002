"""Prints a GSS-API token of Kerberos for a service principal: what a modality would send."""

import ctypes
import sys


class Buffer(ctypes.Structure):
    """gss_buffer_desc."""

    _fields_ = (("length", ctypes.c_size_t), ("value", ctypes.c_void_p))


class Oid(ctypes.Structure):
    """gss_OID_desc."""

    _fields_ = (("length", ctypes.c_uint32), ("elements", ctypes.c_char_p))


def main(service: bytes) -> None:
    library = ctypes.CDLL("libgssapi_krb5.so.2")
    minor, name, context = ctypes.c_uint32(), ctypes.c_void_p(), ctypes.c_void_p()
    kept = ctypes.create_string_buffer(service)
    text = Buffer(len(service), ctypes.cast(kept, ctypes.c_void_p).value)
    kind = Oid(10, bytes.fromhex("2a864886f71201020201"))
    mechanism = Oid(9, bytes.fromhex("2a864886f712010202"))
    major = library.gss_import_name(
        ctypes.byref(minor), ctypes.byref(text), ctypes.byref(kind), ctypes.byref(name)
    )
    assert major == 0, hex(major)
    output = Buffer()
    mutual = 2
    major = library.gss_init_sec_context(
        ctypes.byref(minor), None, ctypes.byref(context), name, ctypes.byref(mechanism),
        ctypes.c_uint32(mutual), ctypes.c_uint32(0), None, None, None, ctypes.byref(output),
        None, None,
    )  # fmt: skip
    assert major in {0, 1}, (hex(major), minor.value)
    sys.stdout.buffer.write(ctypes.string_at(output.value, output.length))


if __name__ == "__main__":
    main(sys.argv[1].encode())
