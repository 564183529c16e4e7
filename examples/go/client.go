// Quintet's gRPC server from Go: each kind of call, with a deadline, over h2c or TLS.
//
// A call blocks its goroutine; a stream is received from until it says io.EOF. The deadline is the
// context's, and to cancel the context is to leave the call.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"helloworld"
	quintet "quintet/v1"
)

const (
	patience = 10 * time.Second
	minuteUs = 60_000_000
)

func main() {
	address := os.Args[1]
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	ca := flags.String("ca", "", "who signs the server's certificate: a `FILE`")
	token := flags.String("token", "", "a JWT: a `FILE`")
	flags.Parse(os.Args[2:])

	if err := run(address, *ca, *token); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", status.Code(err), status.Convert(err).Message())
		os.Exit(1)
	}
}

func run(address, ca, token string) error {
	security := grpc.WithInsecure() // h2c: HTTP/2 without TLS
	if ca != "" {
		authority, err := credentials.NewClientTLSFromFile(ca, "")
		if err != nil {
			return err
		}
		security = grpc.WithTransportCredentials(authority)
	}
	connection, err := grpc.Dial(address, security)
	if err != nil {
		return err
	}
	defer connection.Close()

	// What goes with each call: until when it is worth an answer, and who asks.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if token != "" {
		jwt, err := os.ReadFile(token)
		if err != nil {
			return err
		}
		bearer := "Bearer " + strings.TrimSpace(string(jwt))
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", bearer)
	}

	client := quintet.NewQuintetClient(connection)
	if err := hello(ctx, helloworld.NewGreeterClient(connection)); err != nil {
		return err
	}
	if err := work(ctx, client); err != nil {
		return err
	}
	if err := notifications(ctx, quintet.NewFeedClient(connection)); err != nil {
		return err
	}
	failures(ctx, client)
	return nil
}

func hello(ctx context.Context, greeter helloworld.GreeterClient) error {
	reply, err := greeter.SayHello(ctx, &helloworld.HelloRequest{Name: "Go"})
	if err != nil {
		return err
	}
	fmt.Println("hello:", reply.Message)

	// One request, many replies.
	replies, err := greeter.SayHelloStreamReply(ctx, &helloworld.HelloRequest{Name: "Go"})
	if err != nil {
		return err
	}
	greetings := 0
	for {
		if _, err := replies.Recv(); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		greetings++
	}
	fmt.Println("greetings:", greetings)
	return nil
}

func work(ctx context.Context, client quintet.QuintetClient) error {
	echo := &quintet.Request{Id: 1, Work: &quintet.Request_Echo{Echo: []byte("score")}}
	response, err := client.Call(ctx, echo)
	if err != nil {
		return err
	}
	fmt.Println("call:", string(response.Payload))

	// Many requests, many responses, both at once: one goroutine sends, another receives.
	conversation, err := client.Converse(ctx)
	if err != nil {
		return err
	}
	go func() {
		for id := uint64(1); id <= 3; id++ {
			compute := &quintet.Request_ComputeRounds{ComputeRounds: 10}
			conversation.Send(&quintet.Request{Id: id, Work: compute}) // its error is Recv's too
		}
		conversation.CloseSend()
	}()
	fmt.Print("conversation:")
	for {
		response, err := conversation.Recv()
		if err == io.EOF {
			fmt.Println()
			return nil
		} else if err != nil {
			return err
		}
		fmt.Print(" ", response.Id)
	}
}

func notifications(ctx context.Context, feed quintet.FeedClient) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave() // this stream has no end of its own
	events, err := feed.Subscribe(ctx, &quintet.Subscription{Topic: "go"})
	if err != nil {
		return err
	}
	// Once the headers are here, nothing that is published is missed.
	if _, err := events.Header(); err != nil {
		return err
	}
	for _, word := range []string{"do", "re", "mi"} {
		event := &quintet.Event{Topic: "go", Payload: []byte(word)}
		if _, err := feed.Publish(ctx, event); err != nil {
			return err
		}
	}
	fmt.Print("feed:")
	for i := 0; i < 3; i++ {
		event, err := events.Recv()
		if err != nil {
			return err
		}
		fmt.Print(" ", string(event.Payload))
	}
	fmt.Println()
	return nil
}

func failures(ctx context.Context, client quintet.QuintetClient) {
	tooLong := &quintet.Request{Id: 2, Work: &quintet.Request_WaitUs{WaitUs: minuteUs + 1}}
	_, err := client.Call(ctx, tooLong)
	fmt.Println("refused:", status.Code(err), status.Convert(err).Message())

	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	minute := &quintet.Request{Id: 3, Work: &quintet.Request_WaitUs{WaitUs: minuteUs}}
	_, err = client.Call(ctx, minute)
	fmt.Println("too late:", status.Code(err))
}
