"""Cases of the gRPC interoperability tests, after their description: those that the official client
in Ruby lacks. `client.py PROTO_FOLDER ADDRESS CASE` prints `OK: CASE`, or fails."""

import sys

import grpc

SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
REQUEST_BYTES = 271_828
RESPONSE_BYTES = 314_159
DEADLINE_S = 20


def special_status_message(stub, messages):
    wanted = messages.EchoStatus(code=2, message=SPECIAL)
    error = failure(lambda: stub.UnaryCall(simple(messages, response_status=wanted)))
    assert error.code() is grpc.StatusCode.UNKNOWN, error
    assert error.details() == SPECIAL, repr(error.details())


def server_compressed_unary(stub, messages):
    for compressed in True, False:
        wanted = messages.BoolValue(value=compressed)
        response = stub.UnaryCall(
            simple(messages, response_compressed=wanted), timeout=DEADLINE_S
        )
        assert response.payload.body == bytes(RESPONSE_BYTES)


def client_compressed_unary(stub, messages):
    compressed = simple(messages, expect_compressed=messages.BoolValue(value=True))
    error = failure(lambda: stub.UnaryCall(compressed))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
    plain = simple(messages, expect_compressed=messages.BoolValue(value=False))
    for request, how in (compressed, grpc.Compression.Gzip), (plain, grpc.Compression.NoCompression):
        response = stub.UnaryCall(request, compression=how, timeout=DEADLINE_S)
        assert response.payload.body == bytes(RESPONSE_BYTES)


def simple(messages, **more):
    payload = messages.Payload(body=bytes(REQUEST_BYTES))
    return messages.SimpleRequest(response_size=RESPONSE_BYTES, payload=payload, **more)


def failure(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call succeeds")


def main():
    folder, address, case = sys.argv[1:]
    sys.path.insert(0, folder)
    services = grpc.services("interop/test.proto")
    messages = grpc.protos("interop/messages.proto")
    with grpc.insecure_channel(address) as channel:
        globals()[case](services.TestServiceStub(channel), messages)
    print(f"OK: {case}")


main()
