"""Asks the example `health_shim` for its health; see `tests/e2e/health_shim`."""

import http.client
import json
import queue
import re
import signal
import ssl
import subprocess
import sys
import threading
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

import helloworld_pb2
import helloworld_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
LINGER_SECONDS = 2
FOLLOWS_WITHIN_SECONDS = 0.1


class Suite:
    def __init__(self):
        self.passed, self.failed = 0, 0

    def check(self, name, test, *args):
        try:
            test(*args)
            problem = None
            self.passed += 1
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            self.failed += 1
        print(f"{name:<60} {'ok' if problem is None else 'FAILED'}", flush=True)
        if problem:
            print(f"    {problem}", flush=True)


def equal(actual, expected):
    if actual != expected:
        raise AssertionError(f"{actual!r} is not {expected!r}")


def curl(*args):
    """The status line, the headers by name in small letters, and the body of `curl -i`."""
    done = subprocess.run(["curl", "-sSik", "--max-time", "10", *args], capture_output=True, text=True, check=True)
    head, body = done.stdout.replace("\r\n", "\n").split("\n\n", 1)
    status, *lines = head.splitlines()
    return status.strip(), dict(line.lower().split(": ", 1) for line in lines), body


def says(status, body, *args):
    actual, headers, text = curl(*args)
    equal((actual, text), (status, body))
    equal(headers["content-type"], "text/plain")
    equal(headers["content-length"], str(len(body)))
    equal(headers["cache-control"], "no-store")


def is_a_head(*args):
    status, headers, body = curl("--head", *args)
    equal((status.split()[1], headers["content-length"], body), ("200", "2", ""))


def tells_json(url):
    _, headers, body = curl("-H", "accept: application/json", url)
    equal((headers["content-type"], json.loads(body)["status"]), ("application/json", "ok"))


def goes_on(*args):
    status, _, body = curl(*args)
    if body == "ok" or status.split()[1] == "503":
        raise AssertionError(f"the shim answered {status} {body!r}")


def checks(channel, expected):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", "helloworld.Greeter"):
        request = health_pb2.HealthCheckRequest(service=service)
        equal(stub.Check(request, timeout=10).status, expected)


def does_not_find(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    try:
        stub.Check(health_pb2.HealthCheckRequest(service="helloworld.Greter"), timeout=10)
    except grpc.RpcError as error:
        equal(error.code(), grpc.StatusCode.NOT_FOUND)
        equal(error.details(), "there is no service `helloworld.Greter`")
    else:
        raise AssertionError("it was found")


def lists(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    statuses = stub.List(health_pb2.HealthListRequest(), timeout=10).statuses
    equal({name: reply.status for name, reply in statuses.items()}, {"": SERVING, "helloworld.Greeter": SERVING})


def greets(channel):
    stub = helloworld_pb2_grpc.GreeterStub(channel)
    reply = stub.SayHello(helloworld_pb2.HelloRequest(name="you"), timeout=10)
    equal(reply.message, "Hello you!")


class Watch:
    """What a Watch tells, message by message, and at last its code."""

    def __init__(self, channel, service):
        self.told = queue.Queue()
        self.call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service))
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        try:
            for reply in self.call:
                self.told.put(reply.status)
            self.told.put(grpc.StatusCode.OK)
        except grpc.RpcError as error:
            self.told.put(error.code())

    def tells(self, *expected):
        for one in expected:
            equal(self.told.get(timeout=10), one)

    def is_silent(self):
        equal(self.told.qsize(), 0)


def toggles(process, address, status):
    """After SIGUSR1 an open connection's health checks get this status within the time."""
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.connect()
    start = time.monotonic()
    process.send_signal(signal.SIGUSR1)
    while True:
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        took = time.monotonic() - start
        if response.status == status:
            break
        if took > 10 * FOLLOWS_WITHIN_SECONDS:
            raise AssertionError(f"still {response.status} after {took:.3f} s")
    connection.close()
    if took > FOLLOWS_WITHIN_SECONDS:
        raise AssertionError(f"it took {took:.3f} s")


