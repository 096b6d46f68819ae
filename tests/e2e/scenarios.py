"""Runs e2e_client against grpcio and grpc-go backends; see `tests/e2e/run`."""

import argparse
import subprocess
import sys
import threading
import time

# Scenarios that leave the machine idle run at once; the others one by one.
QUIET_SECONDS = 61

# Why a connection that the client did not close itself ends.
LOSSES = ("goaway", "closed", "keepalive", "reset")


class Backend:
    def __init__(self, command, *flags):
        self.process = subprocess.Popen(
            [*command, *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        if not line.strip().isdigit():
            self.process.kill()
            sys.exit(f"backend {command} did not start: {line!r}")
        self.address = f"127.0.0.1:{line.strip()}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Suite:
    def __init__(self, client):
        self.client = client
        self.passed, self.failed = 0, 0
        self.lock = threading.Lock()

    def check(self, name, backends, scenario, flags=(), never=(), must=(), succeeds=True):
        """Runs a scenario; `never` and `must` are texts that its log must not and must hold."""
        target = "ipv4:" + ",".join(backend.address for backend in backends)
        start = time.monotonic()
        try:
            done = subprocess.run(
                [self.client, "--target", target, *flags, scenario],
                capture_output=True, text=True, timeout=QUIET_SECONDS + 60,
            )
            output = done.stdout + done.stderr
            problems = [] if (done.returncode == 0) == succeeds else [f"exit status {done.returncode}"]
        except subprocess.TimeoutExpired as error:
            output = "".join((part or b"").decode() for part in (error.stdout, error.stderr))
            problems = ["timed out"]
        problems += [f"its log says {text!r}" for text in never if text in output]
        problems += [f"its log lacks {text!r}" for text in must if text not in output]
        with self.lock:
            verdict = "FAILED" if problems else "ok"
            print(f"{name:<48} {verdict:<6} {time.monotonic() - start:5.1f} s", flush=True)
            if problems:
                self.failed += 1
                tail = output.splitlines()[-25:]
                print("    " + "\n    ".join(["; ".join(problems), *tail]), flush=True)
            else:
                self.passed += 1


def quiet(suite, language, command):
    """A minute of idleness and of slow streams under the server's default keepalive enforcement."""
    with Backend(command, "--name", "quiet") as one, Backend(command, "--name", "strict") as other:
        threads = [
            threading.Thread(
                target=suite.check,
                args=(f"{language}: {scenario}, a minute", [one], scenario, ("--seconds", str(QUIET_SECONDS))),
                kwargs={"never": ["too_many_pings", *(f'reason="{reason}"' for reason in LOSSES)]},
            )
            for scenario in ("idle", "slow-streams")
        ]
        # The control: this server does object, and it shows.
        threads.append(
            threading.Thread(
                target=suite.check,
                args=(f"{language}: eager pings are punished", [other], "slow-streams"),
                kwargs={"flags": ("--seconds", "20", "--ping-after-ms", "500"), "must": ["too_many_pings"],
                        "succeeds": False},
            )
        )
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def active(suite, language, command):
    with Backend(command, "--name", "plain") as plain:
        for scenario in ("shapes", "metadata", "statuses", "large", "deadlines"):
            suite.check(f"{language}: {scenario}", [plain], scenario)
    ageing = ("--max-connection-age-ms", "1000")
    with Backend(command, "--name", "a", *ageing) as a, Backend(command, "--name", "b", *ageing) as b:
        suite.check(f"{language}: load, connections age 1 s", [a, b], "load", ("--seconds", "8"))
        suite.check(f"{language}: shapes, connections age 1 s", [a, b], "shapes")
    for limit in ("1", "4"):
        limited = ("--max-concurrent-streams", limit)
        with Backend(command, "--name", "a", *limited) as a, Backend(command, "--name", "b") as b:
            suite.check(f"{language}: share, {limit} streams at one of two", [a, b], "share", ("--seconds", "3"))
            suite.check(f"{language}: load, {limit} streams", [a], "load", ("--seconds", "3"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", required=True)
    parser.add_argument("--go-server", required=True)
    parser.add_argument("--python-server", required=True)
    args = parser.parse_args()
    suite = Suite(args.client)
    servers = {"grpcio": [sys.executable, args.python_server], "grpc-go": [args.go_server]}
    threads = [threading.Thread(target=quiet, args=(suite, *server)) for server in servers.items()]
    for thread in threads:
        thread.start()
    for server in servers.items():
        active(suite, *server)
    for thread in threads:
        thread.join()
    print(f"{suite.passed} passed, {suite.failed} failed")
    sys.exit(1 if suite.failed else 0)


if __name__ == "__main__":
    main()
