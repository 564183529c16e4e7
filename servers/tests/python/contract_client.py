"""The contract, asked from outside Rust: google.protobuf over a plain socket, and grpcio.

Usage: contract_client.py MESSAGES_DIR framed|grpc HOST:PORT
MESSAGES_DIR holds what grpc_tools.protoc made of quintet/v1/*.proto. Each check is a
function below; the first that fails ends the run with a traceback.
"""

import hashlib
import socket
import struct
import sys
import time

sys.path.insert(0, sys.argv[1])
from quintet.v1 import quintet_pb2, users_pb2  # noqa: E402

TIMEOUT_S = 20
FRAME_BYTES_MAX = 4 * 1024 * 1024
INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED = 3, 5, 8


def request(id, **work):
    return quintet_pb2.Request(id=id, **work)


def digest(id, rounds):
    data = id.to_bytes(8, "big")
    for _ in range(rounds):
        data = hashlib.sha256(data).digest()
    return data


def user(id):
    return users_pb2.UserResponse(name=f"User {id}", age=18 + id % 80)


EVERY_KIND = [
    (request(0, echo=b""), b""),
    (request(1, echo=b"\x00\xff" * 500), b"\x00\xff" * 500),
    (request(2**64 - 1, echo=b"the largest id"), b"the largest id"),
    (request(3, wait_us=20_000), b""),
    (request(4, wait_us=0), b""),
    (request(5, block_us=20_000), b""),
    (request(6, block_us=0), b""),
    (request(7, compute_rounds=1), digest(7, 1)),
    (request(8, compute_rounds=300), digest(8, 300)),
    (request(9, get_user="4711"), user(4711).SerializeToString()),
]

# What is asked too much, and what the message must name: field, value, limit.
TOO_MUCH = [
    (request(1, wait_us=60_000_001), ["wait_us", "60000001", "60000000"]),
    (request(2, block_us=60_000_001), ["block_us", "60000001", "60000000"]),
    (request(3, compute_rounds=1_000_001), ["compute_rounds", "1000001", "1000000"]),
    (request(4, compute_rounds=0), ["compute_rounds", "0", "1"]),
    (request(5), ["work"]),
    (request(6, get_user="007"), ["user id", "leading zeros"]),
]


