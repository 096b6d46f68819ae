// Command server serves echo.Echo on grpc-go. It prints its port and serves until its standard input closes.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.test/e2e/echopb"
)

type echo struct {
	echopb.UnimplementedEchoServer
	name string
}

// saw describes the call as the server sees it, and returns the metadata to send back.
func (e *echo) saw(ctx context.Context) (*echopb.EchoReply, metadata.MD) {
	reply := &echopb.EchoReply{Server: e.name}
	back := metadata.MD{}
	seen, _ := metadata.FromIncomingContext(ctx)
	for key, values := range seen {
		if key == ":authority" {
			reply.Authority = values[0]
			continue
		}
		for _, value := range values {
			reply.Metadata = append(reply.Metadata, &echopb.Metadata{Key: key, Value: []byte(value)})
			back.Append("echo-"+key, value)
		}
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := uint64(max(0, time.Until(deadline).Milliseconds()))
		reply.TimeLeftMs = &left
	}
	return reply, back
}

func payload(request *echopb.EchoRequest) []byte {
	if request.ReplyBytes > 0 {
		return bytes.Repeat([]byte("x"), int(request.ReplyBytes))
	}
	return request.Payload
}

// end is the status that the caller asked for. trailer receives its details.
func end(request *echopb.EchoRequest, trailer func(metadata.MD)) error {
	if request.Status == nil {
		return nil
	}
	if len(request.Status.Details) > 0 {
		trailer(metadata.Pairs("grpc-status-details-bin", string(request.Status.Details)))
	}
	return status.Error(codes.Code(request.Status.Code), request.Status.Message)
}

func wait(ctx context.Context, ms uint32) error {
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func (e *echo) Unary(ctx context.Context, request *echopb.EchoRequest) (*echopb.EchoReply, error) {
	reply, back := e.saw(ctx)
	if err := grpc.SendHeader(ctx, back); err != nil {
		return nil, err
	}
	if err := wait(ctx, request.DelayMs); err != nil {
		return nil, err
	}
	if err := end(request, func(md metadata.MD) { grpc.SetTrailer(ctx, md) }); err != nil {
		return nil, err
	}
	reply.Payload = payload(request)
	return reply, nil
}

func (e *echo) Upload(stream grpc.ClientStreamingServer[echopb.EchoRequest, echopb.EchoReply]) error {
	reply, back := e.saw(stream.Context())
	if err := stream.SendHeader(back); err != nil {
		return err
	}
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(reply)
		}
		if err != nil {
			return err
		}
		if err := wait(stream.Context(), request.DelayMs); err != nil {
			return err
		}
		if err := end(request, stream.SetTrailer); err != nil {
			return err
		}
		reply.Payload = append(reply.Payload, request.Payload...)
	}
}

func (e *echo) Download(request *echopb.EchoRequest, stream grpc.ServerStreamingServer[echopb.EchoReply]) error {
	reply, back := e.saw(stream.Context())
	if err := stream.SendHeader(back); err != nil {
		return err
	}
	reply.Payload = payload(request)
	if err := wait(stream.Context(), request.DelayMs); err != nil {
		return err
	}
	for i := range request.Replies {
		if i > 0 {
			if err := wait(stream.Context(), request.PauseMs); err != nil {
				return err
			}
		}
		if err := stream.Send(reply); err != nil {
			return err
		}
	}
	return end(request, stream.SetTrailer)
}

func (e *echo) Chat(stream grpc.BidiStreamingServer[echopb.EchoRequest, echopb.EchoReply]) error {
	reply, back := e.saw(stream.Context())
	if err := stream.SendHeader(back); err != nil {
		return err
	}
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := wait(stream.Context(), request.DelayMs); err != nil {
			return err
		}
		if err := end(request, stream.SetTrailer); err != nil {
			return err
		}
		reply.Payload = payload(request)
		if err := stream.Send(reply); err != nil {
			return err
		}
	}
}

func main() {
	name := flag.String("name", "grpc-go", "")
	age := flag.Int("max-connection-age-ms", 0, "")
	streams := flag.Uint("max-concurrent-streams", 0, "")
	flag.Parse()

	options := []grpc.ServerOption{grpc.MaxRecvMsgSize(math.MaxInt32), grpc.MaxSendMsgSize(math.MaxInt32)}
	if *age > 0 {
		options = append(options, grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge:      time.Duration(*age) * time.Millisecond,
			MaxConnectionAgeGrace: 10 * time.Second,
		}))
	}
	if *streams > 0 {
		options = append(options, grpc.MaxConcurrentStreams(uint32(*streams)))
	}
	server := grpc.NewServer(options...)
	echopb.RegisterEchoServer(server, &echo{name: *name})
	healthpb.RegisterHealthServer(server, health.NewServer())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		server.Stop()
	}()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
