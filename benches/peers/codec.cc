// protobuf's own C++ in a loop, for codec.py: `codec WHAT PAYLOAD_BYTES COUNT` prints what
// benches/examples/codec_loop.rs prints, and does the same: a frame to a message, and a message to a
// frame.

#include <google/protobuf/arena.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "quintet/v1/quintet.pb.h"

using google::protobuf::Arena;
using google::protobuf::ArenaOptions;
using quintet::v1::Request;
using quintet::v1::Response;

namespace {

constexpr size_t kPrefixBytes = 4;
// Before the clock starts, of the calls that are counted: for caches, and for the allocator.
constexpr uint64_t kWarmUpShare = 10;
// As many of the frame as are shown: its head, where codecs could differ.
constexpr size_t kShownBytesMax = 32;
// What an arena owns from the first: else it would begin each message with an allocation.
constexpr size_t kArenaBytes = 4096;

// The compiler must believe that somebody reads and writes what is there.
template <typename T>
void used(T* there) {
  asm volatile("" : : "r"(there) : "memory");
}

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "codec: %s\n", why.c_str());
  std::exit(1);
}

template <typename Call>
int64_t timed_ns(uint64_t count, Call call) {
  for (uint64_t i = 0; i < count / kWarmUpShare; ++i) call();
  const auto began = std::chrono::steady_clock::now();
  for (uint64_t i = 0; i < count; ++i) call();
  const auto time = std::chrono::steady_clock::now() - began;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
}

// As a server of framed TCP writes: a 4-byte big-endian length, then the message.
template <typename Message>
void encode(const Message& message, std::vector<uint8_t>& out) {
  const size_t bytes = message.ByteSizeLong();
  out.resize(kPrefixBytes + bytes);
  for (size_t i = 0; i < kPrefixBytes; ++i) {
    out[i] = static_cast<uint8_t>(bytes >> (8 * (kPrefixBytes - 1 - i)));
  }
  message.SerializeWithCachedSizesToArray(out.data() + kPrefixBytes);
}

bool decode(const std::vector<uint8_t>& framed, Request& request) {
  if (framed.size() < kPrefixBytes) return false;
  size_t bytes = 0;
  for (size_t i = 0; i < kPrefixBytes; ++i) bytes = bytes << 8 | framed[i];
  if (framed.size() - kPrefixBytes < bytes) return false;
  return request.ParseFromArray(framed.data() + kPrefixBytes, static_cast<int>(bytes));
}

int64_t decode_ns(const std::string& how, const std::vector<uint8_t>& framed, uint64_t count) {
  const auto once = [&](Request& request) {
    used(framed.data());
    if (!decode(framed, request)) fail("the frame is no request");
    used(&request);
  };
  if (how == "fresh") {
    return timed_ns(count, [&] {
      Request request;
      once(request);
    });
  }
  if (how == "re-used") {
    Request request;
    return timed_ns(count, [&] { once(request); });
  }
  if (how == "arena") {
    std::array<char, kArenaBytes> block;
    ArenaOptions options;
    options.initial_block = block.data();
    options.initial_block_size = block.size();
    Arena arena(options);
    return timed_ns(count, [&] {
      once(*Arena::CreateMessage<Request>(&arena));
      arena.Reset();
    });
  }
  fail("no such way to decode: " + how);
}

int64_t encode_ns(const Response& response, std::vector<uint8_t>& out, uint64_t count) {
  return timed_ns(count, [&] {
    used(&response);
    encode(response, out);
    used(out.data());
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) fail("usage: codec WHAT PAYLOAD_BYTES COUNT");
  const std::string what = argv[1];
  const std::string payload(std::strtoull(argv[2], nullptr, 10), '\7');
  const uint64_t count = std::strtoull(argv[3], nullptr, 10);
  Request request;
  request.set_id(1);
  request.set_echo(payload);
  Response response;
  response.set_id(1);
  response.set_payload(payload);

  const std::string decoding = "decode ";
  std::vector<uint8_t> framed;
  int64_t ns = 0;
  if (what.rfind(decoding, 0) == 0) {
    encode(request, framed);
    Request read;
    if (!decode(framed, read) || read.echo() != payload) fail("the frame is another request");
    ns = decode_ns(what.substr(decoding.size()), framed, count);
  } else if (what == "encode") {
    ns = encode_ns(response, framed, count);
  } else {
    fail("WHAT is 'decode fresh', 'decode re-used', 'decode arena' or 'encode'");
  }
  std::printf("%lld ", static_cast<long long>(ns));
  for (size_t i = 0; i < std::min(framed.size(), kShownBytesMax); ++i) {
    std::printf("%02x", framed[i]);
  }
  std::printf("\n");
}