class Framed:
    """One connection: a 4-byte big-endian length before each message."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), TIMEOUT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *requests):
        messages = (request.SerializeToString() for request in requests)
        self.socket.sendall(b"".join(struct.pack(">I", len(m)) + m for m in messages))

    def receive(self):
        (length,) = struct.unpack(">I", self.receive_exactly(4))
        return quintet_pb2.Response.FromString(self.receive_exactly(length))

    def receive_exactly(self, length):
        data = bytearray()
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            assert part, f"the end after {len(data)} of {length} bytes"
            data += part
        return bytes(data)

    def receive_eof(self):
        assert self.socket.recv(1) == b"", "bytes after the last response"


def is_ok(response, id, payload):
    seen = (response.id, response.code, response.message, response.payload)
    assert seen == (id, 0, "", payload), (seen, id, payload)


def framed_every_kind(address):
    with Framed(address) as client:
        for asked, payload in EVERY_KIND:
            began = time.monotonic()
            client.send(asked)
            is_ok(client.receive(), asked.id, payload)
            elapsed_us = (time.monotonic() - began) * 1e6
            assert elapsed_us >= max(asked.wait_us, asked.block_us), "answered too early"


def framed_too_much(address):
    with Framed(address) as client:
        for asked, named in TOO_MUCH:
            client.send(asked)
            response = client.receive()
            assert (response.id, response.code) == (asked.id, INVALID_ARGUMENT), response
            assert all(part in response.message for part in named), response
        client.send(request(9, echo=b"the connection goes on"))
        is_ok(client.receive(), 9, b"the connection goes on")


def framed_no_such_user(address):
    with Framed(address) as client:
        client.send(request(1, get_user="10001"))
        response = client.receive()
        assert (response.id, response.code) == (1, NOT_FOUND), response


def framed_pipelining_and_half_close(address):
    with Framed(address) as client:
        client.send(*(request(id, echo=b"%d" % id) for id in range(10_000)))
        client.socket.shutdown(socket.SHUT_WR)
        for id in range(10_000):
            is_ok(client.receive(), id, b"%d" % id)
        client.receive_eof()


def framed_mixed_half_close(address):
    with Framed(address) as client:
        client.send(*(asked for asked, _ in EVERY_KIND))
        client.socket.shutdown(socket.SHUT_WR)
        for asked, payload in EVERY_KIND:
            is_ok(client.receive(), asked.id, payload)
        client.receive_eof()


def framed_frame_limit(address):
    beside_payload = len(request(1, echo=bytes(FRAME_BYTES_MAX)).SerializeToString()) - FRAME_BYTES_MAX
    most = FRAME_BYTES_MAX - beside_payload
    with Framed(address) as client:
        client.send(request(1, echo=bytes(most)))
        is_ok(client.receive(), 1, bytes(most))
        client.send(request(2, echo=b"before"))
        client.socket.sendall(struct.pack(">I", FRAME_BYTES_MAX + 1))
        is_ok(client.receive(), 2, b"before")
        response = client.receive()
        assert (response.id, response.code) == (0, RESOURCE_EXHAUSTED), response
        client.receive_eof()


def framed_malformed(address):
    with Framed(address) as client:
        client.socket.sendall(struct.pack(">I", 2) + b"\xff\xff")
        response = client.receive()
        assert (response.id, response.code) == (0, INVALID_ARGUMENT), response
        client.receive_eof()


def with_stub(address, check):
    import grpc
    from quintet.v1 import quintet_pb2_grpc

    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(TIMEOUT_S)
        check(quintet_pb2_grpc.QuintetStub(channel))


def status_of(stub, asked):
    import grpc

    try:
        stub.Call(asked, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        return error.code().value[0], error.details()
    raise AssertionError(f"no error for a request of {asked.ByteSize()} bytes")


def grpc_call_every_kind(address):
    def check(stub):
        for asked, payload in EVERY_KIND:
            is_ok(stub.Call(asked, timeout=TIMEOUT_S), asked.id, payload)

    with_stub(address, check)


def grpc_users(address):
    import grpc
    from quintet.v1 import users_pb2_grpc

    with grpc.insecure_channel(address) as channel:
        users = users_pb2_grpc.UsersStub(channel)
        found = users.GetUser(users_pb2.UserRequest(user_id="42"), timeout=TIMEOUT_S)
        assert found == user(42), found
        for wrong, code in [("0", grpc.StatusCode.NOT_FOUND), ("x", grpc.StatusCode.INVALID_ARGUMENT)]:
            try:
                users.GetUser(users_pb2.UserRequest(user_id=wrong), timeout=TIMEOUT_S)
            except grpc.RpcError as error:
                assert error.code() == code, error
            else:
                raise AssertionError(f"user {wrong!r} was found")


def grpc_call_too_much(address):
    def check(stub):
        for asked, named in TOO_MUCH:
            code, details = status_of(stub, asked)
            assert code == INVALID_ARGUMENT, (code, details)
            assert all(part in details for part in named), details
        code, details = status_of(stub, request(1, echo=bytes(FRAME_BYTES_MAX)))
        assert code == RESOURCE_EXHAUSTED, (code, details)
        is_ok(stub.Call(request(9, echo=b"on"), timeout=TIMEOUT_S), 9, b"on")

    with_stub(address, check)


def grpc_converse(address):
    def check(stub):
        asked = [request(id, echo=b"%d" % id) for id in range(1000)]
        responses = list(stub.Converse(iter(asked), timeout=TIMEOUT_S))
        assert len(responses) == 1000, len(responses)
        for id, response in enumerate(responses):
            is_ok(response, id, b"%d" % id)
        responses = stub.Converse(iter([asked for asked, _ in EVERY_KIND]), timeout=TIMEOUT_S)
        for (asked, payload), response in zip(EVERY_KIND, responses, strict=True):
            is_ok(response, asked.id, payload)
        responses = stub.Converse(iter([asked for asked, _ in TOO_MUCH]), timeout=TIMEOUT_S)
        for (asked, named), response in zip(TOO_MUCH, responses, strict=True):
            assert (response.id, response.code) == (asked.id, INVALID_ARGUMENT), response
            assert all(part in response.message for part in named), response

    with_stub(address, check)


def main():
    _, _, transport, address = sys.argv
    checks = [
        (name, check)
        for name, check in globals().items()
        if name.startswith(transport + "_") and callable(check)
    ]
    assert checks, f"no checks for {transport}"
    for name, check in checks:
        check(address)
        print("ok", name)


if __name__ == "__main__":
    main()
