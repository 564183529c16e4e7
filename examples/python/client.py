"""Quintet's gRPC server from Python: each kind of call, with a deadline, over h2c or TLS.

A blocking client: a stream is an iterator, and a thread of gRPC's reads ahead of it.
"""

import argparse
import sys

import grpc
from helloworld.helloworld_pb2 import HelloRequest
from helloworld.helloworld_pb2_grpc import GreeterStub
from quintet.v1.feed_pb2 import Event, Subscription
from quintet.v1.feed_pb2_grpc import FeedStub
from quintet.v1.quintet_pb2 import Request
from quintet.v1.quintet_pb2_grpc import QuintetStub

DEADLINE_S = 10
MINUTE_US = 60_000_000


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("address")
    arguments.add_argument("--ca", metavar="FILE", help="who signs the server's certificate")
    arguments.add_argument("--token", metavar="FILE", help="a JWT")
    arguments = arguments.parse_args()

    # What goes with each call: until when it is worth an answer, and who asks.
    call = {"timeout": DEADLINE_S}
    if arguments.token:
        call["metadata"] = [("authorization", f"Bearer {read(arguments.token).decode().strip()}")]

    with connect(arguments.address, arguments.ca) as channel:
        try:
            hello(GreeterStub(channel), call)
            work(QuintetStub(channel), call)
            notifications(FeedStub(channel), call)
            errors(QuintetStub(channel), call)
        except grpc.RpcError as error:
            sys.exit(f"{error.code().name}: {error.details()}")


def connect(address, ca):
    if ca is None:
        return grpc.insecure_channel(address)  # h2c: HTTP/2 without TLS
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(read(ca)))


def hello(greeter, call):
    reply = greeter.SayHello(HelloRequest(name="Python"), **call)
    print("hello:", reply.message)
    # One request, many replies: what comes back is an iterator.
    replies = greeter.SayHelloStreamReply(HelloRequest(name="Python"), **call)
    print("greetings:", len(list(replies)))


def work(quintet, call):
    response = quintet.Call(Request(id=1, echo=b"score"), **call)
    print("call:", response.payload.decode())
    # Many requests, many responses, both at once: requests are taken from an iterator.
    requests = (Request(id=id, compute_rounds=10) for id in (1, 2, 3))
    print("conversation:", *(response.id for response in quintet.Converse(requests, **call)))


def notifications(feed, call):
    events = feed.Subscribe(Subscription(topic="python"), **call)
    events.initial_metadata()  # once the headers are here, nothing that is published is missed
    for word in b"do", b"re", b"mi":
        feed.Publish(Event(topic="python", payload=word), **call)
    print("feed:", *(next(events).payload.decode() for _ in range(3)))
    events.cancel()  # this stream has no end of its own


def errors(quintet, call):
    try:
        quintet.Call(Request(id=2, wait_us=MINUTE_US + 1), **call)
    except grpc.RpcError as error:
        print("refused:", error.code().name, error.details())
    try:
        quintet.Call(Request(id=3, wait_us=MINUTE_US), **{**call, "timeout": 0.1})
    except grpc.RpcError as error:
        print("too late:", error.code().name)


def read(path):
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    main()
