// Quintet's gRPC server from C++: each kind of call, with a deadline, over h2c or TLS.
//
// The blocking API: a call returns its status, a stream is read until it ends and then asked for
// its status. A context is of one call: it carries the deadline and the token, and can cancel it.

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>

#include <grpcpp/grpcpp.h>

#include "helloworld/helloworld.grpc.pb.h"
#include "quintet/v1/feed.grpc.pb.h"
#include "quintet/v1/quintet.grpc.pb.h"

using grpc::ClientContext;
using grpc::Status;
using namespace std::chrono_literals;

namespace {

constexpr auto kPatience = 10s;
constexpr std::uint64_t kMinuteUs = 60'000'000;

std::string read(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string name(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK: return "OK";
    case grpc::StatusCode::INVALID_ARGUMENT: return "INVALID_ARGUMENT";
    case grpc::StatusCode::DEADLINE_EXCEEDED: return "DEADLINE_EXCEEDED";
    case grpc::StatusCode::UNAUTHENTICATED: return "UNAUTHENTICATED";
    case grpc::StatusCode::PERMISSION_DENIED: return "PERMISSION_DENIED";
    case grpc::StatusCode::UNAVAILABLE: return "UNAVAILABLE";
    default: return "code " + std::to_string(code);
  }
}

void must(const Status& status) {
  if (!status.ok()) {
    throw std::runtime_error(name(status.error_code()) + ": " + status.error_message());
  }
}

// What goes with each call: until when it is worth an answer, and who asks.
class Calls {
 public:
  explicit Calls(std::string token) : token_(std::move(token)) {}

  void prepare(ClientContext& call, std::chrono::milliseconds patience = kPatience) const {
    call.set_deadline(std::chrono::system_clock::now() + patience);
    if (!token_.empty()) call.AddMetadata("authorization", "Bearer " + token_);
  }

 private:
  std::string token_;
};

void hello(helloworld::Greeter::Stub& greeter, const Calls& calls) {
  helloworld::HelloRequest request;
  request.set_name("C++");
  helloworld::HelloReply reply;
  ClientContext call;
  calls.prepare(call);
  must(greeter.SayHello(&call, request, &reply));
  std::cout << "hello: " << reply.message() << '\n';

  // One request, many replies.
  ClientContext streaming;
  calls.prepare(streaming);
  auto replies = greeter.SayHelloStreamReply(&streaming, request);
  int greetings = 0;
  while (replies->Read(&reply)) ++greetings;
  must(replies->Finish());
  std::cout << "greetings: " << greetings << '\n';
}

void work(quintet::v1::Quintet::Stub& quintet, const Calls& calls) {
  quintet::v1::Request request;
  request.set_id(1);
  request.set_echo("score");
  quintet::v1::Response response;
  ClientContext call;
  calls.prepare(call);
  must(quintet.Call(&call, request, &response));
  std::cout << "call: " << response.payload() << '\n';

  // Many requests, many responses. These few fit into the windows; who sends more than that reads
  // in another thread meanwhile.
  ClientContext streaming;
  calls.prepare(streaming);
  auto conversation = quintet.Converse(&streaming);
  for (std::uint64_t id = 1; id <= 3; ++id) {
    request.set_id(id);
    request.set_compute_rounds(10);
    conversation->Write(request);  // where it fails, so does what follows, and says why
  }
  conversation->WritesDone();
  std::cout << "conversation:";
  while (conversation->Read(&response)) std::cout << ' ' << response.id();
  std::cout << '\n';
  must(conversation->Finish());
}

void notifications(quintet::v1::Feed::Stub& feed, const Calls& calls) {
  quintet::v1::Subscription subscription;
  subscription.set_topic("cpp");
  ClientContext subscribing;
  calls.prepare(subscribing);
  auto events = feed.Subscribe(&subscribing, subscription);
  // Once the headers are here, nothing that is published is missed.
  events->WaitForInitialMetadata();
  for (const char* word : {"do", "re", "mi"}) {
    quintet::v1::Event event;
    event.set_topic("cpp");
    event.set_payload(word);
    quintet::v1::Published published;
    ClientContext call;
    calls.prepare(call);
    must(feed.Publish(&call, event, &published));
  }
  std::cout << "feed:";
  quintet::v1::Event event;
  for (int heard = 0; heard < 3 && events->Read(&event); ++heard) {
    std::cout << ' ' << event.payload();
  }
  std::cout << '\n';
  subscribing.TryCancel();  // this stream has no end of its own
  events->Finish();         // CANCELLED, as was asked for
}

void errors(quintet::v1::Quintet::Stub& quintet, const Calls& calls) {
  quintet::v1::Request request;
  quintet::v1::Response response;
  request.set_id(2);
  request.set_wait_us(kMinuteUs + 1);
  ClientContext call;
  calls.prepare(call);
  const Status refused = quintet.Call(&call, request, &response);
  std::cout << "refused: " << name(refused.error_code()) << ' ' << refused.error_message() << '\n';

  request.set_id(3);
  request.set_wait_us(kMinuteUs);
  ClientContext hasty;
  calls.prepare(hasty, 100ms);
  const Status late = quintet.Call(&hasty, request, &response);
  std::cout << "too late: " << name(late.error_code()) << '\n';
}

int run(const std::string& address, const std::string& ca, const std::string& token) {
  std::shared_ptr<grpc::ChannelCredentials> security;
  if (ca.empty()) {
    security = grpc::InsecureChannelCredentials();  // h2c: HTTP/2 without TLS
  } else {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = read(ca);
    security = grpc::SslCredentials(options);
  }
  const auto channel = grpc::CreateChannel(address, security);

  std::string jwt = token.empty() ? "" : read(token);
  jwt.erase(jwt.find_last_not_of(" \n") + 1);
  const Calls calls(jwt);

  hello(*helloworld::Greeter::NewStub(channel), calls);
  work(*quintet::v1::Quintet::NewStub(channel), calls);
  notifications(*quintet::v1::Feed::NewStub(channel), calls);
  errors(*quintet::v1::Quintet::NewStub(channel), calls);
  return EXIT_SUCCESS;
}

}  // namespace

int main(int count, char** arguments) try {
  std::string address, ca, token;
  for (int i = 1; i < count; ++i) {
    const std::string word = arguments[i];
    if (word == "--ca" && i + 1 < count) {
      ca = arguments[++i];
    } else if (word == "--token" && i + 1 < count) {
      token = arguments[++i];
    } else {
      address = word;
    }
  }
  if (address.empty()) throw std::runtime_error("usage: client ADDRESS [--ca FILE] [--token FILE]");
  return run(address, ca, token);
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return EXIT_FAILURE;
}
