"""echo.Echo on grpcio. Prints its port, serves until its standard input closes."""

import argparse
import sys
import time
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

import echo_pb2
import echo_pb2_grpc

CODES = {code.value[0]: code for code in grpc.StatusCode}


class Echo(echo_pb2_grpc.EchoServicer):
    def __init__(self, name):
        self.name = name

    def saw(self, context):
        """The reply's description of the call; also sends the metadata back."""
        metadata = context.invocation_metadata()
        context.send_initial_metadata(
            [("echo-" + key, value) for key, value in metadata if not key.startswith("grpc-")]
        )
        reply = echo_pb2.EchoReply(server=self.name)
        for key, value in metadata:
            value = value.encode() if isinstance(value, str) else value
            reply.metadata.add(key=key, value=value)
        left = context.time_remaining()
        # grpcio says "for ever" by a number of centuries.
        if left is not None and left < 1e8:
            reply.time_left_ms = max(0, int(left * 1000))
        return reply

    def end(self, request, context):
        if request.HasField("status"):
            if request.status.details:
                context.set_trailing_metadata((("grpc-status-details-bin", request.status.details),))
            context.abort(CODES[request.status.code], request.status.message)

    @staticmethod
    def payload(request):
        return b"x" * request.reply_bytes if request.reply_bytes else request.payload

    def Unary(self, request, context):
        reply = self.saw(context)
        time.sleep(request.delay_ms / 1000)
        self.end(request, context)
        reply.payload = self.payload(request)
        return reply

    def Upload(self, requests, context):
        reply = self.saw(context)
        payload = bytearray()
        for request in requests:
            time.sleep(request.delay_ms / 1000)
            self.end(request, context)
            payload += request.payload
        reply.payload = bytes(payload)
        return reply

    def Download(self, request, context):
        reply = self.saw(context)
        reply.payload = self.payload(request)
        time.sleep(request.delay_ms / 1000)
        for i in range(request.replies):
            if i > 0:
                time.sleep(request.pause_ms / 1000)
            yield reply
        self.end(request, context)

    def Chat(self, requests, context):
        reply = self.saw(context)
        for request in requests:
            time.sleep(request.delay_ms / 1000)
            self.end(request, context)
            reply.payload = self.payload(request)
            yield reply


def main(servicer=Echo):
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="grpcio")
    parser.add_argument("--max-connection-age-ms", type=int)
    parser.add_argument("--max-concurrent-streams", type=int)
    args = parser.parse_args()
    options = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
    ]
    if args.max_connection_age_ms:
        options.append(("grpc.max_connection_age_ms", args.max_connection_age_ms))
        options.append(("grpc.max_connection_age_grace_ms", 10_000))
    if args.max_concurrent_streams:
        options.append(("grpc.max_concurrent_streams", args.max_concurrent_streams))
    server = grpc.server(futures.ThreadPoolExecutor(64), options=options)
    echo_pb2_grpc.add_EchoServicer_to_server(servicer(args.name), server)
    checks = health.HealthServicer()
    checks.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0).wait()


if __name__ == "__main__":
    main()