def drains(process, watch, plain):
    process.send_signal(signal.SIGTERM)
    watch.tells(NOT_SERVING)
    says("HTTP/1.1 503 Service Unavailable", "unavailable", f"http://{plain}/")
    with grpc.insecure_channel(plain, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        checks(channel, NOT_SERVING)
        greets(channel)
    watch.tells(grpc.StatusCode.UNAVAILABLE)
    equal(process.wait(LINGER_SECONDS + 10), 0)


def asks(suite, process, plain):
    secure = plain  # One port for both.
    ok, unavailable = "HTTP/1.1 200 OK", "HTTP/1.1 503 Service Unavailable"
    http1, http2 = f"http://{plain}", "--http2-prior-knowledge"
    for path in ("/", "/healthz", "/?x=1"):
        suite.check(f"curl: GET {path}", says, ok, "ok", http1 + path)
        suite.check(f"curl: GET {path} over HTTP/2", says, "HTTP/2 200", "ok", http2, http1 + path)
    suite.check("curl: GET / over HTTP/1.0", says, "HTTP/1.0 200 OK", "ok", "--http1.0", http1)
    suite.check("curl: HEAD /", is_a_head, http1)
    suite.check("curl: HEAD / over HTTP/2", is_a_head, http2, http1)
    suite.check("curl: JSON", tells_json, http1)
    suite.check("curl: a POST goes on", goes_on, "--data", "x=1", http1)
    suite.check("curl: another path goes on", goes_on, http1 + "/healthz/")
    tls = f"https://{secure}/"
    suite.check("curl: GET / over TLS, HTTP/2 by ALPN", says, "HTTP/2 200", "ok", tls)
    suite.check("curl: GET / over TLS, HTTP/1.1 by ALPN", says, ok, "ok", "--http1.1", tls)
    suite.check("curl: GET / over TLS without ALPN", says, ok, "ok", "--no-alpn", "--http1.1", tls)

    host, port = secure.split(":")
    certificate = ssl.get_server_certificate((host, int(port)), timeout=10).encode()
    trusted = grpc.ssl_channel_credentials(root_certificates=certificate)
    named = [("grpc.ssl_target_name_override", "localhost")]
    with grpc.insecure_channel(plain) as channel, grpc.secure_channel(secure, trusted, named) as over_tls:
        for name, to in (("grpcio", channel), ("grpcio over TLS", over_tls)):
            suite.check(f"{name}: Check is SERVING", checks, to, SERVING)
            suite.check(f"{name}: Check of an unknown service", does_not_find, to)
            suite.check(f"{name}: List", lists, to)
            suite.check(f"{name}: a call", greets, to)
        whole, unknown, to_the_end = Watch(channel, ""), Watch(channel, "helloworld.Greter"), Watch(over_tls, "")
        suite.check("grpcio: Watch tells at once", whole.tells, SERVING)
        suite.check("grpcio: Watch of an unknown service", unknown.tells, SERVICE_UNKNOWN)
        suite.check("grpcio over TLS: Watch tells at once", to_the_end.tells, SERVING)

        suite.check("SIGUSR1: 503 within 100 ms", toggles, process, plain, 503)
        suite.check("SIGUSR1: curl gets 503", says, unavailable, "unavailable", http1)
        suite.check("SIGUSR1: curl over HTTP/2 gets 503", says, "HTTP/2 503", "unavailable", http2, http1)
        suite.check("SIGUSR1: Check is NOT_SERVING", checks, channel, NOT_SERVING)
        suite.check("SIGUSR1: Watch tells", whole.tells, NOT_SERVING)
        suite.check("SIGUSR1: calls are still served", greets, channel)
        suite.check("SIGUSR1 again: 200 within 100 ms", toggles, process, plain, 200)
        suite.check("SIGUSR1 again: Watch tells", whole.tells, SERVING)
        suite.check("the unknown service is still watched in silence", unknown.is_silent)
        to_the_end.tells(NOT_SERVING, SERVING)
        suite.check("SIGTERM: says no, serves, ends the Watch, exits with 0", drains, process, to_the_end, plain)


def main():
    command = [sys.argv[1], "--listen", "127.0.0.1:0", "--linger", str(LINGER_SECONDS)]
    suite = Suite()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        (plain,) = re.findall(r"[0-9.]+:[0-9]+", line)
        asks(suite, process, plain)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    print(f"{suite.passed} passed, {suite.failed} failed")
    sys.exit(1 if suite.failed else 0)


if __name__ == "__main__":
    main()
